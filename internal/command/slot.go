package command

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Slot is the attempt of a command that is under way: a place at its hub, and one among those that
// a stop waits for.
type Slot struct {
	registry *Registry
	run      *run
	object   types.UID // of the command that the attempt is for
	site     Site
	device   string

	// The following are guarded by the registry.
	hearing     *hearing
	answered    time.Time // when the hub did, zero: it has not
	isLeft      bool      // the place at the hub is given back
	cancel      context.CancelFunc
	isAbandoned bool // the object is gone
}

// Reserve takes a place for an attempt of a command, of which object is the UID. If the device or
// the hub has none, freed is called once there may be one. A command that asks again keeps its turn.
func (r *Registry) Reserve(key types.NamespacedName, object types.UID, at Site, device string, freed func()) (s *Slot, err error) {
	r.change(key, func(is *run) { s, err = r.reserve(is, object, at, device, freed) })
	return s, err
}

func (r *Registry) reserve(is *run, object types.UID, at Site, device string, freed func()) (*Slot, error) {
	if r.closing {
		return nil, ErrClosing
	}
	l := r.lineOf(at.Hub)
	if l.busy[device] != nil || len(l.busy) >= maxPlaces || is.slot != nil {
		r.line(is, &turn{at.Hub, device, freed})
		return nil, ErrNoPlace
	}
	r.leaveLine(is)
	r.stopListening(is)
	is.slot = &Slot{registry: r, run: is, object: object, site: at, device: device, hearing: &hearing{}}
	r.lineOf(at.Hub).busy[device] = is.slot
	r.all.Add(1)
	return is.slot, nil
}

// line has a command wait for a place, with the lock held. It keeps its turn, unless that is
// another device's.
func (r *Registry) line(is *run, at *turn) {
	if is.turn != nil && is.turn.hub == at.hub && is.turn.device == at.device {
		return
	}
	r.leaveLine(is)
	is.turn = at
	l := r.lineOf(at.hub)
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
	is := &rest{Rest: of, device: s.device, ended: s.answered}
	if is.ended.IsZero() {
		is.ended = now
	}
	is.At = s.site
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

// leave gives the place back, to the one that has waited longest of those whose device is free.
func (s *Slot) leave(ends bool) {
	r := s.registry
	r.mu.Lock()
	freed := func() {}
	if l := r.lineOf(s.site.Hub); !s.isLeft {
		s.isLeft = true
		delete(l.busy, s.device)
		if i := slices.IndexFunc(l.waiting, func(o *run) bool { return l.busy[o.turn.device] == nil }); i >= 0 {
			next := l.waiting[i]
			freed = next.turn.freed
			r.leaveLine(next)
			r.prune(next)
		}
	}
	if ends && s.run.slot == s {
		s.run.slot = nil
		r.prune(s.run)
	}
	r.trim(s.site.Hub)
	r.mu.Unlock()
	freed()
}
