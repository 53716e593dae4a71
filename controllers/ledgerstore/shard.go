package ledgerstore

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pnp-operator/pnp-operator/internal/ledger"
)

// shard is one ConfigMap of the ledger. It has one writer, which lives while there is something to
// write: what comes meanwhile gathers for the next write.
type shard struct {
	ledger *Store
	name   shardName
	// urgent wakes the writer that waits for what may be late.
	urgent chan struct{}

	reading sync.Mutex // held while the ConfigMap is read

	users int // who has it from Ledger.enter; guarded by Ledger.mu

	mu      sync.Mutex
	loaded  bool
	entries ledger.Entries // as they are on record, or were if it is to be read again
	behind  bool           // the ConfigMap lacks some of them
	version string         // of the ConfigMap, empty if there is none
	damaged error
	again   time.Time // when a damaged one is read again
	queue   []*change // what somebody waits for
	opened  time.Time // when the queue began
	late    []*change // what nobody waits for
	due     time.Time // when that is written by itself
	next    time.Time // when the next write may begin
	writing bool
}

// change is one entry's transition.
type change struct {
	key   ledger.Key
	apply func(ledger.Entries) error // nil: only have written what is late
	ctx   context.Context            // of the one who waits; nil: nobody does
	done  chan error
}

// load reads the shard unless it is known.
func (s *shard) load(ctx context.Context) error {
	s.mu.Lock()
	loaded, damaged := s.loaded, s.damaged
	if damaged != nil && time.Now().After(s.again) {
		damaged = nil
	}
	s.mu.Unlock()
	if loaded || damaged != nil {
		return damaged
	}
	_, _, err := s.known(ctx)
	return err
}

// apply has a change written, and returns when it is on record, or refused. If ctx ends first, it
// may be either.
func (s *shard) apply(ctx context.Context, key ledger.Key, transition func(ledger.Entries) error) error {
	c := &change{key: key, apply: transition, ctx: ctx, done: make(chan error, 1)}
	s.mu.Lock()
	switch {
	case transition == nil:
		s.opened = time.Time{} // at once
	case len(s.queue) == 0:
		s.opened = time.Now()
	}
	s.queue = append(s.queue, c)
	s.begin()
	s.mu.Unlock()
	select {
	case s.urgent <- struct{}{}:
	default:
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// later has a change written when there is another one to write, or after a while.
func (s *shard) later(key ledger.Key, transition func(ledger.Entries) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.late) == 0 {
		s.due = time.Now().Add(lateAfter)
	}
	s.late = append(s.late, &change{key: key, apply: transition})
	s.begin()
}

// flush writes what is late.
func (s *shard) flush(ctx context.Context) error {
	s.mu.Lock()
	idle := len(s.late) == 0 && !s.writing
	s.mu.Unlock()
	if idle {
		return nil
	}
	return s.apply(ctx, ledger.Key{}, nil)
}

// look returns an entry as it is on record or about to be.
func (s *shard) look(key ledger.Key) *ledger.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	view := ledger.Entries{}
	if e, ok := s.entries[key]; ok {
		view[key] = e
	}
	for _, c := range s.late {
		if c.key == key {
			_ = c.apply(view) // one that does not fit says nothing
		}
	}
	if e, ok := view[key]; ok {
		return &e
	}
	return nil
}

// begin starts the writer, if there is none. The lock is held.
func (s *shard) begin() {
	if !s.writing {
		s.writing = true
		go s.work()
	}
}

// work writes until nothing is left.
func (s *shard) work() {
	for {
		wait, more := s.pause()
		if !more {
			return
		}
		if wait > 0 {
			s.sleep(wait)
			continue
		}
		s.writeOnce()
	}
}

// pause is how long to wait before the next write, and whether there is any.
func (s *shard) pause() (wait time.Duration, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch stopping := s.ledger.lifetime.Err() != nil; {
	case stopping && len(s.queue)+len(s.late) > 0:
		return 0, true
	case len(s.queue) > 0:
		return max(s.opened.Add(gatherFor).Sub(now), s.next.Sub(now)), true
	case len(s.late) > 0:
		return max(s.due.Sub(now), s.next.Sub(now)), true
	}
	s.writing = false
	return 0, false
}

