package twin

import "slices"

// Cause is why a leaf has to be written.
type Cause string

const (
	// New means that this object never wrote the leaf, or is not known to have.
	New Cause = "New"
	// Edited means that the declaration changed since the leaf was written.
	Edited Cause = "Edited"
	// Drifted means that another writer changed or removed the leaf.
	Drifted Cause = "Drifted"
	// Removed means that the declaration no longer names the leaf, and the hub holds a value of this object. See Read.Depart.
	Removed Cause = "Removed"
)

// Change is one leaf to write.
type Change struct {
	Leaf  Leaf
	Cause Cause
	// Value is nil for Removed, and only then.
	Value any
	// Was is what the hub holds, nil if nothing.
	Was *Desired
	// Unmarked is true if the hub holds the component without its marker.
	Unmarked bool
}

// Diff lists what has to be written so that the hub holds the declaration, sorted by leaf. What the device reports does not
// matter: a value that is reported but not desired is written, and one that is desired already is never written again, since
// that would bump its version and demand a new acknowledgement. Of a component that lacks its marker all is written again: a
// device takes no value without it. Leaves that are not declared are not in it: see Read.Depart.
func Diff(d Declaration, o Ownership, t *Twin) []Change {
	var changes []Change
	for leaf, value := range d {
		if !t.Holds(leaf, value) {
			changes = append(changes, Change{
				Leaf: leaf, Cause: o.cause(leaf, value), Value: value, Was: t.Properties[leaf].Desired, Unmarked: t.LacksMarker(leaf.Component),
			})
		}
	}
	slices.SortFunc(changes, compareChanges)
	return changes
}

// cause is why a declared value that the hub does not hold is written. A drifted leaf whose last value is not known was not
// edited since. Of an equal value of the object another writer took the marker.
func (o Ownership) cause(leaf Leaf, declared any) Cause {
	owned, held := o.Held[leaf]
	last, lost := o.Lost[leaf]
	switch {
	case held && Equal(owned.Value, declared):
		return Drifted
	case held:
		return Edited
	case !lost:
		return New
	case last == nil || Equal(last, declared):
		return Drifted
	default:
		return Edited
	}
}

func compareChanges(a, b Change) int { return CompareLeaves(a.Leaf, b.Leaf) }
