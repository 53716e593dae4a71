package simulator

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// Routes returns the routes in force.
func (c *DebugClient) Routes(ctx context.Context) (Routes, error) {
	return get[Routes](ctx, c, "/routes")
}

// SetRoutes puts other routes in force.
func (c *DebugClient) SetRoutes(ctx context.Context, r Routes) error {
	return c.call(ctx, http.MethodPut, "/routes", r, nil)
}

// Events returns the newest events of a device, of all if that is empty, oldest first; limit 0 is all that are kept.
func (c *DebugClient) Events(ctx context.Context, deviceID string, limit int) ([]Event, error) {
	q := url.Values{"device": {deviceID}, "limit": {strconv.Itoa(limit)}}
	return get[[]Event](ctx, c, "/events?"+q.Encode())
}

// EventCounts returns how many events of each source entered the event hub.
func (c *DebugClient) EventCounts(ctx context.Context) (map[EventSource]int, error) {
	return get[map[EventSource]int](ctx, c, "/events/counts")
}

// AddEventFault puts a fault of events in force and returns its id.
func (c *DebugClient) AddEventFault(ctx context.Context, f EventFault) (string, error) {
	var added struct{ ID string }
	err := c.call(ctx, http.MethodPost, "/eventfaults", f, &added)
	return added.ID, err
}

// EventFaults returns the faults of events in force, and those that are spent.
func (c *DebugClient) EventFaults(ctx context.Context) ([]EventFaultState, error) {
	return get[[]EventFaultState](ctx, c, "/eventfaults")
}

// RemoveEventFault ends a fault of events.
func (c *DebugClient) RemoveEventFault(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/eventfaults/"+url.PathEscape(id), nil, nil)
}

// ClearEventFaults ends all faults of events.
func (c *DebugClient) ClearEventFaults(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, "/eventfaults", nil, nil)
}

// SendTelemetry lets a connected virtual device send a JSON message; an empty component is the default one.
func (c *DebugClient) SendTelemetry(ctx context.Context, id, component, body string) error {
	return c.call(ctx, http.MethodPost, device(id, "/telemetry"), TelemetryRequest{component, json.RawMessage(body)}, nil)
}

// Remember keeps the state of a device for Rewind.
func (c *DebugClient) Remember(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, device(id, "/remember"), nil, nil)
}

// Rewind puts a device back to the state that Remember kept, as a failover of the hub does.
func (c *DebugClient) Rewind(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, device(id, "/rewind"), nil, nil)
}

// AMQP returns who reads the event hub, and how often faults of its server happened.
func (c *DebugClient) AMQP(ctx context.Context) (AMQPState, error) {
	return get[AMQPState](ctx, c, "/amqp")
}

// CutConnections cuts all connections to the event hub without a word.
func (c *DebugClient) CutConnections(ctx context.Context) error { return c.post(ctx, "/amqp/cut") }

// TruncateFrames lets all connections to the event hub end in the middle of their next frame.
func (c *DebugClient) TruncateFrames(ctx context.Context) error { return c.post(ctx, "/amqp/truncate") }

// CloseConnections closes all connections to the event hub with an error.
func (c *DebugClient) CloseConnections(ctx context.Context, e AMQPError) error {
	return c.call(ctx, http.MethodPost, "/amqp/close", e, nil)
}

// StealReceivers evicts all readers as one with a higher owner level does.
func (c *DebugClient) StealReceivers(ctx context.Context) error { return c.post(ctx, "/amqp/steal") }

// Refuse makes the event hub refuse the next links or tokens.
func (c *DebugClient) Refuse(ctx context.Context, r RefuseRequest) error {
	return c.call(ctx, http.MethodPost, "/amqp/refuse", r, nil)
}

// StallPartition holds back the events of a partition, of all if that is empty, until ReleasePartitions.
func (c *DebugClient) StallPartition(ctx context.Context, partition string) error {
	return c.post(ctx, "/amqp/stall?partition="+url.QueryEscape(partition))
}

// ReleasePartitions ends StallPartition.
func (c *DebugClient) ReleasePartitions(ctx context.Context) error {
	return c.post(ctx, "/amqp/release")
}

// DeleteEventHub makes the event hub disappear until RecreateEventHub.
func (c *DebugClient) DeleteEventHub(ctx context.Context) error {
	return c.post(ctx, "/eventhub/delete")
}

// RecreateEventHub gives the hub a new, empty event hub of the same name, as a failover does.
func (c *DebugClient) RecreateEventHub(ctx context.Context) error {
	return c.post(ctx, "/eventhub/recreate")
}

// AddConsumerGroup makes a consumer group.
func (c *DebugClient) AddConsumerGroup(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodPut, "/consumergroups/"+url.PathEscape(name), nil, nil)
}

// RemoveConsumerGroup deletes a consumer group.
func (c *DebugClient) RemoveConsumerGroup(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/consumergroups/"+url.PathEscape(name), nil, nil)
}

func (c *DebugClient) post(ctx context.Context, path string) error {
	return c.call(ctx, http.MethodPost, path, nil, nil)
}
