package hub

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// dtdlName is the name rule of DTDL v2.
var dtdlName = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_]{0,62}[A-Za-z0-9])?$`)

const maxObjectDepth = 5

// operation is one checked element of a JSON Patch.
type operation struct {
	op    string
	path  string
	names []string // component and property, or one of them
	value any
}

func badPatch(format string, args ...any) error {
	return refuse(400, "InvalidDigitalTwinPatch", 400507, format, args...)
}

func badPayload(format string, args ...any) error {
	return refuse(400, "InvalidDigitalTwinPayload", 400506, format, args...)
}

func parseOperations(patch []byte) ([]operation, error) {
	v, err := jsontree.Parse(patch)
	if err != nil {
		return nil, badPayload("The patch is not valid JSON: %v", err)
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, refuse(400, "InvalidDigitalTwinJsonPatch", 400505, "The patch must be an array of operations")
	}
	ops := make([]operation, len(list))
	for i, e := range list {
		if ops[i], err = parseOperation(e); err != nil {
			return nil, err
		}
	}
	return ops, nil
}

func parseOperation(e any) (operation, error) {
	o, _ := e.(jsontree.Object)
	name, _ := text(o, "op")
	path, _ := text(o, "path")
	value, has := o.Get("value")
	if !slices.Contains([]string{"add", "replace", "remove"}, name) {
		return operation{}, refuse(400, "InvalidDigitalTwinJsonPatch", 400505, "The operation '%s' is not one of add, replace, remove", name)
	}
	op := operation{op: name, path: path, value: value}
	var err error
	if op.names, err = parsePath(path); err != nil || name == "remove" {
		return op, err
	}
	if !has || value == nil {
		return op, badPayload("The operation '%s' on '%s' needs a value", name, path)
	}
	return op, op.validateValue()
}

func parsePath(path string) ([]string, error) {
	if len(path) < 2 || path[0] != '/' {
		return nil, badPatch("Error in path: %s. 'path' string must be non-null, begin with '/' and have atleast the component name.", path)
	}
	names := strings.Split(path[1:], "/")
	for _, name := range names {
		if !dtdlName.MatchString(name) {
			return nil, refuse(400, "InvalidDigitalTwinPatchPath", 400508, "Error in path: %s. '%s' is not a valid name.", path, name)
		}
	}
	if len(names) > 2 {
		return nil, refuse(400, "InvalidDigitalTwinPatchPath", 400508, "Error in path: %s. It is deeper than a component's property.", path)
	}
	return names, nil
}

// isComponent: "$metadata":{} in the value is how the hub tells a component from an object property.
func (op operation) isComponent() bool {
	o, _ := op.value.(jsontree.Object)
	_, marked := o.Get("$metadata")
	return marked && len(op.names) == 1
}

func (op operation) validateValue() error {
	if !op.isComponent() {
		return conformValue(op.path, op.value, 1)
	}
	for _, m := range op.value.(jsontree.Object) {
		if m.Name == "$metadata" {
			if inner, ok := m.Value.(jsontree.Object); !ok || len(inner) > 0 {
				return badPayload("The $metadata of '%s' must be an empty object", op.path)
			}
			continue
		}
		if !dtdlName.MatchString(m.Name) {
			return badPayload("'%s' in '%s' is not a valid name", m.Name, op.path)
		}
		if err := conformValue(op.path+"/"+m.Name, m.Value, 1); err != nil {
			return err
		}
	}
	return nil
}

// conformValue checks a property value: no arrays and nulls, names as in DTDL, objects at most 5 deep.
func conformValue(path string, v any, depth int) error {
	switch v := v.(type) {
	case nil, []any:
		return badPayload("The value of '%s' must not be or contain null or an array", path)
	case jsontree.Object:
		if depth > maxObjectDepth {
			return badPayload("The value of '%s' is nested deeper than %d", path, maxObjectDepth)
		}
		for _, m := range v {
			if !dtdlName.MatchString(m.Name) {
				return badPayload("'%s' in '%s' is not a valid name", m.Name, path)
			}
			if err := conformValue(path, m.Value, depth+1); err != nil {
				return err
			}
		}
	case string, json.Number:
		return validateValue(path, v, 1)
	}
	return nil
}

// nonConformant names a property that a digital twin cannot hold, wherever it is in desired or reported; it is empty if
// there is none. A single one makes the hub refuse every patch.
func (t *Twin) nonConformant() string {
	for _, root := range []*node{t.desired.root, t.reported.root} {
		for _, f := range root.fields {
			if name := f.nonConformant(); name != "" {
				return name
			}
		}
	}
	return ""
}

// nonConformant judges a top-level field: a component or a property of the default component.
func (f field) nonConformant() string {
	if !f.node.isComponent() {
		return f.nonConformantProperty()
	}
	if !dtdlName.MatchString(f.name) {
		return f.name
	}
	for _, inner := range f.node.fields {
		if inner.name == componentMarker {
			continue
		}
		if name := inner.nonConformantProperty(); name != "" {
			return name
		}
	}
	return ""
}

func (f field) nonConformantProperty() string {
	if !dtdlName.MatchString(f.name) {
		return f.name
	}
	n := f.node
	if n.isAcknowledgement() {
		n = n.child("value")
	}
	return n.nonConformantValue(f.name, 1)
}

func (n *node) nonConformantValue(name string, depth int) string {
	if _, isArray := n.value.([]any); isArray {
		return name
	}
	if n.object && depth > maxObjectDepth {
		return name
	}
	for _, f := range n.fields {
		if !dtdlName.MatchString(f.name) {
			return f.name
		}
		if bad := f.node.nonConformantValue(f.name, depth+1); bad != "" {
			return bad
		}
	}
	return ""
}

// editor applies operations one after the other to the desired properties and collects what they come to.
type editor struct {
	before   *node // desired as it was
	desired  *node
	reported *node
	patch    jsontree.Object
	lenient  bool
}

func (e *editor) apply(op operation) error {
	switch {
	case op.isComponent():
		return e.setComponent(op)
	case len(op.names) == 2:
		return e.inComponent(op)
	case op.op == "remove":
		return e.removeRoot(op)
	default:
		return e.setRoot(op)
	}
}

// setComponent sets what is given and clears the desired value of every other writable property of the component.
func (e *editor) setComponent(op operation) error {
	name := op.names[0]
	if !e.isComponent(name) {
		if e.exists(name) {
			return badPatch("Error in path: %s. It is a property, not a component.", op.path)
		}
		if op.op == "replace" && !e.lenient {
			return missing(op)
		}
	}
	want := op.value.(jsontree.Object).Without("$metadata").With(componentMarker, "c")
	e.set(jsontree.Object{{Name: name, Value: e.desired.child(name).replacementValue(want)}})
	return nil
}

func (e *editor) inComponent(op operation) error {
	component, name := op.names[0], op.names[1]
	if !e.isComponent(component) && (!e.lenient || e.exists(component)) {
		return missing(op)
	}
	d, r := e.desired.child(component), e.reported.child(component)
	if op.op != "add" && d.child(name) == nil && r.child(name) == nil && !e.lenient {
		return missing(op)
	}
	if op.op == "remove" {
		e.removeFrom(component, name)
		return nil
	}
	e.set(jsontree.Object{{Name: component, Value: jsontree.Object{
		{Name: componentMarker, Value: "c"},
		{Name: name, Value: d.child(name).replacementValue(op.value)},
	}}})
	return nil
}

// removeFrom clears one desired property, and the component with its last one.
func (e *editor) removeFrom(component, name string) {
	d := e.desired.child(component)
	if d == nil {
		return
	}
	for _, f := range d.fields {
		if f.name != name && f.name != componentMarker {
			e.set(jsontree.Object{{Name: component, Value: jsontree.Object{
				{Name: componentMarker, Value: "c"}, {Name: name, Value: nil},
			}}})
			return
		}
	}
	e.set(jsontree.Object{{Name: component, Value: nil}})
}

func (e *editor) removeRoot(op operation) error {
	name := op.names[0]
	if !e.exists(name) && !e.lenient {
		return missing(op)
	}
	if e.desired.child(name) != nil {
		e.set(jsontree.Object{{Name: name, Value: nil}})
	}
	return nil
}

func (e *editor) setRoot(op operation) error {
	name := op.names[0]
	if e.isComponent(name) {
		return badPatch("Error in path: %s. The value of a component must contain an empty $metadata.", op.path)
	}
	if op.op == "replace" && !e.exists(name) && !e.lenient {
		return missing(op)
	}
	e.set(jsontree.Object{{Name: name, Value: e.desired.child(name).replacementValue(op.value)}})
	return nil
}

func missing(op operation) error {
	return badPatch("Error in path: %s. It does not exist on the digital twin.", op.path)
}

func (e *editor) isComponent(name string) bool {
	return e.desired.child(name).isComponent() || e.reported.child(name).isComponent()
}

func (e *editor) exists(name string) bool {
	return e.desired.child(name) != nil || e.reported.child(name) != nil
}

func (e *editor) set(patch jsontree.Object) {
	e.desired = e.desired.merge(patch, e.desired.stamp)
	e.patch = e.before.overlay(e.patch, patch)
}
