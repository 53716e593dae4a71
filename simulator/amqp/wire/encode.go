package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

var be = binary.BigEndian

// Append appends the encoding of v to b. It panics on a Go type that has no AMQP counterpart, which is a programming error:
// whatever was decoded can be encoded.
func Append(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, codeNull)
	case bool:
		return appendBool(b, v)
	case time.Time:
		return be.AppendUint64(append(b, codeTimestamp), uint64(v.UnixMilli()))
	case UUID:
		return append(append(b, codeUUID), v[:]...)
	case []byte:
		return appendVariable(b, codeBinary8, v)
	case string:
		return appendVariable(b, codeString8, v)
	case Symbol:
		return appendVariable(b, codeSymbol8, v)
	case []string:
		return appendArray(b, codeString32, v)
	case []Symbol:
		return appendArray(b, codeSymbol32, v)
	case []any:
		return appendList(b, v)
	case Map:
		return appendCompound(b, codeMap32, v)
	case Described:
		return Append(Append(append(b, codeDescribed), v.Descriptor), v.Value)
	}
	return appendNumber(b, v)
}

// List appends a described list: a section or a composite type. Trailing nil fields are left out, and the descriptor is as short
// as can be: go-amqp refuses the long form.
func List(b []byte, descriptor uint64, fields ...any) []byte {
	for len(fields) > 0 && fields[len(fields)-1] == nil {
		fields = fields[:len(fields)-1]
	}
	return appendList(appendUlong(append(b, codeDescribed), descriptor), fields)
}

// appendPerformative appends a described list with all the fields that its type has. AMQP allows to leave trailing nulls out, but
// azure-eventhub for Python reads performatives by the index of their last field, and does not read the short form of an empty
// list at all.
func appendPerformative(b []byte, descriptor uint64, fields []any) []byte {
	count := max(len(fields), fieldCounts[descriptor])
	b, start := beginSized(append(appendUlong(append(b, codeDescribed), descriptor), codeList32), count)
	for _, f := range fields {
		b = Append(b, f)
	}
	for range count - len(fields) {
		b = append(b, codeNull)
	}
	return endSized(b, start)
}

func appendNumber(b []byte, v any) []byte {
	switch v := v.(type) {
	case uint8:
		return append(b, codeUbyte, v)
	case uint16:
		return be.AppendUint16(append(b, codeUshort), v)
	case uint32:
		return appendUint(b, v)
	case uint64:
		return appendUlong(b, v)
	case int8:
		return append(b, codeByte, byte(v))
	case int16:
		return be.AppendUint16(append(b, codeShort), uint16(v))
	case int32:
		return appendInt(b, v)
	case int64:
		return appendLong(b, v)
	case float32:
		return be.AppendUint32(append(b, codeFloat), math.Float32bits(v))
	case float64:
		return be.AppendUint64(append(b, codeDouble), math.Float64bits(v))
	}
	panic(fmt.Sprintf("amqp: cannot encode %T", v))
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, codeTrue)
	}
	return append(b, codeFalse)
}

func appendUint(b []byte, v uint32) []byte {
	switch {
	case v == 0:
		return append(b, codeUint0)
	case v <= math.MaxUint8:
		return append(b, codeSmallUint, byte(v))
	}
	return be.AppendUint32(append(b, codeUint), v)
}

func appendUlong(b []byte, v uint64) []byte {
	switch {
	case v == 0:
		return append(b, codeUlong0)
	case v <= math.MaxUint8:
		return append(b, codeSmallUlong, byte(v))
	}
	return be.AppendUint64(append(b, codeUlong), v)
}

func appendInt(b []byte, v int32) []byte {
	if int32(int8(v)) == v {
		return append(b, codeSmallInt, byte(v))
	}
	return be.AppendUint32(append(b, codeInt), uint32(v))
}

func appendLong(b []byte, v int64) []byte {
	if int64(int8(v)) == v {
		return append(b, codeSmallLong, byte(v))
	}
	return be.AppendUint64(append(b, codeLong), uint64(v))
}

// appendVariable takes the constructor of the short form; that of the long one is 0x10 above.
func appendVariable[T ~string | ~[]byte](b []byte, code byte, v T) []byte {
	if len(v) <= math.MaxUint8 {
		return append(append(b, code, byte(len(v))), v...)
	}
	return append(be.AppendUint32(append(b, code+0x10), uint32(len(v))), v...)
}

func appendArray[T ~string](b []byte, element byte, v []T) []byte {
	b, start := beginSized(append(b, codeArray32), len(v))
	b = append(b, element)
	for _, s := range v {
		b = append(be.AppendUint32(b, uint32(len(s))), s...)
	}
	return endSized(b, start)
}

func appendList(b []byte, v []any) []byte {
	if len(v) == 0 {
		return append(b, codeList0)
	}
	return appendCompound(b, codeList32, v)
}

func appendCompound(b []byte, code byte, v []any) []byte {
	b, start := beginSized(append(b, code), len(v))
	for _, e := range v {
		b = Append(b, e)
	}
	return endSized(b, start)
}

// beginSized leaves room for the size of what follows.
func beginSized(b []byte, count int) (out []byte, start int) {
	return be.AppendUint32(append(b, 0, 0, 0, 0), uint32(count)), len(b)
}

func endSized(b []byte, start int) []byte {
	be.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}
