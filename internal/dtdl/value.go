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

// maxValueErrors bounds what is looked for: a message holds fewer anyway.
const maxValueErrors = 100

// maxPath bounds the bytes of a path in a message.
const maxPath = 512

// Validate finds what the schema does not allow in a decoded JSON value, whose numbers are json.Number. Numbers count by what
// they amount to: 1.0 and 1e2 are integers. Fields that an object lacks are no errors, unless the requirement extension asks for
// them: properties and payloads are sent whole. Fields that the schema does not have are errors. The errors are sorted by path,
// the first hundred of them: what follows is not looked at.
func (s *Schema) Validate(value any, path string) []ValueError {
	v := validator{path: []string{path}, listings: map[*Schema]string{}}
	v.value(s, value)
	return v.found
}

// Validate checks the payload of a command as Schema.Validate does, and takes null if that will do.
func (p *Payload) Validate(value any, path string) []ValueError {
	if value == nil && p.Nullable {
		return nil
	}
	return p.Schema.Validate(value, path)
}

type validator struct {
	found    []ValueError
	path     []string           // the steps to where it is
	listings map[*Schema]string // what schemas take, as messages name it
}

func (v *validator) full() bool { return len(v.found) >= maxValueErrors }

func (v *validator) add(expected, got string) {
	if v.full() {
		return
	}
	var path strings.Builder
	for _, step := range v.path {
		if path.WriteString(step); path.Len() > maxPath {
			path.WriteString("…")
			break
		}
	}
	v.found = append(v.found, ValueError{Path: path.String(), Expected: expected, Got: got})
}

// at checks a part of the value.
func (v *validator) at(step string, check func()) {
	v.path = append(v.path, step)
	check()
	v.path = v.path[:len(v.path)-1]
}

func (v *validator) value(s *Schema, value any) {
	switch s.Kind {
	case Object:
		v.object(s, value)
	case Map:
		v.entries(s, value)
	case Array:
		v.array(s, value)
	case Enum:
		v.enum(s, value)
	default:
		if p := primitiveValues[s.Kind]; !p.allows(value) {
			v.add(p.expected, show(value))
		}
	}
}

func (v *validator) object(s *Schema, value any) {
	object, ok := value.(map[string]any)
	if !ok {
		v.add("an object", show(value))
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
		if v.full() {
			return
		}
		value, has := object[name]
		v.at("."+cut(name), func() {
			switch field := s.Fields[name]; {
			case field == nil:
				v.add("no field but "+v.listed(s), show(value))
			case !has:
				v.add("a value, because the field is required", "missing")
			default:
				v.value(field.Schema, value)
			}
		})
	}
}

// maxListed bounds the alternatives that a message names.
const maxListed = 20

// listed names the fields of an object, or the values of an enum.
func (v *validator) listed(s *Schema) string {
	if text, known := v.listings[s]; known {
		return text
	}
	names := slices.Sorted(maps.Keys(s.Fields))
	for i := range names[:min(len(names), maxListed)] {
		names[i] = cut(names[i])
	}
	for _, allowed := range s.Values[:min(len(s.Values), maxListed)] {
		names = append(names, show(allowed))
	}
	if more := max(len(names), len(s.Values)) - maxListed; more > 0 {
		names = append(names[:maxListed:maxListed], fmt.Sprintf("%d others", more))
	}
	v.listings[s] = oneOf(names)
	return v.listings[s]
}

// entries checks a map. Which keys a twin takes is the hub's matter.
func (v *validator) entries(s *Schema, value any) {
	object, ok := value.(map[string]any)
	if !ok {
		v.add("an object", show(value))
		return
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if v.full() {
			return
		}
		v.at("."+cut(key), func() { v.value(s.Element, object[key]) })
	}
}

func (v *validator) array(s *Schema, value any) {
	items, ok := value.([]any)
	if !ok {
		v.add("an array", show(value))
		return
	}
	for i, item := range items {
		if v.full() {
			return
		}
		v.at(fmt.Sprintf("[%d]", i), func() { v.value(s.Element, item) })
	}
}

func (v *validator) enum(s *Schema, value any) {
	if key, ok := enumKey(value); ok && s.allowed[key] {
		return
	}
	expected := "nothing, since the enum has no values"
	if len(s.Values) > 0 {
		expected = v.listed(s)
	}
	v.add(expected, show(value))
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
