package dtdl

import (
	"encoding/json"
	"strings"
)

// Kind is what a schema describes. The kinds of primitive schemas are their terms in DTDL.
type Kind string

// The kinds of schemas: DTDL v2 to v4, "Primitive schemas" and "Complex schemas". Those from Byte on are new in v4.
const (
	Boolean  Kind = "boolean"
	Date     Kind = "date"
	DateTime Kind = "dateTime"
	Double   Kind = "double"
	Duration Kind = "duration"
	Float    Kind = "float"
	Integer  Kind = "integer"
	Long     Kind = "long"
	String   Kind = "string"
	Time     Kind = "time"

	Byte            Kind = "byte"
	Bytes           Kind = "bytes"
	Decimal         Kind = "decimal"
	Short           Kind = "short"
	UnsignedByte    Kind = "unsignedByte"
	UnsignedInteger Kind = "unsignedInteger"
	UnsignedLong    Kind = "unsignedLong"
	UnsignedShort   Kind = "unsignedShort"
	UUID            Kind = "uuid"

	Array  Kind = "array"
	Enum   Kind = "enum"
	Map    Kind = "map"
	Object Kind = "object"
)

// kindOf is the kind of schemas of a class.
func kindOf(c class) Kind { return Kind(strings.ToLower(string(c[:1])) + string(c[1:])) }

// Schema says which values are allowed.
type Schema struct {
	Kind Kind
	// Element is the schema of an array's elements, or of a map's values.
	Element *Schema
	// Fields are those of an object.
	Fields map[string]*Field
	// Values are those of an enum, in the order of the document: strings or json.Numbers.
	Values []any

	allowed map[any]bool // the keys of Values
}

// Field is a field of an object.
type Field struct {
	Schema *Schema
	// Required is true if the object has to have it, by the requirement extension. Otherwise every field may be left out.
	Required bool
}

func (s *Schema) enum(el *element) {
	s.allowed = map[any]bool{}
	for _, child := range el.linked("enumValues") {
		value := child.literal("enumValue")
		var allowed any = json.Number(value.text)
		if value.kind == stringKind {
			allowed = value.text
		}
		s.Values = append(s.Values, allowed)
		if key, ok := enumKey(allowed); ok {
			s.allowed[key] = true
		}
	}
}

// enumKey is equal for equal values of an enum. What is no text and no integer has none.
func enumKey(value any) (any, bool) {
	if number, ok := value.(json.Number); ok {
		return integerOf(number)
	}
	text, ok := value.(string)
	return text, ok
}
