package iothub

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/redact"
)

// Class says who has to act before the same call can succeed.
type Class string

const (
	// Transient means nobody: try again with a backoff. Whatever is not known is transient.
	Transient Class = "Transient"
	// Waiting means someone other than the user, or time: an offline device, a throttle, a quota.
	Waiting Class = "Waiting"
	// Terminal means the user. The same call fails until a spec, a Secret or the hub's configuration changes.
	Terminal Class = "Terminal"
)

// Codes of failures that the hub did not name, beside those of the hub in Error.Code.
const (
	// CodeHostNotAllowed: the guard refused to send a token; nothing was sent.
	CodeHostNotAllowed = "HostNotAllowed"
	// CodeInvalidDeviceID: the device ID cannot be part of a URL; nothing was sent.
	CodeInvalidDeviceID = "InvalidDeviceID"
	// CodeInvalidETag: a write without the etag of a read; nothing was sent.
	CodeInvalidETag = "InvalidETag"
	// CodeInvalidPayload: the payload of a command is not JSON; nothing was sent.
	CodeInvalidPayload = "InvalidPayload"
	// CodeInvalidQuery: the query cannot be encoded; nothing was sent.
	CodeInvalidQuery = "InvalidQuery"
	// CodeInvalidConfiguration: a setting of the hub is unusable, see ConfigError.
	CodeInvalidConfiguration = "InvalidConfiguration"
	// CodeIdentityRefused: Microsoft Entra ID gives no token to this identity, see entra.Error; nothing was sent.
	CodeIdentityRefused = "IdentityRefused"
	// CodeNoToken: there is no token of Microsoft Entra ID for now, see entra.Error; nothing was sent.
	CodeNoToken = "NoToken"
	// CodeCanceled: the caller gave up.
	CodeCanceled = "Canceled"
	// CodeTimeout: no whole answer in time.
	CodeTimeout = "Timeout"
	// CodeDNS: the host name did not resolve.
	CodeDNS = "DNS"
	// CodeTLS: the peer's certificate was refused, or the peer does not speak TLS.
	CodeTLS = "TLS"
	// CodeConnection: no connection, or it broke before the whole answer was there.
	CodeConnection = "Connection"
	// CodeInvalidResponse: a 2xx answer that is cut, or not what was asked for.
	CodeInvalidResponse = "InvalidResponse"
	// CodeTooLarge: an answer with more bytes or values than are read.
	CodeTooLarge = "AnswerTooLarge"
	// CodeNoRoom: a large answer for which there is no memory for now.
	CodeNoRoom = "NoRoom"
	// CodeRedirect: a 3xx answer. Redirects are not followed.
	CodeRedirect = "Redirect"
)

// Error is a call that failed. Its strings are cleaned: one line, bounded, without credentials.
type Error struct {
	// Op is the operation, such as OpGetTwin.
	Op Operation
	// DeviceID is empty where the call was not about one device.
	DeviceID string
	// StatusCode is that of HTTP, 0 if no answer arrived.
	StatusCode int
	// Code is the hub's name of the error, such as DeviceNotFound, or one of this package's. Empty: the hub gave none.
	Code string
	// Number is the hub's number of the error, such as 404001, 0 if unknown.
	Number int
	// Message is the hub's text, or that of the failure beneath.
	Message string
	// RequestID is the hub's x-ms-request-id, or the Request-Id sent to it if there was no answer.
	RequestID string
	// TrackingID is what the hub's support asks for.
	TrackingID string
	// Waited is how long the hub says that it waited for the device, nil if it does not say.
	Waited *time.Duration
	// At is when the hub refused, by its own clock, zero if it does not say.
	At time.Time
	// Sent is true if there was a connection to send the call over: without one, it never reached anybody.
	Sent  bool
	Class Class
	// Err is the failure beneath, nil for an answer of the hub.
	Err error
}

// Error is one line for logs.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op.String())
	if e.DeviceID != "" {
		fmt.Fprintf(&b, " %q", e.DeviceID)
	}
	b.WriteString(": " + e.summary())
	if e.RequestID != "" {
		b.WriteString(" (request " + e.RequestID)
		if e.TrackingID != "" {
			b.WriteString(", tracking " + e.TrackingID)
		}
		b.WriteByte(')')
	}
	return b.String()
}

// Unwrap gives the failure beneath.
func (e *Error) Unwrap() error { return e.Err }

// summary is "404 DeviceNotFound (404001): dev1", with less where less is known.
func (e *Error) summary() string {
	var parts []string
	if e.StatusCode != 0 {
		parts = append(parts, strconv.Itoa(e.StatusCode))
	}
	switch {
	case e.Code != "":
		parts = append(parts, e.Code)
	case e.StatusCode != 0:
		parts = append(parts, http.StatusText(e.StatusCode))
	}
	if e.Number != 0 {
		parts = append(parts, fmt.Sprintf("(%d)", e.Number))
	}
	s := strings.TrimSpace(strings.Join(parts, " "))
	if e.Message == "" {
		return s
	}
	return s + ": " + e.Message
}

// volatile is what differs between two failures for one reason.
var volatile = regexp.MustCompile(strings.Join([]string{
	`(?i:tracking ?id: ?\S+(?: \d+:\d+:\d+)?)`,
	`\b[0-9a-f]{32}\b`,
	`\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`,
	`-G:\d+\b`,
	`-?TimeStamp: ?\d+/\d+/\d+ \d+:\d+:\d+(?: [AP]M)?`,
	`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?`,
	`\b\d+/\d+/\d{4} \d+:\d+:\d+(?: [AP]M)?`,
	`\b(?:existing|new)Version: ?\d+`,
	`\bWait \d+ seconds?`,
}, "|"))

