package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/rivals"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/ledger"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// Whether a command may go to a device is decided from facts: what specs say now, which object has
// the device, which twin status is about, and which model the device has. The Ready reason of the
// PnPDevice is none: it says how its last pass ended, and any other trouble takes its place. What
// is not known is waited for, or looked at.

// resolve finds the device and the session of its hub, and whether the object has the device.
func (r *DeviceCommandReconciler) resolve(ctx context.Context, s *commandScope) error {
	device := &v1alpha1.PnPDevice{}
	err := r.Get(ctx, client.ObjectKey{Namespace: s.command.Namespace, Name: s.command.Spec.DeviceRef.Name}, device)
	if apierrors.IsNotFound(err) {
		return halt.Waiting(v1alpha1.ReasonPnPDeviceNotFound,
			fmt.Sprintf("PnPDevice %q does not exist in namespace %q", s.command.Spec.DeviceRef.Name, s.command.Namespace), 0)
	}
	if err != nil {
		return fmt.Errorf("reading PnPDevice %q: %w", s.command.Spec.DeviceRef.Name, err)
	}
	s.device = device
	if !device.DeletionTimestamp.IsZero() {
		return halt.Waiting(v1alpha1.ReasonPnPDeviceNotFound, fmt.Sprintf("PnPDevice %q is being deleted", device.Name), 0)
	}
	if err := r.resolveHub(ctx, s); err != nil {
		return err
	}
	switch {
	case s.hub.Spec.Suspend:
		return halt.Waiting(v1alpha1.ReasonHubSuspended, fmt.Sprintf("IoTHub %q is suspended", s.hub.Name), 0)
	case device.Spec.Suspend:
		return halt.Waiting(v1alpha1.ReasonSuspended, fmt.Sprintf("PnPDevice %q is suspended", device.Name), 0)
	}
	return r.holdsDevice(ctx, s)
}

// resolveHub finds the session. One with another host is that of an earlier spec.
func (r *DeviceCommandReconciler) resolveHub(ctx context.Context, s *commandScope) error {
	hub, err := cached.HubOf(ctx, r, s.device)
	if err != nil {
		return err
	}
	s.hub, s.session = hub, r.Hubs.Get(cached.HubKey(s.device))
	if access := conditions.AccessOf(hub); access.Status != metav1.ConditionTrue {
		return halt.Waiting(v1alpha1.ReasonHubNotReady, strings.TrimRight(fmt.Sprintf("IoTHub %q is not ready: %s", hub.Name, access.Message), ": "), 0)
	}
	if s.session == nil || s.session.HostName() != hub.Spec.HostName {
		return halt.Quiet(waits.SafetyNet)
	}
	return nil
}

// holdsDevice waits until the object has its device: no other object has it, and its twin was read
// at this hub.
func (r *DeviceCommandReconciler) holdsDevice(ctx context.Context, s *commandScope) error {
	winner, err := rivals.Winner(ctx, r, r.Hubs, s.device, s.session.Destination)
	if err != nil {
		return err
	}
	if winner.UID != s.device.UID {
		return halt.Waiting(v1alpha1.ReasonDeviceAlreadyDeclared, fmt.Sprintf("PnPDevice %q does not have its device: another PnPDevice declares it", s.device.Name), waits.Holder.Most)
	}
	if convergence.IsAdopted(s.device, s.session.Destination) {
		return nil
	}
	text := fmt.Sprintf("PnPDevice %q has not been read at IoTHub %q yet", s.device.Name, s.hub.Name)
	if why := conditions.ReadyOf(s.device); why.Status == metav1.ConditionFalse {
		return halt.Waiting(why.Reason, text+": "+why.Message, 0)
	}
	return halt.Waiting(v1alpha1.ReasonProgressing, text, 0)
}

// settleModel finds out which model the device has, if that matters: if one is declared, or
// DeviceModels say which commands one has. The model in status is not enough: the device may have
// come back as another one, also while no operator ran. So where memory does not know, the hub is
// asked.
func (r *DeviceCommandReconciler) settleModel(ctx context.Context, s *commandScope) error {
	matters, err := r.modelMatters(ctx, s)
	if err != nil || !matters {
		return err
	}
	memory := s.session.Device(s.device.DeviceID())
	model, known := memory.Model()
	if known {
		r.Flights.looks.Forget(client.ObjectKeyFromObject(s.command))
	} else if model, err = r.lookAtModel(ctx, s); err != nil {
		return err
	}
	s.model = model
	want := s.device.Spec.ModelID
	if want == "" || model == want {
		return nil
	}
	if !known { // nobody else may have seen that
		memory.Doubt()
		r.Wakes.Device(ctx, triggers.Device{Key: client.ObjectKeyFromObject(s.device), Priority: triggers.PriorityEvent})
	}
	return halt.Waiting(v1alpha1.ReasonModelMismatch, fmt.Sprintf("PnPDevice %q does not have its device: %s", s.device.Name, mismatchText(want, model)), waits.RetryAbsent)
}

