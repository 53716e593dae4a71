package command

import (
	"encoding/json"
	"errors"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
)

// result is what an attempt came to.
type result struct {
	meaning command.Meaning
	attempt command.Attempt
	// response of the device, as status holds it, and whether that is a part.
	response  json.RawMessage
	truncated bool
	at        time.Time
	// destination that was asked, and when that was by its clock.
	destination string
	window      command.Window
}

// answered reports whether the attempt ends the command for certain.
func (r result) answered() bool {
	return r.meaning == command.Succeeded || r.meaning == command.DeviceFailed || r.meaning == command.Refused
}

// unsent reports whether the attempt certainly did not reach the hub.
func (r result) unsent() bool {
	e, ok := errors.AsType[*iothub.Error](r.attempt.Err)
	return r.attempt.Err != nil && (!ok || !e.Sent)
}

// isPostponed reports whether the attempt certainly did not reach its device: the command is left
// alone for a while.
func (r result) isPostponed() bool {
	return r.meaning == command.Undelivered || r.meaning == command.Postponed
}

// undelivered begins what status says of a command that the hub refused for now.
const undelivered = "The command was not delivered: "

// offlineVerdict is that on a command whose device is offline.
var offlineVerdict = conditions.Verdict{Reason: v1alpha1.ReasonDeviceOffline, Message: "The device is offline; the command was not delivered and is sent when the device is back"}

// describe puts a result into status and says what it means for the object.
func describe(c *v1alpha1.DeviceCommand, r result) conditions.Verdict {
	status := &c.Status
	why := command.Why(r.attempt)
	if r.attempt.Err == nil {
		status.StatusCode, status.ResponseTruncated = new(int32(r.attempt.Code)), r.truncated //nolint:gosec // iothub reads codes of 32 bits
		status.Response = nil
		if r.response != nil {
			status.Response = &apiextensionsv1.JSON{Raw: r.response}
		}
	}
	finished := func(o v1alpha1.CommandOutcome, v conditions.Verdict) conditions.Verdict {
		status.Outcome, status.CompletionTime = o, &metav1.Time{Time: r.at}
		return v
	}
	switch r.meaning {
	case command.Succeeded:
		return finished(v1alpha1.CommandSucceeded, conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonSucceeded, Message: why})
	case command.DeviceFailed:
		return finished(v1alpha1.CommandFailed, conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonDeviceFailed, Message: why})
	case command.Refused:
		return finished(v1alpha1.CommandFailed, conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonHubRefused, Message: "The hub refused the command: " + why})
	case command.Undelivered:
		release(status, status.RequestID)
		status.DeviceOffline = offlinePeriod(r.destination, r.window)
		return offlineVerdict
	case command.Postponed:
		release(status, status.RequestID)
		return conditions.Verdict{Reason: postponedReason(r.attempt.Err), Message: undelivered + why}
	case command.Unknown:
	}
	message := "The command was sent, and nobody can tell whether the device ran it: " + why
	if retriesAt(c, r.at) {
		return conditions.Verdict{Reason: v1alpha1.ReasonRetryingUnknownOutcome, Message: message + againText}
	}
	return finished(v1alpha1.CommandUnknown, conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonOutcomeUnknown, Message: message})
}

// retriesAt reports whether a command whose outcome nobody knows is sent again.
func retriesAt(c *v1alpha1.DeviceCommand, now time.Time) bool {
	return c.Spec.OnUnknownOutcome == v1alpha1.UnknownRetry && now.Before(c.Spec.NotAfter.Time) && c.DeletionTimestamp.IsZero()
}

// answeredText says how a device answered.
func answeredText(code int) string { return command.Why(command.Attempt{Code: code}) }

func postponedReason(err error) string {
	e, ok := errors.AsType[*iothub.Error](err)
	switch {
	case !ok:
		return v1alpha1.ReasonProgressing
	case e.Code == iothub.CodeNoToken || e.Code == iothub.CodeIdentityRefused:
		return v1alpha1.ReasonEntraUnavailable
	case e.StatusCode == 0:
		return v1alpha1.ReasonHubUnavailable
	case e.Number == iothub.NumberDeviceNotFound:
		return v1alpha1.ReasonDeviceNotFound
	case e.Number == iothub.NumberDeviceDisabled:
		return v1alpha1.ReasonDeviceDisabled
	case e.Number == iothub.NumberQuotaExceeded:
		return v1alpha1.ReasonQuotaExceeded
	}
	return v1alpha1.ReasonThrottled
}

// withoutAnswer drops what the device said: that a command was sent, and what became of it, has to be on record.
func withoutAnswer(command *v1alpha1.DeviceCommand) {
	status := &command.Status
	status.Response, status.ResponseTruncated = nil, status.ResponseTruncated || status.Response != nil
}
