package convergence

import (
	"slices"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	// FightCorrections of one leaf within FightWindow are a fight.
	FightCorrections = 3
	// FightWindow is how long a correction counts.
	FightWindow = time.Hour
)

// plan is what is to be written, and what is let go of when that is done. Where something left the
// declaration, the twin was read in this very pass: nothing is removed or let go without that.
func (s *State) plan() (changes []twin.Change, released []twin.Leaf) {
	changes = append(s.contested(twin.Diff(s.Declared, s.Owned, s.Twin)), s.resends()...)
	if len(s.Departing()) == 0 {
		return changes, nil
	}
	reading, _ := s.reading()
	removals, released := reading.Depart(s.Owned, s.Declared)
	return append(changes, removals...), released
}

// hasConverged reports whether nothing is left to write or to remove but what is left to other
// writers.
func (s *State) hasConverged() bool {
	return len(twin.Diff(s.Declared, s.Owned, s.Twin)) == len(s.Conflicts) && len(s.Departing()) == 0
}

// needsRead reports whether changes have to wait for a look at the device: at its model, or at what
// they are merged into.
func (s *State) needsRead(changes []twin.Change) bool {
	isModelInDoubt := s.Memory != nil && s.Memory.IsModelInDoubt
	return s.Device.Spec.ModelID != "" && isModelInDoubt || s.mergesUnseen(changes)
}

// mergesUnseen reports whether an object is to be merged into a value that status has no room for.
// Only a read tells which of the keys there have to go.
func (s *State) mergesUnseen(changes []twin.Change) bool {
	return s.Dialect() == twin.DeviceTwin && slices.ContainsFunc(changes, func(c twin.Change) bool {
		_, isObject := c.Value.(map[string]any)
		return isObject && c.Was != nil && isOmitted(c.Was.Value)
	})
}

func isOmitted(v any) bool {
	_, is := v.(twin.Omitted)
	return is
}

// contested takes out the leaves that another writer fights for, and remembers them.
func (s *State) contested(changes []twin.Change) []twin.Change {
	clear(s.Conflicts)
	kept := changes[:0:0]
	for _, c := range changes {
		configuration := ""
		if c.Was != nil {
			configuration = c.Was.By
		}
		if c.Cause != twin.Removed && (configuration != "" || s.isFight(c)) {
			s.Conflicts[c.Leaf] = configuration
			continue
		}
		kept = append(kept, c)
	}
	return kept
}

func (s *State) isFight(c twin.Change) bool {
	return c.Cause == twin.Drifted && len(s.CorrectionsOf(c.Leaf)) >= FightCorrections
}

// CorrectionsOf are the times within an hour at which a leaf was put back, oldest first: what
// status says, or what memory knows, if that is more. Status may lack corrections as long as the
// API server refuses it, or does not answer.
func (s *State) CorrectionsOf(leaf twin.Leaf) []time.Time {
	recorded := recentCorrections(s.Entries[leaf], s.Now)
	if known := s.Memory.CorrectionsAfter(leaf, s.Now.Add(-FightWindow)); len(known) > len(recorded) {
		return known
	}
	return recorded
}

func recentCorrections(p v1alpha1.PropertyStatus, now time.Time) []time.Time {
	var recent []time.Time
	for _, at := range p.CorrectedAt {
		if now.Sub(at.Time) < FightWindow {
			recent = append(recent, at.Time)
		}
	}
	return recent
}

// conflictRetry returns when the first contested leaf may be corrected again, and whether that is
// now.
func (e Entries) conflictRetry(now time.Time) (in time.Duration, due bool) {
	for _, p := range e {
		if p.State != StateOf(twin.StateDrifted) || !p.Owned || len(p.CorrectedAt) < FightCorrections {
			continue
		}
		until := p.CorrectedAt[0].Add(FightWindow).Sub(now)
		if until <= 0 {
			return 0, true
		}
		in = Sooner(in, until)
	}
	return in, false
}

// Sooner is the smaller of two delays, where 0 is none.
func Sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// resends are the unanswered and refused values that someone asked to write once more: an equal
// value is otherwise never sent.
func (s *State) resends() []twin.Change {
	if !s.resendRequested() {
		return nil
	}
	var changes []twin.Change
	for _, leaf := range s.unanswered() {
		changes = append(changes, twin.Change{Leaf: leaf, Cause: twin.Edited, Value: s.Declared[leaf], Was: s.Twin.Properties[leaf].Desired})
	}
	return changes
}

// unanswered are the declared values that the hub holds and that status shows as Applied or
// Rejected, sorted.
func (s *State) unanswered() []twin.Leaf {
	var leaves []twin.Leaf
	for leaf, value := range s.Declared {
		state := s.Entries[leaf].State
		isUnanswered := state == StateOf(twin.StateApplied) || state == StateOf(twin.StateRejected)
		if isUnanswered && s.Twin.Holds(leaf, value) {
			leaves = append(leaves, leaf)
		}
	}
	slices.SortFunc(leaves, twin.CompareLeaves)
	return leaves
}

func isRemoval(c twin.Change) bool { return c.Cause == twin.Removed }

// removalsOf returns the removals among changes.
func removalsOf(changes []twin.Change) []twin.Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c twin.Change) bool { return !isRemoval(c) })
}

// withoutRemovals returns the other ones.
func withoutRemovals(changes []twin.Change) []twin.Change {
	return slices.DeleteFunc(slices.Clone(changes), isRemoval)
}

// inTheWay are the removals among other changes: what is ours may be what keeps the rest from being
// rendered.
func inTheWay(changes []twin.Change) []twin.Change {
	if removals := removalsOf(changes); len(removals) < len(changes) {
		return removals
	}
	return nil
}
