package rest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// The three shapes in which the hub reports errors, named here as nobody else names them.
const (
	// E1 is {"Message":"ErrorCode:…;text","ExceptionMessage":"Tracking ID:…"}: the registry, twins, queries.
	E1 = "E1"
	// E2 is {"errorCode":…,"trackingId":…,"message":…,"timestampUtc":…}: modules, and MQTT.
	E2 = "E2"
	// E3 is an E2 encoded as a string inside the Message of an E1: whatever waits for a device.
	E3 = "E3"
)

// reply is a response before it is sent; a fault may still get in its way.
type reply struct {
	status int
	header http.Header
	body   []byte
	close  bool // end the connection afterwards, as the hub does when it throttles
}

func ok(body any) reply {
	return reply{status: http.StatusOK, header: http.Header{}, body: jsontree.Append(nil, body)}
}

func (r reply) with(header, value string) reply {
	r.header[header] = []string{value} // spelled as the hub does
	return r
}

// refusal is an error of the hub under a name that leaves its method Error alone.
type refusal = hub.Error

// failure is an error with the envelope that it is reported in.
type failure struct {
	refusal
	envelope string
	elapsed  *time.Duration // of E3: the time-out that was over, if one was
}

func (f failure) reply(trackingID string, now time.Time) reply {
	return reply{
		status: f.Status,
		header: http.Header{"iothub-errorcode": {f.Name}},
		body:   f.body(trackingID, now),
		close:  f.Status == http.StatusTooManyRequests,
	}
}

func (f failure) body(trackingID string, now time.Time) []byte {
	stamp := "-TimeStamp:" + now.UTC().Format("01/02/2006 15:04:05")
	switch f.envelope {
	case E2:
		return jsontree.Append(nil, f.Document(trackingID+"-G:0"+stamp, now))
	case E3:
		inner := f.Document(strings.ReplaceAll(trackingID, "-", "")+stamp, now)
		return envelope(string(jsontree.Append(nil, inner.With("info", f.info()))), "")
	}
	return envelope("ErrorCode:"+f.Name+";"+f.Message, "Tracking ID:"+trackingID+"-G:0"+stamp)
}

// info names the time-out in hours, minutes and seconds.
func (f failure) info() jsontree.Object {
	if f.elapsed == nil {
		return jsontree.Object{}
	}
	s := int(f.elapsed.Seconds())
	return jsontree.Object{{Name: "timeout", Value: fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)}}
}

func envelope(message, exception string) []byte {
	return jsontree.Append(nil, jsontree.Object{{Name: "Message", Value: message}, {Name: "ExceptionMessage", Value: exception}})
}

func failed(err error) failure {
	if whole, ok := errors.AsType[*failure](err); ok {
		return *whole
	}
	var refused *hub.Error
	if !errors.As(err, &refused) {
		refused = usual[http.StatusInternalServerError].failure(http.StatusInternalServerError)
	}
	return failure{refusal: *refused, envelope: E1}
}

// usualError is what the hub says for a status unless a handler knows better ("Troubleshoot Azure IoT Hub error codes").
type usualError struct {
	name     string
	number   int
	message  string
	envelope string
}

func (u usualError) failure(status int) *hub.Error {
	return &hub.Error{Status: status, Name: u.name, Number: u.number, Message: u.message}
}

var usual = map[int]usualError{
	400: {"ArgumentInvalid", 400004, "BadRequest", E1},
	401: {"IotHubUnauthorizedAccess", 401002, "Unauthorized", E1},
	403: {"IotHubQuotaExceeded", 403002, "Total number of messages on IotHub exceeded the allocated quota.", E1},
	404: {"DeviceNotFound", 404001, "The device is not registered.", E1},
	408: {"DeviceTimeout", 408000, "The operation timed out.", E1},
	409: {"DeviceAlreadyExists", 409001, "The device is already registered.", E1},
	412: {"PreconditionFailed", 412001, "Precondition failed: Device version did not match", E1},
	413: {"MessageTooLarge", 413001, "The request is too large.", E1},
	429: {"ThrottlingBacklogTimeout", 429003, "The request has been throttled. Wait 10 seconds and try again. Operation type: ", E1},
	500: {"ServerError", 500001, "A server error occurred; please try again.", E1},
	502: {"BadDeviceResponse", 502000, "Bad gateway.", E1},
	503: {"ServiceUnavailable", 503001, "Service is busy or unavailable, please try again.", E1},
	504: {"GatewayTimeout", 504101, "Timed out waiting for the response from device.", E3},
}
