package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/hubs"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

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

// resolveHub finds the session. Whether there is one decides, and not whether the IoTHub is Ready,
// which is for people and may be about something else.
func (r *PnPDeviceReconciler) resolveHub(ctx context.Context, s *scope) error {
	hub, err := hubOf(ctx, r, s.device)
	if err != nil {
		return err
	}
	s.hub = hub
	s.session = r.Hubs.Get(client.ObjectKeyFromObject(hub))
	if s.session == nil || s.session.HostName() != hub.Spec.HostName { // another IoTHub had this name
		return unreached(hub)
	}
	s.destination = s.session.Destination
	r.Hubs.HandOver(s.session, s.device.DeviceID(), s.device.UID)
	s.memory = s.session.PassOver(s.device.DeviceID(), s.device.UID)
	s.startClock()
	return nil
}

// startClock gives a device all its time to answer once its object is suspended no more.
func (s *scope) startClock() {
	if s.isResumed() && s.device.Status.ConnectionState != "" {
		seen := metav1.NewTime(s.now.Truncate(time.Second))
		s.device.Status.ConnectionStateSeenTime = &seen
	}
}

// unreached is the outcome of a pass without a session: what the IoTHub says of that, and nothing
// if it was reached before the operator started. A device is Stalled if its IoTHub is.
func unreached(hub *v1alpha1.IoTHub) error {
	access := accessOf(hub)
	if access.Status != metav1.ConditionFalse {
		return quietly(safetyNet)
	}
	h := waiting(v1alpha1.ReasonHubNotReady, fmt.Sprintf("IoTHub %q is not ready: %s: %s", hub.Name, access.Reason, access.Message), 0)
	h.stalled = isTrue(hub, v1alpha1.ConditionStalled)
	return h
}

// compete lets one PnPDevice of a device go on, cluster-wide.
func (r *PnPDeviceReconciler) compete(ctx context.Context, s *scope) error {
	rivals, err := rivalsOf(ctx, r, s.device)
	if err != nil {
		return err
	}
	winner, err := winnerAmong(ctx, r, r.Hubs, s.device, rivals, s.destination)
	if err != nil {
		return err
	}
	if winner.UID == s.device.UID {
		r.takeHold(s, rivals)
		return nil
	}
	s.memory, s.lost = nil, true // it is the winner's
	who := "another PnPDevice of this cluster"
	if winner.Namespace == s.device.Namespace {
		who = fmt.Sprintf("PnPDevice %q", winner.Name)
	}
	return stalled(v1alpha1.ReasonDeviceAlreadyDeclared,
		fmt.Sprintf("Device %q of hub %s is already declared by %s", s.device.DeviceID(), s.hub.Spec.HostName, who), waitRival.most)
}

// check refuses a declaration that the twin's own rules forbid. Nothing of it is written.
func (r *PnPDeviceReconciler) check(_ context.Context, s *scope) error {
	declared, violations := declaration.Check(&s.device.Spec, s.hub)
	if len(violations) > 0 {
		return stalled(v1alpha1.ReasonInvalidDeclaration, strings.Join(violations, "; "), 0)
	}
	s.declared = declared
	return nil
}

// observe settles what is known of the twin: what memory holds and status does not, what status holds, or one read.
func (r *PnPDeviceReconciler) observe(ctx context.Context, s *scope) error {
	isAdopted := isOfHost(s.device, s.hub.Spec.HostName)
	r.doubtOlderCopy(s, isAdopted)
	s.memory.Begin()
	s.recall(isAdopted)
	r.listen(s)
	if s.device.Spec.Suspend {
		return s.rest()
	}
	if s.memory.Resume() { // read by an earlier pass, for this one
		s.wasRead = true
	} else if s.mustAsk() {
		return r.read(ctx, s)
	}
	t := s.memory.Unpersisted()
	switch {
	case t != nil && (!t.Partial || s.statusSuffices() && !s.mirrorsTooLittle()):
		s.adopt(t)
	case !s.isAdopted || !s.statusSuffices() || s.mirrorsTooLittle():
		return r.read(ctx, s)
	default:
		s.adopt(s.memory.Newer(belief(&s.device.Status)))
	}
	return nil
}

// doubtOlderCopy has the twin read if the object, or its status, went back behind what is known.
func (r *PnPDeviceReconciler) doubtOlderCopy(s *scope, isAdopted bool) {
	if r.rewinds.take(s.device) || isAdopted && s.memory.IsBehind(s.device.UID, shownIn(&s.device.Status)) {
		s.memory.Unheard()
	}
}

// listen says which telemetry the object wants to see, and drops what it showed of telemetry that it no longer wants.
func (r *PnPDeviceReconciler) listen(s *scope) {
	wanted := interestOf(s.device)
	if before := s.memory.Interested(wanted); !reflect.DeepEqual(before, wanted) {
		dropTelemetry(before.Object)
	}
}

// rest is the whole of a suspended pass: the hub is neither read nor written. What events tell costs it nothing.
func (s *scope) rest() error {
	if s.gone = s.memory.IsAbsent() || s.wasGoneThere(); s.gone {
		s.isUnconfirmed = true
	}
	if !s.gone && adopted(s.device, s.destination) {
		s.adopt(s.newest())
		isDone := len(twin.Diff(s.declared, s.owned, s.twin)) == 0 && len(s.departing()) == 0
		if s.statusSuffices() && (isDone || s.observes()) {
			return nil
		}
	}
	return &halt{verdict: s.suspendedVerdict(s.unwritten())}
}

