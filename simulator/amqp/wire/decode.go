package wire

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Errors of Decode. What follows a value that cannot be decoded is lost too.
var (
	errShort  = errors.New("amqp: the value breaks off")
	errDeep   = errors.New("amqp: the value is nested too deep")
	errOdd    = errors.New("amqp: a map has a key without a value")
	errHollow = errors.New("amqp: an array of elements without a width could claim to have any number of them")
)

const (
	maxDepth = 32
	// reserve is how many elements get room before they are seen to exist.
	reserve = 64
)

// Decode decodes one value and returns what follows it. Nothing in the value is shared with b.
func Decode(b []byte) (v any, rest []byte, err error) { return decode(b, 0) }

func decode(b []byte, depth int) (any, []byte, error) {
	if depth > maxDepth {
		return nil, nil, errDeep
	}
	if len(b) == 0 {
		return nil, nil, errShort
	}
	if b[0] == codeDescribed {
		return decodeDescribed(b[1:], depth)
	}
	return decodeAs(b[0], b[1:], depth)
}

func decodeDescribed(b []byte, depth int) (any, []byte, error) {
	descriptor, b, err := decode(b, depth+1)
	if err != nil {
		return nil, nil, err
	}
	v, rest, err := decode(b, depth+1)
	return Described{descriptor, v}, rest, err
}

// decodeAs decodes the value behind a constructor.
func decodeAs(code byte, b []byte, depth int) (any, []byte, error) {
	body, rest, err := split(code, b)
	if err != nil {
		return nil, nil, err
	}
	var v any
	switch code >> 4 {
	case 0x4:
		v, err = decodeConstant(code)
	case 0x5, 0x6, 0x7, 0x8, 0x9:
		v, err = decodeFixed(code, body)
	case 0xa, 0xb:
		v, err = decodeVariable(code, body)
	default:
		v, err = decodeCompound(code, body, depth)
	}
	return v, rest, err
}

// widths of values, and of the sizes before them, by the high digit of the constructor.
var widths = map[byte]struct{ value, size int }{
	0x4: {0, 0}, 0x5: {1, 0}, 0x6: {2, 0}, 0x7: {4, 0}, 0x8: {8, 0}, 0x9: {16, 0},
	0xa: {0, 1}, 0xb: {0, 4}, 0xc: {0, 1}, 0xd: {0, 4}, 0xe: {0, 1}, 0xf: {0, 4},
}

// split cuts the body of a value off.
func split(code byte, b []byte) (body, rest []byte, err error) {
	width, ok := widths[code>>4]
	if !ok {
		return nil, nil, unknown(code)
	}
	n := width.value
	if width.size > 0 {
		if n, b, err = number(b, width.size); err != nil {
			return nil, nil, err
		}
	}
	if len(b) < n {
		return nil, nil, errShort
	}
	return b[:n], b[n:], nil
}

// number reads a size or a count of one or four bytes.
func number(b []byte, width int) (n int, rest []byte, err error) {
	switch {
	case len(b) < width:
		return 0, nil, errShort
	case width == 1:
		return int(b[0]), b[1:], nil
	}
	return int(be.Uint32(b)), b[4:], nil
}

func unknown(code byte) error { return fmt.Errorf("amqp: constructor %#02x is not supported", code) }

func decodeConstant(code byte) (any, error) {
	switch code {
	case codeNull:
		return nil, nil
	case codeTrue:
		return true, nil
	case codeFalse:
		return false, nil
	case codeUint0:
		return uint32(0), nil
	case codeUlong0:
		return uint64(0), nil
	case codeList0:
		return []any{}, nil
	}
	return nil, unknown(code)
}

func decodeFixed(code byte, b []byte) (any, error) {
	if decoder, ok := fixed[code]; ok {
		return decoder(b), nil
	}
	return nil, unknown(code)
}

// fixed decodes values whose width the constructor tells. A char is its number.
var fixed = map[byte]func([]byte) any{
	codeUbyte:      func(b []byte) any { return b[0] },
	codeByte:       func(b []byte) any { return int8(b[0]) },
	codeSmallUint:  func(b []byte) any { return uint32(b[0]) },
	codeSmallUlong: func(b []byte) any { return uint64(b[0]) },
	codeSmallInt:   func(b []byte) any { return int32(int8(b[0])) },
	codeSmallLong:  func(b []byte) any { return int64(int8(b[0])) },
	codeBoolean:    func(b []byte) any { return b[0] != 0 },
	codeUshort:     func(b []byte) any { return be.Uint16(b) },
	codeShort:      func(b []byte) any { return int16(be.Uint16(b)) },
	codeUint:       func(b []byte) any { return be.Uint32(b) },
	codeInt:        func(b []byte) any { return int32(be.Uint32(b)) },
	codeFloat:      func(b []byte) any { return math.Float32frombits(be.Uint32(b)) },
	codeChar:       func(b []byte) any { return int32(be.Uint32(b)) },
	codeUlong:      func(b []byte) any { return be.Uint64(b) },
	codeLong:       func(b []byte) any { return int64(be.Uint64(b)) },
	codeDouble:     func(b []byte) any { return math.Float64frombits(be.Uint64(b)) },
	codeTimestamp:  func(b []byte) any { return time.UnixMilli(int64(be.Uint64(b))).UTC() },
	codeUUID:       func(b []byte) any { return UUID(b) },
}

func decodeVariable(code byte, b []byte) (any, error) {
	switch code {
	case codeBinary8, codeBinary32:
		return append([]byte{}, b...), nil
	case codeString8, codeString32:
		return string(b), nil
	case codeSymbol8, codeSymbol32:
		return Symbol(b), nil
	}
	return nil, unknown(code)
}

func decodeCompound(code byte, b []byte, depth int) (any, error) {
	count, b, err := number(b, widths[code>>4].size)
	if err != nil {
		return nil, err
	}
	switch code {
	case codeList8, codeList32:
		return decodeItems(count, b, func(b []byte) (any, []byte, error) { return decode(b, depth+1) })
	case codeMap8, codeMap32:
		if count%2 != 0 {
			return nil, errOdd
		}
		items, err := decodeItems(count, b, func(b []byte) (any, []byte, error) { return decode(b, depth+1) })
		return Map(items), err
	case codeArray8, codeArray32:
		return decodeArray(count, b, depth)
	}
	return nil, unknown(code)
}

// decodeArray decodes an array to a list. Its elements share one constructor, which may not be described: nobody sends that.
func decodeArray(count int, b []byte, depth int) (any, error) {
	if len(b) == 0 {
		return nil, errShort
	}
	element := b[0]
	switch {
	case depth >= maxDepth:
		return nil, errDeep
	case element>>4 == 0x4 && count > 0:
		return nil, errHollow
	}
	return decodeItems(count, b[1:], func(b []byte) (any, []byte, error) { return decodeAs(element, b, depth+1) })
}

func decodeItems(count int, b []byte, next func([]byte) (any, []byte, error)) ([]any, error) {
	if count > len(b) { // every item takes a byte at least
		return nil, errShort
	}
	items := make([]any, 0, min(count, reserve))
	for range count {
		v, rest, err := next(b)
		if err != nil {
			return nil, err
		}
		items, b = append(items, v), rest
	}
	return items, nil
}