// sleep waits, and not as long if something urgent comes.
func (s *shard) sleep(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.urgent:
	case <-s.ledger.lifetime.Done():
	}
}

// pace is how far apart writes are: the larger the object, the more gathers for one.
func pace(entries ledger.Entries) time.Duration {
	return 50*time.Millisecond + time.Duration(entries.Weight()>>10)*time.Millisecond
}

// writeOnce takes what has gathered, and writes it. One that is refused because somebody else wrote
// is decided anew on what they wrote.
func (s *shard) writeOnce() {
	s.mu.Lock()
	queue, late := s.queue, s.late
	s.queue = nil
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), CallTime)
	defer cancel()
	results, err := s.write(ctx, queue, late)
	for tries := 1; err != nil && tries < 3 && isOvertaken(err); tries++ {
		s.forgetAll()
		results, err = s.write(ctx, queue, late)
	}
	if err != nil {
		s.forgetAll()
	}
	s.settleLate(len(late), err)
	for i, c := range queue {
		if err != nil {
			c.done <- err
			continue
		}
		c.done <- results[i]
	}
}

// isOvertaken reports whether the ConfigMap is another one than was thought.
func isOvertaken(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}

func (s *shard) forgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loaded = false
}

// settleLate drops what is on record of that which nobody waits for. If it could not be written it
// is tried again, for as long as the operator runs.
func (s *shard) settleLate(n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if err == nil || s.ledger.lifetime.Err() != nil {
		s.late = s.late[n:]
		s.due = now.Add(lateAfter)
		return
	}
	s.due = now.Add(2 * lateAfter)
	if n > 0 {
		s.ledger.Log.Error(err, "Could not write the record of commands, trying again", "configMap", s.name.String())
	}
}

// write applies changes to what is on record, and writes that if it is another state then.
func (s *shard) write(ctx context.Context, queue, late []*change) (results []error, err error) {
	entries, version, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	next := maps.Clone(entries)
	next.Forget(began)
	changed := s.isBehind()
	for _, c := range append(append([]*change{}, late...), queue...) {
		result := c.on(next)
		changed = changed || result == nil && c.apply != nil
		if c.done != nil {
			results = append(results, result)
		}
	}
	if !changed {
		return results, nil
	}
	version, err = s.ledger.write(ctx, s.name, next, version)
	if apierrors.IsNotFound(err) { // somebody deleted it: what is known is written anew
		version, err = s.ledger.write(ctx, s.name, next, "")
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries, s.version, s.next, s.behind = next, version, began.Add(pace(next)), false
	return results, nil
}

// isOver reports whether the shard holds nothing any more, and nothing is to be written.
func (s *shard) isOver(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := maps.Clone(s.entries)
	left.Forget(now)
	return len(left) == 0 && !s.writing && len(s.queue)+len(s.late) == 0
}

func (s *shard) isBehind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behind
}

// verify reads the ConfigMap again, and writes what it lacks.
func (s *shard) verify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == nil {
		return
	}
	s.loaded = false
	s.late, s.due = append(s.late, &change{}), time.Now()
	s.begin()
}

// on applies a change whose author still waits for it.
func (c *change) on(entries ledger.Entries) error {
	if c.ctx != nil && c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	if c.apply == nil {
		return nil
	}
	return c.apply(entries)
}

// known is what is on record, read if it is not known. What was on record before and is not there any
// more counts all the same: etcd was put back to an older copy, and a run stays a run.
func (s *shard) known(ctx context.Context) (ledger.Entries, string, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if entries, version, loaded := s.memory(); loaded {
		return entries, version, nil
	}
	entries, version, err := s.ledger.read(ctx, s.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.damaged = nil
	if _, is := errors.AsType[*DamagedError](err); is {
		s.damaged, s.again = err, time.Now().Add(damagedFor)
	}
	if err != nil {
		return nil, "", err
	}
	if entries.Recover(s.entries, time.Now()) {
		s.ledger.Log.Info("The record of commands was put back to an older copy, and is written anew", "configMap", s.name.String())
		s.behind = true
		s.late, s.due = append(s.late, &change{}), time.Now()
		s.begin()
	}
	s.loaded, s.entries, s.version = true, entries, version
	return entries, version, nil
}

func (s *shard) memory() (ledger.Entries, string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries, s.version, s.loaded
}
