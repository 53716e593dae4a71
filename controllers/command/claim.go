package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/ledgerstore"
	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/ledger"
	"github.com/pnp-operator/pnp-operator/internal/managedfields"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// A claim is what has to be on record before an attempt is sent: its request ID, first in the
// ledger, which outlives the object, and then in the annotation, for those who restore the object
// where the ledger is not. Status has it once it takes long, and with what became of it. This file
// makes claims, releases them and says what is left of them.

// claimOf is the request ID that status has of an attempt that may have reached its device.
func claimOf(command *v1alpha1.DeviceCommand) string {
	if status := &command.Status; status.RequestID != status.ReleasedRequestID {
		return status.RequestID
	}
	return ""
}

// release notes that an attempt did not reach its device. It becomes the last attempt, if it was
// not: status names the last attempt and the released one together, or not at all.
func release(status *v1alpha1.DeviceCommandStatus, requestID string) {
	status.RequestID, status.ReleasedRequestID, status.DeviceOffline = requestID, requestID, nil
}

// doubt notes that an attempt that was released may have reached its device after all.
func doubt(status *v1alpha1.DeviceCommandStatus) {
	status.ReleasedRequestID, status.DeviceOffline = "", nil
}

// adopt takes an attempt from the ledger into status.
func adopt(status *v1alpha1.DeviceCommandStatus, e *ledger.Entry) {
	if status.RequestID == e.Request {
		return
	}
	status.RequestID, status.DeviceOffline = e.Request, nil
	status.StartTime = &metav1.Time{Time: e.At}
	status.Attempts++
}

const (
	diedText    = "The command may have been sent: the operator stopped before it could record what became of it"
	earlierText = "An earlier DeviceCommand of this name and spec may have been sent"
	foreignText = "The command may have been sent: the object names an attempt that this operator has no record of, as after a restore into another cluster"
	// againText and againOnceText end what is said of an attempt of unknown outcome.
	againText     = "; it is sent again"
	againOnceText = againText + " once that cannot run any more"
	doubtText     = "The hub said that the device is offline, but its events say that it was there: it may have run the command"
)

// settle decides what is on record of the command, by an operator that died, or of an earlier
// object of its name and spec.
func (r *DeviceCommandReconciler) settle(ctx context.Context, s *commandScope) error {
	status, key := &s.command.Status, client.ObjectKeyFromObject(s.command)
	s.invocation = ledgerstore.InvocationOf(s.command)
	entry, err := r.Flights.Ledger.Look(ctx, s.invocation)
	if err != nil {
		return heldBy(err)
	}
	if id := status.RequestID; id == status.ReleasedRequestID && r.Flights.Registry.IsDoubted(key, id) {
		doubt(status)
		s.doubted = true
	}
	s.entry = entry
	says := ledger.Object{Annotation: s.command.Annotations[v1alpha1.AnnotationAttempt], Request: status.RequestID, Released: status.ReleasedRequestID}
	switch ledger.Decide(entry, says) {
	case ledger.Known:
		return s.show(entry)
	case ledger.Open:
		return r.settleOpen(ctx, s)
	case ledger.Unaccounted:
		return s.settleUnaccounted()
	case ledger.Free:
		s.adoptRelease()
	}
	return nil
}

// adoptRelease has a new object rest after an attempt for an earlier one whose device was offline,
// as that would have: the device's events may tell that it was not.
func (s *commandScope) adoptRelease() {
	status, e := &s.command.Status, s.entry
	if e == nil || !e.Offline || status.RequestID != "" {
		return
	}
	s.isBehind = e.UID == string(s.command.UID)
	adopt(status, e)
	release(status, e.Request)
	status.DeviceOffline = &v1alpha1.OfflinePeriod{}
}

// heldBy says why a command is held that may not be sent as long as the ledger is not there. Other
// failures are transient.
func heldBy(err error) error {
	if _, damaged := errors.AsType[*ledgerstore.DamagedError](err); damaged {
		return halt.Waiting(v1alpha1.ReasonLedgerUnreadable,
			"The operator's record of the commands of this namespace cannot be read, and nothing is sent without it: its administrator has to look at the operator's log", waits.Ledger.Most)
	}
	if full, ok := errors.AsType[*ledger.FullError](err); ok {
		return halt.Waiting(v1alpha1.ReasonLedgerFull, fmt.Sprintf(
			"The record of the commands of this namespace is full until %s, when notAfter of the first of them is over", full.Until.UTC().Format(time.RFC3339)), waits.Ledger.Most)
	}
	return err
}

