package wire

import "errors"

// Descriptors of performatives ("OASIS AMQP Version 1.0", 2.7 and 5.3) and of what is in them.
const (
	Open           = 0x10
	Begin          = 0x11
	Attach         = 0x12
	Flow           = 0x13
	Transfer       = 0x14
	Disposition    = 0x15
	Detach         = 0x16
	End            = 0x17
	Close          = 0x18
	Error          = 0x1d
	Accepted       = 0x24
	Rejected       = 0x25
	SASLMechanisms = 0x40
	SASLInit       = 0x41
	SASLOutcome    = 0x44
)

// fieldCounts are how many fields the performatives have that a server sends.
var fieldCounts = map[uint64]int{
	Open: 10, Begin: 8, Attach: 14, Flow: 11, Transfer: 11, Disposition: 6, Detach: 3, End: 1, Close: 1, SASLMechanisms: 1, SASLOutcome: 2,
}

// ErrorOf is the composite of an error, whole: azure-eventhub for Python reads its info whenever there is an error.
func ErrorOf(condition, description string, info Map) Described {
	fields := []any{Symbol(condition), description, nil}
	if info != nil {
		fields[2] = info
	}
	return Described{uint64(Error), fields}
}

// Performative is the decoded list of a frame. Fields that are missing or of another type are zero: peers differ in what
// they leave out.
type Performative struct {
	Descriptor uint64
	Fields     []any
}

var errNoPerformative = errors.New("amqp: not a performative")

// ParsePerformative decodes a frame's body and returns the payload behind the performative.
func ParsePerformative(body []byte) (Performative, []byte, error) {
	v, rest, err := Decode(body)
	if err != nil {
		return Performative{}, nil, err
	}
	d, _ := v.(Described)
	code, isCode := d.Descriptor.(uint64)
	list, isList := d.Value.([]any)
	if !isCode || !isList {
		return Performative{}, nil, errNoPerformative
	}
	return Performative{code, list}, rest, nil
}

// At is a field as it came.
func (p Performative) At(i int) any {
	if i < len(p.Fields) {
		return p.Fields[i]
	}
	return nil
}

// Uint is a uint field, or the default.
func (p Performative) Uint(i int, otherwise uint32) uint32 {
	if v, ok := p.At(i).(uint32); ok {
		return v
	}
	return otherwise
}

// Ulong is a ulong field.
func (p Performative) Ulong(i int) uint64 { v, _ := p.At(i).(uint64); return v }

// Bool is a boolean field.
func (p Performative) Bool(i int) bool { v, _ := p.At(i).(bool); return v }

// Text is a string or symbol field.
func (p Performative) Text(i int) string {
	switch v := p.At(i).(type) {
	case string:
		return v
	case Symbol:
		return string(v)
	}
	return ""
}

// Composite is a field that is a described list, such as a source.
func (p Performative) Composite(i int) Performative {
	d, _ := p.At(i).(Described)
	list, _ := d.Value.([]any)
	return Performative{Fields: list}
}

// Map is a map field.
func (p Performative) Map(i int) Map { m, _ := p.At(i).(Map); return m }
