package twin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Dialect is the REST API through which desired properties are written.
type Dialect string

// The two dialects. DigitalTwin (PATCH /digitaltwins/{id}) refuses whatever a DTDL v2 model could not describe; DeviceTwin
// (PATCH /twins/{id}) takes any JSON within the twin's limits.
const (
	DigitalTwin Dialect = "DigitalTwin"
	DeviceTwin  Dialect = "DeviceTwin"
)

// Limits of a twin: Microsoft's "Understand and use device twins in IoT Hub", section "Tags and properties format", and the
// constants of Azure/iotedge ReportedPropertiesValidator ("taken from IoTHub").
const (
	maxKeyBytes    = 1024
	maxStringBytes = 4096
	// maxDepth counts the objects and arrays below desired. A component is one of them.
	maxDepth       = 10
	minInteger     = -4503599627370496
	maxInteger     = 4503599627370495
	maxDesiredSize = 32 * 1024
)

// componentMarker is the key that makes an object of a twin a component ("__t": "c"), by the IoT Plug and Play conventions.
const (
	componentMarker = "__t"
	markerValue     = "c"
)

// Violation is one rule of the hub that a declaration breaks.
type Violation struct {
	// Path is where, as in the spec of a PnPDevice: "components[thermostat1].properties.a.b", "properties.x", or "spec".
	Path string
	// Rule says what is there and what the hub takes, such as "is a string of 5120 bytes; the hub takes at most 4096".
	Rule string
}

// String is the path and the rule, a sentence without its period.
func (v Violation) String() string { return v.Path + " " + v.Rule }

// Validate finds every rule of the twin that the declaration breaks, sorted by path. A declaration without violations is
// one that the hub takes if nothing foreign stands in its way. Long names and values are cut.
func Validate(d Declaration, dialect Dialect) []Violation {
	v := validator{dialect: dialect}
	v.components(d)
	for leaf, value := range d {
		v.leaf(leaf, value)
	}
	if size := desiredSize(d); size > maxDesiredSize {
		v.add("spec", "takes %d bytes of the desired properties; the hub takes at most %d", size, maxDesiredSize)
	}
	slices.SortFunc(v.found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Rule, b.Rule))
	})
	return v.found
}

type validator struct {
	dialect Dialect
	found   []Violation
}

func (v *validator) add(path, rule string, args ...any) {
	v.found = append(v.found, Violation{Path: path, Rule: fmt.Sprintf(rule, args...)})
}

// addDialect adds a rule that only the digital-twin dialect has, and names the way out.
func (v *validator) addDialect(path, rule string, args ...any) {
	if v.dialect == DigitalTwin {
		v.add(path, "%s; the way out is twinAPI: DeviceTwin", fmt.Sprintf(rule, args...))
	}
}

// components checks each component's name once.
func (v *validator) components(d Declaration) {
	seen := map[string]bool{"": true}
	for leaf := range d {
		name := leaf.Component
		if seen[name] {
			continue
		}
		seen[name] = true
		path := componentPath(name)
		v.key(path, name)
		if _, clash := d[Leaf{Name: name}]; clash {
			v.add(path, "has the name of a property of the default component; in a twin both are the same key")
		}
	}
}

func (v *validator) leaf(leaf Leaf, value any) {
	path := leafPath(leaf)
	v.key(path, leaf.Name)
	at := nesting{below: 1, within: 1}
	if leaf.Component != "" {
		at.below++
	}
	v.value(path, value, at)
}

// nesting is the level that a value would take if it were an object: below desired, and within the property.
type nesting struct{ below, within int }

func (n nesting) deeper() nesting { return nesting{n.below + 1, n.within + 1} }

func (v *validator) value(path string, value any, at nesting) {
	switch value := value.(type) {
	case nil:
		v.add(path, "is null, which deletes at the hub; leave the key out instead")
	case string:
		v.text(path, value)
	case json.Number:
		v.number(path, value)
	case []any:
		v.array(path, value, at)
	case map[string]any:
		v.object(path, value, at)
	}
}

func (v *validator) text(path, s string) {
	if !utf8.ValidString(s) {
		v.add(path, "is a string that is not valid UTF-8: %s", quote(s))
	}
	if len(s) > maxStringBytes {
		v.add(path, "is a string of %d bytes; the hub takes at most %d", len(s), maxStringBytes)
	}
}

// number checks an integer, that is a number without fraction and exponent, against the hub's 53 bits, and any other
// against what a double can hold.
func (v *validator) number(path string, n json.Number) {
	if strings.ContainsAny(string(n), ".eE") {
		if _, ok := parseNumber(n); !ok {
			v.add(path, "is the number %s, which no double can hold", cut(string(n)))
		}
		return
	}
	switch i, err := n.Int64(); {
	case errors.Is(err, strconv.ErrRange):
		v.add(path, "is an integer beyond 64 bits, about %s, which is not kept exactly on the way here; the hub takes %d to %d", cut(string(n)), minInteger, maxInteger)
	case err != nil || i < minInteger || i > maxInteger:
		v.add(path, "is the integer %s; the hub takes %d to %d", cut(string(n)), minInteger, maxInteger)
	}
}

func (v *validator) array(path string, items []any, at nesting) {
	v.addDialect(path, "is an array, which the digital-twin API does not take")
	if v.tooDeep(path, at) {
		return
	}
	for i, item := range items {
		v.value(fmt.Sprintf("%s[%d]", path, i), item, at.deeper())
	}
}

func (v *validator) object(path string, fields map[string]any, at nesting) {
	if v.tooDeep(path, at) {
		return
	}
	if at.within == maxObjectDepth+1 {
		v.addDialect(path, "is an object at level %d of its property; the digital-twin API takes at most %d", at.within, maxObjectDepth)
	}
	for name, value := range fields {
		field := fieldPath(path, name)
		v.key(field, name)
		v.value(field, value, at.deeper())
	}
}

// tooDeep ends the walk at the first level that the hub refuses: what is below cannot stay as it is anyway.
func (v *validator) tooDeep(path string, at nesting) bool {
	if at.below <= maxDepth {
		return false
	}
	v.add(path, "is nested %d levels below desired, components included; the hub takes at most %d", at.below, maxDepth)
	return true
}

// key checks the name of a property, component or field.
func (v *validator) key(path, name string) {
	bad := strings.IndexFunc(name, refusedInKey)
	switch {
	case name == "":
		v.add(path, "has an empty name")
	case !utf8.ValidString(name):
		v.add(path, "has a name that is not valid UTF-8")
	case name == componentMarker:
		v.add(path, "has the name %q, which marks components in a twin", componentMarker)
	case len(name) > maxKeyBytes:
		v.add(path, "has a name of %d bytes; the hub takes at most %d", len(name), maxKeyBytes)
	case bad >= 0:
		r, _ := utf8.DecodeRuneInString(name[bad:])
		v.add(path, "has %q in its name; the hub refuses control characters, whitespace, '.', '$' and '#'", r)
	case !validDTDLName(name):
		v.addDialect(path, "has a name that is not DTDL: 1 to %d of a-z, A-Z, 0-9 and '_', no digit first, no '_' first or last", maxDTDLName)
	}
}

func refusedInKey(r rune) bool {
	return strings.ContainsRune(".$#", r) || unicode.IsControl(r) || unicode.IsSpace(r)
}