// settleOpen deals with an attempt that may have reached the device, and that no flight of this
// process has any more.
func (r *DeviceCommandReconciler) settleOpen(ctx context.Context, s *commandScope) error {
	e, message := s.entry, s.lastKnown(diedText)
	mine := e.UID == string(s.command.UID)
	if !mine {
		message = earlierText
	}
	if s.doubted {
		message = doubtText
	}
	left := e.Until.Sub(s.now)
	retries := s.mayRetry()
	switch {
	case retries && left > 0:
		adopt(&s.command.Status, e)
		return halt.Waiting(v1alpha1.ReasonRetryingUnknownOutcome, message+againOnceText, left)
	case retries:
		s.proof = ledger.Retried
		return nil
	case !mine && left > 0:
		return halt.Waiting(v1alpha1.ReasonEarlierAttempt, message+"; what became of it is waited for until "+e.Until.UTC().Format(time.RFC3339), left)
	}
	adopt(&s.command.Status, e)
	outcome := s.finish(v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown, message)
	if s.doubted && e.Released { // the ledger has it before status: a released attempt lets the next object be sent
		conditions.SetVerdict(s.command, halt.Of(outcome).Verdict)
		if err := r.Flights.Ledger.Conclude(ctx, s.invocation, concluded(s.command)); err != nil && !errors.Is(err, ledger.ErrChanged) {
			return err
		}
	}
	return outcome
}

// lastKnown is what status says of the last attempt, if that may run yet and is to be sent again;
// else a text for want of that.
func (s *commandScope) lastKnown(otherwise string) string {
	said := conditions.ReadyOf(s.command)
	if said.Reason != v1alpha1.ReasonRetryingUnknownOutcome || s.entry != nil && s.command.Status.RequestID != s.entry.Request {
		return otherwise
	}
	return strings.TrimSuffix(strings.TrimSuffix(said.Message, againOnceText), againText)
}

// mayRetry reports whether the command is sent again although it may have run.
func (s *commandScope) mayRetry() bool {
	return retriesAt(s.command, s.now)
}

// settleUnaccounted deals with an attempt that only the object knows.
func (s *commandScope) settleUnaccounted() error {
	status := &s.command.Status
	message := s.lastKnown(foreignText)
	if s.doubted {
		message = doubtText
	}
	if !s.mayRetry() {
		if status.RequestID == "" {
			status.RequestID = s.command.Annotations[v1alpha1.AnnotationAttempt]
		}
		return s.finish(v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown, message)
	}
	if status.StartTime == nil {
		status.StartTime = &metav1.Time{Time: s.now}
	}
	if wait := status.StartTime.Add(s.longest()).Sub(s.now); wait > 0 {
		return halt.Waiting(v1alpha1.ReasonRetryingUnknownOutcome, message+againOnceText, wait)
	}
	s.retriesForeign = true
	return nil
}

// show has status say what is on record. Of another object it says so.
func (s *commandScope) show(e *ledger.Entry) error {
	adopt(&s.command.Status, e)
	status, o := &s.command.Status, e.Outcome
	status.ReleasedRequestID = ""
	status.Outcome, status.StatusCode, status.ResponseTruncated = o.Outcome, o.Code, o.Truncated
	status.CompletionTime = &metav1.Time{Time: o.At}
	if raw, cut := command.Response(o.Response); raw != nil { // it may be of an operator that knew other limits
		status.Response, status.ResponseTruncated = &apiextensionsv1.JSON{Raw: raw}, o.Truncated || cut
	}
	v := recordedVerdict(o)
	if s.isRepeated = e.UID != string(s.command.UID); s.isRepeated {
		v.Reason = v1alpha1.ReasonRecorded
		v.Message = "Nothing was sent: an earlier DeviceCommand of this name and spec has this outcome. " + v.Message
	}
	return &halt.Error{Verdict: v}
}

