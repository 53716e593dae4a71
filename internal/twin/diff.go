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
	// Removed means that the declaration no longer names the leaf, and the hub still holds the value that this object wrote.
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
}

// Plan is what has to happen so that the hub holds the declaration.
type Plan struct {
	// Changes are sorted by leaf.
	Changes []Change
	// Released are claimed leaves, sorted, that the declaration no longer names and that hold another writer's value now:
	// the claim ends, the value stays.
	Released []Leaf
}

// Diff compares the declaration with what the hub asks the device for. What the device reports does not matter: a value that
// is reported but not desired is written, and one that is desired already is never written again, since that would bump its
// version and demand a new acknowledgement. Leaves that are neither declared nor claimed are foreign and not in the plan.
func Diff(d Declaration, claims Claims, t *Twin) Plan {
	var plan Plan
	for leaf, value := range d {
		was := t.Properties[leaf].Desired
		if was == nil || !Equal(was.Value, value) {
			plan.Changes = append(plan.Changes, Change{Leaf: leaf, Cause: cause(value, claims[leaf]), Value: value, Was: was})
		}
	}
	for leaf, claim := range claims {
		if _, declared := d[leaf]; !declared {
			plan.letGo(leaf, claim, t.Properties[leaf].Desired)
		}
	}
	slices.SortFunc(plan.Changes, compareChanges)
	slices.SortFunc(plan.Released, CompareLeaves)
	return plan
}

// cause takes the zero Claim for a leaf without one.
func cause(value any, claim Claim) Cause {
	switch {
	case claim.Version == 0:
		return New
	case Equal(claim.Value, value):
		return Drifted
	default:
		return Edited
	}
}

// letGo ends the ownership of a leaf that is no longer declared.
func (p *Plan) letGo(leaf Leaf, claim Claim, was *Desired) {
	switch {
	case was == nil:
	case Equal(was.Value, claim.Value):
		p.Changes = append(p.Changes, Change{Leaf: leaf, Cause: Removed, Was: was})
	default:
		p.Released = append(p.Released, leaf)
	}
}

func compareChanges(a, b Change) int { return CompareLeaves(a.Leaf, b.Leaf) }
