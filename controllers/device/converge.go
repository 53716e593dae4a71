package device

import (
	"cmp"
	"context"
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pnp-operator/pnp-operator/controllers/metrics"
	"github.com/pnp-operator/pnp-operator/controllers/removals"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

var (
	errContended   = errors.New("the twin changed during every attempt to write it")
	errNotRendered = errors.New("the changes cannot be rendered")
)

// converge does what is next about the device, until nothing is left to do, or nothing can be done.
func (r *PnPDeviceReconciler) converge(ctx context.Context, s *scope) error {
	for {
		step := s.Next()
		s.remember()
		if step.IsBlocked {
			s.memory.Blocked(step.Blame)
		}
		if outcome, isOver := r.do(ctx, s, step); isOver || outcome != nil {
			return outcome
		}
	}
}

// do takes one step, and adds what came of it to the facts. isOver is true if the pass goes no
// further.
func (r *PnPDeviceReconciler) do(ctx context.Context, s *scope, step convergence.Step) (outcome error, isOver bool) {
	switch step.Do {
	case convergence.Read:
		return r.read(ctx, s), false
	case convergence.Check:
		return r.conform(ctx, s), false
	case convergence.Permit:
		return r.permit(ctx, s, step.Changes), false
	case convergence.Write:
		return r.write(ctx, s, step.Changes), false
	case convergence.End:
		return haltOn(step.Halt), true
	case convergence.Fail:
		return r.refused(ctx, s, s.failure), true
	case convergence.Contended:
		return errContended, true
	case convergence.Done:
		r.release(s, step)
	}
	return nil, true
}

// permit finds out whether removals may be made.
func (r *PnPDeviceReconciler) permit(ctx context.Context, s *scope, gone []twin.Change) error {
	allowed, err := r.braked(ctx, s, gone)
	switch {
	case err != nil:
		return err
	case allowed:
		s.Permitted()
	default:
		s.NotPermitted(massRemovalText(s))
	}
	return nil
}

// braked reports whether removals may be made: the hub's are not halted. They count as removed
// then.
func (r *PnPDeviceReconciler) braked(ctx context.Context, s *scope, gone []twin.Change) (allowed bool, err error) {
	asked := removals.Request{
		Object: s.Device.UID, Member: removals.MemberOf(s.Device.UID, s.Device.Generation), Leaves: convergence.LeavesOf(gone), Unrecorded: s.hubGone,
	}
	permit, err := r.Brake.Allow(ctx, r, s.Hub, asked, time.Now())
	if err != nil {
		return false, err
	}
	s.counted = permit.Counted
	switch {
	case permit.Allowed && s.hubGone && r.hasSessionEnded(s):
		return false, r.putOff(s, waits.Cache.Most)
	case permit.News:
		r.Wakes.Hub(ctx, client.ObjectKeyFromObject(s.Hub))
	}
	return permit.Allowed, nil
}

// hasSessionEnded reports whether the session of an IoTHub that is gone has ended during the pass.
// What the brake counted of that hub is forgotten then, so that it does not stop what is under way.
func (r *PnPDeviceReconciler) hasSessionEnded(s *scope) bool {
	session, _ := r.Hubs.ForClearing(client.ObjectKeyFromObject(s.Hub))
	return session != s.session
}

// uncount takes back from the brake what it counted for this round, if a failure means that none of
// it was removed.
func (r *PnPDeviceReconciler) uncount(s *scope, failure error) {
	if failure != nil && !iothub.DidNothing(failure) {
		return
	}
	if failure != nil && len(s.counted) > 0 {
		r.Brake.TakeBack(client.ObjectKeyFromObject(s.Hub), s.Device.UID, s.counted)
	}
	s.counted = nil
}

// write sends one patch. An operator that is told to stop begins no write, and lets one that has
// begun come to its end.
func (r *PnPDeviceReconciler) write(ctx context.Context, s *scope, changes []twin.Change) error {
	if err := ctx.Err(); err != nil {
		r.uncount(s, err)
		return err
	}
	if !r.mayHold(s) {
		return r.putOff(s, session.Jittered(waits.LargeTwin.Most))
	}
	if holds, err := r.stillHolds(ctx, s); err != nil || !holds {
		return cmp.Or(err, r.putOff(s, waits.Soon))
	}
	patch, isRendered, err := s.Render(changes)
	if !isRendered {
		r.uncount(s, cmp.Or(err, errNotRendered))
		return err
	}
	r.send(context.WithoutCancel(ctx), s, patch)
	return nil
}

// send has the hub take a patch.
func (r *PnPDeviceReconciler) send(ctx context.Context, s *scope, patch convergence.Patch) {
	answer, err := s.memory.Write(patch.Changes, s.Twin, func() (session.Answer, error) { return r.patch(ctx, s, patch) })
	r.uncount(s, err)
	s.look()
	if s.failure = err; err != nil {
		s.NotWritten(failureFacts(err))
		return
	}
	if answer.IsWhole {
		r.wakeCommands(ctx, s)
	}
	r.accepted(ctx, s, patch.Changes, answer.Twin)
}

// patch makes the call. A digital-twin patch has no answer but an etag.
func (r *PnPDeviceReconciler) patch(ctx context.Context, s *scope, p convergence.Patch) (session.Answer, error) {
	id, hub := s.Device.DeviceID(), r.asking(ctx, s)
	if p.Dialect == twin.DeviceTwin {
		t, err := hub.PatchTwin(ctx, id, p.Body, p.ETag)
		return session.Answer{Twin: t, IsWhole: true}, err
	}
	etag, err := hub.PatchDigitalTwin(ctx, id, p.Body, p.ETag)
	if err != nil {
		return session.Answer{}, err
	}
	return session.Answer{Twin: s.Applied(p.Changes, etag)}, nil
}

// failureFacts are what a failed write tells.
func failureFacts(err error) convergence.Failure {
	return convergence.Failure{
		DidNothing: iothub.DidNothing(err), IsStale: iothub.IsPreconditionFailed(err), IsInvalid: iothub.IsInvalidPatch(err),
		IsTerminal: iothub.ClassOf(err) == iothub.Terminal, IsNotFound: iothub.IsNotFound(err),
		IsUnauthorized: iothub.IsUnauthorized(err), RefusesCredential: iothub.RefusesCredential(err),
	}
}

// putOff leaves a write to a later pass.
func (r *PnPDeviceReconciler) putOff(s *scope, after time.Duration) error {
	h := unchanged(s.Device)
	h.After = after
	r.uncount(s, h)
	return h
}

// accepted takes note of what the hub took, and tells of it.
func (r *PnPDeviceReconciler) accepted(ctx context.Context, s *scope, changes []twin.Change, now *twin.Twin) {
	r.stopwatches.patched(s.Device, changes, time.Now())
	if !s.Device.DeletionTimestamp.IsZero() { // all that it owns is removed in one patch, or nothing
		r.clearing.settle(s.Device)
	}
	s.Accepted(changes, now)
	for _, c := range changes {
		if times := s.Memory.Corrections[c.Leaf]; c.Cause == twin.Drifted {
			last := len(times) - 1
			s.memory.Corrected(c.Leaf, times[:last], times[last])
		}
	}
	s.remember()
	s.look()
	s.memory.Unblocked()
	r.tell(ctx, s, changes)
}

func (r *PnPDeviceReconciler) tell(ctx context.Context, s *scope, changes []twin.Change) {
	leaves := convergence.Listed("", convergence.LeavesOf(changes))
	log.FromContext(ctx).Info("Patched the twin", "deviceID", s.Device.DeviceID(), "leaves", leaves, "desiredVersion", s.Twin.DesiredVersion)
	for _, c := range changes {
		if c.Cause == twin.Drifted {
			metrics.DriftCorrected.Inc()
			announceCorrection(r.Recorder, s.Device, c)
		}
	}
}

// release tells of what a pass that is done lets go of: the hub holds someone else's value, or
// nothing.
func (r *PnPDeviceReconciler) release(s *scope, step convergence.Step) {
	for _, leaf := range step.Released {
		if held := s.Twin.Properties[leaf].Desired; held != nil {
			announceRelease(r.Recorder, s.Device, leaf, held)
		}
	}
	if step.IsSettled {
		s.memory.Unblocked()
	}
}

// massRemovalText is what each object says.
func massRemovalText(s *scope) string {
	text := "O" + removals.ShareText + "Removals are halted" + convergence.Listed(": not removed: ", s.Departing())
	switch {
	case s.hubGone:
		return text + ", and the IoTHub is gone: put it back and " + removals.ConfirmText + ", or the object goes within minutes and its properties stay"
	case !s.Device.DeletionTimestamp.IsZero():
		return text + ". What is being deleted cannot be put back: set deletionPolicy: Retain, and put it back once it is gone, or " + removals.ConfirmText
	}
	return text + ". Put the declarations back, or " + removals.ConfirmText
}
