// Package wire is the AMQP 1.0 type system and its frames ("OASIS AMQP Version 1.0", parts 1 and 2): it encodes and decodes Go
// values, and knows nothing of connections.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

type (
	// Symbol is an AMQP symbol (ASCII).
	Symbol string
	// UUID is an AMQP uuid.
	UUID [16]byte
	// Map is an AMQP map that keeps its order: key, value, key, value …
	Map []any
	// Described is a described value. A numeric descriptor is a uint64.
	Described struct{ Descriptor, Value any }
)

// Get returns the value under a string or symbol key, or nil.
func (m Map) Get(key string) any {
	for i := 0; i+1 < len(m); i += 2 {
		switch k := m[i].(type) {
		case string:
			if k == key {
				return m[i+1]
			}
		case Symbol:
			if string(k) == key {
				return m[i+1]
			}
		}
	}
	return nil
}

var be = binary.BigEndian

// Append appends the encoding of v to b. It panics on a Go type that has no
// AMQP counterpart, which is a programming error.
func Append(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 0x40)
	case bool:
		if v {
			return append(b, 0x41)
		}
		return append(b, 0x42)
	case uint8:
		return append(b, 0x50, v)
	case uint16:
		return be.AppendUint16(append(b, 0x60), v)
	case uint32:
		return AppendUint(b, v)
	case uint64:
		return appendUlong(b, v)
	case int8:
		return append(b, 0x51, byte(v))
	case int16:
		return be.AppendUint16(append(b, 0x61), uint16(v))
	case int32:
		if v >= -128 && v < 128 {
			return append(b, 0x54, byte(v))
		}
		return be.AppendUint32(append(b, 0x71), uint32(v))
	case int64:
		if v >= -128 && v < 128 {
			return append(b, 0x55, byte(v))
		}
		return be.AppendUint64(append(b, 0x81), uint64(v))
	case float32:
		return be.AppendUint32(append(b, 0x72), math.Float32bits(v))
	case float64:
		return be.AppendUint64(append(b, 0x82), math.Float64bits(v))
	case time.Time:
		return be.AppendUint64(append(b, 0x83), uint64(v.UnixMilli()))
	case UUID:
		return append(append(b, 0x98), v[:]...)
	case []byte:
		return appendVar(b, 0xa0, string(v))
	case string:
		return appendVar(b, 0xa1, v)
	case Symbol:
		return appendVar(b, 0xa3, string(v))
	case []string:
		return appendArray(b, 0xb1, v)
	case []Symbol:
		return appendArray(b, 0xb3, v)
	case []any:
		if len(v) == 0 {
			return append(b, 0x45)
		}
		return appendCompound(b, 0xd0, v)
	case Map:
		return appendCompound(b, 0xd1, v)
	case Described:
		return Append(Append(append(b, 0x00), v.Descriptor), v.Value)
	}
	panic(fmt.Sprintf("amqp: cannot encode %T", v))
}

// AppendUint appends an AMQP uint in its shortest form.
func AppendUint(b []byte, v uint32) []byte {
	switch {
	case v == 0:
		return append(b, 0x43)
	case v < 256:
		return append(b, 0x52, byte(v))
	}
	return be.AppendUint32(append(b, 0x70), v)
}

func appendUlong(b []byte, v uint64) []byte {
	switch {
	case v == 0:
		return append(b, 0x44)
	case v < 256:
		return append(b, 0x53, byte(v))
	}
	return be.AppendUint64(append(b, 0x80), v)
}

func appendVar(b []byte, code8 byte, s string) []byte {
	if len(s) < 256 {
		b = append(b, code8, byte(len(s)))
	} else {
		b = be.AppendUint32(append(b, code8|0x10), uint32(len(s)))
	}
	return append(b, s...)
}

