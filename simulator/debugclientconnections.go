package simulator

import (
	"context"
	"net/http"
	"net/url"
)

// ConnectionString returns what a device pastes into Microsoft's SDK.
func (c *DebugClient) ConnectionString(ctx context.Context, id string) (string, error) {
	s, err := get[ConnectionString](ctx, c, device(id, "/connectionstring"))
	return s.ConnectionString, err
}

// AnswerCommand changes how a virtual device answers a command.
func (c *DebugClient) AnswerCommand(ctx context.Context, id, name string, a CommandAnswer) error {
	return c.call(ctx, http.MethodPut, device(id, "/commands/")+url.PathEscape(name), a, nil)
}

// Commands returns the commands that reached a virtual device, oldest first.
func (c *DebugClient) Commands(ctx context.Context, id string) ([]RanCommand, error) {
	return get[[]RanCommand](ctx, c, device(id, "/commands"))
}

// CutMQTT ends the connection of a device without a word, or of all devices if id is empty.
func (c *DebugClient) CutMQTT(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, "/mqtt/cut?device="+url.QueryEscape(id), nil, nil)
}