// Stable is the message for a status condition: no ids and no times, so that two failures for one reason compare equal.
func (e *Error) Stable() string {
	return volatile.ReplaceAllStringFunc(e.summary(), func(s string) string {
		if s == e.DeviceID {
			return s
		}
		return "..."
	})
}

// ClassOf gives the class of any non-nil error, Transient if it is not of this package.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return localFailure(err).class
}

// CodeOf gives the code of any non-nil error, "" if there is none.
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return localFailure(err).code
}

// IsNotFound reports whether the hub does not know the device. A hub that does not exist is something else.
func IsNotFound(err error) bool { return hasTrait(err, deviceUnknown) }

// IsUnauthorized reports whether the hub refused the credential: any 401, and a 403 without a code; or Microsoft Entra ID did. Of one
// call that is a doubt: the hub may have meant that call alone.
func IsUnauthorized(err error) bool {
	return RefusesCredential(err) || CodeOf(err) == CodeIdentityRefused
}

// RefusesCredential reports whether the hub itself refused the credential.
func RefusesCredential(err error) bool { return hasTrait(err, unauthorized) }

// IsPreconditionFailed reports whether a write's etag is stale: read again, then write again.
func IsPreconditionFailed(err error) bool { return hasTrait(err, staleETag) }

// IsThrottled reports whether the hub asks for fewer requests. The exhausted daily quota (403002) is not that.
func IsThrottled(err error) bool { return hasTrait(err, throttled) }

// IsQuotaExceeded reports whether the hub's messages of the day are used up.
func IsQuotaExceeded(err error) bool { return hasTrait(err, quotaExceeded) }

// IsUnreadable reports whether the hub answered, and what it answered cannot be used: another question may have an answer that can.
func IsUnreadable(err error) bool {
	code := CodeOf(err)
	return code == CodeInvalidResponse || code == CodeTooLarge
}

// IsTooLarge reports whether the answer has more than is read.
func IsTooLarge(err error) bool { return CodeOf(err) == CodeTooLarge }

// DidNothing reports whether a failed call of a Client certainly changed nothing: it was not sent, or the hub answered that it
// refuses it. Of an answer that did not arrive whole, and of any 5xx, nobody knows. An error that is none of this package is
// the gate's, which let nothing through.
func DidNothing(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || !e.Sent {
		return true
	}
	isRefusal := e.StatusCode >= http.StatusBadRequest && e.StatusCode < http.StatusInternalServerError
	return e.Err == nil && isRefusal && e.StatusCode != http.StatusRequestTimeout
}

// IsInvalidPatch reports whether the hub cannot apply a digital-twin patch (400505 to 400508), as happens when the twin
// is not what it was thought to be.
func IsInvalidPatch(err error) bool { return hasTrait(err, invalidPatch) }

// hasTrait takes only a whole answer of the hub at its word.
func hasTrait(err error, t trait) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Err == nil && lookUp(e.StatusCode, e.Number, e.Code).trait == t
}

// responseError reads the error in an answer that is not 2xx.
func responseError(q call, requestID string, resp *http.Response, body []byte) *Error {
	env := parseEnvelope(resp.Header.Get(headerErrorCode), body)
	row := lookUp(resp.StatusCode, env.number, env.code)
	e := newError(q, requestIDOf(resp, requestID), row.class)
	e.StatusCode, e.Code, e.Number, e.Message, e.TrackingID = resp.StatusCode, env.code, env.number, env.message, env.trackingID
	e.Waited, e.At = env.waited, env.at
	if e.Code == "" {
		e.Code = row.code
	}
	if e.Number == 0 {
		e.Number = row.number
	}
	return e
}

// unreadable is a 2xx answer that cannot be used. Of a write, nobody knows whether it was done.
func unreadable(q call, requestID string, resp *http.Response, err error) *Error {
	code := CodeInvalidResponse
	if errors.Is(err, errTooManyValues) {
		code = CodeTooLarge
	}
	return withAnswer(localError(q, code, Transient, err), requestID, resp)
}

// transportError is an exchange without a whole answer. resp is what there was of it, if anything.
func transportError(q call, requestID string, resp *http.Response, err error) *Error {
	f := localFailure(err)
	if f.code == "" {
		f.code = CodeConnection
	}
	return withAnswer(localError(q, f.code, f.class, err), requestID, resp)
}

func withAnswer(e *Error, requestID string, resp *http.Response) *Error {
	e.RequestID = requestID
	if resp != nil {
		e.StatusCode, e.RequestID = resp.StatusCode, requestIDOf(resp, requestID)
	}
	return e
}

func localError(q call, code string, class Class, err error) *Error {
	e := newError(q, "", class)
	e.Code, e.Message, e.Err = code, redact.Text(withoutLocalPort(err.Error())), err
	return e
}

func newError(q call, requestID string, class Class) *Error {
	return &Error{Op: q.op, DeviceID: redact.Text(q.deviceID), RequestID: requestID, Class: class}
}

// requestIDOf prefers the hub's id over ours.
func requestIDOf(resp *http.Response, ours string) string {
	if id := resp.Header.Get(headerHubRequestID); identifier.MatchString(id) {
		return id
	}
	return ours
}

// localPort is the address that a connection had on our side, which differs every time.
var localPort = regexp.MustCompile(`\S+:\d+->`)

func withoutLocalPort(s string) string { return localPort.ReplaceAllString(s, "") }
