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
	next.Properties, next.Components = copyOf(t.Properties), copyOf(t.Components)
	for _, c := range changes {
		next.apply(c, desiredVersion)
	}
	for _, c := range changes {
		if c.Cause == Removed && !next.hasLeaves(c.Leaf.Component) {
			delete(next.Components, c.Leaf.Component)
		}
	}
	return &next
}

func (t *Twin) apply(c Change, desiredVersion int64) {
	if c.Cause != Removed {
		t.setDesired(c.Leaf, &Desired{Value: c.Value, Version: desiredVersion})
		if c.Leaf.Component != "" {
			t.Components[c.Leaf.Component] = true
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
