package device

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/metrics"
	"github.com/pnp-operator/pnp-operator/controllers/rivals"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// resolveHub finds the session. Whether there is one decides, and not whether the IoTHub is Ready,
// which is for people and may be about something else.
func (r *PnPDeviceReconciler) resolveHub(ctx context.Context, s *scope) error {
	hub, err := cached.HubOf(ctx, r, s.Device)
	if err != nil {
		return err
	}
	s.Hub = hub
	s.session = r.Hubs.Get(client.ObjectKeyFromObject(hub))
	if s.session == nil || s.session.HostName() != hub.Spec.HostName { // another IoTHub had this name
		return unreached(s.Device, hub)
	}
	s.Destination = s.session.Destination
	r.Hubs.HandOver(s.session, s.Device.DeviceID(), s.Device.UID)
	s.memory = s.session.PassOver(s.Device.DeviceID(), s.Device.UID)
	s.StartClock()
	return nil
}

// unreached is the outcome of a pass without a session: what the IoTHub says of that, and nothing
// if it was reached before the operator started, or is new. The object does not go on
// saying that an IoTHub is not there, or not ready. A device is Stalled if its IoTHub is.
func unreached(device *v1alpha1.PnPDevice, hub *v1alpha1.IoTHub) error {
	access := conditions.AccessOf(hub)
	switch said := conditions.ReadyOf(device).Reason; {
	case access.Status == metav1.ConditionFalse:
	case said == v1alpha1.ReasonHubNotFound, said == v1alpha1.ReasonHubNotReady:
		return halt.Waiting(v1alpha1.ReasonHubNotReady, fmt.Sprintf("IoTHub %q is being connected", hub.Name), waits.SafetyNet)
	default:
		return halt.Quiet(waits.SafetyNet)
	}
	h := halt.Waiting(v1alpha1.ReasonHubNotReady, fmt.Sprintf("IoTHub %q is not ready: %s: %s", hub.Name, access.Reason, access.Message), 0)
	h.Stalled = conditions.IsTrue(hub, v1alpha1.ConditionStalled)
	return h
}

// compete lets one PnPDevice of a device go on, cluster-wide.
func (r *PnPDeviceReconciler) compete(ctx context.Context, s *scope) error {
	others, err := rivals.Of(ctx, r, s.Device)
	if err != nil {
		return err
	}
	winner, err := rivals.WinnerAmong(ctx, r, r.Hubs, s.Device, others, s.Destination)
	if err != nil {
		return err
	}
	if winner.UID == s.Device.UID {
		r.takeHold(s, others)
		return nil
	}
	s.memory, s.Lost = nil, true // it is the winner's
	who := "another PnPDevice of this cluster"
	if winner.Namespace == s.Device.Namespace {
		who = fmt.Sprintf("PnPDevice %q", winner.Name)
	}
	return halt.Stalled(v1alpha1.ReasonDeviceAlreadyDeclared,
		fmt.Sprintf("Device %q of hub %s is already declared by %s", s.Device.DeviceID(), s.Hub.Spec.HostName, who), waits.Rival.Most)
}

// check refuses a declaration that the twin's own rules forbid. Nothing of it is written.
func (r *PnPDeviceReconciler) check(_ context.Context, s *scope) error {
	declared, violations := declaration.Check(&s.Device.Spec, s.Hub)
	if len(violations) > 0 {
		return halt.Stalled(v1alpha1.ReasonInvalidDeclaration, strings.Join(violations, "; "), 0)
	}
	s.Declared = declared
	return nil
}

// begin has the pass start from what is known of the twin.
func (r *PnPDeviceReconciler) begin(_ context.Context, s *scope) error {
	isAdopted := convergence.IsOfHost(s.Device, s.Hub.Spec.HostName)
	r.doubtOlderCopy(s, isAdopted)
	s.memory.Begin()
	s.look()
	s.Recall(isAdopted)
	r.listen(s)
	if s.Device.Spec.Suspend {
		return nil
	}
	if s.Resumes = s.memory.Resume(); s.Resumes { // read by an earlier pass, for this one
		return nil
	}
	s.FollowUpDue = s.FollowsUp() && s.memory.FollowUpDue(s.Now)
	s.lookForPresence()
	return nil
}

