package twin

// A device tells a component by the marker "__t": "c" that desired holds beside its properties. Without it a declared value is
// at the hub, and no device on Microsoft's SDKs takes it for the component's.

// Holds is true if the hub holds a value as a declaration asks for it: in a component, with the marker beside it.
func (t *Twin) Holds(leaf Leaf, value any) bool {
	held := t.Properties[leaf].Desired
	return held != nil && !t.Unmarked[leaf.Component] && Equal(held.Value, value)
}

// LacksMarker is true if desired holds an object of a component's name, and not as a component.
func (t *Twin) LacksMarker(component string) bool {
	if component == "" {
		return false
	}
	if plain := t.Properties[Leaf{Name: component}].Desired; plain != nil && isJSONObject(plain.Value) {
		return true
	}
	return t.Unmarked[component] && t.hasDesired(component)
}

// MarkersDiffer is true if a component of the properties of t has another marker in a later state of the twin.
func (t *Twin) MarkersDiffer(next *Twin) bool {
	for leaf := range t.Properties {
		name := leaf.Component
		if t.Components[name] != next.Components[name] || t.Unmarked[name] != next.Unmarked[name] {
			return true
		}
	}
	return false
}

func (t *Twin) hasDesired(component string) bool {
	for leaf, p := range t.Properties {
		if leaf.Component == component && p.Desired != nil {
			return true
		}
	}
	return false
}

// setUnmarked says whether desired lacks the marker of a component. It writes to the set of t.
func (t *Twin) setUnmarked(component string, lacks bool) {
	switch {
	case !lacks && len(t.Unmarked) == 1 && t.Unmarked[component]:
		t.Unmarked = nil
	case !lacks:
		delete(t.Unmarked, component)
	case t.Unmarked == nil:
		t.Unmarked = map[string]bool{component: true}
	default:
		t.Unmarked[component] = true
	}
}

func isJSONObject(v any) bool {
	_, is := v.(map[string]any)
	return is
}
