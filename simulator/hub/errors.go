package hub

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// Error is a refusal by the hub. Name, Number and status are those of "Troubleshoot Azure IoT Hub error codes" and of
// the C# SDK's ErrorCode.cs.
type Error struct {
	Status  int    // HTTP status
	Name    string // value of the iothub-errorcode header
	Number  int    // six-digit code
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d): %s", e.Name, e.Number, e.Message) }

// Document is the error as JSON, the way MQTT devices get it and callers of direct methods, inside another envelope.
func (e *Error) Document(trackingID string, now time.Time) jsontree.Object {
	return jsontree.Object{
		{Name: "errorCode", Value: json.Number(strconv.Itoa(e.Number))},
		{Name: "trackingId", Value: trackingID},
		{Name: "message", Value: e.Message},
		{Name: "timestampUtc", Value: now.UTC().Format("2006-01-02T15:04:05.0000000Z")},
	}
}

func refuse(status int, name string, number int, format string, args ...any) *Error {
	return &Error{status, name, number, fmt.Sprintf(format, args...)}
}

func argumentInvalid(format string, args ...any) error {
	return refuse(400, "ArgumentInvalid", 400004, format, args...)
}

func deviceNotFound(id string) error {
	return refuse(404, "DeviceNotFound", 404001, "%s", id)
}

func preconditionFailed(format string, args ...any) error {
	return refuse(412, "PreconditionFailed", 412001, format, args...)
}

// BadQuery is how the hub refuses a query that it cannot parse; it gives no reason.
func BadQuery() error { return argumentInvalid("BadRequest") }

// BadReport is how the hub refuses a reported patch that is not a JSON object.
func BadReport(err error) error { return argumentInvalid(notValid+"%v", err) }
