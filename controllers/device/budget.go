package device

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/finish"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

// asking returns the hub as a pass asks it: with which priority a request takes its token, and for whom.
func (r *PnPDeviceReconciler) asking(ctx context.Context, s *scope) session.Hub {
	key := client.ObjectKeyFromObject(s.Device)
	return s.session.As(budget.Caller{
		Key: key.String(), Priority: s.priority(), Called: func() { r.Wakes.Device(ctx, triggers.Device{Key: key}) }, // its turn has come: before all others
	})
}

// ended gives back the place of a pass among the workers that wait for its hub, or what was kept for
// it and not used. A pass that ended for want of a place goes on waiting for it.
func (r *PnPDeviceReconciler) ended(req ctrl.Request, s *scope) {
	if s.memory != nil {
		s.memory.End()
	}
	if s.holdsLarge {
		r.large.Add(-1)
	}
	if s.inLine {
		return
	}
	if r.Workers != nil {
		r.Workers.Leave(req.String())
	}
}

// maxLarge is how many passes at a time may wait for the answer to a write while they hold a large twin, see session.IsLarge: what
// has 8 MiB as text may take 46 MiB.
const maxLarge = 1

// mayHold reports whether a pass may hold its twin while it waits for the answer to a write, to its end. A hub that takes
// its time is the trouble of its own devices: others have no twins that are large.
func (r *PnPDeviceReconciler) mayHold(s *scope) bool {
	if s.holdsLarge || !session.IsLarge(s.Twin) {
		return true
	}
	if s.holdsLarge = r.large.Add(1) <= maxLarge; !s.holdsLarge {
		r.large.Add(-1)
	}
	return s.holdsLarge
}

func (s *scope) priority() budget.Priority {
	switch {
	case s.isEdited():
		return budget.PriorityEdit
	case s.origin != nil || s.memory.OnlySwept():
		return budget.PrioritySweep
	}
	return budget.PriorityFollowUp
}

// isEdited reports whether a user is waiting for this pass.
func (s *scope) isEdited() bool {
	return s.origin != nil && !s.origin.atStart || !s.Device.DeletionTimestamp.IsZero()
}

// await ends a pass that has no token for a call: it comes back when it is told to. Status keeps what it says, unless somebody is waiting for a thing to be
// done, and it takes long; or the hub was written before, which has to be on record.
func (r *PnPDeviceReconciler) await(ctx context.Context, before *v1alpha1.PnPDevice, s *scope, w budget.Wait) *finish.Ending {
	if s.WasRead {
		s.memory.Defer()
	}
	h := &halt.Error{Verdict: halt.VerdictOnWait(w, cached.HubKey(s.Device))}
	switch concerns := s.isEdited() || w.Class == budget.TwinWrite && s.origin == nil; {
	case concerns && halt.IsLong(w, r.Grace):
	case s.Wrote:
		h = unchanged(s.Device)
	default:
		return &finish.Ending{Next: w.For}
	}
	s.waiting = !s.Wrote
	s.summarise(h)
	e := r.says(ctx, before, s)
	e.Next, e.IsUrgent = w.For, true
	return e
}
