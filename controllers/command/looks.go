package command

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/hubcalls"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

const (
	// maxLooks is how many devices are looked at for commands at a time, half of them at one hub.
	maxLooks = 32
	// lookHolds is how long a model that was looked at is believed, if nothing casts doubt on it.
	lookHolds = 10 * time.Second
)

// looks are the calls that say which model a device has, before it is sent a command.
type looks struct{ *hubcalls.Pool[*look] }

func newLooks(ctx context.Context, wake func(types.NamespacedName)) looks {
	return looks{hubcalls.New[*look](ctx, maxLooks, wake)}
}

// look is one call, and what it came to.
type look struct {
	hubcalls.Common

	session  *session.Session
	deviceID string

	// The following are there once it is done.
	model  string
	err    error
	ended  time.Time
	doubts int // of the device until then
}

func newLook(command types.NamespacedName, session *session.Session, deviceID string) *look {
	return &look{Common: hubcalls.Common{Object: command, Host: session.Destination}, session: session, deviceID: deviceID}
}

// take hands over what was seen of a device for a command, once. pending is what is still under way,
// or waits for a place. A look at another device, or by another session, is given up.
func (l looks) take(command types.NamespacedName, session *session.Session, deviceID string) (of, pending *look) {
	of, pending = l.Take(command, func(of *look) bool { return of.session == session && of.deviceID == deviceID })
	if of != nil && of.isOver(time.Now()) {
		return nil, nil
	}
	return of, pending
}

// isOver reports whether a model does not count any more.
func (of *look) isOver(now time.Time) bool {
	return of.err == nil && (now.Sub(of.ended) > lookHolds || of.session.Device(of.deviceID).Doubts() != of.doubts)
}

func (of *look) Ask(ctx context.Context) {
	caller := budget.Caller{Key: of.Object.String() + " model", Priority: budget.PriorityCommand}
	t, err := of.session.As(caller).GetTwin(ctx, of.deviceID)
	of.err, of.ended, of.doubts = err, time.Now(), of.session.Device(of.deviceID).Doubts()
	if err == nil {
		of.model = t.ModelID
	}
}

func (*look) Discard() {}
