package twin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// KindConflictError is a name that the declaration uses as a component and the hub as a property of the default component,
// or the other way round. A twin keys both alike, so the write would destroy the other one, which may be foreign. If the
// name is free once the plan's own removals are written, writing these alone resolves it.
type KindConflictError struct {
	Name string
	// Component: the hub holds a component, and the declaration a property.
	Component bool
}

func (e *KindConflictError) Error() string {
	if e.Component {
		return fmt.Sprintf("%s is a component at the hub and cannot be written as a property", quote(e.Name))
	}
	return fmt.Sprintf("%s is a property at the hub and cannot be written as a component", quote(e.Name))
}

// errNullValue keeps a set from deleting: both dialects take null for a removal.
var errNullValue = errors.New("null is not a value")

// RenderDeviceTwin writes the body of PATCH /twins/{id} that makes the hub hold the changes. t is the twin they were computed
// from. The error is a *KindConflictError where a name is held as the other kind.
//
// The hub merges the body into the desired section as by RFC 7396: an object value would keep the inner keys that the hub
// has, so those that the new value lacks are sent as null. Each component carries its marker in every patch, because devices
// tell components by it.
func RenderDeviceTwin(changes []Change, t *Twin) ([]byte, error) {
	desired := map[string]any{}
	for _, c := range changes {
		if err := t.writable(c, DeviceTwin); err != nil {
			return nil, err
		}
		target := desired
		if name := c.Leaf.Component; name != "" {
			if c.Cause != Removed && includes(changes, Leaf{Name: name}) { // the object that it would become goes
				return nil, &KindConflictError{Name: name}
			}
			target = componentIn(desired, name)
		}
		target[c.Leaf.Name] = mergePatch(t.desiredAt(c.Leaf), c.Value)
	}
	return EncodeValue(map[string]any{"properties": map[string]any{"desired": desired}}), nil
}

func includes(changes []Change, leaf Leaf) bool {
	return slices.ContainsFunc(changes, func(c Change) bool { return c.Leaf == leaf })
}

// desiredAt is the value that desired holds at a leaf's path, nil for none: also where the component lacks its marker.
func (t *Twin) desiredAt(leaf Leaf) any {
	if d := t.Properties[leaf].Desired; d != nil {
		return d.Value
	}
	if plain := t.Properties[Leaf{Name: leaf.Component}].Desired; plain != nil && leaf.Component != "" {
		fields, _ := plain.Value.(map[string]any)
		return fields[leaf.Name]
	}
	return nil
}

// componentIn is the component's object in a patch, added with its marker if need be.
func componentIn(desired map[string]any, name string) map[string]any {
	fields, ok := desired[name].(map[string]any)
	if !ok {
		fields = map[string]any{componentMarker: markerValue}
		desired[name] = fields
	}
	return fields
}

// mergePatch is the value to send so that merging it into held leaves exactly want.
func mergePatch(held, want any) any {
	from, okFrom := held.(map[string]any)
	to, okTo := want.(map[string]any)
	if !okFrom || !okTo {
		return want
	}
	patch := make(map[string]any, len(to))
	for key := range from {
		patch[key] = nil
	}
	for key, value := range to {
		patch[key] = mergePatch(from[key], value)
	}
	return patch
}

// RenderDigitalTwin writes the body of PATCH /digitaltwins/{id}, a JSON Patch, that makes the hub hold the changes. t is the
// twin they were computed from. The error is a *KindConflictError where a name is held as the other kind.
//
// Microsoft's "How to manage IoT Plug and Play digital twins" has the traps: a component that does not exist yet must be added whole, with an empty
// $metadata that tells it from an object; adding one that exists would clear its desired leaves that are not given; and a
// component goes with its last property. Hence removals come last, when what is set already keeps the component alive.
func RenderDigitalTwin(changes []Change, t *Twin) ([]byte, error) {
	ops := []any{}
	var removals []any
	added := map[string]map[string]any{}
	for _, c := range slices.SortedFunc(slices.Values(changes), compareChanges) {
		if err := t.writable(c, DigitalTwin); err != nil {
			return nil, err
		}
		name := c.Leaf.Component
		switch {
		case c.Cause == Removed:
			removals = append(removals, removal(c.Leaf))
		case name == "" || t.Components[name]:
			ops = append(ops, operation(t.setOperation(c.Leaf), pointer(c.Leaf), c.Value))
		case added[name] != nil:
			added[name][c.Leaf.Name] = c.Value
		default:
			added[name] = map[string]any{metadataKey: map[string]any{}, c.Leaf.Name: c.Value}
			ops = append(ops, operation("add", pointer(Leaf{Name: name}), added[name]))
		}
	}
	return EncodeValue(append(ops, removals...)), nil
}

// setOperation follows Microsoft's guidance: add what is absent, replace what desired or reported holds.
func (t *Twin) setOperation(leaf Leaf) string {
	if p := t.Properties[leaf]; p.Desired != nil || p.Reported != nil {
		return "replace"
	}
	return "add"
}

func operation(op, path string, value any) map[string]any {
	return map[string]any{"op": op, "path": path, "value": value}
}

func removal(leaf Leaf) map[string]any {
	return map[string]any{"op": "remove", "path": pointer(leaf)}
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// pointer is the JSON Pointer (RFC 6901) of a leaf.
func pointer(leaf Leaf) string {
	path := "/" + pointerEscapes.Replace(leaf.Name)
	if leaf.Component == "" {
		return path
	}
	return "/" + pointerEscapes.Replace(leaf.Component) + path
}

// writable refuses a change that would not do what it says. A removal only takes what is there.
func (t *Twin) writable(c Change, dialect Dialect) error {
	switch {
	case c.Cause == Removed:
		return nil
	case c.Value == nil:
		return fmt.Errorf("set %s: %w", quote(c.Leaf.String()), errNullValue)
	case c.Leaf.Component == "" && t.Components[c.Leaf.Name]:
		return &KindConflictError{Name: c.Leaf.Name, Component: true}
	case c.Leaf.Component != "" && t.holdsPlain(c.Leaf.Component, dialect):
		return &KindConflictError{Name: c.Leaf.Component}
	}
	return nil
}

// holdsPlain says whether a property of the default component stands where a component is to go. An object that desired or
// reported hold without the marker of a component is no obstacle in the DeviceTwin dialect: the marker that we write makes it
// one, with all that is in it.
func (t *Twin) holdsPlain(name string, dialect Dialect) bool {
	p := t.Properties[Leaf{Name: name}]
	if dialect == DigitalTwin {
		return p.Desired != nil || p.Reported != nil
	}
	return p.Desired != nil && !isJSONObject(p.Desired.Value)
}
