package controllers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/hubs"
)

const (
	// maxPayload is what the hub takes ("Understand and invoke direct methods from IoT Hub").
	maxPayload = 128 << 10
	// retryMargin is how long after both time-outs an attempt of unknown outcome is left alone before another one: the hub's own delay, a lease's length, in
	// case a paused replica still holds it, and the part of a second that startTime lacks.
	retryMargin = (60 + 15 + 1) * time.Second
	// placeRetry is how often a command asks for a place that was not offered.
	placeRetry = 10 * time.Second
	// queuedText names neither the command before nor whether the hub is full: both change all the time, and would be written to every command that waits.
	queuedText = "Earlier commands of the same device come first, and a hub is given so many commands at a time"
)

// commandScope is one pass over one DeviceCommand.
type commandScope struct {
	command *v1alpha1.DeviceCommand
	now     time.Time

	device  *v1alpha1.PnPDevice
	hub     *v1alpha1.IoTHub
	session *hubs.Session
	// doubted is true if this pass puts on record that a released attempt is in doubt.
	doubted bool
	// sent is true once a flight has taken over.
	sent bool
}

// soonest is when to look again: after a while, and when notAfter has come.
func (s *commandScope) soonest(after time.Duration) time.Duration {
	left := max(s.command.Spec.NotAfter.Sub(s.now), 0) + time.Millisecond
	if after == 0 {
		return left
	}
	return min(jittered(after), left)
}

// finish records an outcome. It halts: nothing follows.
func (s *commandScope) finish(outcome v1alpha1.CommandOutcome, reason, message string) error {
	s.command.Status.Outcome = outcome
	s.command.Status.CompletionTime = &metav1.Time{Time: s.now}
	return &halt{verdict: verdict{ready: outcome == v1alpha1.CommandSucceeded, stalled: true, reason: reason, message: message}}
}

// expire ends a command that must not be sent any more, and one that never can be.
func (r *DeviceCommandReconciler) expire(_ context.Context, s *commandScope) error {
	if !s.now.Before(s.command.Spec.NotAfter.Time) {
		return s.finish(v1alpha1.CommandExpired, v1alpha1.ReasonExpired, "notAfter passed before the command was sent")
	}
	if size := len(payloadOf(s.command)); size > maxPayload {
		return s.finish(v1alpha1.CommandFailed, v1alpha1.ReasonInvalidCommand,
			fmt.Sprintf("spec.payload has %d bytes, expected at most %d", size, maxPayload))
	}
	return nil
}

func payloadOf(command *v1alpha1.DeviceCommand) []byte {
	if command.Spec.Payload == nil || len(command.Spec.Payload.Raw) == 0 {
		return []byte("null")
	}
	return command.Spec.Payload.Raw
}

// resolve finds the device and the session of its hub.
func (r *DeviceCommandReconciler) resolve(ctx context.Context, s *commandScope) error {
	device := &v1alpha1.PnPDevice{}
	err := r.Get(ctx, client.ObjectKey{Namespace: s.command.Namespace, Name: s.command.Spec.DeviceRef.Name}, device)
	if apierrors.IsNotFound(err) {
		return waiting(v1alpha1.ReasonPnPDeviceNotFound,
			fmt.Sprintf("PnPDevice %q does not exist in namespace %q", s.command.Spec.DeviceRef.Name, s.command.Namespace), 0)
	}
	if err != nil {
		return fmt.Errorf("reading PnPDevice %q: %w", s.command.Spec.DeviceRef.Name, err)
	}
	s.device = device
	if !device.DeletionTimestamp.IsZero() {
		return waiting(v1alpha1.ReasonPnPDeviceNotFound, fmt.Sprintf("PnPDevice %q is being deleted", device.Name), 0)
	}
	if err := r.resolveHub(ctx, s); err != nil {
		return err
	}
	switch is := readyOf(device); {
	case s.hub.Spec.Suspend:
		return waiting(v1alpha1.ReasonHubSuspended, fmt.Sprintf("IoTHub %q is suspended", s.hub.Name), 0)
	case device.Spec.Suspend:
		return waiting(v1alpha1.ReasonSuspended, fmt.Sprintf("PnPDevice %q is suspended", device.Name), 0)
	case is.Reason == "":
		return waiting(v1alpha1.ReasonProgressing, fmt.Sprintf("PnPDevice %q has not been looked at yet", device.Name), 0)
	case is.Reason == v1alpha1.ReasonDeviceAlreadyDeclared || is.Reason == v1alpha1.ReasonModelMismatch:
		return waiting(is.Reason, fmt.Sprintf("PnPDevice %q does not have its device: %s", device.Name, is.Message), 0)
	}
	return nil
}

