package controllers

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

// halt ends a pass early with a verdict. It is the one error type of the phases; any other error is transient.
type halt struct {
	conditions.Verdict
	// after is when to try again without being woken; 0: only when woken.
	after time.Duration
	// quiet leaves status as it is.
	quiet bool
	// unchanged keeps the conditions as they are, though not what was learned, unless they are
	// about something else by now.
	unchanged bool
	// row of what a PnPDevice backs off by, in place of after; nil: it does not.
	row *waits.Row
	// missing says that a credential cannot be had now, and nothing of the one that was there, and
	// denied that this is for want of a right.
	missing, denied bool
}

func (h *halt) Error() string { return h.Reason + ": " + h.Message }

// stalled halts until a user acts.
func stalled(reason, message string, after time.Duration) *halt {
	return &halt{Verdict: conditions.Verdict{Stalled: true, Reason: reason, Message: message}, after: after}
}

// waiting halts until someone else acts.
func waiting(reason, message string, after time.Duration) *halt {
	return &halt{Verdict: conditions.Verdict{Reason: reason, Message: message}, after: after}
}

// hubRefused halts until a user acts, because the hub refuses a request.
func hubRefused(message string) *halt {
	h := stalled(v1alpha1.ReasonHubRefused, message, waits.RetryTerminal)
	h.row = waits.HubRefuses
	return h
}

// isRefused reports whether the hub refuses a request for good, by its own word.
func (h *halt) isRefused() bool { return h.row == waits.HubRefuses }

// lacking waits for a Secret, a ServiceAccount or a right that is not there.
func lacking(reason, message string, after time.Duration) *halt {
	h := waiting(reason, message, after)
	h.missing = true
	return h
}

// denied lacks a right of the operator.
func denied(message string, after time.Duration) *halt {
	h := lacking(v1alpha1.ReasonAccessDenied, message, after)
	h.denied = true
	return h
}

// quietly halts without a word in status.
func quietly(after time.Duration) *halt { return &halt{quiet: true, after: after} }

const tooLargeText = "The twin of the device has more than the operator reads, 8 MiB or 400,000 values: reduce what the device reports"

// isQuiet reports whether an outcome leaves status as it is.
func isQuiet(outcome error) bool {
	h, ok := errors.AsType[*halt](outcome)
	return ok && h.quiet
}

// haltOf turns the failure of a hub call into a halt where it is the user's to mend; nil means transient. So is a refused
// credential: its IoTHub asks the hub once more, and it has no session if that refuses it again.
func haltOf(err error) *halt {
	if h, ok := errors.AsType[*halt](err); ok {
		return h
	}
	switch {
	case iothub.IsNotFound(err):
		h := stalled(v1alpha1.ReasonDeviceNotFound, convergence.NotFoundText, waits.RetryAbsent)
		h.row = waits.DeviceAbsent
		return h
	case iothub.IsUnauthorized(err):
		return nil
	case iothub.IsTooLarge(err):
		return stalled(v1alpha1.ReasonTwinTooLarge, tooLargeText, waits.RetryTerminal)
	case iothub.ClassOf(err) == iothub.Terminal:
		return hubRefused(stableText(err))
	}
	return nil
}

// troubleOf is the verdict on a transient failure once it has lasted.
func troubleOf(err error) conditions.Verdict {
	if e, ok := errors.AsType[*entra.Error](err); ok {
		return conditions.Verdict{Reason: v1alpha1.ReasonEntraUnavailable, Message: "Microsoft Entra ID, which issues tokens for the hub, has been failing and is tried again: " + entraText(e)}
	}
	reason := v1alpha1.ReasonHubUnavailable
	if iothub.RefusesCredential(err) {
		return conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonHubRefused,
			Message: "The hub takes the credential of the IoTHub, and refuses it for this: check that its policy or role lets it read and write twins. " + stableText(err)}
	}
	if iothub.IsQuotaExceeded(err) {
		return conditions.Verdict{Reason: v1alpha1.ReasonQuotaExceeded, Message: quotaText}
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

// failureText names the failure by its kind: the details differ from try to try, and the log has them.
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

// stableText is the failure without ids and times, so that a failure that repeats reads the same.
func stableText(err error) string {
	if e, ok := errors.AsType[*iothub.Error](err); ok {
		return e.Stable()
	}
	return err.Error()
}
