package command

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/ledgerstore"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/ledger"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

const (
	// retryMargin is how long after both time-outs an attempt of unknown outcome is left alone before another one: the hub's own delay, a lease's length, in
	// case a paused replica still holds it, and the part of a second that startTime lacks.
	retryMargin = (60 + 15 + 1) * time.Second

	// queuedText names neither the command before nor whether the hub is full: both change all the time, and would be written to every command that waits.
	queuedText = "Earlier commands of the same device come first, and a hub is given so many commands at a time, fewer with payloads above 4 KiB"
)

// commandScope is one pass over one DeviceCommand.
type commandScope struct {
	command *v1alpha1.DeviceCommand
	now     time.Time

	device  *v1alpha1.PnPDevice
	hub     *v1alpha1.IoTHub
	session *session.Session
	// model that the device has, as far as that matters.
	model string
	// invocation is what the ledger knows the command by, entry what it has of it, nil if nothing.
	invocation ledgerstore.Invocation
	entry      *ledger.Entry
	// proof is Retried if the command may have run and is sent again all the same; retriesForeign
	// if only the object knew of that attempt.
	proof          ledger.Proof
	retriesForeign bool
	// doubted is true if this pass puts on record that a released attempt is in doubt.
	doubted bool
	// isBehind is true if the cache does not have the attempt yet that the ledger has of this very object.
	isBehind bool
	// isRepeated is true if the outcome is that of an earlier object.
	isRepeated bool
	// looks is true if the pass ended because the device is being looked at.
	looks bool
	// sent is true once a flight has taken over.
	sent bool
}

// soonest is when to look again: after a while, and when notAfter has come.
func (s *commandScope) soonest(after time.Duration) time.Duration {
	left := max(s.command.Spec.NotAfter.Sub(s.now), 0) + time.Millisecond
	if after == 0 {
		return left
	}
	return min(session.Jittered(after), left)
}

// finish records an outcome. It halts: nothing follows.
func (s *commandScope) finish(outcome v1alpha1.CommandOutcome, reason, message string) error {
	s.command.Status.Outcome = outcome
	s.command.Status.CompletionTime = &metav1.Time{Time: s.now}
	return &halt.Error{Verdict: conditions.Verdict{Ready: outcome == v1alpha1.CommandSucceeded, Stalled: true, Reason: reason, Message: message}}
}

// expire ends a command that must not be sent any more, and one that never can be.
func (r *DeviceCommandReconciler) expire(_ context.Context, s *commandScope) error {
	if !s.now.Before(s.command.Spec.NotAfter.Time) {
		return s.finish(v1alpha1.CommandExpired, v1alpha1.ReasonExpired, expiredText(s.command))
	}
	if size := len(payloadOf(s.command)); size > declaration.MaxPayload {
		return s.finish(v1alpha1.CommandFailed, v1alpha1.ReasonInvalidCommand,
			fmt.Sprintf("spec.payload has %d bytes, expected at most %d", size, declaration.MaxPayload))
	}
	return nil
}

// expiredText says what the command waited for at last.
func expiredText(command *v1alpha1.DeviceCommand) string {
	text := "notAfter passed before the command was sent"
	if command.Status.Attempts > 0 {
		text = "notAfter passed before the command was delivered"
	}
	switch last := conditions.ReadyOf(command); {
	case last.Reason == v1alpha1.ReasonDeviceOffline:
		return text + "; last: the device is offline"
	case last.Message != "":
		return text + "; last: " + strings.TrimPrefix(last.Message, undelivered)
	}
	return text
}

func payloadOf(command *v1alpha1.DeviceCommand) []byte {
	if command.Spec.Payload == nil || len(command.Spec.Payload.Raw) == 0 {
		return []byte("null")
	}
	return command.Spec.Payload.Raw
}

// queue lets the commands of a device run one after the other, in the order of their creation.
func (r *DeviceCommandReconciler) queue(ctx context.Context, s *commandScope) error {
	if r.Flights.hasEnded(s.command) { // others have gone on
		return nil
	}
	first, err := r.Flights.heads(ctx, r, client.InNamespace(s.command.Namespace), client.MatchingFields{cached.IndexUnfinished: s.command.Spec.DeviceRef.Name})
	if err != nil {
		return err
	}
	if len(first) > 0 && first[0].UID != s.command.UID {
		return halt.Waiting(v1alpha1.ReasonQueued, queuedText, 0)
	}
	return nil
}

// route follows the API that the device's twin is written through.
func (s *commandScope) route() v1alpha1.CommandRoute {
	if cmp.Or(s.device.Spec.TwinAPI, s.hub.WritesThrough()) == v1alpha1.TwinAPIDeviceTwin {
		return v1alpha1.RouteDirectMethod
	}
	return v1alpha1.RouteDigitalTwin
}
