package wire

import (
	"errors"
	"fmt"
	"io"
)

// Descriptors of performatives and sections (OASIS AMQP 1.0, part 2 section 2.7, part 3 section 3.2, part 5 section 5.3).
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

	SectionHeader              = 0x70
	SectionDeliveryAnnotations = 0x71
	SectionAnnotations         = 0x72
	SectionProperties          = 0x73
	SectionApplication         = 0x74
	SectionData                = 0x75
	SectionValue               = 0x77
)

// Types of frames.
const (
	FrameAMQP = 0
	FrameSASL = 1
)

// Protocol headers.
const (
	HeaderAMQP = "AMQP\x00\x01\x00\x00"
	HeaderSASL = "AMQP\x03\x01\x00\x00"
)

const frameHeader = 8

// KeepAlive is an empty frame.
var KeepAlive = []byte{0, 0, 0, 8, 2, 0, 0, 0}

// Frame is one frame; an empty Body is a keep-alive.
type Frame struct {
	Channel uint16
	Type    byte
	Body    []byte
}

// ReadFrame reads one frame of at most limit bytes.
func ReadFrame(r io.Reader, limit int) (Frame, error) {
	var h [frameHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return Frame{}, err
	}
	size, offset := int(be.Uint32(h[:])), int(h[4])*4
	if size > limit || offset < frameHeader || size < offset {
		return Frame{}, fmt.Errorf("amqp: bad frame header % x", h)
	}
	body := make([]byte, size-frameHeader)
	if _, err := io.ReadFull(r, body); err != nil {
		return Frame{}, err
	}
	return Frame{Channel: be.Uint16(h[6:]), Type: h[5], Body: body[offset-frameHeader:]}, nil
}

// AppendFrame appends a frame with one performative.
func AppendFrame(b []byte, channel uint16, kind byte, descriptor uint64, fields ...any) []byte {
	b, start := beginFrame(b, channel, kind)
	return endFrame(List(b, descriptor, fields...), start)
}

func beginFrame(b []byte, channel uint16, kind byte) (out []byte, start int) {
	return append(b, 0, 0, 0, 0, 2, kind, byte(channel>>8), byte(channel)), len(b)
}

func endFrame(b []byte, start int) []byte {
	be.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// TransferHead is what a transfer frame says of its delivery. The first frame of a delivery names it; the others go on.
type TransferHead struct {
	Channel       uint16
	Handle        uint32
	First         bool
	DeliveryID    uint32
	Tag           uint32
	Settled, More bool
}

// TransferOverhead is more than a TransferHead ever takes.
const TransferOverhead = 64

// AppendTransfer appends a transfer frame with the payload.
func AppendTransfer(b []byte, h TransferHead, payload []byte) []byte {
	b, start := beginFrame(b, h.Channel, FrameAMQP)
	fields := []any{h.Handle, nil, nil, nil, h.Settled, h.More}
	if h.First {
		fields[1], fields[2], fields[3] = h.DeliveryID, be.AppendUint32(nil, h.Tag), uint32(0)
	}
	b = List(b, Transfer, fields...)
	return endFrame(append(b, payload...), start)
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

// Section is one section of a message, decoded and as it came.
type Section struct {
	Descriptor uint64
	Value      any
	Raw        []byte
}

// ParseSections decodes a message.
func ParseSections(b []byte) ([]Section, error) {
	var sections []Section
	for len(b) > 0 {
		v, rest, err := Decode(b)
		if err != nil {
			return nil, err
		}
		d, _ := v.(Described)
		code, ok := d.Descriptor.(uint64)
		if !ok {
			return nil, errors.New("amqp: not a section")
		}
		sections = append(sections, Section{code, d.Value, b[:len(b)-len(rest)]})
		b = rest
	}
	return sections, nil
}

// AppendSection appends a section of a message.
func AppendSection(b []byte, descriptor uint64, value any) []byte {
	return Append(b, Described{Descriptor: descriptor, Value: value})
}
