// Package command has the rules of device commands: what an attempt to run one means (judge.go),
// how long and for what a command waits after it (postponed.go, rest.go), what the hub's events say
// of it (presence.go, listening.go), and the one owner of what this process does with each
// (registry.go). It does no I/O: at-most-once depends on it, so every case of it is in a table.
package command

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/iothub"
)

// Meaning is what an attempt says about the command.
type Meaning string

const (
	// Succeeded means that the device answered with 200 to 299.
	Succeeded Meaning = "Succeeded"
	// DeviceFailed means that the device answered with another code.
	DeviceFailed Meaning = "DeviceFailed"
	// Refused means that the command can never be sent as it is, and was not.
	Refused Meaning = "Refused"
	// Undelivered means that it did not reach the device, because that is offline.
	Undelivered Meaning = "Undelivered"
	// Postponed means that it did not reach the device, for another reason that passes.
	Postponed Meaning = "Postponed"
	// Unknown means that it may have reached the device.
	Unknown Meaning = "Unknown"
)

// Attempt is what is known of one call of the hub.
type Attempt struct {
	// Connect is the connect time-out that was asked for, Elapsed how long the call took.
	Connect, Elapsed time.Duration
	// Stirred is true if the hub's events told anything of the device during the call.
	Stirred bool
	// Code of the device, if Err is nil.
	Code int
	Err  error
}

// tolerance is how much longer than the connect time-out an attempt on an offline device may take,
// and early how much shorter.
const (
	tolerance = 3 * time.Second
	early     = 500 * time.Millisecond
)

// offlineTexts begin the messages of 404103 that were seen from devices that were offline. The hub
// uses the number for devices, too, that had been given the command already
// (azure-iot-sdk-csharp#317, #431).
var offlineTexts = []string{
	"The operation failed because the requested device isn't online or hasn't registered the direct method callback.",
	"Timed out waiting for device to connect.",
}

// Judge says what an attempt means. Whatever it does not know for certain is Unknown.
func Judge(a Attempt) Meaning {
	if a.Err == nil {
		if a.Code >= 200 && a.Code <= 299 {
			return Succeeded
		}
		return DeviceFailed
	}
	e, ok := errors.AsType[*iothub.Error](a.Err)
	if !ok {
		return Unknown
	}
	if e.Err != nil || e.StatusCode == 0 {
		return ofExchange(e)
	}
	return ofAnswer(a, e)
}

// ofExchange judges a call without a whole answer of the hub. It was not sent if there never was a
// connection. The kind of failure does not tell: a connection may also end with a TLS alert after
// the request.
func ofExchange(e *iothub.Error) Meaning {
	switch e.Code {
	case iothub.CodeHostNotAllowed, iothub.CodeInvalidDeviceID, iothub.CodeInvalidConfiguration, iothub.CodeInvalidPayload:
		return Refused
	}
	if e.Sent {
		return Unknown
	}
	return Postponed
}

// ofAnswer judges an error that the hub itself answered with.
func ofAnswer(a Attempt, e *iothub.Error) Meaning {
	switch e.Number {
	case iothub.NumberDeviceOffline:
		if a.isOffline(e) {
			return Undelivered
		}
		return Unknown
	case iothub.NumberConnectionClosed:
		return Unknown
	}
	if _, isPostponed := postponements[e.Number]; isPostponed {
		return Postponed
	}
	switch {
	case e.StatusCode == http.StatusTooManyRequests:
		return Postponed
	case e.StatusCode == http.StatusRequestTimeout || e.StatusCode >= 500:
		return Unknown
	case e.StatusCode == http.StatusNotFound && strings.Contains(strings.ToLower(e.Message), "unavailable"):
		return Unknown
	case e.StatusCode >= 400:
		return Refused
	}
	return Unknown // a redirect, or something that HTTP does not have
}

// isOffline reports whether all that is known says that the device was offline for all of the time
// it was waited for.
func (a Attempt) isOffline(e *iothub.Error) bool {
	known := false
	for _, text := range offlineTexts {
		known = known || strings.HasPrefix(e.Message, text)
	}
	return known && !a.Stirred && e.Waited != nil && *e.Waited == a.Connect &&
		a.Elapsed >= a.Connect-early && a.Elapsed <= a.Connect+tolerance
}

// EndedAt is when the hub ended an attempt, by its own clock, zero if it did not say.
func EndedAt(err error) time.Time {
	if e, ok := errors.AsType[*iothub.Error](err); ok {
		return e.At
	}
	return time.Time{}
}

// Why explains a meaning in a line for people: the device's code, or what the hub said.
func Why(a Attempt) string {
	if a.Err == nil {
		return fmt.Sprintf("The device answered with code %d", a.Code)
	}
	if e, ok := errors.AsType[*iothub.Error](a.Err); ok {
		return e.Stable()
	}
	return a.Err.Error()
}
