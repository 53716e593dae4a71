package session

import (
	"context"

	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// As returns the hub as a caller asks it: each request takes its token on behalf of that caller.
func (s *Session) As(c budget.Caller) Hub { return As(s.hub, c) }

// As returns a hub as a caller asks it.
func As(hub Hub, c budget.Caller) Hub { return asked{hub, c} }

// asked is a hub whose Gate is told who asks. The context of a request is the only way to it through the
// client of the hub.
type asked struct {
	hub    Hub
	caller budget.Caller
}

func (a asked) GetTwin(ctx context.Context, deviceID string) (*twin.Twin, error) {
	return a.hub.GetTwin(with(ctx, a.caller), deviceID)
}

func (a asked) PatchTwin(ctx context.Context, deviceID string, patch []byte, etag string) (*twin.Twin, error) {
	return a.hub.PatchTwin(with(ctx, a.caller), deviceID, patch, etag)
}

func (a asked) PatchDigitalTwin(ctx context.Context, deviceID string, patch []byte, etag string) (newETag string, err error) {
	return a.hub.PatchDigitalTwin(with(ctx, a.caller), deviceID, patch, etag)
}

func (a asked) InvokeCommand(ctx context.Context, i iothub.Invocation) (iothub.CommandAnswer, error) {
	return a.hub.InvokeCommand(with(ctx, a.caller), i)
}

func (a asked) InvokeMethod(ctx context.Context, i iothub.Invocation) (iothub.CommandAnswer, error) {
	return a.hub.InvokeMethod(with(ctx, a.caller), i)
}

func (a asked) Query(ctx context.Context, q iothub.Query) (iothub.QueryPage, error) {
	return a.hub.Query(with(ctx, a.caller), q)
}

func (a asked) Close() { a.hub.Close() }

type callerKey struct{}

func with(ctx context.Context, c budget.Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerOf returns who asks with a context, a sweep if nobody is named.
func callerOf(ctx context.Context) budget.Caller {
	c, _ := ctx.Value(callerKey{}).(budget.Caller)
	return c
}