// recordedVerdict says what an outcome of the ledger means.
func recordedVerdict(o *ledger.Outcome) conditions.Verdict {
	message := o.Message
	if message == "" && o.Code != nil {
		message = answeredText(int(*o.Code))
	}
	switch {
	case o.Outcome == v1alpha1.CommandSucceeded:
		return conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonSucceeded, Message: message}
	case o.Outcome == v1alpha1.CommandUnknown:
		return conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonOutcomeUnknown, Message: message}
	case o.Code != nil:
		return conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonDeviceFailed, Message: message}
	}
	return conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonHubRefused, Message: message}
}

// concluded is what the ledger keeps of a command that has an outcome.
func concluded(c *v1alpha1.DeviceCommand) ledger.Entry {
	status := &c.Status
	e := ledger.Entry{UID: string(c.UID), Request: status.RequestID, NotAfter: c.Spec.NotAfter.Time}
	if status.StartTime != nil {
		e.At = status.StartTime.Time
	}
	e.Outcome = &ledger.Outcome{Outcome: status.Outcome, Code: status.StatusCode, Truncated: status.ResponseTruncated}
	if status.CompletionTime != nil {
		e.Outcome.At = status.CompletionTime.Time
	}
	if status.Response != nil {
		e.Outcome.Response = status.Response.Raw
	}
	if message := conditions.ReadyOf(c).Message; status.StatusCode == nil || message != answeredText(int(*status.StatusCode)) {
		e.Outcome.Message = message
	}
	return e
}

// account has the ledger know how a command ended that was sent, also one that ended before there
// was a ledger, or whose operator died before it had written that. It costs nothing where the
// ledger knows.
func (r *DeviceCommandReconciler) account(ctx context.Context, c *v1alpha1.DeviceCommand) error {
	id := claimOf(c)
	if id == "" || !time.Now().Before(c.Spec.NotAfter.Time) {
		return nil
	}
	i := ledgerstore.InvocationOf(c)
	entry, err := r.Flights.Ledger.Look(ctx, i)
	if _, damaged := errors.AsType[*ledgerstore.DamagedError](err); damaged {
		return nil // nothing of this name is sent meanwhile
	}
	if err != nil {
		return err
	}
	if entry == nil || entry.Request == id && entry.Outcome == nil {
		r.Flights.Ledger.ConcludeLater(i, concluded(c))
	}
	return nil
}

// longest is how long an attempt of unknown outcome may go on.
func (s *commandScope) longest() time.Duration {
	return time.Duration(s.command.Spec.ConnectTimeoutSeconds+s.command.Spec.ResponseTimeoutSeconds)*time.Second + retryMargin
}

// send hands the command to a flight, which claims it first. All that the call needs is
// reserved before: a claim must not wait.
func (r *DeviceCommandReconciler) send(_ context.Context, s *commandScope) error {
	key := client.ObjectKeyFromObject(s.command)
	if r.Flights.hasEnded(s.command) { // as something else than it would be now: it was passed by
		return halt.Quiet(waits.Outcome.Most)
	}
	if err := r.Flights.Registry.Failure(key); err != nil {
		return heldBy(err)
	}
	if err := r.Flights.Ledger.HasRoom(s.invocation); err != nil {
		return heldBy(err)
	}
	slot, giveBack, err := r.reserve(s, key)
	if err != nil {
		return err
	}
	s.sent = true
	r.Flights.start(&flight{
		command: s.command, device: nameOf(s.device), session: s.session, deviceID: s.device.DeviceID(), destination: s.session.Destination,
		key: key, invocation: s.invocation, requestID: r.Flights.nextID(key), route: s.route(), longest: s.longest(),
		claims: true, over: s.entry, proof: s.proof, slot: slot, giveBack: giveBack,
	})
	return nil
}

// reserve takes what an attempt needs: a token of the budget, which giveBack returns, and a slot.
func (r *DeviceCommandReconciler) reserve(s *commandScope, key client.ObjectKey) (slot *command.Slot, giveBack func(), err error) {
	payload := payloadOf(s.command)
	if wait, ok := s.session.TakeForCommand(key.String(), payload); !ok {
		return nil, nil, halt.WaitingFor(wait)
	}
	giveBack = func() { s.session.GiveBack(key.String(), payload) }
	slot, err = r.Flights.Registry.Reserve(command.Request{
		Key: key, Object: s.command.UID, Site: s.session.CommandSite(cached.HubKey(s.device)), Device: s.device.DeviceID(), Payload: len(payload),
		Freed: func() { r.Flights.lookInLine(key, s.command.Spec.DeviceRef.Name) },
	})
	switch {
	case err == nil:
		return slot, giveBack, nil
	case errors.Is(err, command.ErrClosing):
		err = halt.Quiet(waits.SafetyNet)
	default:
		err = halt.Waiting(v1alpha1.ReasonQueued, queuedText, waits.Turn.Most)
	}
	giveBack()
	return nil, nil, err
}

