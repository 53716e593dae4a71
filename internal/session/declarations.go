package session

import (
	"context"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Declarations are the PnPDevices of a hub as the cache has them: all that a session, its events
// and its sweep, asks of the controllers.
type Declarations interface {
	// List returns the devices that they declare.
	List(ctx context.Context) ([]Declared, error)
	// Cached returns what they know of a device, to be computed if needed; false if nobody declares
	// it.
	Cached(ctx context.Context, deviceID string) (func() Belief, bool)
	// Differs reports whether a twin would change what their status says.
	Differs(ctx context.Context, t *twin.Twin) bool
	// Enqueue has those of a device reconciled, after a while.
	Enqueue(ctx context.Context, deviceID string, cause Cause, after time.Duration)
}

// Declared is what status knows of one declared device.
type Declared struct {
	DeviceID        string
	Adopted         bool   // the twin was read before
	ETag            string // of the twin, as status has it
	ConnectionState string
	Suspended       bool
}

// Cause is why a device is reconciled: it says how urgent that is.
type Cause int

const (
	// CauseEvent means that an event told something of it.
	CauseEvent Cause = iota
	// CauseSweep means that it is to be read when nothing else is to do.
	CauseSweep
)
