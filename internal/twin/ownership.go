package twin

import (
	"iter"
	"maps"
	"slices"
)

// What is wanted, what was sent and what the hub holds are three types: Declaration, Sent and Owned. Only the last one, which
// is made of what the hub holds alone, lets a value be removed.

// Sent is a value that a write of this object carried. Whether the hub took it is not known, unless Taken says so.
type Sent struct {
	// Value is nil for a removal.
	Value any
	// Version is the desired $version that the write makes if the hub takes it. The etag of the write allows no other one, so
	// a value of exactly this version, and of no other, came from it.
	Version int64
	// ETag is what the write was sent with, empty if that is not known. Where it is the one before a
	// twin's, the write made that twin's desired $version, and not Version: a hub that failed over may
	// count differently, and come back to an etag.
	ETag string
	// Taken is true once the hub answered that it took the write.
	Taken bool
}

// madeVersion is the desired $version that the write made if the hub took it, as far as t shows.
func (s Sent) madeVersion(t *Twin) int64 {
	if Follows(s.ETag, t.ETag) {
		return t.DesiredVersion
	}
	return s.Version
}

// Attempts are the writes of one object whose outcome is not settled, oldest first.
type Attempts map[Leaf][]Sent

// Owned is a value that the hub holds and that is this object's: a write of its own set it there, or it was found there equal
// to the declaration while that was declared.
type Owned struct {
	Value any
	// Version is the desired $version that the hub shows for the value.
	Version int64
	// SetVersion is the desired $version that an acknowledgement has to reach. It is lower than Version if someone else wrote
	// the same value again: the device has answered already, and need not do so once more.
	SetVersion int64
}

// isHeld reports whether the hub holds this very value: an equal one of another version was written by someone else.
func (o Owned) isHeld(held *Desired) bool {
	return held != nil && held.Version == o.Version && Equal(held.Value, o.Value)
}

// Ownership is what one object has at the hub, as of one state of the twin. No leaf is in both maps.
type Ownership struct {
	// Held are the values that are the object's.
	Held map[Leaf]Owned
	// Lost are leaves that were the object's until another writer changed or removed them, with the last value that was the
	// object's, nil if that is not known.
	Lost map[Leaf]any
}

// Equal reports whether two ownerships of one object are the same.
func (o Ownership) Equal(other Ownership) bool {
	sameOwned := func(a, b Owned) bool {
		return a.Version == b.Version && a.SetVersion == b.SetVersion && Equal(a.Value, b.Value)
	}
	isLost := func(any, any) bool { return true } // the last value is not recorded
	return maps.EqualFunc(o.Held, other.Held, sameOwned) && maps.EqualFunc(o.Lost, other.Lost, isLost)
}

// After is the ownership as of t, which is a later state of the same twin. attempts are the writes since o was settled.
// With adopts, a value that is declared and that the hub holds already becomes the object's. Of a leaf that a partial twin
// does not know, o stays as it is.
func (o Ownership) After(t *Twin, attempts Attempts, d Declaration, adopts bool) Ownership {
	next := Ownership{Held: make(map[Leaf]Owned, len(o.Held)), Lost: map[Leaf]any{}}
	for leaf := range o.leaves(attempts, d) {
		p, known := t.Properties[leaf]
		if !known && t.Partial {
			o.keep(next, leaf)
			continue
		}
		declared, isDeclared := d[leaf]
		if owned, ok := o.proven(leaf, t, attempts[leaf]); ok {
			next.Held[leaf] = owned
		} else if isDeclared && adopts && t.Holds(leaf, declared) {
			next.Held[leaf] = o.adopted(leaf, *p.Desired)
		} else if last, ok := o.last(leaf, p.Desired, attempts[leaf]); ok {
			next.Lost[leaf] = last
		}
	}
	return next
}

// With is the ownership with what a later record adds to the one that o was made from. Both tell of
// writes that were made: of one leaf, the newer one counts.
func (o Ownership) With(later, from Ownership) Ownership {
	sum := Ownership{Held: maps.Clone(o.Held), Lost: maps.Clone(o.Lost)}
	for leaf, owned := range later.Held {
		was, isKnown := from.Held[leaf]
		if isKnown && was.Version == owned.Version || o.Held[leaf].Version >= owned.Version {
			continue
		}
		if sum.Held == nil {
			sum.Held = map[Leaf]Owned{}
		}
		sum.Held[leaf] = owned
		delete(sum.Lost, leaf)
	}
	return sum
}

