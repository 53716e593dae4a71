package fleet

import (
	"container/heap"
	"time"
)

// healthClock counts the time in which the stream of events was caught up and alive. Deadlines and
// soak are measured by it, so that they stand still otherwise, and a clock that is set back adds
// nothing.
type healthClock struct {
	isRunning bool
	elapsed   time.Duration
	last      time.Time
}

func (c *healthClock) advance(now time.Time) {
	if passed := now.Sub(c.last); c.isRunning && passed > 0 && !c.last.IsZero() {
		c.elapsed += passed
	}
	c.last = now
}

func (c *healthClock) seconds() uint32 { return uint32(c.elapsed / time.Second) } //nolint:gosec // 136 years

// timers wake members at times of the healthClock. An entry may be out of date: whoever wakes
// looks.
type timers struct{ entries timerHeap }

type timer struct {
	due uint32
	at  slot
}

// noSlot wakes the fleet rather than a member.
const noSlot = ^slot(0)

// strangerSlot wakes devices that may be members.
const strangerSlot = noSlot - 1

func (t *timers) add(due uint32, at slot) { heap.Push(&t.entries, timer{due, at}) }

// next returns the earliest time, false if there is none.
func (t *timers) next() (uint32, bool) {
	if len(t.entries) == 0 {
		return 0, false
	}
	return t.entries[0].due, true
}

// pop takes out one entry that is due.
func (t *timers) pop(now uint32) (slot, bool) {
	if len(t.entries) == 0 || t.entries[0].due > now {
		return 0, false
	}
	return heap.Pop(&t.entries).(timer).at, true
}

type timerHeap []timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h timerHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)        { *h = append(*h, x.(timer)) }

func (h *timerHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// keepTime starts or stops the time in which a member has to answer. It runs while the device is
// there, goes on where it stopped, and ends at twice its length after the write in any case.
func (s *State) keepTime(at slot, m *member) {
	now, within := s.clock.seconds(), uint32(s.spec.AcknowledgeWithinSeconds) //nolint:gosec // positive
	if m.is(flagOwing) && (m.hasAnsweredAll() || !s.isPresent(m)) && m.sent == 0 {
		s.pay(m)
	}
	isRunning := m.state == stateInFlight && m.sent == 0 && s.calls[at] == nil && s.isPresent(m) && !m.is(flagDue|flagDoubtful)
	switch {
	case isRunning && !m.is(flagWaiting):
		m.set(flagWaiting)
		m.since = now
		if m.limit == 0 {
			m.limit = now + 2*within
		}
		s.timers.add(s.dueOf(m), at)
	case !isRunning && m.is(flagWaiting):
		m.clear(flagWaiting)
		m.spent += now - m.since
	}
}

// owe counts a member as in flight that was written to for something else than the wanted revision,
// until it answers, goes, is written to again, or has had its time.
func (s *State) owe(at slot, m *member) {
	if m.is(flagOwing) || !s.isPresent(m) {
		return
	}
	m.set(flagOwing)
	s.owing++
	m.limit = s.clock.seconds() + uint32(s.spec.AcknowledgeWithinSeconds) //nolint:gosec // positive
	s.timers.add(m.limit, at)
}

// pay ends that.
func (s *State) pay(m *member) {
	if m.is(flagOwing) {
		m.clear(flagOwing)
		s.owing--
		m.limit = 0
	}
}

// hasAnsweredAll reports whether a member answered to all that is ours.
func (m *member) hasAnsweredAll() bool {
	if m.facts == nil {
		return true
	}
	for _, f := range m.facts.list {
		if f.ours && f.answer < answerAcknowledged {
			return false
		}
	}
	return true
}

// dueOf is when the time of a member to answer is over.
func (s *State) dueOf(m *member) uint32 {
	within := uint32(s.spec.AcknowledgeWithinSeconds) //nolint:gosec // positive
	left := within - min(m.spent, within)
	return min(m.since+left, m.limit)
}

// expire wakes the members whose time has come.
func (s *State) expire(now time.Time) {
	for {
		at, ok := s.timers.pop(s.clock.seconds())
		if !ok {
			return
		}
		switch at {
		case noSlot:
			s.recount(now)
			continue
		case strangerSlot:
			s.strangers.wake()
			continue
		}
		if m := s.members.at(at); !m.is(flagGone) {
			s.wake(now, at, m)
		}
	}
}

func (s *State) wake(now time.Time, at slot, m *member) {
	if m.is(flagOwing) && m.limit <= s.clock.seconds() {
		s.pay(m)
	}
	if m.is(flagWaiting) {
		if due := s.dueOf(m); due > s.clock.seconds() {
			s.timers.add(due, at)
			return
		}
		s.change(now, at, func(m *member) { m.set(flagDue) })
		return
	}
	s.change(now, at, func(*member) {})
}
