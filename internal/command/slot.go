package command

import (
	"context"
	"slices"
	"time"
)

// Slot is the attempt of a command that is under way: a place at its hub, and one among those that
// a stop waits for.
type Slot struct {
	Request

	registry *Registry
	run      *run

	// The following are guarded by the registry.
	hearing     *hearing
	answered    time.Time // when the hub did, zero: it has not
	isLeft      bool      // the place at the hub is given back
	cancel      context.CancelFunc
	isAbandoned bool // the object is gone
}

// Reserve takes a place for an attempt, or keeps the command's turn for one.
func (r *Registry) Reserve(q Request) (s *Slot, err error) {
	r.change(q.Key, func(is *run) { s, err = r.reserve(is, q) })
	return s, err
}

func (r *Registry) reserve(is *run, q Request) (*Slot, error) {
	if r.closing {
		return nil, ErrClosing
	}
	l := r.lineOf(q.Site.Hub)
	if is.slot != nil || !r.hasPlace(l, q) {
		r.line(is, q)
		return nil, ErrNoPlace
	}
	r.leaveLine(is)
	r.stopListening(is)
	is.slot = &Slot{Request: q, registry: r, run: is, hearing: &hearing{}}
	r.lineOf(q.Site.Hub).busy[q.Device] = is.slot
	if q.isLarge() {
		r.large[q.Key.Namespace]++
	}
	r.all.Add(1)
	return is.slot, nil
}

// hasPlace reports whether an attempt may begin, with the lock held: its device is free, its hub has
// a place, and there is room for its payload. Large payloads take memory of all tenants: one
// namespace gets at most half of what the others leave.
func (r *Registry) hasPlace(l *line, q Request) bool {
	if l.busy[q.Device] != nil || len(l.busy) >= maxPlaces {
		return false
	}
	own, all := r.large[q.Key.Namespace], 0
	for _, n := range r.large {
		all += n
	}
	return !q.isLarge() || all < maxLarge && 2*(own+1) <= maxLarge-(all-own)
}

// line has a command wait for a place, with the lock held. It keeps its turn, unless that is
// another device's.
func (r *Registry) line(is *run, q Request) {
	if is.turn != nil && is.turn.Site.Hub == q.Site.Hub && is.turn.Device == q.Device {
		return
	}
	r.leaveLine(is)
	is.turn = &turn{q}
	l := r.lineOf(q.Site.Hub)
	l.waiting = append(l.waiting, is)
}

// Start makes the attempt in a goroutine of its own, which ends with it. Its context ends once
// nobody waits for the answer any more. The doubt was about an earlier attempt.
func (s *Slot) Start(attempt func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	s.registry.mu.Lock()
	s.cancel = cancel
	s.registry.settleDoubt(s.run)
	s.registry.mu.Unlock()
	go func() {
		defer s.registry.all.Done()
		defer cancel()
		attempt(ctx)
	}()
}

// Cancel gives the place back: there is no attempt.
func (s *Slot) Cancel() {
	s.leave(true)
	s.registry.all.Done()
}

// Answered notes that the hub has answered the command, which was under way at that time.
func (s *Slot) Answered(w Window) {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	s.answered = time.Now()
	s.hearing.answered(w)
}

// IsStirred reports whether the hub's events told that the device was there while its command was
// under way.
func (s *Slot) IsStirred() bool {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	return s.hearing.stirred
}

// IsAbandoned reports whether the object of the command is gone.
func (s *Slot) IsAbandoned() bool {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	return s.isAbandoned
}

// IsUnderWay reports whether the attempt has not ended.
func (s *Slot) IsUnderWay() bool {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	return s.run.slot == s
}

func (s *Slot) abandon() {
	s.isAbandoned = true
	if s.cancel != nil {
		s.cancel()
	}
}

// Rest leaves the command alone after the attempt, which did not reach its device; it sets where
// and how long. An event may tell of the device before the outcome is recorded, which may take
// long: it ends the rest, so that has begun by then.
func (s *Slot) Rest(of Rest) {
	r := s.registry
	r.mu.Lock()
	now, before := time.Now(), s.run.rest
	r.unlist(s.run)
	is := &rest{Rest: of, device: s.Device, ended: s.answered}
	if is.ended.IsZero() {
		is.ended = now
	}
	is.At = s.Site
	is.begin(before, now)
	s.run.rest = is
	if is.Awaits != AwaitsNothing {
		is.hearing = s.hearing
		is.doubted = is.hearing.stirred && is.mayHaveRun()
		r.list(s.run)
	}
	isDoubted := is.doubted
	r.mu.Unlock()
	if isDoubted {
		r.look(s.run.key)
	}
}

// Leave gives the place at the hub back, before the attempt has ended: another command of the
// device may have it then. It does so once.
func (s *Slot) Leave() { s.leave(false) }

// End ends the attempt, and has the command looked at.
func (s *Slot) End() {
	s.leave(true)
	s.registry.look(s.run.key)
}

// leave gives the place back, to the one that has waited longest of those that may begin.
func (s *Slot) leave(ends bool) {
	r := s.registry
	r.mu.Lock()
	var offers []func()
	if !s.isLeft {
		s.isLeft = true
		offers = r.giveBack(s)
	}
	if ends && s.run.slot == s {
		s.run.slot = nil
		r.prune(s.run)
	}
	r.trim(s.Site.Hub)
	r.mu.Unlock()
	for _, offer := range offers {
		offer()
	}
}

// giveBack frees the place of an attempt, with the lock held, and returns the calls that offer it:
// to the first in the line of its hub and, if it freed room for a large payload, to the first of
// each hub that waits for some.
func (r *Registry) giveBack(s *Slot) (offers []func()) {
	l := r.lineOf(s.Site.Hub)
	delete(l.busy, s.Device)
	offer := func(l *line, to func(*run) bool) {
		i := slices.IndexFunc(l.waiting, func(o *run) bool { return to(o) && r.hasPlace(l, o.turn.Request) })
		if i < 0 {
			return
		}
		next := l.waiting[i]
		offers = append(offers, next.turn.Freed)
		r.leaveLine(next)
		r.prune(next)
	}
	if s.isLarge() {
		if r.large[s.Key.Namespace]--; r.large[s.Key.Namespace] == 0 {
			delete(r.large, s.Key.Namespace)
		}
		for _, other := range r.lines {
			if other != l {
				offer(other, func(o *run) bool { return o.turn.isLarge() })
			}
		}
	}
	offer(l, func(*run) bool { return true })
	return offers
}
