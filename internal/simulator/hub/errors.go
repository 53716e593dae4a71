package hub

import "fmt"

// Error is a refusal by the hub. Name, Number and status are those of "Troubleshoot Azure IoT Hub error codes" and of
// the C# SDK's ErrorCode.cs.
type Error struct {
	Status  int    // HTTP status
	Name    string // value of the iothub-errorcode header
	Number  int    // six-digit code
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d): %s", e.Name, e.Number, e.Message) }

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
