package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// A claim is what has to be on record before an attempt is sent: its request ID, first in the
// annotation and then, as Running, in status. An attempt whose Running is not on record was not
// sent, and cannot be sent any more once the object is written by anyone else. This file makes
// claims, releases them and says what is left of them.

// claimOf is the request ID of an attempt that may be under way or have been: nobody may send the
// command again. Empty: there is none. Status has the last attempt that was Running, and whether it
// was released. What the annotation says counts only where status knows of no attempt, since
// someone took it away, as a restore does, or since an operator died between its first two writes,
// which looks the same.
func claimOf(command *v1alpha1.DeviceCommand) string {
	status := &command.Status
	id := status.RequestID
	if id == "" {
		id = command.Annotations[v1alpha1.AnnotationAttempt]
	}
	if id == status.ReleasedRequestID {
		return ""
	}
	return id
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

// settle decides what a claim means that no flight of this process has: an operator died after it.
// Whether the command was sent is unknown.
func (r *DeviceCommandReconciler) settle(_ context.Context, s *commandScope) error {
	message := "The command may have been sent: the operator stopped before it could record what became of it"
	status := &s.command.Status
	if id := status.RequestID; id == status.ReleasedRequestID && r.Flights.isDoubted(client.ObjectKeyFromObject(s.command), id) {
		doubt(status)
		s.doubted = true
		message = "The hub said that the device is offline, but its events say that it was there: it may have run the command"
	}
	claim := claimOf(s.command)
	if claim == "" {
		return nil
	}
	if r.Flights.neverSent(client.ObjectKeyFromObject(s.command), claim) {
		release(status, claim)
		return waiting(v1alpha1.ReasonProgressing, "An attempt ended before anything was sent", soon)
	}
	if s.command.Spec.OnUnknownOutcome != v1alpha1.UnknownRetry || !s.now.Before(s.command.Spec.NotAfter.Time) {
		return s.finish(v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown, message)
	}
	if status.StartTime == nil {
		status.StartTime = &metav1.Time{Time: s.now}
	}
	if wait := status.StartTime.Add(s.longest()).Sub(s.now); wait > 0 {
		return waiting(v1alpha1.ReasonRetrying, message+"; it is sent again once that cannot run any more", wait)
	}
	return nil
}

// longest is how long an attempt of unknown outcome may go on.
func (s *commandScope) longest() time.Duration {
	return time.Duration(s.command.Spec.ConnectTimeoutSeconds+s.command.Spec.ResponseTimeoutSeconds)*time.Second + retryMargin
}

// send claims the command, on record, and hands it to a flight. What the call needs is reserved
// before: a claim must not wait. It carries the resourceVersion that this pass is about: of two
// replicas, or of a replica with an old cache and any other, only one gets it.
func (r *DeviceCommandReconciler) send(ctx context.Context, s *commandScope) error {
	giveBack, err := r.reserve(s, client.ObjectKeyFromObject(s.command))
	if err != nil {
		return err
	}
	// A stop does not cut the claim in two: half of one would be found as an attempt of unknown
	// outcome. One that takes longer is not sent.
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendWithin)
	defer cancel()
	f, err := r.claimed(whole, s, s.device.DeviceID())
	if err != nil {
		giveBack()
		return err
	}
	s.sent = true
	r.Flights.start(f)
	return nil
}

// reserve takes what an attempt needs: a token of the budget, a place at the hub, and one among the
// flights. The returned function gives all back.
func (r *DeviceCommandReconciler) reserve(s *commandScope, key client.ObjectKey) (giveBack func(), err error) {
	deviceID, payload := s.device.DeviceID(), payloadOf(s.command)
	if wait, ok := s.session.TakeForCommand(key.String(), payload); !ok {
		return nil, waitingFor(wait)
	}
	if !s.session.Calls().Begin(deviceID, key, func() { r.Flights.look(key) }) {
		s.session.GiveBack(key.String(), payload)
		return nil, waiting(v1alpha1.ReasonQueued, queuedText, placeRetry)
	}
	if !r.Flights.admit() {
		s.session.Calls().End(deviceID)
		s.session.GiveBack(key.String(), payload)
		return nil, quietly(safetyNet)
	}
	return func() {
		r.Flights.dismiss()
		s.session.Calls().End(deviceID)
		s.session.GiveBack(key.String(), payload)
	}, nil
}

// claimed writes the claim and then status, each on top of what was read. After a failure in
// between nothing was sent, and this process knows it.
func (r *DeviceCommandReconciler) claimed(ctx context.Context, s *commandScope, deviceID string) (*flight, error) {
	key, requestID := client.ObjectKeyFromObject(s.command), uuid.NewString()
	base := s.command.DeepCopy()
	metav1.SetMetaDataAnnotation(&s.command.ObjectMeta, v1alpha1.AnnotationAttempt, requestID)
	r.Flights.remember(key, requestID)
	began := time.Now()
	if err := r.Patch(ctx, s.command, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			r.Flights.forget(key) // nobody will ever see it
		}
		return nil, fmt.Errorf("claiming the command: %w", err)
	}
	base = s.command.DeepCopy()
	status := &s.command.Status
	status.RequestID, status.DeviceID, status.Route, status.StartTime = requestID, deviceID, s.route(), &metav1.Time{Time: s.now}
	status.DeviceOffline = nil
	status.Attempts++
	status.ObservedGeneration = s.command.Generation
	setVerdict(s.command, verdict{reason: v1alpha1.ReasonRunning, message: "Sent to the device; waiting for its answer"})
	if err := r.Status().Patch(ctx, s.command, wholeStatus{base}); err != nil {
		return nil, fmt.Errorf("recording the claim: %w", err)
	}
	r.Flights.forget(key)
	return &flight{
		command: s.command, device: s.device.DeepCopy(), session: s.session, deviceID: deviceID, requestID: requestID, claimed: began,
		key: key, hostName: s.hub.Spec.HostName,
	}, nil
}
