package controllers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// safetyNet is the slow timer beside a wake-up that should come by itself.
const safetyNet = time.Minute

func hubKey(device *v1alpha1.PnPDevice) types.NamespacedName {
	return types.NamespacedName{Namespace: device.Namespace, Name: device.Spec.HubRef.Name}
}

// hubOf finds the IoTHub of a device. It halts if there is none.
func hubOf(ctx context.Context, c client.Reader, device *v1alpha1.PnPDevice) (*v1alpha1.IoTHub, error) {
	hub := &v1alpha1.IoTHub{}
	err := c.Get(ctx, hubKey(device), hub)
	if apierrors.IsNotFound(err) {
		return nil, waiting(v1alpha1.ReasonHubNotFound, fmt.Sprintf("IoTHub %q does not exist in namespace %q", device.Spec.HubRef.Name, device.Namespace), 0)
	}
	if err != nil {
		return nil, fmt.Errorf("reading IoTHub %q: %w", device.Spec.HubRef.Name, err)
	}
	return hub, nil
}

// resolveHub finds the session. A hub that is Ready without one has just not been reached after a start: nothing to report.
func (r *PnPDeviceReconciler) resolveHub(ctx context.Context, s *scope) error {
	hub, err := hubOf(ctx, r, s.device)
	if err != nil {
		return err
	}
	s.hub = hub
	s.session = r.Hubs.Get(client.ObjectKeyFromObject(hub))
	if ready := readyOf(hub); !isTrue(hub, v1alpha1.ConditionReady) {
		if ready.Reason == "" {
			return quietly(safetyNet)
		}
		return waiting(v1alpha1.ReasonHubNotReady, fmt.Sprintf("IoTHub %q is not ready: %s: %s", hub.Name, ready.Reason, ready.Message), 0)
	}
	if s.session == nil {
		return quietly(safetyNet)
	}
	s.memory = s.session.Device(s.device.DeviceID())
	return nil
}

// compete lets one PnPDevice of a device go on, cluster-wide.
func (r *PnPDeviceReconciler) compete(ctx context.Context, s *scope) error {
	winner, err := r.winner(ctx, s.device, s.hub.Spec.HostName)
	if err != nil {
		return err
	}
	if winner.UID == s.device.UID {
		return nil
	}
	s.memory = nil // it is the winner's
	who := "another PnPDevice of this cluster"
	if winner.Namespace == s.device.Namespace {
		who = fmt.Sprintf("PnPDevice %q", winner.Name)
	}
	return stalled(v1alpha1.ReasonDeviceAlreadyDeclared,
		fmt.Sprintf("Device %q of hub %s is already declared by %s", s.device.DeviceID(), s.hub.Spec.HostName, who), retryTerminal)
}

// check refuses a declaration that the twin's own rules forbid. Nothing of it is written.
func (r *PnPDeviceReconciler) check(_ context.Context, s *scope) error {
	declared, violations := declaration.Check(&s.device.Spec, s.hub)
	if len(violations) > 0 {
		return stalled(v1alpha1.ReasonInvalidDeclaration, strings.Join(violations, "; "), 0)
	}
	s.declared = declared
	s.claims = s.entries.claims(declared)
	maps.Copy(s.claims, s.memory.UnshownClaims())
	return nil
}

// observe settles what is known of the twin: what memory holds and status does not, what status holds, or one read.
func (r *PnPDeviceReconciler) observe(ctx context.Context, s *scope) error {
	isAdopted := adopted(s.device, s.hub.Spec.HostName)
	if !isAdopted {
		s.entries, s.claims = entries{}, twin.Claims{}
	}
	s.memory.BeginPass()
	r.listen(s)
	if s.device.Spec.Suspend {
		return s.rest(isAdopted)
	}
	if s.memory.Resume() { // read by an earlier pass, for this one
		s.wasRead = true
	} else if s.mustAsk(isAdopted) {
		return r.read(ctx, s)
	}
	t := s.memory.Unpersisted()
	switch {
	case t != nil && (!t.Partial || s.statusSuffices() && !s.mirrorsTooLittle()):
		s.adopt(t)
	case !isAdopted || !s.statusSuffices() || s.mirrorsTooLittle():
		return r.read(ctx, s)
	default:
		s.twin = belief(&s.device.Status)
	}
	return nil
}

// listen says which telemetry the object wants to see, and drops what it showed of telemetry that it no longer wants.
func (r *PnPDeviceReconciler) listen(s *scope) {
	wanted := interestOf(s.device)
	if before := s.memory.Interested(wanted); !reflect.DeepEqual(before, wanted) {
		dropTelemetry(before.Object)
	}
}

// rest is the whole of a suspended pass: the hub is neither read nor written.
func (s *scope) rest(isAdopted bool) error {
	if isAdopted {
		s.twin = belief(&s.device.Status)
		if t := s.memory.Unpersisted(); t != nil { // an event told: that costs the hub nothing
			s.adopt(t)
		}
		if s.statusSuffices() && len(twin.Diff(s.declared, s.claims, s.twin).Changes) == 0 {
			return nil
		}
	}
	return stalled(v1alpha1.ReasonSuspended, "Suspended with values that the hub does not hold yet", 0)
}

// mustAsk reports whether the hub has to be read although something is known.
func (s *scope) mustAsk(isAdopted bool) bool {
	due := s.memory.FollowUpDue(s.now) && !s.session.EventsTrusted()
	_, retry := s.conflictRetry()
	return s.memory.Doubtful() || due || retry || isAdopted && (s.readRequested() || s.isMistrusted() || s.isOverdue())
}

