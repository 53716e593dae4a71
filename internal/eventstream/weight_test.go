package eventstream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/Azure/go-amqp"
)

// pairs are the entries of a map with as many keys, each before a value.
func pairs(count int, value []byte) (b []byte) {
	for n := range count {
		key := fmt.Sprintf("%x", n)
		b = append(append(b, 0xa1, byte(len(key))), key...)
		b = append(b, value...)
	}
	return b
}

// Decoding leaves of any message no more than its bytes and its weight.
func TestWhatMessagesTakeIsTheirWeight(t *testing.T) {
	section := func(code byte, value []byte) []byte { return append([]byte{0x00, 0x53, code}, value...) }
	const annotations, application = 0x72, 0x74
	times := func(n int, value []byte) []byte { return counted(list32, n, bytes.Repeat(value, n)...) }
	for name, text := range map[string][]byte{
		"truths by names":        section(application, counted(map32, 80_000, pairs(40_000, []byte{isTrueCode})...)),
		"numbers by names":       section(application, counted(map32, 65_538, pairs(32_769, []byte{0x54, 0x7f})...)),
		"doubles by names":       section(application, counted(map32, 30_000, pairs(15_000, binary.BigEndian.AppendUint64([]byte{0x82}, 1<<62))...)),
		"texts by names":         section(application, counted(map32, 60_000, pairs(30_000, []byte{0xa1, 1, 'a'})...)),
		"annotations":            section(annotations, counted(map32, 60_000, pairs(30_000, []byte{0xa1, 1, 'a'})...)),
		"times in a list":        message(times(40_000, binary.BigEndian.AppendUint64([]byte{0x83}, 1<<40))),
		"identifiers in a list":  message(times(14_000, append([]byte{0x98}, make([]byte, 16)...))),
		"empty texts in a list":  message(times(100_000, []byte{0xa1, 0})),
		"bytes in a list":        message(times(80_000, []byte{0xa0, 1, 0})),
		"empty lists in a list":  message(times(120_000, []byte{list0})),
		"short lists in a list":  message(times(60_000, []byte{list8, 2, 1, null})),
		"empty maps in a list":   message(times(80_000, []byte{map8, 1, 0})),
		"short maps in a list":   message(times(40_000, []byte{map8, 4, 2, 0xa1, 0, null})),
		"descriptions in a list": message(times(40_000, []byte{0x00, 0x53, 0x99, null})),
		"an array of zeros":      message(counted(array32, 120_000, ulong0)),
		"an array of maps":       message(counted(array32, 60_000, append([]byte{map8}, bytes.Repeat([]byte{1, 0}, 60_000)...)...)),
	} {
		t.Run(name, func(t *testing.T) {
			var m items
			if _, err := m.take(text, false); err != nil {
				t.Fatal(err)
			}
			before := used()
			var decoded amqp.Message
			err := decoded.UnmarshalBinary(text)
			n := used() - before
			runtime.KeepAlive(text)
			runtime.KeepAlive(decoded)
			if err != nil {
				t.Error(err)
			}
			if n > int64(len(text))+m.weight() {
				t.Errorf("%d bytes are held, for %d bytes of a weight of %d", n, len(text), m.weight())
			}
		})
	}
}

func used() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