// claim puts the attempt on record, in the ledger and then on the object, on top of what was read:
// of two replicas, or of a replica with an old cache and any other, only one gets it. After a
// failure nothing was sent, and this process knows it. It takes its time whatever is told to stop:
// half of a claim would be found as an attempt of unknown outcome.
func (f *Flights) claim(one *flight) error {
	ctx, cancel := context.WithTimeout(context.Background(), sendWithin)
	defer cancel()
	one.claimed, one.at = time.Now(), time.Now()
	if f.Registry.IsClosing() {
		return context.Canceled
	}
	f.Registry.Claiming(one.key, one.requestID)
	c := ledger.Claim{
		UID: string(one.command.UID), Request: one.requestID, At: one.at, Until: one.at.Add(sendWithin + one.longest),
		NotAfter: one.command.Spec.NotAfter.Time, Proof: one.proof,
	}
	if one.over != nil {
		c.Over = one.over.Request
		if c.Proof == "" {
			c.Proof = ledger.Released
		}
	}
	if err := f.Ledger.Claim(ctx, one.invocation, c); err != nil {
		f.withdraw(one)
		return fmt.Errorf("claiming the command: %w", err)
	}
	if err := f.seal(ctx, one); err != nil {
		f.withdraw(one)
		return fmt.Errorf("recording the claim: %w", err)
	}
	f.Registry.Claimed(one.key)
	return nil
}

// withdraw notes that a claim that may be on record was not followed by sending.
func (f *Flights) withdraw(one *flight) { f.Ledger.ReleaseLater(one.invocation, one.requestID, false) }

// seal writes the attempt into the annotation.
func (f *Flights) seal(ctx context.Context, one *flight) error {
	base := one.command.DeepCopy()
	sealed := one.command.DeepCopy()
	metav1.SetMetaDataAnnotation(&sealed.ObjectMeta, v1alpha1.AnnotationAttempt, one.requestID)
	if err := f.Client.Patch(ctx, sealed, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}), managedfields.Owner); err != nil {
		return err
	}
	one.command = sealed
	return nil
}

// isRefused reports whether a claim failed because the object, or the record of it, is not what it
// was made for: the next pass decides anew, at once.
func isRefused(err error) bool {
	return errors.Is(err, ledger.ErrChanged) || errors.Is(err, context.Canceled) || apierrors.IsConflict(err) || apierrors.IsNotFound(err)
}

// newRequestID is one that no attempt had.
func newRequestID() string { return uuid.NewString() }

// keepSeal has the annotation of a command that was sent, and has it among the operator's own
// fields. A restore needs it where the ledger is not.
func (r *DeviceCommandReconciler) keepSeal(ctx context.Context, c *v1alpha1.DeviceCommand) error {
	if !time.Now().Before(c.Spec.NotAfter.Time) {
		return nil
	}
	sealed, id := c.Annotations[v1alpha1.AnnotationAttempt], c.Status.RequestID
	var patch client.Patch
	options := []client.PatchOption{managedfields.Owner}
	changed := c.DeepCopy()
	switch {
	case sealed == "" && id != "":
		metav1.SetMetaDataAnnotation(&changed.ObjectMeta, v1alpha1.AnnotationAttempt, id)
		patch = client.MergeFromWithOptions(c, client.MergeFromWithOptimisticLock{})
	case managedfields.IsForeignAttempt(c):
		patch = managedfields.Apply("DeviceCommand", c, map[string]any{"annotations": map[string]string{v1alpha1.AnnotationAttempt: sealed}})
		options = append(options, client.ForceOwnership)
	default:
		return nil
	}
	if err := r.Patch(ctx, changed, patch, options...); err != nil {
		return ignoreOvertaken(fmt.Errorf("keeping the annotation of the attempt: %w", err))
	}
	*c = *changed
	return nil
}

// ignoreOvertaken: an object that changed meanwhile is looked at again because of that.
func ignoreOvertaken(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
