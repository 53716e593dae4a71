package wire

import "errors"

// Descriptors of the sections of a message ("OASIS AMQP Version 1.0", 3.2).
const (
	SectionHeader              = 0x70
	SectionDeliveryAnnotations = 0x71
	SectionAnnotations         = 0x72
	SectionProperties          = 0x73
	SectionApplication         = 0x74
	SectionData                = 0x75
	SectionValue               = 0x77
)

// Section is one section of a message, decoded and as it came.
type Section struct {
	Descriptor uint64
	Value      any
	Raw        []byte
}

var errNoSection = errors.New("amqp: not a section")

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
			return nil, errNoSection
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
