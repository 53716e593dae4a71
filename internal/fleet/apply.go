package fleet

import (
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Apply takes in what was heard.
func (s *State) Apply(now time.Time, e Event) {
	s.clock.advance(now)
	if !s.isLoaded {
		s.settleLoaded(now)
	}
	switch e := e.(type) {
	case Recorded, NotRecorded, Flushed, NotFlushed:
		s.applyStored(now, e)
	case Declared, Approved, Retry, Confirmed, Ended, Stream, Unfit:
		s.applyOrder(now, e)
	case Listed, ListingDone, ListingFailed:
		s.applyListing(now, e)
	default:
		s.applyMember(now, e)
	}
}

func (s *State) applyStored(now time.Time, e Event) {
	switch e := e.(type) {
	case Recorded:
		s.stored.recorded = max(s.stored.recorded, e.Number)
		s.stored.recording = 0
	case NotRecorded:
		s.stored.recording = 0
	case Flushed:
		s.flushed(e.Number)
	case NotFlushed:
		s.notFlushed(e.Number)
	}
	s.expire(now)
}

// idOf returns the device that an event is about.
func idOf(e Event) string {
	switch e := e.(type) {
	case Seen:
		return e.Twin.DeviceID
	case Written:
		return e.Twin.DeviceID
	case Absent:
		return e.DeviceID
	case NotRead:
		return e.DeviceID
	case Created:
		return e.DeviceID
	case Changed:
		return e.DeviceID
	case Presence:
		return e.DeviceID
	case Spoke:
		return e.DeviceID
	case Doubted:
		return e.DeviceID
	case NotWritten:
		return e.DeviceID
	case Denied:
		return e.DeviceID
	}
	return ""
}

// applyMember takes in an event about one device. What arrives while a write is under way waits for
// its outcome.
func (s *State) applyMember(now time.Time, e Event) {
	at, m := s.members.find(idOf(e))
	if m == nil {
		s.applyStranger(now, e)
		return
	}
	if c := s.calls[at]; c != nil && c.writes && s.waitsForOutcome(c, e) {
		return
	}
	switch e := e.(type) {
	case Absent:
		s.end(now, at, m)
	case Created: // the twin is another one
		s.change(now, at, func(m *member) { s.forgetTwin(m); s.markDirty(m) })
	case Changed:
		s.applyChanged(now, at, m, e)
	case Presence:
		s.applyPresence(now, at, e)
	case Spoke:
		s.applySpoke(now, at, e.At)
	case Doubted:
		s.change(now, at, func(m *member) { m.set(flagDoubtful) })
	case Denied:
		s.applyDenied(now, at, e)
	default:
		s.applyOutcome(now, at, e)
	}
}

// applyOutcome takes in how a call for a member ended.
func (s *State) applyOutcome(now time.Time, at slot, e Event) {
	switch e := e.(type) {
	case Seen:
		s.applySeen(now, at, e)
	case Written:
		s.applyWritten(now, at, e.Twin)
	case NotWritten:
		s.applyNotWritten(now, at, e.Why)
	case NotRead:
		s.endCall(at)
		s.change(now, at, func(*member) { s.resting(at) })
	}
}

// waitsForOutcome keeps a change of the twin for after the outcome of a write.
func (s *State) waitsForOutcome(c *call, e Event) bool {
	switch e.(type) {
	case Changed, Presence, Spoke, Doubted:
	default:
		return false
	}
	if len(c.events) >= maxHeldBack {
		c.lost = true
		return true
	}
	c.events = append(c.events, e)
	return true
}

func (s *State) endCall(at slot) *call {
	c := s.calls[at]
	delete(s.calls, at)
	if c == nil {
		return &call{}
	}
	if c.clears {
		s.stored.clearing--
	}
	return c
}

// resume takes in what waited for the outcome of a write.
func (s *State) resume(now time.Time, at slot, c *call) {
	id := s.members.at(at).id
	if c.lost {
		s.change(now, at, func(m *member) { m.set(flagDoubtful) })
	}
	for _, e := range c.events {
		if known, m := s.members.find(id); m != nil && known == at {
			s.applyMember(now, e)
		}
	}
}

func (s *State) applySeen(now time.Time, at slot, e Seen) {
	if e.IsRow {
		s.applyRow(now, at, e)
		return
	}
	c := s.endCall(at)
	delete(s.tries, at)
	if !s.selector.Matches(e.Twin.DeviceID, e.Twin.ModelID, e.Tags) {
		s.change(now, at, func(m *member) { s.observeRead(now, at, m, e) })
		if !s.removeIfCleared(now, at) {
			s.leave(now, at)
		}
		return
	}
	if s.members.at(at).is(flagLeaving) && !s.isEnded {
		s.comeBack(now, at)
	}
	s.change(now, at, func(m *member) {
		wasDue := m.is(flagDue)
		s.observeRead(now, at, m, e)
		m.clear(flagDue)
		if wasDue && s.stateOf(at, m) == stateInFlight {
			m.set(flagTimedOut)
			s.markDirty(m)
		}
	})
	if !s.removeIfCleared(now, at) {
		s.resume(now, at, c)
	}
}

func (s *State) observeRead(now time.Time, at slot, m *member, e Seen) {
	s.setTags(m, e.Twin.ModelID, s.selector.valuesOf(e.Tags))
	if isConnected := e.Twin.ConnectionState == "Connected"; isConnected != m.is(flagConnected) {
		m.put(flagConnected, isConnected)
		if isConnected {
			m.clear(flagAway)
		}
	}
	s.observe(now, at, m, e.Twin, false)
}

func (s *State) setTags(m *member, modelID string, values []string) {
	if set := s.tagSets.use(modelID, values); set != m.tags {
		m.tags = set
		s.markDirty(m)
	}
}

// applyRow takes in a row of a query: a twin that may be older than what is known.
func (s *State) applyRow(now time.Time, at slot, e Seen) {
	s.change(now, at, func(m *member) {
		switch {
		case !m.is(flagKnown) && s.calls[at] == nil && m.sent == 0:
			s.observeRead(now, at, m, e)
		case e.Twin.Version > m.version || e.Twin.DeviceETag != "" && hash32(e.Twin.DeviceETag) != m.deviceEtag:
			m.set(flagDoubtful)
		}
	})
}

func (s *State) applyWritten(now time.Time, at slot, t *twin.Twin) {
	c := s.endCall(at)
	s.change(now, at, func(m *member) {
		if m.sent != c.rev || !twin.Follows(twin.ETagOf(m.etag), t.ETag) {
			m.set(flagDoubtful) // an answer to something else
			return
		}
		tried := s.tries[at]
		s.observe(now, at, m, t, true)
		if s.compare(at, m, s.revisions[c.rev]) == differsFromIt { // the hub made something else of it
			if tried != nil {
				s.tries[at] = tried
			}
			s.resting(at)
			m.put(flagRefused, m.is(flagRefused) || s.isTiredOf(at))
		}
	})
	if !s.removeIfCleared(now, at) {
		s.resume(now, at, c)
	}
}

// removeIfCleared forgets a member that leaves once nothing of ours is left.
func (s *State) removeIfCleared(now time.Time, at slot) bool {
	m := s.members.at(at)
	if !m.is(flagLeaving) || !m.is(flagKnown) || m.is(flagDoubtful) || m.sent != 0 || s.hasOurs(m) {
		return false
	}
	s.remove(now, at)
	return true
}

func (s *State) applyNotWritten(now time.Time, at slot, why Failed) {
	c := s.endCall(at)
	s.change(now, at, func(m *member) {
		if why == Unknown {
			s.resting(at) // sent stays: a read tells
			return
		}
		m.sent = 0
		if m.rev != c.rev {
			m.clear(flagWritten)
		}
		s.markDirty(m)
		switch why {
		case Stale:
			m.set(flagDoubtful)
			s.resting(at)
		case Forbidden:
			m.set(flagRefused)
		case Turned:
			s.resting(at)
		case Postponed, Unknown:
		}
		if s.isTiredOf(at) {
			m.set(flagRefused)
		}
	})
	s.resume(now, at, c)
}

func (s *State) applyChanged(now time.Time, at slot, m *member, e Changed) {
	if e.Tags != nil && s.selector.Touched(e.Tags) != TouchesNothing {
		if s.selector.Touched(e.Tags) == TouchesOut {
			s.change(now, at, func(m *member) { s.fold(now, at, m, e.Notification) })
			s.leave(now, at)
			return
		}
		s.setTags(m, m.tags.model, s.selector.after(m.tags, e.Tags))
		if m.is(flagLeaving) { // it may come back, which a read tells
			s.change(now, at, func(m *member) { m.set(flagDoubtful) })
		}
	}
	s.change(now, at, func(m *member) {
		if e.Notification.Reported != nil && !m.is(flagConnected) {
			m.set(flagUnreliable) // it works while the hub calls it disconnected
			m.clear(flagAway | flagLost)
		}
		s.fold(now, at, m, e.Notification)
	})
}

// comesAndGoes is the time within which a device that connected and went is not taken to be away.
const comesAndGoes = 60

func (s *State) applyPresence(now time.Time, at slot, e Presence) {
	if !s.heard {
		s.heard = true
		defer s.recount(now)
	}
	s.change(now, at, func(m *member) {
		when := unix(e.At)
		if when < m.seenAt {
			return
		}
		if e.Connected {
			m.clear(flagAway | flagUnreliable)
			if m.is(flagLost) {
				m.clear(flagLost)
			}
		} else {
			s.disconnect(at, m, when)
		}
		m.put(flagConnected, e.Connected)
		m.seenAt = when
		s.markDirty(m)
	})
}

// disconnect judges what it means that a device went.
func (s *State) disconnect(at slot, m *member, when uint32) {
	if m.is(flagConnected) && m.seenAt != 0 && when-m.seenAt < comesAndGoes {
		m.set(flagUnreliable)
	}
	if !m.is(flagWritten) || m.is(flagUnreliable) || s.compare(at, m, s.wantedRevision()) != holdsIt {
		return
	}
	switch {
	case s.answered(at, m) == stateInFlight && when < m.wroteAt:
		m.set(flagAway)
	case s.answered(at, m) == stateInFlight, s.isSoaking(m, when):
		m.set(flagLost)
	}
}

// isSoaking reports whether a member that answered has not done so for as long as its batch soaks,
// or its batch has not passed.
func (s *State) isSoaking(m *member, when uint32) bool {
	if m.batch == noBatch || s.answeredLate(m) {
		return false
	}
	b := &s.rollout.batches[m.batch]
	return b.passedAt.IsZero() && s.rollout.kind != v1alpha1.RolloutBack || when < m.answeredAt+s.policyOf(b).soak
}

func (s *State) answeredLate(m *member) bool { return m.answeredAt == 0 }

func (s *State) applySpoke(now time.Time, at slot, when time.Time) {
	s.change(now, at, func(m *member) {
		if !m.is(flagConnected) && unix(when) >= m.seenAt {
			m.set(flagUnreliable)
			m.clear(flagAway | flagLost)
		}
	})
}

// applyDenied gives leaves of a member to others, or takes them back: then it is read, and joins
// anew.
func (s *State) applyDenied(now time.Time, at slot, e Denied) {
	s.change(now, at, func(m *member) {
		was := s.deniedTo(at, m)
		next := &denial{exception: s.numbers(e.Exception), conflict: s.numbers(e.Conflict)}
		if was != nil && hasMore(was, next) { // what it was brought to lacked these
			m.rev = 0
			m.set(flagDoubtful)
			if s.rollout.number > 0 {
				m.set(flagJoiner)
			}
		}
		m.put(flagDenied, len(next.exception)+len(next.conflict) > 0)
		delete(s.denied, at)
		if m.is(flagDenied) {
			s.denied[at] = next
			s.handOver(m, next)
		}
		if m.is(flagReserved) {
			s.unreserve(m)
		}
		s.markDirty(m)
	})
}

func (s *State) numbers(leaves []twin.Leaf) (ids []leafID) {
	for _, leaf := range leaves {
		if id, ok := s.words.leafIDs[leaf]; ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// hasMore reports whether a denial has a leaf that the other one lacks.
func hasMore(d, other *denial) bool {
	for _, list := range [][]leafID{d.exception, d.conflict} {
		for _, leaf := range list {
			if !other.has(leaf) {
				return true
			}
		}
	}
	return false
}

// handOver leaves to others what was ours.
func (s *State) handOver(m *member, d *denial) {
	if m.facts == nil {
		return
	}
	list := make([]leafFact, 0, len(m.facts.list))
	for _, f := range m.facts.list {
		f.ours = f.ours && !d.has(f.leaf)
		list = append(list, f)
	}
	was := m.facts
	m.facts = s.shared.use(list)
	s.shared.release(was)
}

func (s *State) hasOurs(m *member) bool {
	if m.facts == nil {
		return false
	}
	for _, f := range m.facts.list {
		if f.ours {
			return true
		}
	}
	return false
}
