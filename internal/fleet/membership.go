package fleet

import (
	"fmt"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// listing is how far the enumeration of members is.
type listing struct {
	isComplete bool
	isOn       bool
	// isEdit is true while the listing follows an edit of the selector: whoever it brings waits for
	// batches.
	isEdit bool
	rows   int
}

// strangers are devices that are no members, and may be.
type strangers struct {
	wanted []string
	asked  map[string]bool // those in wanted
	// newcomers are devices that were created and have not connected yet: their model is not known.
	newcomers map[string]bool
	// rests could not be read, and are asked for later.
	rests []string
}

// strangerRest is how long they rest, in seconds.
const strangerRest = 10

// wake asks for those that rested.
func (w *strangers) wake() {
	rested := w.rests
	w.rests = nil
	for _, id := range rested {
		w.ask(id)
	}
}

func newStrangers() strangers {
	return strangers{asked: map[string]bool{}, newcomers: map[string]bool{}}
}

func (w *strangers) ask(id string) {
	if !w.asked[id] {
		w.asked[id] = true
		w.wanted = append(w.wanted, id)
	}
}

func (w *strangers) next() (string, bool) {
	if len(w.wanted) == 0 {
		return "", false
	}
	id := w.wanted[0]
	w.wanted = w.wanted[1:]
	delete(w.asked, id)
	return id, true
}

// applyStranger takes in an event about a device that is no member.
func (s *State) applyStranger(now time.Time, e Event) {
	id := idOf(e)
	switch e := e.(type) {
	case Seen:
		if s.selector.Matches(id, e.Twin.ModelID, e.Tags) {
			at := s.join(now, id)
			s.change(now, at, func(m *member) { s.observeRead(now, at, m, e); s.placeJoiner(m) })
		}
	case Absent:
		delete(s.strangers.newcomers, id)
	case NotRead:
		s.strangers.rests = append(s.strangers.rests, id)
		s.timers.add(s.clock.seconds()+strangerRest, strangerSlot)
	case Created:
		if s.mayMatch(id) {
			s.strangers.ask(id)
			s.strangers.newcomers[id] = s.selector.modelID != ""
		}
	case Changed:
		if s.mayMatch(id) && e.Tags != nil && s.selector.Touched(e.Tags) == TouchesSome {
			s.strangers.ask(id)
		}
	case Presence:
		if e.Connected && s.strangers.newcomers[id] {
			delete(s.strangers.newcomers, id)
			s.strangers.ask(id)
		}
	}
}

func (s *State) mayMatch(id string) bool {
	return !s.isEnded && !s.selector.excluded[id] && (s.selector.ids == nil || s.selector.ids[id])
}

// join makes a device a member. One that comes after the batches were cut gets the batch where it
// stands, and is written to outside of them only as far as joins allow.
func (s *State) join(now time.Time, id string) slot {
	at, m := s.members.add(id)
	s.assignShard(at, m)
	s.markDirty(m)
	if s.rollout.number > 0 {
		m.set(flagJoiner)
		m.put(flagGated, s.listing.isEdit)
	}
	m.tags = s.tagSets.use("", s.selector.valuesOf(nil))
	s.conclude(now, at, m, statePending)
	return at
}

// placeJoiner gives a joiner its batch, once its tags are known.
func (s *State) placeJoiner(m *member) {
	if m.batch == noBatch && m.is(flagJoiner) && len(s.rollout.batches) > 0 && s.rollout.kind != v1alpha1.RolloutBack {
		m.batch = s.batchOfJoiner(m)
		if m.batch != noBatch {
			s.rollout.batches[m.batch].size++
		}
	}
}

// leave ends the membership of a device. What is ours is removed first, if the spec says so, and if
// it is not that too many leave. A device that is excluded is left alone.
func (s *State) leave(now time.Time, at slot) {
	m := s.members.at(at)
	if s.spec.LeavePolicy != v1alpha1.DeletionClear || !s.enforces() || s.selector.excluded[m.id] || !s.hasOurs(m) && m.sent == 0 {
		s.leavers.left(now, s)
		s.remove(now, at)
		return
	}
	if m.is(flagLeaving) {
		return
	}
	s.leavers.left(now, s)
	s.startLeaving(now, at)
}

func (s *State) startLeaving(now time.Time, at slot) {
	s.change(now, at, func(m *member) {
		s.pay(m)
		m.batch = noBatch
		m.set(flagLeaving)
		if m.is(flagReserved) {
			s.unreserve(m)
		}
		if c := s.calls[at]; c != nil && c.writes && !c.clears {
			c.clears = true
			s.stored.clearing++
		}
		m.clear(flagWritten | flagWaiting | flagRefused)
		s.leaving++
		s.markDirty(m)
	})
}

// comeBack makes a device a member again that was leaving.
func (s *State) comeBack(now time.Time, at slot) {
	s.change(now, at, func(m *member) {
		m.clear(flagLeaving)
		s.leaving--
		m.put(flagJoiner, s.rollout.number > 0)
		s.placeJoiner(m)
		s.markDirty(m)
	})
}

// end ends the membership of a device that the hub does not know.
func (s *State) end(now time.Time, at slot, m *member) {
	if !m.is(flagLeaving) {
		s.leavers.left(now, s)
	}
	s.remove(now, at)
}

// remove forgets a member. The record ends with it.
func (s *State) remove(_ time.Time, at slot) {
	m := s.members.at(at)
	s.uncount(m)
	if m.is(flagLeaving) {
		s.leaving--
	}
	s.pay(m)
	s.endCall(at)
	s.shared.release(m.facts)
	delete(s.denied, at)
	delete(s.tries, at)
	delete(s.fresh, at)
	s.bury(at, m)
	s.members.remove(at)
}

// applyListing takes in rows of a listing. A row is a hint: it brings devices in, and makes what it
// contradicts doubtful. One that is missing means a read.
func (s *State) applyListing(now time.Time, e Event) {
	switch e := e.(type) {
	case Listed:
		s.listing.rows++
		s.applyListed(now, e)
	case ListingFailed:
		s.listing.isOn = false
		s.timers.add(s.clock.seconds()+1, noSlot)
	case ListingDone:
		for at, m := range s.members.all {
			if !m.is(flagListed) && !m.is(flagLeaving) {
				s.change(now, at, func(m *member) { m.set(flagDoubtful) })
			}
			m.clear(flagListed)
		}
		s.sortShards()
		s.listing = listing{isComplete: true}
		s.leavers.confirm(now, s)
		s.recount(now)
	}
}

func (s *State) applyListed(now time.Time, e Listed) {
	at, m := s.members.find(e.DeviceID)
	isMember := s.selector.Matches(e.DeviceID, e.ModelID, e.Tags)
	if m == nil {
		if !isMember {
			return
		}
		at = s.join(now, e.DeviceID)
		s.change(now, at, func(m *member) {
			s.setTags(m, e.ModelID, s.selector.valuesOf(e.Tags))
			m.put(flagConnected, e.Connected)
			s.placeJoiner(m)
			m.set(flagListed)
		})
		return
	}
	s.change(now, at, func(m *member) {
		m.set(flagListed)
		isNews := e.Version > m.version && m.version > 0 || e.DeviceETag != "" && m.deviceEtag != 0 && hash32(e.DeviceETag) != m.deviceEtag
		if isNews || !isMember {
			m.set(flagDoubtful)
		}
	})
}

// joins bounds how many members are written to outside of batches.
type joins struct {
	day   string
	count int
}

// minJoins may always go on a day, and a hundredth of the members.
const minJoins = 10

func (j *joins) turn(now time.Time, s *State) {
	if day := now.UTC().Format(time.DateOnly); day != j.day {
		wasFull := j.day != "" && !j.mayGo(s)
		j.day, j.count = day, 0
		if wasFull {
			s.recount(now)
		}
	}
}

func (j *joins) mayGo(s *State) bool { return j.count < max(minJoins, s.total.members/100) }

func (j *joins) went(s *State) {
	j.count++
	s.recordHeader()
}

// areWaiting reports whether members wait for batches of their own: an edit of the selector brought
// them, or they are more than may be written to outside of batches. All that joined are read first.
func (j *joins) areWaiting(s *State) bool {
	t := &s.total
	return t.joinersUnread == 0 && (t.gated > 0 || t.joiners > 0 && !j.mayGo(s))
}

// leavers bounds how many devices that leave are cleared.
type leavers struct {
	since    time.Time
	size     int // of the fleet, as confirmed at since
	count    int
	isHalted bool
}

// minLeavers may always leave within leaveWindow, and a tenth of the size that was confirmed.
const (
	minLeavers  = 20
	leaveWindow = 24 * time.Hour
)

func (l *leavers) turn(now time.Time, s *State) {
	if s.listing.isComplete && now.Sub(l.since) >= leaveWindow {
		l.confirm(now, s)
	}
}

// confirm takes the size of the fleet for what it is.
func (l *leavers) confirm(now time.Time, s *State) {
	if l.since.IsZero() || now.Sub(l.since) >= leaveWindow {
		l.since, l.size, l.count = now, s.total.members, 0
	}
}

func (l *leavers) left(now time.Time, s *State) {
	if l.since.IsZero() {
		l.since, l.size = now, s.total.members
	}
	l.count++
	if l.count > max(minLeavers, l.size/10) && !l.isHalted && s.spec.LeavePolicy == v1alpha1.DeletionClear && s.enforces() {
		l.isHalted = true
		s.recordHeader()
		s.notice(v1alpha1.ReasonMassLeaving, fmt.Sprintf("%d of %d devices are no members any more: what they hold stays until that is confirmed", l.count, l.size))
	}
}
