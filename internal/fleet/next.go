package fleet

import (
	"time"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Do is what an Action asks for.
type Do int

const (
	// Wait means that there is nothing to do before Until, unless something is heard.
	Wait Do = iota
	// List wants all devices that Query finds: Listed for each row, then ListingDone.
	List
	// Record wants the header stored in status. No write goes out before Recorded.
	Record
	// Flush wants Objects stored, each whole. Reserved members are written to after Flushed alone.
	Flush
	// Read wants the twin of a device, with its tags: Read, Absent or NotRead.
	Read
	// Write wants Body sent to a device, under ETag: Written or NotWritten.
	Write
)

// Action is one thing to do, at once: nothing that was named earlier stays true.
type Action struct {
	Do Do
	// Until is when to ask again at the latest, for Wait. Zero: only once something is heard.
	Until time.Time
	// Number is what Recorded and Flushed repeat.
	Number int64
	// Objects are to be stored, for Flush.
	Objects []Object
	// DeviceID, ETag and Body are of a Read or Write. Removals is how many properties the write
	// takes away, for the brake of the hub.
	DeviceID string
	ETag     string
	Body     []byte
	Removals int
}

// flushEvery is how often members are stored that nothing waits for, and the least time between two
// windows that are not needed at once.
const flushEvery = 5 * time.Second

// Next names one thing to do. The caller holds whatever permit the hub's budget asks for, does it
// at once, and tells the outcome by Apply.
func (s *State) Next(now time.Time) Action {
	s.clock.advance(now)
	if !s.isLoaded {
		s.settleLoaded(now)
	}
	s.expire(now)
	s.joins.turn(now, s)
	s.leavers.turn(now, s)
	s.turn(now)
	if s.stored.mustRecord() {
		s.stored.recording = s.stored.changes
		return Action{Do: Record, Number: s.stored.changes}
	}
	if !s.listing.isComplete && !s.listing.isOn && !s.spec.Suspend {
		s.listing.isOn = true
		return Action{Do: List}
	}
	if a, ok := s.nextWrite(now); ok {
		return a
	}
	if a, ok := s.nextRead(now); ok {
		return a
	}
	if a, ok := s.nextFlush(now); ok {
		return a
	}
	return s.rest(now)
}

// rest is until the next timer, or the next flush.
func (s *State) rest(now time.Time) Action {
	until := time.Time{}
	earlier := func(t time.Time) {
		if t.After(now) && (until.IsZero() || t.Before(until)) {
			until = t
		}
	}
	if due, ok := s.timers.next(); ok && s.clock.isRunning {
		earlier(now.Add(time.Duration(due)*time.Second - s.clock.elapsed))
	}
	if len(s.stored.ready) > 0 {
		earlier(s.paced)
	}
	if s.stored.dirty > 0 && s.stored.flushing == nil {
		earlier(s.stored.lastFlush.Add(flushEvery))
	}
	if s.rollout.isActive() && s.rollout.open > 0 && s.clock.isRunning {
		b := &s.rollout.batches[s.rollout.open-1]
		earlier(now.Add(time.Duration(b.touched+s.policyOf(b).soak)*time.Second - s.clock.elapsed))
	}
	return Action{Do: Wait, Until: until}
}

// inFlight is how many devices were written to, or may have been, and have not answered. Whoever is
// found to hold the value without an answer may have been: the record of it may be lost.
func (s *State) inFlight() int { return s.total.states[stateInFlight] + s.stored.clearing + s.owing }

// mayStart reports whether another write may begin: all that it hangs on is on record.
func (s *State) mayStart(now time.Time) bool {
	return s.clock.isRunning && s.listing.isComplete && !s.stored.isHeaderDirty() && !now.Before(s.paced) &&
		s.inFlight() < int(s.spec.Rollout.MaxInFlight) && !s.spec.Suspend
}

// nextWrite begins the write of a member that is on record as one that may be.
func (s *State) nextWrite(now time.Time) (Action, bool) {
	for len(s.stored.ready) > 0 && s.mayStart(now) {
		at := s.stored.ready[0]
		s.stored.ready = s.stored.ready[1:]
		m := s.members.at(at)
		if !m.is(flagFlushed) {
			continue
		}
		if a, ok := s.write(now, at, m); ok {
			return a, true
		}
	}
	return Action{}, false
}

// write begins a write, false if it became needless or another one since it was put on record.
func (s *State) write(now time.Time, at slot, m *member) (Action, bool) {
	target := s.target(m)
	if target != m.sent || s.needs(at, m) != needWrite {
		s.change(now, at, func(m *member) { s.unreserve(m) })
		return Action{}, false
	}
	body, removals, err := s.render(at, m, target)
	if err != nil { // the name of a component is taken by a property, or the other way round
		s.change(now, at, func(m *member) { s.unreserve(m); m.set(flagRefused) })
		return Action{}, false
	}
	a := Action{Do: Write, DeviceID: m.id, ETag: twin.ETagOf(m.etag), Body: body, Removals: removals}
	s.change(now, at, func(m *member) {
		s.calls[at] = &call{writes: true, rev: target, resend: m.is(flagResend), clears: m.is(flagLeaving)}
		m.clear(flagReserved | flagFlushed)
		if m.is(flagLeaving) {
			s.stored.clearing++
			return
		}
		if m.is(flagJoiner) && target != m.rev {
			s.joins.went(s)
		}
		s.pay(m)
		m.set(flagWritten)
		m.wroteAt = unix(now)
		m.spent, m.limit = 0, 0
		m.put(flagAway, !s.isPresent(m))
	})
	if perMinute := s.spec.Rollout.MaxPerMinute; perMinute > 0 {
		s.paced = now.Add(time.Minute / time.Duration(perMinute))
	}
	return a, true
}

// unreserve takes a member back whose write was not begun.
func (s *State) unreserve(m *member) {
	m.clear(flagReserved | flagFlushed)
	m.sent = 0
	s.markDirty(m)
}

func unix(t time.Time) uint32 { return uint32(max(t.Unix(), 0)) } //nolint:gosec // until 2106

// bodyKey is what members have in common that get the same patch.
type bodyKey struct {
	facts  *facts
	target revisionID
	resend bool
	halted int
}

// maxBodies are kept rendered.
const maxBodies = 256

// render writes the patch of a member. Those that hold the same share it.
func (s *State) render(at slot, m *member, target revisionID) (body []byte, removals int, err error) {
	changes := s.changes(at, m, target)
	for _, c := range changes {
		if c.Cause == twin.Removed {
			removals++
		}
	}
	key := bodyKey{m.facts, target, m.is(flagResend), s.drift.halts}
	isShared := target != m.rev && !m.is(flagDenied) && s.fresh[at] == nil
	if known, ok := s.bodies[key]; ok && isShared {
		return known, removals, nil
	}
	base := s.fresh[at]
	if base == nil {
		base = s.partial(m)
	}
	if body, err = twin.RenderDeviceTwin(changes, base); err != nil {
		return nil, 0, err
	}
	if isShared {
		if len(s.bodies) >= maxBodies {
			clear(s.bodies)
		}
		s.bodies[key] = body
	}
	return body, removals, nil
}

// nextRead begins the read of a member, or of a device that may be one.
func (s *State) nextRead(now time.Time) (Action, bool) {
	if s.spec.Suspend {
		return Action{}, false
	}
	if id, ok := s.strangers.next(); ok {
		return Action{Do: Read, DeviceID: id}, true
	}
	at, m := s.popNeeding(&s.reads, flagQueuedRead, needRead)
	if m == nil {
		return Action{}, false
	}
	s.change(now, at, func(*member) { s.calls[at] = &call{} })
	return Action{Do: Read, DeviceID: m.id}, true
}

// popNeeding takes the first member of a queue, in which flag says that it is, that still needs
// what the queue is for; nil: none does.
func (s *State) popNeeding(q *queue, flag flags, what need) (slot, *member) {
	for {
		at, ok := q.pop()
		if !ok {
			return 0, nil
		}
		m := s.members.at(at)
		if m.is(flagGone) || !m.is(flag) {
			continue
		}
		m.clear(flag)
		if s.needs(at, m) == what {
			return at, m
		}
		s.enqueue(at, m)
	}
}

// reserve fills the window with members that have to be written to.
func (s *State) reserve() {
	room := int(s.spec.Rollout.MaxInFlight) - len(s.stored.window) - len(s.stored.ready) - s.stored.flushingWindow()
	for ; room > 0; room-- {
		at, m := s.popNeeding(&s.writes, flagQueuedWrite, needWrite)
		if m == nil {
			return
		}
		m.set(flagReserved)
		m.sent = s.target(m)
		s.stored.window = append(s.stored.window, at)
		s.markDirty(m)
	}
}

// resting adds the time until a member is tried again.
func (s *State) resting(at slot) {
	t := s.tries[at]
	if t == nil {
		t = &try{since: s.clock.seconds()}
		s.tries[at] = t
	}
	t.count++
	t.after = s.clock.seconds() + uint32(min(1<<min(t.count, 6), 60)) //nolint:gosec // up to a minute
	s.timers.add(t.after, at)
}

// isTiredOf reports whether a member could not be written for as long as it may take to answer.
func (s *State) isTiredOf(at slot) bool {
	t := s.tries[at]
	return t != nil && s.clock.seconds()-t.since >= uint32(s.spec.AcknowledgeWithinSeconds) //nolint:gosec // positive
}
