package command

import (
	"errors"

	"github.com/pnp-operator/pnp-operator/internal/iothub"
)

// Awaited is what has to become of a device before it can be sent a command.
type Awaited int

const (
	// AwaitsNothing means that the hub is to be asked again after a while.
	AwaitsNothing Awaited = iota
	// AwaitsConnection means that the device has to connect.
	AwaitsConnection
	// AwaitsEnabling means that somebody has to enable it at the hub.
	AwaitsEnabling
	// AwaitsIdentity means that somebody has to create it there.
	AwaitsIdentity
)

// postponements are the answers with which the hub says for certain that it did not give the
// command to the device, and that this passes.
var postponements = map[int]Awaited{
	iothub.NumberDeviceNotFound:  AwaitsIdentity,
	iothub.NumberDeviceDisabled:  AwaitsEnabling,
	iothub.NumberTooManyInFlight: AwaitsNothing,
	iothub.NumberQuotaExceeded:   AwaitsNothing,
}

// Awaits returns what a command waits for its device to become after an attempt of that meaning.
func (a Attempt) Awaits(meaning Meaning) Awaited {
	e, ok := errors.AsType[*iothub.Error](a.Err)
	switch {
	case meaning == Undelivered:
		return AwaitsConnection
	case meaning == Postponed && ok:
		return postponements[e.Number]
	}
	return AwaitsNothing
}
