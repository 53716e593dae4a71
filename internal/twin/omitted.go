package twin

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"math"
	"slices"
)

// Omitted stands for a value that a status has no room for. It equals the value with its digest and nothing else, so that
// ownership, drift and acknowledgements can be told without the value. It never goes to a hub: hubs refuse keys with "$".
type Omitted struct {
	// Reason is why the value is not there.
	Reason string
	// Digest is that of Digest.
	Digest string
	// Matched is the declared value that a device was found to hold when it reported this one, nil if it held another one:
	// EqualReported forgives differences that a digest does not.
	Matched any
}

// Keys of what stands in a status for a value.
const (
	omittedKey = "$omitted"
	digestKey  = "$digest"
)

// MarshalJSON is {"$digest": ..., "$omitted": reason}.
func (o Omitted) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{omittedKey: o.Reason, digestKey: o.Digest})
}

// OmittedOf reads what MarshalJSON wrote.
func OmittedOf(fields map[string]any) (o Omitted, ok bool) {
	o.Reason, ok = fields[omittedKey].(string)
	o.Digest, _ = fields[digestKey].(string)
	return o, ok
}

// isOf reports whether v is the value that is omitted.
func (o Omitted) isOf(v any) bool {
	if other, ok := v.(Omitted); ok {
		return o.Digest == other.Digest
	}
	return v != nil && o.Digest == Digest(v)
}

// digestBytes of SHA-256 are kept: enough to tell a value from any other that somebody may make up.
const digestBytes = 16

// Digest of two values is the same exactly if they are Equal. It is hexadecimal.
func Digest(v any) string {
	if o, ok := v.(Omitted); ok {
		return o.Digest
	}
	d := digester{sha256.New()}
	d.value(v)
	return hex.EncodeToString(d.Sum(nil)[:digestBytes])
}

type digester struct{ hash.Hash }

func (d digester) value(v any) {
	switch v := v.(type) {
	case json.Number:
		d.number(v)
	case string:
		d.text('s', v)
	case []any:
		d.count('[', len(v))
		for _, item := range v {
			d.value(item)
		}
	case map[string]any:
		d.count('{', len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			d.text('k', key)
			d.value(v[key])
		}
	default: // true, false and null
		d.text('l', fmt.Sprint(v))
	}
}

// number is told by what it amounts to, as equalNumbers does.
func (d digester) number(n json.Number) {
	switch x, ok := parseNumber(n); {
	case !ok:
		d.text('n', string(n))
	case x.isInt:
		d.count('i', int(x.i))
	case x.f == 0: // of either sign
		d.count('f', 0)
	default:
		d.bits('f', math.Float64bits(x.f))
	}
}

func (d digester) text(kind byte, s string) {
	d.count(kind, len(s))
	_, _ = d.Write([]byte(s)) // a hash takes everything
}

func (d digester) count(kind byte, n int) { d.bits(kind, uint64(n)) } //nolint:gosec // all bits are kept

func (d digester) bits(kind byte, n uint64) {
	_, _ = d.Write(binary.BigEndian.AppendUint64([]byte{kind}, n))
}