// doubtOlderCopy has the twin read if the object, or its status, went back behind what is known.
func (r *PnPDeviceReconciler) doubtOlderCopy(s *scope, isAdopted bool) {
	if r.rewinds.Take(s.Device) || isAdopted && s.memory.IsBehind(s.Device.UID, shownIn(&s.Device.Status)) {
		s.memory.Unheard()
	}
}

// shownIn is which state of the twin a status is about.
func shownIn(status *v1alpha1.PnPDeviceStatus) session.Shown {
	if status.Twin == nil {
		return session.Shown{}
	}
	return session.Shown{Hub: status.Twin.Hub, Version: status.Twin.Version, DesiredVersion: status.Twin.DesiredVersion}
}

// listen says which telemetry the object wants to see, and drops what it showed of telemetry that it no longer wants.
func (r *PnPDeviceReconciler) listen(s *scope) {
	wanted := interestOf(s.Device)
	if before := s.memory.Interested(wanted); !reflect.DeepEqual(before, wanted) {
		metrics.DropTelemetry(before.Object)
	}
}

// read asks the hub.
func (r *PnPDeviceReconciler) read(ctx context.Context, s *scope) error {
	t, err := s.memory.Read(func() (*twin.Twin, error) { return r.asking(ctx, s).GetTwin(ctx, s.Device.DeviceID()) })
	s.look()
	if err != nil {
		s.NotRead(iothub.IsNotFound(err))
		return r.refused(ctx, s, err)
	}
	r.wakeCommands(ctx, s)
	s.Took(t)
	s.remember()
	return nil
}

// wakeCommands has commands that wait for the device look whether it is back.
func (r *PnPDeviceReconciler) wakeCommands(ctx context.Context, s *scope) {
	if r.Commands == nil {
		return
	}
	for _, command := range r.Commands.Waits(s.session.CommandHub(cached.HubKey(s.Device)), s.Device.DeviceID()) {
		r.Wakes.Command(ctx, command)
	}
}

// refused has the IoTHub ask whether the hub still takes the credential that it refused.
func (r *PnPDeviceReconciler) refused(ctx context.Context, s *scope, err error) error {
	if iothub.IsUnauthorized(err) && s.session.Refused(s.Now) {
		r.Wakes.Hub(ctx, cached.HubKey(s.Device))
	}
	return err
}

// conform asks the DeviceModel of the device what it says to the declaration.
func (r *PnPDeviceReconciler) conform(ctx context.Context, s *scope) error {
	found, err := r.Models.CheckDevice(ctx, s.Device.Namespace, cmp.Or(s.Device.Spec.ModelID, s.Twin.ModelID), s.Declared)
	if errors.Is(err, models.ErrLine) {
		return halt.Quiet(session.Jittered(waits.Line.Most))
	}
	if err != nil {
		return fmt.Errorf("checking against the DeviceModel: %w", err)
	}
	s.Conformity = &found
	return nil
}

// modelOf returns a function that asks for the model of a device. One that cannot be had now is the
// one that was checked, and not ready.
func (r *PnPDeviceReconciler) modelOf(ctx context.Context, device *v1alpha1.PnPDevice) func(modelID string) (*dtdl.Interface, models.Verdict) {
	return func(modelID string) (*dtdl.Interface, models.Verdict) {
		known, verdict, err := r.Models.Device(ctx, device.Namespace, modelID)
		if err != nil {
			return nil, convergence.NotAsked(device)
		}
		return known, verdict
	}
}

// interestOf is the telemetry that an object wants to see.
func interestOf(device *v1alpha1.PnPDevice) session.Interest {
	if len(device.Spec.Telemetry) == 0 {
		return session.Interest{}
	}
	i := session.Interest{Object: types.NamespacedName{Namespace: device.Namespace, Name: device.Name}, Fields: map[string][]string{}}
	for _, t := range device.Spec.Telemetry {
		i.Fields[t.Component] = t.Fields
	}
	return i
}