// isMistrusted reports whether the last word about the device was a failure at the hub: only the hub can say that it is over.
func (s *scope) isMistrusted() bool {
	switch readyOf(s.device).Reason {
	case v1alpha1.ReasonDeviceNotFound, v1alpha1.ReasonModelMismatch, v1alpha1.ReasonHubUnavailable, v1alpha1.ReasonEntraUnavailable, v1alpha1.ReasonThrottled,
		v1alpha1.ReasonHubRefused, v1alpha1.ReasonNotConformant:
		return true
	}
	return false
}

// isOverdue reports whether the device is about to be called silent: not without looking.
func (s *scope) isOverdue() bool {
	left, ok := s.deadline()
	return ok && left <= 0 && readyOf(s.device).Reason != v1alpha1.ReasonAcknowledgementTimeout
}

// statusSuffices reports whether status knows every declared leaf.
func (s *scope) statusSuffices() bool {
	for leaf := range s.declared {
		if !s.entries.isKnown(leaf) {
			return false
		}
	}
	return true
}

// mirrorsTooLittle reports whether status may lack what the device reports, since it was edited to show all of that and shows nothing undeclared.
func (s *scope) mirrorsTooLittle() bool {
	if s.device.Spec.Reported != v1alpha1.ReportedAll || s.device.Status.ObservedGeneration == s.device.Generation {
		return false
	}
	for _, p := range s.entries {
		if p.State == stateOf(twin.StateReported) {
			return false
		}
	}
	return true
}

// read asks the hub.
func (r *PnPDeviceReconciler) read(ctx context.Context, s *scope) error {
	token := s.memory.BeginRead()
	t, err := s.session.GetTwin(s.asking(ctx), s.device.DeviceID())
	if err != nil {
		s.memory.Doubt() // status is not to be believed before a read succeeds
		s.wasRead = iothub.IsNotFound(err)
		return r.refused(ctx, s, err)
	}
	s.memory.Observe(t, token)
	s.memory.KnowsSent()
	s.wasRead = true
	s.adopt(t)
	return nil
}

// refused has the IoTHub prove itself again if the hub refused the credential.
func (r *PnPDeviceReconciler) refused(ctx context.Context, s *scope, err error) error {
	if iothub.IsUnauthorized(err) && s.session.Refuse() {
		r.Wakes.hub(ctx, hubKey(s.device))
	}
	return err
}

// adopt takes a twin that the hub returned and drops the claims that do not fit it. A write to the identity, a rotated
// key for example, leaves the twin as it was, so claims that still fit are kept; a twin whose version went back is
// another incarnation of the device, where small counters match by chance and nothing is ours.
func (s *scope) adopt(t *twin.Twin) {
	s.twin = t
	known := s.device.Status.Twin
	if known == nil || !adopted(s.device, s.hub.Spec.HostName) {
		return
	}
	sameIdentity := t.DeviceETag == known.DeviceEtag
	for leaf, claim := range s.claims {
		held := t.Properties[leaf].Desired
		fits := held != nil && held.Version == claim.Version && twin.Equal(held.Value, claim.Value)
		switch {
		case sameIdentity && claim.Version <= t.DesiredVersion:
		case !sameIdentity && t.Version >= known.Version && fits:
		default:
			delete(s.claims, leaf)
			delete(s.entries, leaf)
		}
	}
	s.recall()
}

// recall claims what this process wrote and could not record: the answer was lost, or the object was edited meanwhile and status could not be
// written. Taken for someone else's, such a value would stay at the hub for ever once its leaf left the declaration.
func (s *scope) recall() {
	for leaf := range s.claims {
		if held := s.twin.Properties[leaf].Desired; held != nil && s.memory.Sent(leaf, held.Value) {
			s.claims[leaf] = twin.Claim{Value: held.Value, Version: held.Version}
		}
	}
}

// checkModel writes nothing to a device of another model than the declared one.
func (r *PnPDeviceReconciler) checkModel(_ context.Context, s *scope) error {
	want := s.device.Spec.ModelID
	if want == "" || s.twin.ModelID == want {
		return nil
	}
	got := fmt.Sprintf("announced %q", s.twin.ModelID)
	if s.twin.ModelID == "" {
		got = "has not announced any model"
	}
	return stalled(v1alpha1.ReasonModelMismatch, fmt.Sprintf("The device %s; spec.modelID is %q", got, want), retryAbsent)
}

// conform refuses a declaration that the DeviceModel of the device does not allow. What was found to conform goes on while the DeviceModel cannot be
// used: its trouble is no reason to leave a device alone that was not edited.
func (r *PnPDeviceReconciler) conform(ctx context.Context, s *scope) error {
	found, err := r.Models.CheckDevice(ctx, s.device.Namespace, cmp.Or(s.device.Spec.ModelID, s.twin.ModelID), s.declared)
	if err != nil {
		return fmt.Errorf("checking against the DeviceModel: %w", err)
	}
	s.conformity = &found
	switch {
	case found.Refuses():
		return stalled(v1alpha1.ReasonModelViolation, found.Text(), 0)
	case found.NotReady != "" && s.device.Status.CheckedGeneration != s.device.Generation:
		return waiting(v1alpha1.ReasonModelNotReady, notReadyText(found), 0)
	}
	return nil
}

func notReadyText(v models.Verdict) string {
	return fmt.Sprintf("DeviceModel %q cannot be used: %s", v.Model, v.NotReady)
}