// wasGone reports whether a hub did not know the device when it was asked last.
func wasGone(device *v1alpha1.PnPDevice) bool {
	c := apimeta.FindStatusCondition(device.Status.Conditions, v1alpha1.ConditionSynced)
	return c != nil && c.Reason == v1alpha1.ReasonDeviceNotFound
}

// wasGoneThere reports whether the hub of the pass said that.
func (s *scope) wasGoneThere() bool {
	return wasGone(s.device) && (s.destination == "" || s.hubBefore == s.destination)
}

// mustAsk reports whether the hub has to be read although something is known.
func (s *scope) mustAsk() bool {
	// In this order: what is due is counted as done.
	due := (!s.session.EventsTrusted() || isUnreachable(&s.device.Status)) && s.memory.FollowUpDue(s.now)
	_, retry := s.conflictRetry()
	isStale := s.isResumed() && !s.session.EventsTrusted()
	return s.memory.Doubtful() || due || retry || isStale || s.mayBeEnabled() || s.hasUnsettledRecords() || s.isAdopted && s.isInQuestion()
}

// isInQuestion reports whether the twin that status is about has to be read before it is believed.
func (s *scope) isInQuestion() bool {
	return !adopted(s.device, s.destination) || s.readRequested() || s.device.Status.Twin.Unconfirmed || s.isOfOtherModel() || s.isOverdue()
}

// hasUnsettledRecords reports whether status records values that an earlier process may have sent. Only a
// read tells what became of them: until then nothing that status says of the twin is to be believed.
func (s *scope) hasUnsettledRecords() bool {
	for leaf, sent := range s.sent {
		if !s.isWithheld(leaf) && !s.memory.IsResolved(leaf, sent) {
			return true
		}
	}
	return false
}

// isOfOtherModel reports whether the device was last seen with another model than the declared one: only the hub can say that
// it has changed.
func (s *scope) isOfOtherModel() bool {
	return s.device.Spec.ModelID != "" && s.device.Spec.ModelID != s.device.Status.ModelID
}

// isOverdue reports whether the device is about to be called silent: not without a look at the hub
// since its time was up.
func (s *scope) isOverdue() bool {
	left, ok := s.deadline()
	return ok && left <= 0 && !s.memory.ReadSince(s.now.Add(left))
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

// mirrorsTooLittle reports whether status lacks what the device reports: it was described while spec.reported asked for less.
func (s *scope) mirrorsTooLittle() bool {
	return breadth(s.device.Status.Mirrored) < breadth(s.device.Spec.Reported)
}

// breadth orders the values of spec.reported by how much of the twin they show.
func breadth(scope v1alpha1.ReportedScope) int {
	switch scope {
	case v1alpha1.ReportedNone:
		return 0
	case v1alpha1.ReportedAll:
		return 2
	default:
		return 1
	}
}

// read asks the hub.
func (r *PnPDeviceReconciler) read(ctx context.Context, s *scope) error {
	t, err := s.memory.Read(func() (*twin.Twin, error) { return r.asking(ctx, s).GetTwin(ctx, s.device.DeviceID()) })
	if err != nil {
		s.isUnconfirmed = true
		if s.gone = iothub.IsNotFound(err); s.gone {
			s.twin = nil // what was believed of it is over
		}
		s.wasRead = s.gone
		return r.refused(ctx, s, err)
	}
	r.wakeCommands(ctx, s)
	s.wasRead, s.gone = true, false
	s.settle(t)
	return nil
}

// wakeCommands has commands that wait for the device look whether it is back.
func (r *PnPDeviceReconciler) wakeCommands(ctx context.Context, s *scope) {
	if r.commands == nil {
		return
	}
	for _, command := range r.commands.Waits(lineOf(hubKey(s.device), s.session), s.device.DeviceID()) {
		r.Wakes.command(ctx, command)
	}
}

// refused has the IoTHub ask whether the hub still takes the credential that it refused.
func (r *PnPDeviceReconciler) refused(ctx context.Context, s *scope, err error) error {
	if iothub.IsUnauthorized(err) && s.session.Refused(s.now) {
		r.Wakes.hub(ctx, hubKey(s.device))
	}
	return err
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
	if errors.Is(err, models.ErrLine) {
		return quietly(hubs.Jittered(waitLine.most))
	}
	if err != nil {
		return fmt.Errorf("checking against the DeviceModel: %w", err)
	}
	s.conformity = &found
	switch {
	case found.Refuses():
		return stalled(v1alpha1.ReasonModelViolation, found.Text(), 0)
	case found.NotReady != "" && !s.wasChecked(found):
		return waiting(v1alpha1.ReasonModelNotReady, notReadyText(found), 0)
	}
	return nil
}

// wasChecked reports whether this declaration was checked against the model that the device has
// now, and the content that its DeviceModel has.
func (s *scope) wasChecked(now models.Verdict) bool {
	st := s.device.Status
	return st.CheckedGeneration == s.device.Generation && now.IsCoveredBy(st.CheckedModel)
}

func notReadyText(v models.Verdict) string {
	return fmt.Sprintf("DeviceModel %q cannot be used: %s", v.Model, v.NotReady)
}
