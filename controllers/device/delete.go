package device

import (
	"context"
	"errors"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/finish"
	"github.com/pnp-operator/pnp-operator/controllers/metrics"
	"github.com/pnp-operator/pnp-operator/controllers/rivals"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/managedfields"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// notClearedError ends a deletion whose clearing cannot be done any more: the object goes, loudly.
type notClearedError struct{ why string }

func (e *notClearedError) Error() string { return "not cleared: " + e.why }

// delete clears what the object owns if its policy says so, and lets it go. The IoTHub, the Secret
// or the right to read it, where a user took that away, is done without for a few minutes. Then the
// object goes all the same; only a hub that is failing for now is waited for.
func (r *PnPDeviceReconciler) delete(ctx context.Context, before *v1alpha1.PnPDevice, s *scope) (ctrl.Result, error) {
	device := s.Device
	if !controllerutil.ContainsFinalizer(device, v1alpha1.FinalizerClear) {
		return r.leave(ctx, before, s)
	}
	outcome := r.clear(ctx, s)
	if left, ok := errors.AsType[*notClearedError](outcome); ok {
		log.FromContext(ctx).Info("Deleting without clearing the twin", "deviceID", device.DeviceID(), "reason", left.why)
		metrics.DevicesNotCleared.Inc()
		announceNotCleared(r.Recorder, device, left.why)
		r.clearing.settle(device)
		outcome = nil
	}
	if outcome != nil {
		return r.finish(ctx, before, s, outcome)
	}
	ctx, cancel := finish.ForRecord(ctx)
	defer cancel()
	base := device.DeepCopy()
	controllerutil.RemoveFinalizer(device, v1alpha1.FinalizerClear)
	return ctrl.Result{}, client.IgnoreNotFound(r.Patch(ctx, device, client.MergeFrom(base)))
}

// leave has an object that only the finalizers of others hold say that, once, and nothing of its
// device any more: nobody tells it of that, and what it set there is gone, or left there.
func (r *PnPDeviceReconciler) leave(ctx context.Context, before *v1alpha1.PnPDevice, s *scope) (ctrl.Result, error) {
	st, held := &s.Device.Status, managedfields.OtherFinalizers(s.Device)
	if held == "" {
		return ctrl.Result{}, nil
	}
	st.Properties, st.Components, st.NotShown, s.Lost = nil, nil, 0, true
	s.summarise(halt.Waiting(v1alpha1.ReasonProgressing, heldText+held, 0))
	return finish.Pass(ctx, r.Client, r.Recorder, r.says(ctx, before, s))
}

const heldText = "The device is neither read nor written any more, and the object is held by finalizers of others: "

// clear removes the owned leaves from the twin. nil: nothing of ours is left there.
func (r *PnPDeviceReconciler) clear(ctx context.Context, s *scope) error {
	if s.Device.Spec.DeletionPolicy != v1alpha1.DeletionClear || s.Observes() || !s.Entries.OwnsAnything() {
		return nil
	}
	if r.clearing.isSettled(s.Device) { // by an earlier pass, which could not let it go
		return nil
	}
	if s.Device.Spec.Suspend {
		return &notClearedError{"the object is suspended"}
	}
	if err := r.hubForClearing(ctx, s); err != nil {
		return err
	}
	if !convergence.IsOfHost(s.Device, s.Hub.Spec.HostName) {
		return nil
	}
	winner, err := rivals.Winner(ctx, r, r.Hubs, s.Device, s.Destination)
	switch {
	case err != nil:
		return err
	case winner.UID != s.Device.UID:
		return s.leaveTo(winner)
	}
	return r.removeOwned(ctx, s)
}

// leaveTo ends a deletion whose device another object has by now. The other one's declaration is
// its own.
func (s *scope) leaveTo(winner *v1alpha1.PnPDevice) error {
	declared, err := declaration.Of(&winner.Spec)
	if err != nil {
		declared = nil
	}
	for leaf, p := range s.Entries {
		if _, isTheirs := declared[leaf]; !isTheirs && (convergence.IsHeld(&p) || p.Sent != nil) {
			return &notClearedError{"another PnPDevice has the device"}
		}
	}
	return nil
}

// removeOwned converges the twin with an empty declaration.
func (r *PnPDeviceReconciler) removeOwned(ctx context.Context, s *scope) error {
	s.IsLeaving, s.Declared = true, twin.Declaration{}
	s.memory.Begin()
	s.look()
	s.Recall(true)
	err := r.converge(ctx, s)
	switch h, halted := errors.AsType[*halt.Error](err); {
	case err == nil || iothub.IsNotFound(err):
		r.clearing.settle(s.Device)
		return nil
	case iothub.IsUnauthorized(err):
		return r.unauthorized(s, err)
	case halted && h.IsRefused():
		return r.notCleared(s, err, h.Message)
	case iothub.ClassOf(err) == iothub.Terminal && !halt.Is(err):
		return r.notCleared(s, err, halt.StableText(err))
	}
	return err
}

// unauthorized gives up if the hub refused the credential for good, or takes it and refuses it for this.
func (r *PnPDeviceReconciler) unauthorized(s *scope, err error) error {
	switch {
	case r.Hubs.Get(cached.HubKey(s.Device)) == nil: // nobody builds another session
		return r.notCleared(s, err, "the hub refused the credential")
	case s.session.TookSince(r.clearing.refusedSince(s.Device, s.Now)):
		return r.notCleared(s, err, halt.StableText(err))
	}
	return err
}

// notCleared gives up what the hub refuses, once it has done so for the grace time. That it failed
// before, or refused what was declared, says nothing of that.
func (r *PnPDeviceReconciler) notCleared(s *scope, refusal error, why string) error {
	if s.Now.Sub(r.clearing.refusedSince(s.Device, s.Now)) < r.Grace {
		return refusal
	}
	return &notClearedError{why}
}

// hubForClearing finds a session that can clear: that of the IoTHub, or the one that is kept since
// the IoTHub, its Secret or the right to read that went. Facts decide, and none of them is what an
// IoTHub says of itself: without a session, a hub that has not been tried yet or does not answer is
// waited for, and one that a person has to mend is not.
func (r *PnPDeviceReconciler) hubForClearing(ctx context.Context, s *scope) error {
	key := cached.HubKey(s.Device)
	session, until := r.Hubs.ForClearing(key) // first: it is there for longer than the IoTHub
	hub, err := cached.HubOf(ctx, r, s.Device)
	absent, ok := errors.AsType[*halt.Error](err)
	if s.hubGone = ok; ok {
		hub = r.GoneHub(key)
	} else if err != nil {
		return err
	}
	if session != nil && hub != nil && session.HostName() != hub.Spec.HostName { // of an IoTHub before this one
		session = nil
	}
	switch {
	case session == nil && s.hubGone:
		return &notClearedError{absent.Message}
	case session == nil:
		s.Hub = hub
		if obstacle := r.Hubs.Obstacle(key); obstacle != "" {
			return &notClearedError{fmt.Sprintf("IoTHub %q is not usable: %s", key.Name, obstacle)}
		}
		return unreached(s.Device, hub)
	case s.hubGone && (until.IsZero() || hub == nil): // that it went is about to be dealt with
		return halt.Quiet(waits.Cache.Most)
	}
	s.Hub, s.session, s.Destination, s.memory = hub, session, session.Destination, session.PassOver(s.Device.DeviceID(), s.Device.UID)
	return nil
}