// leaves goes through the leaves that are the object's, were sent or are declared, each once.
func (o Ownership) leaves(attempts Attempts, d Declaration) iter.Seq[Leaf] {
	return func(yield func(Leaf) bool) {
		for leaf := range o.Held {
			if !yield(leaf) {
				return
			}
		}
		for leaf := range o.Lost {
			if !yield(leaf) {
				return
			}
		}
		for leaf := range attempts {
			if !o.has(leaf) && !yield(leaf) {
				return
			}
		}
		for leaf := range d {
			if _, sent := attempts[leaf]; !sent && !o.has(leaf) && !yield(leaf) {
				return
			}
		}
	}
}

func (o Ownership) has(leaf Leaf) bool {
	_, held := o.Held[leaf]
	_, lost := o.Lost[leaf]
	return held || lost
}

func (o Ownership) keep(next Ownership, leaf Leaf) {
	if owned, ok := o.Held[leaf]; ok {
		next.Held[leaf] = owned
	}
	if last, ok := o.Lost[leaf]; ok {
		next.Lost[leaf] = last
	}
}

// proven is what a write of the object set, if the hub still holds that.
func (o Ownership) proven(leaf Leaf, t *Twin, sent []Sent) (Owned, bool) {
	held := t.Properties[leaf].Desired
	for _, s := range slices.Backward(sent) {
		version := s.madeVersion(t)
		if owned := (Owned{Value: s.Value, Version: version, SetVersion: version}); s.Value != nil && owned.isHeld(held) {
			return owned, true
		}
	}
	owned, ok := o.Held[leaf]
	return owned, ok && owned.isHeld(held)
}

// adopted is the declared value as the hub holds it, by whoever wrote it.
func (o Ownership) adopted(leaf Leaf, held Desired) Owned {
	adopted := Owned{Value: held.Value, Version: held.Version, SetVersion: held.Version}
	if was, ok := o.Held[leaf]; ok && Equal(was.Value, held.Value) {
		adopted.SetVersion = was.SetVersion
	}
	return adopted
}

// last is the value of the object that is not at the hub any more. A removal of its own is no loss.
func (o Ownership) last(leaf Leaf, held *Desired, sent []Sent) (value any, wasOurs bool) {
	for _, s := range slices.Backward(sent) {
		if s.Value == nil && (s.Taken || held == nil) {
			return nil, false
		}
		if s.Value != nil && s.Taken {
			return s.Value, true
		}
	}
	if owned, ok := o.Held[leaf]; ok {
		return owned.Value, true
	}
	value, wasOurs = o.Lost[leaf]
	return value, wasOurs
}

// Departing are the leaves of the object that the declaration names no longer, sorted. What becomes of them only a read tells.
func (o Ownership) Departing(d Declaration) []Leaf {
	var departing []Leaf
	for leaf := range o.leaves(nil, nil) {
		if _, declared := d[leaf]; !declared {
			departing = append(departing, leaf)
		}
	}
	slices.SortFunc(departing, CompareLeaves)
	return departing
}

// Read is a twin as the hub returned it in the pass that uses it. Only such a twin lets something be removed: what status
// believes, and what events tell, may be of an earlier device, or of a hub before its failover.
type Read struct{ *Twin }

// Depart says what becomes of the leaves that left the declaration. A value of the object goes; another writer's stays, and
// the object lets go of the leaf. o is the ownership as of r. Both lists are sorted.
func (r Read) Depart(o Ownership, d Declaration) (removals []Change, released []Leaf) {
	for _, leaf := range o.Departing(d) {
		held := r.Properties[leaf].Desired
		if owned, ok := o.Held[leaf]; ok && owned.isHeld(held) {
			removals = append(removals, Change{Leaf: leaf, Cause: Removed, Was: held})
			continue
		}
		released = append(released, leaf)
	}
	return removals, released
}
