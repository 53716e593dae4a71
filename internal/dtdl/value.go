package dtdl

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ValueError is a part of a value that its schema does not allow.
type ValueError struct {
	// Path leads to the part, from the path that was given: "spec.properties.a", "spec.properties.a.b", "spec.properties.a[0]".
	Path string
	// Expected says what the schema allows, such as "an integer from -128 to 127", and Got what is there.
	Expected, Got string
}

// Error names the path, what is there and what is expected, a sentence without its period.
func (e ValueError) Error() string {
	return fmt.Sprintf("%s is %s, want %s", e.Path, e.Got, e.Expected)
}

// maxValueErrors bounds what a message can hold anyway.
const maxValueErrors = 100

// Validate finds what the schema does not allow in a decoded JSON value, whose numbers are json.Number. Numbers count by what
// they amount to: 1.0 and 1e2 are integers. Fields that an object lacks are no errors, unless the requirement extension asks for
// them: properties and payloads are sent whole. Fields that the schema does not have are errors. The errors are sorted by path.
func (s *Schema) Validate(value any, path string) []ValueError {
	v := validator{}
	v.value(s, value, path)
	return v.found
}

// Validate checks the payload of a command as Schema.Validate does, and takes null if that will do.
func (p *Payload) Validate(value any, path string) []ValueError {
	if value == nil && p.Nullable {
		return nil
	}
	return p.Schema.Validate(value, path)
}

type validator struct{ found []ValueError }

func (v *validator) add(path, expected, got string) {
	if len(v.found) < maxValueErrors {
		v.found = append(v.found, ValueError{Path: path, Expected: expected, Got: got})
	}
}

func (v *validator) value(s *Schema, value any, path string) {
	switch s.Kind {
	case Object:
		v.object(s, value, path)
	case Map:
		v.entries(s, value, path)
	case Array:
		v.array(s, value, path)
	case Enum:
		v.enum(s, value, path)
	default:
		if p := primitiveValues[s.Kind]; !p.allows(value) {
			v.add(path, p.expected, show(value))
		}
	}
}

func (v *validator) object(s *Schema, value any, path string) {
	object, ok := value.(map[string]any)
	if !ok {
		v.add(path, "an object", show(value))
		return
	}
	names := slices.Collect(maps.Keys(object))
	for name, field := range s.Fields {
		if _, has := object[name]; !has && field.Required {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		value, has := object[name]
		switch field := s.Fields[name]; {
		case field == nil:
			v.add(path+"."+cut(name), "no field but "+s.fieldNames(), show(value))
		case !has:
			v.add(path+"."+name, "a value, because the field is required", "missing")
		default:
			v.value(field.Schema, value, path+"."+name)
		}
	}
}

func (s *Schema) fieldNames() string {
	return listed(slices.Sorted(maps.Keys(s.Fields)))
}

// maxListed bounds the alternatives that a message names.
const maxListed = 20

func listed(names []string) string {
	if len(names) > maxListed {
		return oneOf(append(names[:maxListed:maxListed], fmt.Sprintf("%d others", len(names)-maxListed)))
	}
	return oneOf(names)
}

// entries checks a map. Which keys a twin takes is the hub's matter.
func (v *validator) entries(s *Schema, value any, path string) {
	object, ok := value.(map[string]any)
	if !ok {
		v.add(path, "an object", show(value))
		return
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		v.value(s.Element, object[key], path+"."+cut(key))
	}
}

func (v *validator) array(s *Schema, value any, path string) {
	items, ok := value.([]any)
	if !ok {
		v.add(path, "an array", show(value))
		return
	}
	for i, item := range items {
		v.value(s.Element, item, fmt.Sprintf("%s[%d]", path, i))
	}
}

func (v *validator) enum(s *Schema, value any, path string) {
	names := make([]string, len(s.Values))
	for i, allowed := range s.Values {
		if equalLiterals(allowed, value) {
			return
		}
		names[i] = show(allowed)
	}
	if len(names) == 0 {
		names = []string{"nothing, since the enum has no values"}
	}
	v.add(path, listed(names), show(value))
}

func equalLiterals(a, b any) bool {
	x, isNumber := a.(json.Number)
	y, isToo := b.(json.Number)
	if isNumber && isToo {
		i, okI := integerOf(x)
		j, okJ := integerOf(y)
		return okI && okJ && i == j
	}
	return a == b
}

// show describes a value for a message.
func show(value any) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case string:
		return quote(value)
	case json.Number:
		return cut(string(value))
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	default:
		return strings.ToLower(cut(fmt.Sprint(value)))
	}
}
