package eventstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

var errSilent = errors.New("the hub holds events and sends none")

// silence finds receivers of one connection that the hub has events for, and that get none: a link may
// stay up and carry nothing. Such a receiver is opened anew, and if that brings nothing either the whole
// connection. The zero value is ready to use.
type silence struct {
	mu        sync.Mutex
	receivers map[string]*receiver
	reopened  map[string]bool // and nothing came since
}

// receiver is one that is open.
type receiver struct {
	since time.Time
	busy  atomic.Bool // it handles an event: then the hub is not to blame
	end   context.CancelCauseFunc
}

// watch returns a receiver of a partition that has been opened, the context that it receives in, and
// what it calls at its end.
func (s *silence) watch(ctx context.Context, id string) (r *receiver, receiving context.Context, leave func()) {
	receiving, end := context.WithCancelCause(ctx)
	r = &receiver{since: time.Now(), end: end}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.receivers == nil {
		s.receivers, s.reopened = map[string]*receiver{}, map[string]bool{}
	}
	s.receivers[id] = r
	return r, receiving, func() {
		end(nil)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.receivers, id)
	}
}

// silent is why a receiver is opened anew, nil if it is not.
func silent(receiving context.Context) error {
	if cause := context.Cause(receiving); errors.Is(cause, errSilent) {
		return cause
	}
	return nil
}

// judge looks at what became of a partition since a time when the hub said how far it goes: whether that
// was handled, or anything. It reports whether a new receiver brought nothing either.
func (s *silence) judge(id string, since time.Time, isBehind, moved bool) (lasts bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.receivers[id]
	switch {
	case !isBehind || moved:
		delete(s.reopened, id)
	case r == nil || r.since.After(since) || r.busy.Load(): // refused, new, or not to blame
	case s.reopened[id]:
		return true
	default:
		s.reopened[id] = true
		r.end(errSilent)
	}
	return false
}
