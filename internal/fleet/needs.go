package fleet

import (
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// need is what has to be done about a member.
type need int

const (
	needNothing need = iota
	needRead
	needWrite
)

// needs returns what has to be done about a member now, apart from limits that all members share. A
// call that is under way comes first.
func (s *State) needs(at slot, m *member) need {
	switch {
	case s.spec.Suspend, s.calls[at] != nil, !s.isTime(at):
		return needNothing
	case !m.is(flagKnown), m.is(flagDoubtful | flagDue), m.sent != 0 && !m.is(flagReserved):
		return needRead
	case !s.enforces():
		return s.needOfObserver(at, m)
	}
	target := s.target(m)
	if target == 0 {
		return s.needOfObserver(at, m)
	}
	return s.needOfTarget(at, m, target)
}

// needOfTarget is that of a member that is to hold a revision.
func (s *State) needOfTarget(at slot, m *member, target revisionID) need {
	held := s.compare(at, m, s.revisions[target])
	switch {
	case held == unknownToUs:
		return needRead
	case held == holdsIt && !m.is(flagResend):
		return needNothing
	case len(s.changes(at, m, target)) == 0: // corrections are halted
		return needNothing
	case !s.mayWrite(m, target):
		return needNothing
	case s.fresh[at] == nil && s.mergesIntoForeign(m, s.revisions[target]):
		return needRead
	}
	return needWrite
}

// mergesIntoForeign reports whether a write would merge an object into a value that is not known,
// whose other fields have to be removed by name.
func (s *State) mergesIntoForeign(m *member, r *revision) bool {
	for _, f := range m.facts.list {
		if f.value != valueForeign {
			continue
		}
		if _, isObject := s.words.content(r.value(f.leaf)).(map[string]any); isObject {
			return true
		}
	}
	return false
}

// needOfObserver is that of a member to which nothing is written: it has to be known.
func (s *State) needOfObserver(at slot, m *member) need {
	if s.compare(at, m, s.wantedRevision()) == unknownToUs {
		return needRead
	}
	return needNothing
}

// isTime is false while a call that failed rests.
func (s *State) isTime(at slot) bool {
	t := s.tries[at]
	return t == nil || t.after <= s.clock.seconds()
}

// mayWrite reports whether the member itself lets a write through.
func (s *State) mayWrite(m *member, target revisionID) bool {
	switch {
	case m.is(flagLeaving):
		return s.isEnded || !s.leavers.isHalted && !s.isFrozen()
	case m.is(flagRefused), m.tags != nil && s.unfit[m.tags.model]:
		return false
	case target == m.rev && !m.is(flagResend):
		return true // what it held is put back
	case m.is(flagGated), m.is(flagJoiner) && !s.joins.mayGo(s):
		return false
	case s.isPresent(m) || s.spec.Rollout.Offline == v1alpha1.OfflineWrite:
		return true
	}
	return s.isDeferOver(m)
}

// isDeferOver reports whether the batch of a member has been open for so long that it is written to
// wherever it is.
func (s *State) isDeferOver(m *member) bool {
	if m.batch == noBatch || m.is(flagResend) {
		return false
	}
	opened := s.rollout.batches[m.batch].openedAt
	return !opened.IsZero() && s.clock.last.Sub(opened) >= time.Duration(s.spec.Rollout.DeferSeconds)*time.Second
}

// changes are what a write to a member carries, so that it holds a revision.
func (s *State) changes(at slot, m *member, target revisionID) (all []twin.Change) {
	r, denied := s.revisions[target], s.deniedTo(at, m)
	for _, w := range r.wants {
		f, _ := m.facts.of(w.leaf)
		isResent := m.is(flagResend) && f.answer != answerAcknowledged
		if denied.has(w.leaf) || f.value == w.value && !isResent || target == m.rev && s.drift.isHalted(w.leaf) {
			continue
		}
		all = append(all, twin.Change{Leaf: s.words.leaves[w.leaf], Cause: twin.Edited, Value: s.words.content(w.value), Was: s.was(m, f)})
	}
	for _, f := range m.facts.list {
		if f.ours && r.value(f.leaf) == valueAbsent && !denied.has(f.leaf) {
			all = append(all, twin.Change{Leaf: s.words.leaves[f.leaf], Cause: twin.Removed, Was: s.was(m, f)})
		}
	}
	return all
}

// was is what the hub holds of a leaf, nil if nothing.
func (s *State) was(m *member, f leafFact) *twin.Desired {
	switch f.value {
	case valueAbsent:
		return nil
	case valueForeign:
		return &twin.Desired{Value: twin.Omitted{Reason: "foreign"}, Version: m.setVersion(f)}
	}
	return &twin.Desired{Value: s.words.content(f.value), Version: m.setVersion(f)}
}

// queue has the members that something may have to be done about, oldest first.
type queue struct {
	slots []slot
	head  int
}

func (q *queue) push(at slot) { q.slots = append(q.slots, at) }

func (q *queue) pop() (slot, bool) {
	if q.head == len(q.slots) {
		return 0, false
	}
	at := q.slots[q.head]
	q.head++
	if q.head > 1024 && q.head*2 > len(q.slots) {
		q.slots = append(q.slots[:0], q.slots[q.head:]...)
		q.head = 0
	}
	return at, true
}

// enqueue puts a member into a queue if something has to be done about it.
func (s *State) enqueue(at slot, m *member) {
	if m.is(flagReserved) {
		return
	}
	switch s.needs(at, m) {
	case needRead:
		if !m.is(flagQueuedRead) {
			m.set(flagQueuedRead)
			s.reads.push(at)
		}
	case needWrite:
		if !m.is(flagQueuedWrite) {
			m.set(flagQueuedWrite)
			s.writes.push(at)
		}
	case needNothing:
	}
}