func appendArray[T ~string](b []byte, elem byte, v []T) []byte {
	b = append(b, 0xf0)
	start := len(b)
	b = be.AppendUint32(append(b, 0, 0, 0, 0), uint32(len(v)))
	b = append(b, elem)
	for _, s := range v {
		b = append(be.AppendUint32(b, uint32(len(s))), s...)
	}
	be.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

func appendCompound(b []byte, code byte, v []any) []byte {
	b = append(b, code)
	start := len(b)
	b = be.AppendUint32(append(b, 0, 0, 0, 0), uint32(len(v)))
	for _, e := range v {
		b = Append(b, e)
	}
	be.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// List appends a described list: a performative, a section or a composite
// type. Trailing nil fields are left out.
func List(b []byte, descriptor uint64, fields ...any) []byte {
	for len(fields) > 0 && fields[len(fields)-1] == nil {
		fields = fields[:len(fields)-1]
	}
	return Append(appendUlong(append(b, 0x00), descriptor), fields)
}

var errShort = errors.New("amqp: short buffer")

const maxDepth = 32

// Decode decodes one value and returns what follows it. Strings, symbols and
// binaries are copied out of b.
func Decode(b []byte) (v any, rest []byte, err error) { return decode(b, 0) }

func decode(b []byte, depth int) (any, []byte, error) {
	if len(b) == 0 {
		return nil, nil, errShort
	}
	if depth > maxDepth {
		return nil, nil, errors.New("amqp: nested too deep")
	}
	code, b := b[0], b[1:]
	if code == 0x00 {
		d, b, err := decode(b, depth+1)
		if err != nil {
			return nil, nil, err
		}
		v, b, err := decode(b, depth+1)
		return Described{d, v}, b, err
	}
	return decodeBody(code, b, depth)
}

func decodeBody(code byte, b []byte, depth int) (any, []byte, error) {
	n, hdr := 0, 0 // size of the body, and of the length before it
	switch code >> 4 {
	case 0x4:
	case 0x5:
		n = 1
	case 0x6:
		n = 2
	case 0x7:
		n = 4
	case 0x8:
		n = 8
	case 0x9:
		n = 16
	case 0xa, 0xc, 0xe:
		if hdr = 1; len(b) < 1 {
			return nil, nil, errShort
		}
		n = int(b[0])
	case 0xb, 0xd, 0xf:
		if hdr = 4; len(b) < 4 {
			return nil, nil, errShort
		}
		n = int(be.Uint32(b))
	default:
		return nil, nil, fmt.Errorf("amqp: bad constructor %#02x", code)
	}
	if len(b)-hdr < n {
		return nil, nil, errShort
	}
	body, rest := b[hdr:hdr+n], b[hdr+n:]
	switch code {
	case 0x40:
		return nil, rest, nil
	case 0x41:
		return true, rest, nil
	case 0x42:
		return false, rest, nil
	case 0x43:
		return uint32(0), rest, nil
	case 0x44:
		return uint64(0), rest, nil
	case 0x45:
		return []any{}, rest, nil
	case 0x50:
		return body[0], rest, nil
	case 0x51:
		return int8(body[0]), rest, nil
	case 0x52:
		return uint32(body[0]), rest, nil
	case 0x53:
		return uint64(body[0]), rest, nil
	case 0x54:
		return int32(int8(body[0])), rest, nil
	case 0x55:
		return int64(int8(body[0])), rest, nil
	case 0x56:
		return body[0] != 0, rest, nil
	case 0x60:
		return be.Uint16(body), rest, nil
	case 0x61:
		return int16(be.Uint16(body)), rest, nil
	case 0x70:
		return be.Uint32(body), rest, nil
	case 0x71:
		return int32(be.Uint32(body)), rest, nil
	case 0x72:
		return math.Float32frombits(be.Uint32(body)), rest, nil
	case 0x73:
		return rune(be.Uint32(body)), rest, nil
	case 0x80:
		return be.Uint64(body), rest, nil
	case 0x81:
		return int64(be.Uint64(body)), rest, nil
	case 0x82:
		return math.Float64frombits(be.Uint64(body)), rest, nil
	case 0x83:
		return time.UnixMilli(int64(be.Uint64(body))).UTC(), rest, nil
	case 0x98:
		return UUID(body), rest, nil
	case 0xa0, 0xb0:
		return append([]byte{}, body...), rest, nil
	case 0xa1, 0xb1:
		return string(body), rest, nil
	case 0xa3, 0xb3:
		return Symbol(body), rest, nil
	case 0xc0, 0xc1, 0xd0, 0xd1, 0xe0, 0xf0:
		v, err := decodeItems(code, hdr, body, depth)
		return v, rest, err
	}
	return nil, nil, fmt.Errorf("amqp: constructor %#02x not supported", code)
}

func decodeItems(code byte, width int, body []byte, depth int) (any, error) {
	if len(body) < width {
		return nil, errShort
	}
	count := int(body[0])
	if width == 4 {
		count = int(be.Uint32(body))
	}
	body = body[width:]
	isArray, elem := code>>4 >= 0xe, byte(0)
	if isArray {
		if len(body) == 0 {
			return nil, errShort
		}
		elem, body = body[0], body[1:]
		if elem == 0x00 {
			return nil, errors.New("amqp: array of described values not supported")
		}
	}
	// an element takes at least a byte, but for arrays of the empty types
	if count > len(body) && !(isArray && elem>>4 == 4 && count <= 1<<16) {
		return nil, errShort
	}
	items := make([]any, 0, count)
	for range count {
		var v any
		var err error
		if isArray {
			v, body, err = decodeBody(elem, body, depth+1)
		} else {
			v, body, err = decode(body, depth+1)
		}
		if err != nil {
			return nil, err
		}
		items = append(items, v)
	}
	if code&0x0f == 1 && !isArray {
		return Map(items), nil
	}
	return items, nil
}
