// Package halt has the ends of a pass that are no failure of the operator: the verdict that status
// shows, and when the next pass is due.
package halt

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/entra"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// Error ends a pass early with a verdict. It is the one error type of the phases; any other error
// is transient.
type Error struct {
	conditions.Verdict
	// After is when to try again without being woken; 0: only when woken.
	After time.Duration
	// KeepStatus leaves status as it is.
	KeepStatus bool
	// KeepConditions keeps the conditions as they are, though not what was learned, unless they are
	// about something else by now.
	KeepConditions bool
	// Row of what a PnPDevice backs off by, in place of after; nil: it does not.
	Row *waits.Row
	// Missing says that a credential cannot be had now, and nothing of the one that was there, and
	// denied that this is for want of a right.
	Missing, denied bool
}

// Error names the reason and the message.
func (h *Error) Error() string { return h.Reason + ": " + h.Message }

// Stalled halts until a user acts.
func Stalled(reason, message string, after time.Duration) *Error {
	return &Error{Verdict: conditions.Verdict{Stalled: true, Reason: reason, Message: message}, After: after}
}

// Waiting halts until someone else acts.
func Waiting(reason, message string, after time.Duration) *Error {
	return &Error{Verdict: conditions.Verdict{Reason: reason, Message: message}, After: after}
}

// hubRefused halts until a user acts, because the hub refuses a request.
func hubRefused(message string) *Error {
	h := Stalled(v1alpha1.ReasonHubRefused, message, waits.RetryTerminal)
	h.Row = waits.HubRefuses
	return h
}

// IsRefused reports whether the hub refuses a request for good, by its own word.
func (h *Error) IsRefused() bool { return h.Row == waits.HubRefuses }

// Lacking waits for a Secret, a ServiceAccount or a right that is not there.
func Lacking(reason, message string, after time.Duration) *Error {
	h := Waiting(reason, message, after)
	h.Missing = true
	return h
}

// Denied lacks a right of the operator.
func Denied(message string, after time.Duration) *Error {
	h := Lacking(v1alpha1.ReasonAccessDenied, message, after)
	h.denied = true
	return h
}

// Quiet halts without a word in status.
func Quiet(after time.Duration) *Error { return &Error{KeepStatus: true, After: after} }

const tooLargeText = "The twin of the device has more than the operator reads, 8 MiB or 400,000 values: reduce what the device reports"

// IsQuiet reports whether an outcome leaves status as it is.
func IsQuiet(outcome error) bool {
	h, ok := errors.AsType[*Error](outcome)
	return ok && h.KeepStatus
}

// Of turns the failure of a hub call into a halt where it is the user's to mend; nil means
// transient. So is a refused credential: its IoTHub asks the hub once more, and it has no session
// if that refuses it again.
func Of(err error) *Error {
	if h, ok := errors.AsType[*Error](err); ok {
		return h
	}
	switch {
	case iothub.IsNotFound(err):
		h := Stalled(v1alpha1.ReasonDeviceNotFound, convergence.NotFoundText, waits.RetryAbsent)
		h.Row = waits.DeviceAbsent
		return h
	case iothub.IsUnauthorized(err):
		return nil
	case iothub.IsTooLarge(err):
		return Stalled(v1alpha1.ReasonTwinTooLarge, tooLargeText, waits.RetryTerminal)
	case iothub.ClassOf(err) == iothub.Terminal:
		return hubRefused(StableText(err))
	}
	return nil
}

// VerdictOn is the verdict on a transient failure once it has lasted.
func VerdictOn(err error) conditions.Verdict {
	if e, ok := errors.AsType[*entra.Error](err); ok {
		return conditions.Verdict{Reason: v1alpha1.ReasonEntraUnavailable, Message: "Microsoft Entra ID, which issues tokens for the hub, has been failing and is tried again: " + entraText(e)}
	}
	reason := v1alpha1.ReasonHubUnavailable
	if iothub.RefusesCredential(err) {
		return conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonHubRefused,
			Message: "The hub takes the credential of the IoTHub, and refuses it for this: check that its policy or role lets it read and write twins. " + StableText(err)}
	}
	if iothub.IsQuotaExceeded(err) {
		return conditions.Verdict{Reason: v1alpha1.ReasonQuotaExceeded, Message: QuotaText}
	}
	if iothub.IsThrottled(err) || iothub.ClassOf(err) == iothub.Waiting {
		reason = v1alpha1.ReasonThrottled
	}
	return conditions.Verdict{Reason: reason, Message: "The hub has been failing and is tried again: " + failureText(err)}
}

// failures in plain words, where the hub gave no answer of its own.
var failures = map[string]string{
	iothub.CodeDNS:             "its host name does not resolve",
	iothub.CodeTLS:             "its certificate was refused, or it does not speak TLS",
	iothub.CodeConnection:      "no connection, or it broke before the whole answer was there",
	iothub.CodeTimeout:         "no whole answer in time",
	iothub.CodeInvalidResponse: "an answer that is cut, or not what was asked for",
	iothub.CodeNoRoom:          "a large answer, for which there was no memory",
	iothub.CodeRedirect:        "it redirects, which is not followed",
}

// failureText names the failure by its kind: the details differ from try to try, and the log has
// them.
func failureText(err error) string {
	e, ok := errors.AsType[*iothub.Error](err)
	switch {
	case !ok:
		return err.Error()
	case failures[e.Code] != "":
		return failures[e.Code]
	}
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s", e.StatusCode, e.Code))
}

// failureOf names a failure beneath any protocol.
func failureOf(err error) string {
	if text := failures[iothub.CodeOf(err)]; text != "" {
		return text
	}
	return failures[iothub.CodeConnection]
}

// StableText is the failure without ids and times, so that a failure that repeats reads the same.
func StableText(err error) string {
	if e, ok := errors.AsType[*iothub.Error](err); ok {
		return e.Stable()
	}
	return err.Error()
}

// IsDenied reports whether an outcome lacks a right of the operator.
func IsDenied(err error) bool {
	h, ok := errors.AsType[*Error](err)
	return ok && h != nil && h.denied
}

// DefaultGrace is how long the hub may fail before status says so.
const DefaultGrace = 30 * time.Second

// Is reports whether an outcome is a halt.
func Is(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}

// Told is what a pass that halted has its object say, nil if it went through.
func (h *Error) Told() *convergence.Halt {
	if h == nil {
		return nil
	}
	return &convergence.Halt{Verdict: h.Verdict, After: h.After, IsUnchanged: h.KeepConditions}
}