func (r *DeviceCommandReconciler) resolveHub(ctx context.Context, s *commandScope) error {
	hub, err := hubOf(ctx, r, s.device)
	if err != nil {
		return err
	}
	s.hub, s.session = hub, r.Hubs.Get(hubKey(s.device))
	if ready := readyOf(hub); ready.Status != metav1.ConditionTrue {
		return waiting(v1alpha1.ReasonHubNotReady, strings.TrimRight(fmt.Sprintf("IoTHub %q is not ready: %s", hub.Name, ready.Message), ": "), 0)
	}
	if s.session == nil {
		return quietly(safetyNet)
	}
	return nil
}

// conform fails a command that the DeviceModel of the device does not allow.
func (r *DeviceCommandReconciler) conform(ctx context.Context, s *commandScope) error {
	found, err := r.Models.CheckCommand(ctx, s.command.Namespace, s.device.ModelID(), &s.command.Spec)
	switch {
	case err != nil:
		return fmt.Errorf("checking against the DeviceModel: %w", err)
	case found.Refuses() && claimOf(s.command) != "":
		return s.finish(v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown, "An earlier attempt may have run; it is not sent again: "+found.Text())
	case found.Refuses():
		return s.finish(v1alpha1.CommandFailed, v1alpha1.ReasonModelViolation, found.Text())
	case found.NotReady != "":
		return waiting(v1alpha1.ReasonModelNotReady, notReadyText(found), 0)
	case len(found.Violations) > 0:
		r.Recorder.Eventf(s.command, nil, corev1.EventTypeWarning, v1alpha1.ReasonModelViolation, actionRun, "%s", found.Text())
	}
	return nil
}

// queue lets the commands of a device run one after the other, in the order of their creation.
func (r *DeviceCommandReconciler) queue(ctx context.Context, s *commandScope) error {
	first, err := heads(ctx, r, client.InNamespace(s.command.Namespace), client.MatchingFields{indexUnfinished: s.command.Spec.DeviceRef.Name})
	if err != nil {
		return err
	}
	if len(first) > 0 && first[0].UID != s.command.UID {
		return waiting(v1alpha1.ReasonQueued, queuedText, 0)
	}
	return nil
}

// heads lists, of the commands that are not finished, the first one of each device. They are the cache's own: not to be changed.
func heads(ctx context.Context, c client.Reader, which ...client.ListOption) ([]*v1alpha1.DeviceCommand, error) {
	var list v1alpha1.DeviceCommandList
	if err := c.List(ctx, &list, append(which, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("listing the commands that are not finished: %w", err)
	}
	first := map[string]*v1alpha1.DeviceCommand{}
	for i := range list.Items {
		one := &list.Items[i]
		if one.Finished() || !one.DeletionTimestamp.IsZero() {
			continue
		}
		if before := first[one.Spec.DeviceRef.Name]; before == nil || inOrder(one, before) < 0 {
			first[one.Spec.DeviceRef.Name] = one
		}
	}
	return slices.SortedFunc(maps.Values(first), inOrder), nil
}

func inOrder(a, b *v1alpha1.DeviceCommand) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

// route follows the API that the device's twin is written through.
func (s *commandScope) route() v1alpha1.CommandRoute {
	if cmp.Or(s.device.Spec.TwinAPI, s.hub.WritesThrough()) == v1alpha1.TwinAPIDeviceTwin {
		return v1alpha1.RouteDirectMethod
	}
	return v1alpha1.RouteDigitalTwin
}
