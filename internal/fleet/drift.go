package fleet

import (
	"fmt"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// driftBrake halts the corrections of a leaf that somebody else writes at many members, or that a
// configuration of the hub writes: putting it back would never end.
type driftBrake struct {
	// seen has the minutes of the last hour in which members drifted, by leaf.
	seen   map[leafID]map[int64]int
	halted map[leafID]string // by what
	halts  int               // how often halted changed
}

// minDrifted members may drift in a leaf within an hour, and a hundredth of all.
const minDrifted = 100

func newDriftBrake() driftBrake {
	return driftBrake{seen: map[leafID]map[int64]int{}, halted: map[leafID]string{}}
}

func (d *driftBrake) isHalted(leaf leafID) bool { return d.halted[leaf] != "" }

func (d *driftBrake) lift() {
	clear(d.seen)
	clear(d.halted)
	d.halts++
}

// note counts one member that drifted, and returns how many did within an hour.
func (d *driftBrake) note(leaf leafID, now time.Time) (within int) {
	minute := now.Unix() / 60
	if d.seen[leaf] == nil {
		d.seen[leaf] = map[int64]int{}
	}
	d.seen[leaf][minute]++
	for at, n := range d.seen[leaf] {
		if minute-at >= 60 {
			delete(d.seen[leaf], at)
			continue
		}
		within += n
	}
	return within
}

// noteDrift finds leaves that another writer took from what the member was brought to.
func (s *State) noteDrift(now time.Time, at slot, m *member, before *facts, _ int64, t *twin.Twin, isOwnWrite bool) {
	r := s.revisions[m.rev]
	if r == nil || before == nil || isOwnWrite || !s.enforces() || m.is(flagLeaving) {
		return
	}
	denied := s.deniedTo(at, m)
	for _, w := range r.wants {
		was, _ := before.of(w.leaf)
		is, isKnown := m.facts.of(w.leaf)
		if !denied.has(w.leaf) && isKnown && was.value == w.value && is.value != w.value {
			s.drifted(now, w.leaf, t)
		}
	}
}

// drifted counts a leaf that another writer changed, and halts its corrections where that is a
// configuration of the hub, or happened to many members.
func (s *State) drifted(now time.Time, leaf leafID, t *twin.Twin) {
	d := t.Properties[s.words.leaves[leaf]].Desired
	switch within := s.drift.note(leaf, now); {
	case s.drift.isHalted(leaf):
	case d != nil && d.By != "":
		s.halt(leaf, "configuration "+d.By)
	case within > max(minDrifted, s.total.members/100):
		s.halt(leaf, fmt.Sprintf("another writer at %d devices within an hour", within))
	}
}

func (s *State) halt(leaf leafID, by string) {
	s.drift.halted[leaf] = by
	s.drift.halts++
	s.notice(v1alpha1.ReasonOwnershipConflict, fmt.Sprintf("%s is written by %s: it is put back no more", s.words.leaves[leaf], by))
}

// Halted returns the leaves that are put back no more, each with its writer.
func (s *State) Halted() map[twin.Leaf]string {
	all := make(map[twin.Leaf]string, len(s.drift.halted))
	for leaf, by := range s.drift.halted {
		all[s.words.leaves[leaf]] = by
	}
	return all
}
