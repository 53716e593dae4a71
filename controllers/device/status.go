package device

import (
	"time"

	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// summarise has status say what the pass found, and returns when the next pass is due, 0 if only
// when woken.
func (s *scope) summarise(h *halt.Error) time.Duration {
	s.look()
	s.Show()
	s.lookForPresence()
	o := s.Conclude(h.Told())
	in := o.In
	if o.FollowUps {
		in = convergence.Sooner(in, s.followUp(o))
	}
	if in <= time.Second {
		return in
	}
	return in + session.Jittered(in)/20 // late rather than early: what is due must be due then
}

// followUp tells memory what reads are wanted after a write, and returns when the next one is due,
// 0 if none is.
func (s *scope) followUp(o convergence.Outlook) time.Duration {
	s.memory.Awaits(o.Awaits)
	switch o.Want {
	case convergence.AsBefore:
	case convergence.Never:
		s.memory.Settled()
	case convergence.Unless, convergence.Anew:
		s.memory.Unsettled(s.Now, o.Want == convergence.Anew)
	case convergence.Once:
		s.memory.Unexplained(s.Now)
	}
	in, ok := s.memory.NextFollowUp(s.Now)
	if !ok {
		return 0
	}
	return max(in, waits.Soon)
}

// haltOn ends a pass as convergence has it.
func haltOn(h *convergence.Halt) *halt.Error {
	is := &halt.Error{Verdict: h.Verdict, After: h.After}
	if h.Because == convergence.Refusal {
		is.Row = waits.HubRefuses
	}
	return is
}
