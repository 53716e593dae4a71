package session

import (
	"sync"
	"time"
)

const (
	// AskFirst is the time before a hub is asked whether it still takes a credential.
	AskFirst = 5 * time.Second
	// AskMost is the longest time between two such questions.
	AskMost = 30 * time.Second
)

// doubt is whether the hub still takes a credential. A call that was refused raises it: what the hub
// says of one device says nothing of all others. So it is asked once more, however many calls were
// refused, and as often as AskMost says if it takes the credential and goes on to refuse calls. The
// zero value is none.
type doubt struct {
	mu      sync.Mutex
	raised  bool
	since   time.Time // of the first of a row of doubts
	settled time.Time // when the hub took the credential last, zero: when the session was built
}

// raise notes that a call was refused that began at a time, and reports whether that is news. The hub
// has taken the credential since if it did so after that.
func (d *doubt) raise(began, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.raised || began.Before(d.settled) {
		return false
	}
	if now.Sub(d.settled) > AskMost {
		d.since = now
	}
	d.raised = true
	return true
}

// askAfter is how long to wait before the hub is asked: not at all at first, then as long as calls have
// been refused.
func (d *doubt) askAfter(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.settled.Before(d.since) {
		return 0
	}
	return max(0, d.settled.Add(min(max(now.Sub(d.since), AskFirst), AskMost)).Sub(now))
}

func (d *doubt) settle(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.raised, d.settled = false, now
}

func (d *doubt) settledAfter(t time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.settled.After(t)
}

func (d *doubt) isRaised() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.raised
}

// Refused notes that the hub refused the credential in a call that began at a time: it has to be asked
// whether it still takes it. It reports whether that is news.
func (s *Session) Refused(began time.Time) bool { return s.doubt.raise(began, time.Now()) }

// Doubted reports whether a call was refused since the hub took the credential.
func (s *Session) Doubted() bool { return s.doubt.isRaised() }

// AskAfter is how long to wait before the hub is asked whether it takes the credential.
func (s *Session) AskAfter() time.Duration { return s.doubt.askAfter(time.Now()) }

// TookSince reports whether the hub has taken the credential once more after a time.
func (s *Session) TookSince(t time.Time) bool { return s.doubt.settledAfter(t) }

// Accepted notes that the hub has taken the credential once more.
func (s *Session) Accepted() { s.doubt.settle(time.Now()) }
