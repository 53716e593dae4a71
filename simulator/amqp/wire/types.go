// Package wire is the AMQP 1.0 type system and its frames ("OASIS AMQP Version 1.0", parts 1 and 2): it encodes and decodes Go
// values, and knows nothing of connections.
package wire

type (
	// Symbol is an AMQP symbol (ASCII).
	Symbol string
	// UUID is an AMQP uuid.
	UUID [16]byte
	// Map is an AMQP map that keeps its order: key, value, and so on.
	Map []any
	// Described is a described value. A numeric descriptor is a uint64.
	Described struct{ Descriptor, Value any }
)

// Get returns the value under a string or symbol key, or nil. Peers differ in which of them they use.
func (m Map) Get(key string) any {
	for i := 0; i+1 < len(m); i += 2 {
		if m[i] == key || m[i] == Symbol(key) {
			return m[i+1]
		}
	}
	return nil
}

// Constructors ("OASIS AMQP Version 1.0", 1.6). Those of the same high digit have values of the same width.
const (
	codeDescribed  = 0x00
	codeNull       = 0x40
	codeTrue       = 0x41
	codeFalse      = 0x42
	codeUint0      = 0x43
	codeUlong0     = 0x44
	codeList0      = 0x45
	codeUbyte      = 0x50
	codeByte       = 0x51
	codeSmallUint  = 0x52
	codeSmallUlong = 0x53
	codeSmallInt   = 0x54
	codeSmallLong  = 0x55
	codeBoolean    = 0x56
	codeUshort     = 0x60
	codeShort      = 0x61
	codeUint       = 0x70
	codeInt        = 0x71
	codeFloat      = 0x72
	codeChar       = 0x73
	codeUlong      = 0x80
	codeLong       = 0x81
	codeDouble     = 0x82
	codeTimestamp  = 0x83
	codeUUID       = 0x98
	codeBinary8    = 0xa0
	codeString8    = 0xa1
	codeSymbol8    = 0xa3
	codeBinary32   = 0xb0
	codeString32   = 0xb1
	codeSymbol32   = 0xb3
	codeList8      = 0xc0
	codeMap8       = 0xc1
	codeList32     = 0xd0
	codeMap32      = 0xd1
	codeArray8     = 0xe0
	codeArray32    = 0xf0
)
