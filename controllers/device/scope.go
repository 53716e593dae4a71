package device

import (
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// scope is one pass over one PnPDevice: what convergence makes of its facts, and what the pass
// needs to find them out and to do what follows. It never writes status itself.
type scope struct {
	*convergence.State

	// origin is why the object is reconciled, nil if neither a user nor a start of the operator is the reason.
	origin *origin
	// hubGone is true if Hub is what the IoTHub was when it went.
	hubGone bool
	session *session.Session
	// memory is the handle on what is known of the device; nil: the pass has no business with that.
	memory *session.Pass
	// failure is that of the last write, nil if it did not fail.
	failure error
	// counted are the removals that the brake took note of for this round, and did not know before.
	counted []twin.Leaf
	// waiting is true if the pass ended for want of a token: what memory holds is for the next one.
	waiting bool
	// inLine is true if the pass ended because as many workers wait for its hub as may: it is called.
	inLine bool
	// holdsLarge is true while the pass is one of those that hold a large twin, see mayHold.
	holdsLarge bool
	// carried is what this pass, which has no session, has status show of the twin that it is
	// about.
	carried *scope
}

func newScope(device *v1alpha1.PnPDevice, now time.Time) *scope {
	return &scope{State: convergence.New(convergence.Facts{Device: device, Now: now})}
}

// look finds out what memory knows now.
func (s *scope) look() {
	if s.Memory = nil; s.memory != nil {
		s.Memory = s.memory.Remembered()
	}
	if s.session != nil {
		s.EventsTrusted, s.EventsExpected = s.session.EventsTrusted(), s.session.EventsExpected()
	}
}

// lookForPresence finds out whether a device that owes an answer is there, whatever the hub calls
// it.
func (s *scope) lookForPresence() {
	s.PresentSince = time.Time{}
	if since, owes := s.OwesWhileOffline(); owes && s.memory != nil {
		s.PresentSince, _ = s.memory.PresentSince(since)
	}
}

// remember tells memory what the pass made of the twin.
func (s *scope) remember() {
	d := s.TakeDuties()
	if s.memory == nil {
		return
	}
	if d.Forget != nil {
		s.memory.ForgetAttempts(d.Forget)
	}
	if d.Keep {
		s.memory.Keep(d.Saved)
	}
	if d.Settle {
		s.memory.Settle()
	}
}
