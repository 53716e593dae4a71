package wire_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
)

// FuzzDecode: whatever can be decoded is encoded to something that means the same.
func FuzzDecode(f *testing.F) {
	f.Add(wire.List(nil, wire.Attach, "x", uint32(1), true, nil, wire.Map{wire.Symbol("a"), int64(5)}, []wire.Symbol{"a", "b"},
		[]string{"0"}, time.UnixMilli(5).UTC(), []byte{1}, wire.UUID{1}, 1.5, float32(2), uint16(3), int8(-4)))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, _, err := wire.Decode(b)
		if err != nil {
			return
		}
		encoded := wire.Append(nil, v)
		again, rest, err := wire.Decode(encoded)
		if err != nil || len(rest) != 0 {
			t.Fatalf("%#v became % x: %v", v, encoded, err)
		}
		if twice := wire.Append(nil, again); !bytes.Equal(encoded, twice) { // NaN is not equal to itself, its bytes are
			t.Fatalf("%#v: % x became % x", v, encoded, twice)
		}
	})
}
