package command

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/iothub"
)

const (
	offline = "The operation failed because the requested device isn't online or hasn't registered the direct method callback. To learn more, see https://aka.ms/iothub404103"
	older   = "Timed out waiting for device to connect."
)

// answer is an error that the hub itself answered with.
func answer(status, number int, message string, waited ...time.Duration) *iothub.Error {
	e := &iothub.Error{StatusCode: status, Number: number, Message: message}
	if len(waited) > 0 {
		e.Waited = &waited[0]
	}
	return e
}

// broken is a call without a whole answer, over a connection.
func broken(code string, status int, cause error) *iothub.Error {
	return &iothub.Error{StatusCode: status, Code: code, Err: cause, Sent: true}
}

// unsent is a call for which there was no connection.
func unsent(code string, cause error) *iothub.Error {
	return &iothub.Error{Code: code, Err: cause}
}

func TestJudge(t *testing.T) {
	const s = time.Second
	tests := map[string]struct {
		attempt Attempt
		want    Meaning
	}{
		"the device answered 200":  {Attempt{Code: 200}, Succeeded},
		"the device answered 299":  {Attempt{Code: 299}, Succeeded},
		"the device answered 300":  {Attempt{Code: 300}, DeviceFailed},
		"the device answered 199":  {Attempt{Code: 199}, DeviceFailed},
		"the device answered 404":  {Attempt{Code: 404}, DeviceFailed},
		"the device answered -1":   {Attempt{Code: -1}, DeviceFailed},
		"offline":                  {Attempt{Err: answer(404, 404103, offline, 0)}, Undelivered},
		"offline, the older text":  {Attempt{Err: answer(404, 404103, older, 0)}, Undelivered},
		"offline for 10 s":         {Attempt{Connect: 10 * s, Elapsed: 10100 * time.Millisecond, Err: answer(404, 404103, offline, 10*s)}, Undelivered},
		"offline, a slow network":  {Attempt{Connect: 10 * s, Elapsed: 12900 * time.Millisecond, Err: answer(404, 404103, offline, 10*s)}, Undelivered},
		"but it took far longer":   {Attempt{Connect: 10 * s, Elapsed: 14 * s, Err: answer(404, 404103, offline, 10*s)}, Unknown},
		"but it came too early":    {Attempt{Connect: 10 * s, Elapsed: 4 * s, Err: answer(404, 404103, offline, 10*s)}, Unknown},
		"but another time-out":     {Attempt{Connect: 10 * s, Elapsed: 10 * s, Err: answer(404, 404103, offline, 30*s)}, Unknown},
		"but no time-out is named": {Attempt{Err: answer(404, 404103, offline)}, Unknown},
		"but the device did sth.":  {Attempt{Stirred: true, Err: answer(404, 404103, offline, 0)}, Unknown},
		"but another text":         {Attempt{Err: answer(404, 404103, "Device unavailable", 0)}, Unknown},
		"closed remotely":          {Attempt{Err: answer(404, 404104, "")}, Unknown},
		"404, Device unavailable":  {Attempt{Err: answer(404, 0, "Device unavailable")}, Unknown},
		"unknown device":           {Attempt{Err: answer(404, 404001, "dev1")}, Postponed},
		"another 404":              {Attempt{Err: answer(404, 0, "IotHubNotFound")}, Refused},
		"disabled":                 {Attempt{Err: answer(403, 403012, "")}, Postponed},
		"too many in flight":       {Attempt{Err: answer(403, 403800, "")}, Postponed},
		"quota":                    {Attempt{Err: answer(403, 403002, "")}, Postponed},
		"another 403":              {Attempt{Err: answer(403, 403010, "")}, Refused},
		"throttled":                {Attempt{Err: answer(429, 429001, "")}, Postponed},
		"throttled, no number":     {Attempt{Err: answer(429, 0, "")}, Postponed},
		"400":                      {Attempt{Err: answer(400, 400004, "")}, Refused},
		"401":                      {Attempt{Err: answer(401, 401002, "")}, Refused},
		"413":                      {Attempt{Err: answer(413, 413001, "")}, Refused},
		"408":                      {Attempt{Err: answer(408, 408000, "")}, Unknown},
		"500":                      {Attempt{Err: answer(500, 500001, "")}, Unknown},
		"502":                      {Attempt{Err: answer(502, 502000, "")}, Unknown},
		"503":                      {Attempt{Err: answer(503, 503001, "")}, Unknown},
		"504, no answer in time":   {Attempt{Err: answer(504, 504101, "")}, Unknown},
		"a redirect":               {Attempt{Err: answer(302, 0, "")}, Unknown},
		"the answer was cut off":   {Attempt{Err: broken(iothub.CodeConnection, 0, errors.New("reset"))}, Unknown},
		"half an answer of 404":    {Attempt{Err: broken(iothub.CodeConnection, 404, errors.New("EOF"))}, Unknown},
		"an unreadable 200":        {Attempt{Err: broken(iothub.CodeInvalidResponse, 200, errors.New("no number"))}, Unknown},
		"no answer in time":        {Attempt{Err: broken(iothub.CodeTimeout, 0, context.DeadlineExceeded)}, Unknown},
		"the caller gave up":       {Attempt{Err: broken(iothub.CodeCanceled, 0, context.Canceled)}, Unknown},
		"broke while writing":      {Attempt{Err: broken(iothub.CodeConnection, 0, &net.OpError{Op: "write", Err: errors.New("reset")})}, Unknown},
		"a TLS alert afterwards":   {Attempt{Err: broken(iothub.CodeTLS, 0, &net.OpError{Op: "remote error", Err: errors.New("tls: internal error")})}, Unknown},
		"never connected":          {Attempt{Err: unsent(iothub.CodeConnection, &net.OpError{Op: "dial", Err: errors.New("refused")})}, Postponed},
		"no such host name":        {Attempt{Err: unsent(iothub.CodeDNS, errors.New("no such host"))}, Postponed},
		"not the hub's key":        {Attempt{Err: unsent(iothub.CodeTLS, errors.New("unknown authority"))}, Postponed},
		"no connection in time":    {Attempt{Err: unsent(iothub.CodeTimeout, context.DeadlineExceeded)}, Postponed},
		"given up before sending":  {Attempt{Err: unsent(iothub.CodeCanceled, context.Canceled)}, Postponed},
		"no token for it":          {Attempt{Err: unsent(iothub.CodeNoToken, errors.New("503"))}, Postponed},
		"an identity refused":      {Attempt{Err: unsent(iothub.CodeIdentityRefused, errors.New("AADSTS700213"))}, Postponed},
		"a host that is forbidden": {Attempt{Err: unsent(iothub.CodeHostNotAllowed, errors.New("host"))}, Refused},
		"a payload not JSON":       {Attempt{Err: unsent(iothub.CodeInvalidPayload, errors.New("json"))}, Refused},
		"something else":           {Attempt{Err: errors.New("boom")}, Unknown},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Judge(test.attempt); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
