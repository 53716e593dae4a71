package ledger

import (
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Recover puts what was on record before into entries that were read, and reports whether anything
// was missing there: the store was put back to an older copy. An entry is only forgotten when its
// time is over, and an invocation only goes on, so that of two entries the later one is known.
func (s Entries) Recover(before Entries, now time.Time) (missing bool) {
	for key, e := range before {
		is, known := s[key]
		if !now.Before(e.forgottenAt()) || known && !e.follows(is) {
			continue
		}
		s[key] = e
		missing = true
	}
	return missing
}

// follows reports whether an entry says more of an invocation than another one. Of one attempt that
// is the later state. Of two attempts it is the one that allows less, since clocks of processes may
// differ, and then the later one.
func (e Entry) follows(other Entry) bool {
	if e.Request == other.Request {
		return e.progress() > other.progress()
	}
	if a, b := e.strictness(), other.strictness(); a != b {
		return a > b
	}
	return e.At.After(other.At)
}

// progress orders the states of one attempt.
func (e Entry) progress() int {
	switch {
	case e.Outcome != nil && e.Outcome.Outcome != v1alpha1.CommandUnknown:
		return 3
	case e.Outcome != nil:
		return 2
	case e.Released:
		return 1
	}
	return 0
}

// strictness orders entries by what may follow them: an attempt at once, one of unknown outcome if
// that is wanted, or none.
func (e Entry) strictness() int {
	switch {
	case e.Outcome != nil:
		return 2
	case e.Released:
		return 0
	}
	return 1
}
