package fleet

import (
	"slices"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// tally counts members. What a member counts as is kept with it, so that it is taken out as it was
// put in.
type tally struct {
	members int
	states  [stateCount]int
	// written are those that were written to in this rollout.
	written      [stateCount]int
	writtenTotal int
	// busy are those that something has to be done about, or is being done.
	busy int
	// present are those that can answer, reach those that can or were written to.
	present, reach int
	differ, unread int
	// joiners and gated are those of them that joined after the batches were cut, apart from those
	// that hold the revision.
	joinersUnread, joiners, gated int
}

func (t *tally) failed() int {
	n := 0
	for state := stateRejected; state < stateCount; state++ {
		n += t.written[state]
	}
	return n
}

// judged are those that were written to and of which it is known how they took it.
func (t *tally) judged() int { return t.failed() + t.written[stateAcknowledged] }

// counted is what a member counts as.
type counted uint8

const (
	countedAtAll counted = 1 << iota
	countedBusy
	countedPresent
	countedWritten
	countedDiffer
	countedUnread
	countedJoiner
	countedGated
)

// reason is why members failed.
type reason struct {
	state memberState
	code  int16
}

func (t *tally) add(m *member, n int) {
	t.members += n
	t.states[m.state] += n
	if m.counted&countedWritten != 0 {
		t.written[m.state] += n
		t.writtenTotal += n
	}
	if m.counted&countedBusy != 0 {
		t.busy += n
	}
	if m.counted&countedPresent != 0 {
		t.present += n
	}
	if m.counted&(countedPresent|countedWritten) != 0 {
		t.reach += n
	}
	if m.counted&countedDiffer != 0 {
		t.differ += n
	}
	if m.counted&countedUnread != 0 {
		t.unread += n
	}
	t.addJoiner(m.counted, n)
}

func (t *tally) addJoiner(c counted, n int) {
	if c&countedJoiner == 0 {
		return
	}
	switch {
	case c&countedUnread != 0:
		t.joinersUnread += n
	case c&countedDiffer != 0:
		t.joiners += n
		if c&countedGated != 0 {
			t.gated += n
		}
	}
}

func (s *State) count(m *member, n int) {
	if m.counted&countedAtAll == 0 {
		return
	}
	s.total.add(m, n)
	if m.batch != noBatch {
		s.rollout.batches[m.batch].tally.add(m, n)
	}
	if m.state.isFailed() {
		r := reason{m.state, m.code}
		if s.reasons[r] += n; s.reasons[r] == 0 {
			delete(s.reasons, r)
		}
	}
}

// uncount takes a member out of all counts. Nothing that counts may change before it is called.
func (s *State) uncount(m *member) {
	s.count(m, -1)
	m.counted = 0
}

// change lets f change a member, and draws all conclusions: its state, counts, time to answer,
// place in the queue, and whether it is a failure too many.
func (s *State) change(now time.Time, at slot, f func(m *member)) {
	m := s.members.at(at)
	s.uncount(m)
	was := m.state
	f(m)
	s.conclude(now, at, m, was)
}

func (s *State) conclude(now time.Time, at slot, m *member, was memberState) {
	if m.is(flagLeaving) {
		s.enqueue(at, m)
		return
	}
	if m.is(flagResend) && m.sent == 0 && m.is(flagKnown) && s.answered(at, m) == stateAcknowledged {
		m.clear(flagResend) // it answered before its value was sent again
	}
	if m.state = s.stateOf(at, m); m.state == stateInFlight {
		s.pay(m) // it counts as in flight anyway
	}
	if !m.state.isFailed() {
		m.code = 0
	} else if m.state == stateRejected || m.state == stateAdjusted {
		s.noteCode(m)
	}
	s.keepTime(at, m)
	m.counted = countedAtAll | s.countsAs(at, m)
	s.count(m, 1)
	s.enqueue(at, m)
	if m.state.isFailed() && !was.isFailed() {
		s.noteFailure(now, at, m)
	}
	if m.batch != noBatch && m.state != was {
		s.rollout.batches[m.batch].touched = s.clock.seconds()
	}
	s.lookForBreach(now, m)
}

func (s *State) countsAs(at slot, m *member) (c counted) {
	if s.needs(at, m) != needNothing || s.calls[at] != nil || m.is(flagReserved) {
		c |= countedBusy
	}
	if s.isPresent(m) {
		c |= countedPresent
	}
	if m.is(flagWritten) {
		c |= countedWritten
	}
	if m.is(flagJoiner) {
		c |= countedJoiner
	}
	if m.is(flagGated) {
		c |= countedGated
	}
	switch s.compare(at, m, s.wantedRevision()) {
	case differsFromIt:
		c |= countedDiffer
	case unknownToUs:
		c |= countedUnread
	case holdsIt:
	}
	return c
}

// recount concludes all members anew, after something changed that is not theirs.
func (s *State) recount(now time.Time) {
	for at, m := range s.members.all {
		s.uncount(m)
		s.conclude(now, at, m, m.state)
	}
}

// Failure is a member that failed.
type Failure struct {
	DeviceID    string
	Leaf        twin.Leaf
	State       memberState
	Code        int64
	Description string
	Time        time.Time
}

// maxFailures are kept, the newest first.
const maxFailures = 20

func (s *State) noteFailure(now time.Time, at slot, m *member) {
	f := Failure{DeviceID: m.id, State: m.state, Code: int64(m.code), Time: now}
	if leaf, ok := s.failedLeaf(at, m); ok {
		f.Leaf = leaf
	}
	if said := s.said; said.id == m.id && said.leaf == f.Leaf {
		f.Description = said.description
	}
	s.newest = slices.DeleteFunc(s.newest, func(old Failure) bool { return old.DeviceID == m.id })
	s.newest = slices.Insert(s.newest, 0, f)
	s.newest = s.newest[:min(len(s.newest), maxFailures)]
}

// failedLeaf returns the first leaf that a member refused or changed.
func (s *State) failedLeaf(at slot, m *member) (twin.Leaf, bool) {
	if m.facts == nil {
		return twin.Leaf{}, false
	}
	denied := s.deniedTo(at, m)
	for _, f := range m.facts.list {
		if (f.answer == answerRejected || f.answer == answerAdjusted) && !denied.has(f.leaf) {
			return s.words.leaves[f.leaf], true
		}
	}
	return twin.Leaf{}, false
}

// noteCode keeps the code of the answer that was taken in last.
func (s *State) noteCode(m *member) {
	if s.said.id == m.id && s.said.code != 0 {
		m.code = s.said.code
	}
}