func (r *DeviceCommandReconciler) modelMatters(ctx context.Context, s *commandScope) (bool, error) {
	if s.device.Spec.ModelID != "" {
		return true, nil
	}
	var models v1alpha1.DeviceModelList
	if err := r.List(ctx, &models, client.InNamespace(s.command.Namespace), client.Limit(1), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("listing DeviceModels: %w", err)
	}
	return len(models.Items) > 0, nil
}

// mismatchText says what is wrong with the model of a device.
func mismatchText(want, got string) string {
	if got == "" {
		return fmt.Sprintf("it has not announced any model; spec.modelID is %q", want)
	}
	return fmt.Sprintf("it announced %q; spec.modelID is %q", got, want)
}

// lookAtModel asks the hub which model the device has, beside the workers: the pass ends, and the
// command is woken once that is known. The rest of the twin is for the PnPDevice to read.
func (r *DeviceCommandReconciler) lookAtModel(ctx context.Context, s *commandScope) (string, error) {
	key, looks := client.ObjectKeyFromObject(s.command), r.Flights.looks
	seen, pending := looks.take(key, s.session, s.device.DeviceID())
	switch {
	case pending != nil:
		s.looks = true
		return "", lookingSince(looks.Lined(pending, s.now))
	case seen == nil:
		s.looks = true
		looks.Begin(newLook(key, s.session, s.device.DeviceID()))
		return "", lookingSince(0)
	case seen.err == nil:
		return seen.model, nil
	}
	err := seen.err
	if full, ok := errors.AsType[*budget.WaitError](err); ok {
		return "", halt.WaitingFor(full.Wait)
	}
	if iothub.IsUnauthorized(err) && s.session.Refused(seen.Asked) {
		r.Wakes.Hub(ctx, cached.HubKey(s.device))
	}
	if h := halt.Of(err); h != nil {
		return "", halt.Waiting(h.Reason, h.Message, min(h.After, waits.Look.Most))
	}
	return "", fmt.Errorf("looking at the model of device %q: %w", s.device.DeviceID(), err)
}

// lookingSince halts until a device was looked at. Should that have to wait for other calls, status
// says so after a while.
func lookingSince(lined time.Duration) *halt.Error {
	return halt.WaitingFor(budget.Wait{Class: budget.TwinRead, Why: budget.WhySlow, For: halt.DefaultGrace, Lasts: lined})
}

// conform fails a command that the DeviceModel of the device does not allow, and one whose numbers were changed.
func (r *DeviceCommandReconciler) conform(ctx context.Context, s *commandScope) error {
	found, err := r.Models.CheckCommand(ctx, s.command.Namespace, s.model, &s.command.Spec)
	switch {
	case errors.Is(err, models.ErrLine):
		return halt.Quiet(session.Jittered(waits.Line.Most))
	case err != nil:
		return fmt.Errorf("checking against the DeviceModel: %w", err)
	case found.Refuses() && (s.proof == ledger.Retried || s.retriesForeign):
		return s.finish(v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown, "An earlier attempt may have run; it is not sent again: "+found.Text())
	case len(found.Rounded) > 0 && found.NotReady == "": // else the model may say that a double is meant
		return s.finish(v1alpha1.CommandFailed, v1alpha1.ReasonInvalidCommand, found.Text())
	case found.Refuses():
		return s.finish(v1alpha1.CommandFailed, v1alpha1.ReasonModelViolation, found.Text())
	case found.NotReady != "":
		return halt.Waiting(v1alpha1.ReasonModelNotReady, convergence.NotReadyText(found), 0)
	case len(found.Violations) > 0:
		r.Recorder.Eventf(s.command, nil, corev1.EventTypeWarning, v1alpha1.ReasonModelViolation, actionRun, "%s", found.Text())
	}
	return nil
}

// deviceMatters passes the changes of a PnPDevice that commands wait for. Its Ready reason is a
// hint to look once more.
func deviceMatters() predicate.Predicate {
	return predicate.Funcs{
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld.(*v1alpha1.PnPDevice), e.ObjectNew.(*v1alpha1.PnPDevice)
			return was.Generation != is.Generation || conditions.ReadyOf(was).Reason != conditions.ReadyOf(is).Reason ||
				rivals.Incumbency(was) != rivals.Incumbency(is) || was.Status.ModelID != is.Status.ModelID
		},
	}
}
