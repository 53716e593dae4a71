package amqp

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
)

// Conditions of errors ("OASIS AMQP Version 1.0", 2.8; "AMQP errors in Azure Service Bus").
const (
	condArgument      = "com.microsoft:argument-error"
	condDecode        = "amqp:decode-error"
	condForced        = "amqp:connection:forced"
	condFraming       = "amqp:connection:framing-error"
	condHandleInUse   = "amqp:session:handle-in-use"
	condNotAllowed    = "amqp:not-allowed"
	condNotFound      = "amqp:not-found"
	condNotSupported  = "amqp:not-implemented"
	condRedirect      = "amqp:link:redirect"
	condOutOfRange    = "com.microsoft:argument-out-of-range"
	condResourceLimit = "amqp:resource-limit-exceeded"
	condStolen        = "amqp:link:stolen"
	condTooLarge      = "amqp:link:message-size-exceeded"
	condTooMany       = "amqp:link:transfer-limit-exceeded"
	condUnauthorized  = "amqp:unauthorized-access"
	condWindow        = "amqp:session:window-violation"
)

// condition is an error as the protocol carries it. nil is none.
type condition struct{ name, text string }

func conditionf(name, format string, args ...any) *condition {
	return &condition{name, fmt.Sprintf(format, args...)}
}

func (e *condition) Error() string { return e.name + ": " + e.text }

func (e *condition) value() any {
	if e == nil {
		return nil
	}
	return wire.ErrorOf(e.name, e.text, nil)
}

// reasonFor is what a peer is told whose connection ends with an error; nothing, if it is the one that ended it.
func reasonFor(err error, idle time.Duration) *condition {
	if c, ok := errors.AsType[*condition](err); ok {
		return c
	}
	switch {
	case errors.Is(err, wire.ErrFraming):
		return &condition{condFraming, err.Error()}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return conditionf(condForced, "The connection was inactive for more than the allowed %d milliseconds and is closed by container 'LinkTracker'.", idle.Milliseconds())
	}
	return nil
}

// Texts of conditions that several nodes give.

func entityNotFound(name string) *condition {
	return conditionf(condNotFound, "The messaging entity '%s' could not be found.", name)
}

func badPartition() *condition {
	return &condition{condOutOfRange, "The specified partition is invalid for an EventHub partition sender or receiver."}
}
