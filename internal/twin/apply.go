package twin

import (
	"maps"
	"time"
)

// Apply is the twin as the hub holds it once it accepted exactly these changes, which is all there is to know after a
// digital-twin PATCH: it answers with an ETag and an empty body. etag is unquoted or quoted, desiredVersion the desired
// $version that the write made. t stays as it is.
//
// Version stays: it says that every change up to it is in the twin, and a report may have come in between.
//
// A component whose last leaf goes, goes too, as in the digital-twin dialect. The other one leaves its bare marker behind,
// but there the response has the whole twin. A partial twin keeps its components: leaves that it does not know may hold one,
// and to add a component that exists would clear these.
func (t *Twin) Apply(changes []Change, etag string, desiredVersion int64) *Twin {
	next := *t
	next.ETag, next.DesiredVersion = unquoteETag(etag), desiredVersion
	next.DesiredUpdated = time.Time{} // the hub's, and the answer lacks it
	next.Properties, next.Components, next.Unmarked = copyOf(t.Properties), copyOf(t.Components), maps.Clone(t.Unmarked)
	for _, c := range changes {
		next.apply(c, desiredVersion)
	}
	for _, c := range changes {
		if c.Cause == Removed {
			next.settleComponent(c.Leaf.Component)
		}
	}
	return &next
}

// settleComponent says what is left of a component that a leaf was removed from: on desired's side it goes with its last one.
func (t *Twin) settleComponent(name string) {
	exists := t.hasLeaves(name)
	if !exists {
		delete(t.Components, name)
	}
	if name != "" && !t.Partial {
		t.setUnmarked(name, exists && !t.hasDesired(name))
	}
}

func (t *Twin) apply(c Change, desiredVersion int64) {
	if c.Cause != Removed {
		t.setDesired(c.Leaf, &Desired{Value: c.Value, Version: desiredVersion})
		if c.Leaf.Component != "" {
			t.Components[c.Leaf.Component] = true
			t.setUnmarked(c.Leaf.Component, false)
		}
		return
	}
	t.setDesired(c.Leaf, nil)
	t.settle(c.Leaf)
}

func (t *Twin) hasLeaves(component string) bool {
	for leaf := range t.Properties {
		if leaf.Component == component {
			return true
		}
	}
	return false
}

// copyOf is never nil, unlike maps.Clone.
func copyOf[K comparable, V any](m map[K]V) map[K]V {
	next := make(map[K]V, len(m)+1)
	maps.Copy(next, m)
	return next
}
