package amqp

import "github.com/pnp-operator/pnp-operator/internal/simulator/amqp/wire"

// Conditions of errors ("AMQP errors in Azure Service Bus" and "Messaging exceptions").
const (
	condDecode        = "amqp:decode-error"
	condForced        = "amqp:connection:forced"
	condNotAllowed    = "amqp:not-allowed"
	condNotFound      = "amqp:not-found"
	condNotSupported  = "amqp:not-implemented"
	condOutOfRange    = "com.microsoft:argument-out-of-range"
	condResourceLimit = "amqp:resource-limit-exceeded"
	condStolen        = "amqp:link:stolen"
	condTooLarge      = "amqp:link:message-size-exceeded"
	condUnauthorized  = "amqp:unauthorized-access"
)

// condition is an error as the protocol carries it. nil is none.
type condition struct{ name, text string }

func (e *condition) value() any {
	if e == nil {
		return nil
	}
	return wire.Described{Descriptor: uint64(wire.Error), Value: []any{wire.Symbol(e.name), e.text}}
}
