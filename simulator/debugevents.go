package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/pnp-operator/pnp-operator/simulator/amqp"
)

// TelemetryRequest is a message of a virtual device; an empty component is the default one.
type TelemetryRequest struct {
	Component string          `json:"component,omitempty"`
	Body      json.RawMessage `json:"body"`
}

// AMQPError is how a connection or link ends; what is empty is the usual one.
type AMQPError struct {
	Condition   string `json:"condition,omitempty"`
	Description string `json:"description,omitempty"`
}

// RefuseRequest makes the event hub refuse the next so many links or tokens; the error is that of links.
type RefuseRequest struct {
	Links  int `json:"links,omitempty"`
	Tokens int `json:"tokens,omitempty"`
	AMQPError
}

// AMQPState is who reads the event hub, and how often faults of its server happened.
type AMQPState struct {
	Receivers []amqp.Receiver  `json:"receivers"`
	Faults    amqp.FaultCounts `json:"faults"`
}

// eventRoutes are the part of the debug API that is about events.
func (d debugAPI) eventRoutes() map[string]debugHandler {
	faults := d.router.Faults()
	return map[string]debugHandler{
		"GET /routes":                  func(*http.Request) (any, error) { return d.router.Routes(), nil },
		"PUT /routes":                  d.setRoutes,
		"GET /events":                  d.listEvents,
		"GET /events/counts":           func(*http.Request) (any, error) { return d.router.Counts(), nil },
		"GET /eventfaults":             func(*http.Request) (any, error) { return faults.List(), nil },
		"POST /eventfaults":            d.addEventFault,
		"DELETE /eventfaults":          func(*http.Request) (any, error) { faults.Clear(); return nil, nil },
		"DELETE /eventfaults/{id}":     d.removeEventFault,
		"POST /devices/{id}/telemetry": d.telemetry,
		"POST /devices/{id}/remember":  withID(d.Remember),
		"POST /devices/{id}/rewind":    withID(d.Rewind),
	}
}

// amqpRoutes are the part of the debug API that is about the server of the event hub.
func (d debugAPI) amqpRoutes() map[string]debugHandler {
	return map[string]debugHandler{
		"GET /amqp":                   d.amqpState,
		"POST /amqp/cut":              do(d.amqp.Cut),
		"POST /amqp/truncate":         do(d.amqp.Truncate),
		"POST /amqp/close":            d.forceClose,
		"POST /amqp/steal":            do(d.StealReceivers),
		"POST /amqp/refuse":           d.refuse,
		"POST /amqp/stall":            func(r *http.Request) (any, error) { d.amqp.Stall(r.URL.Query().Get("partition")); return nil, nil },
		"POST /amqp/silence":          func(r *http.Request) (any, error) { d.amqp.Silence(r.URL.Query().Get("partition")); return nil, nil },
		"POST /amqp/release":          do(d.amqp.Release),
		"POST /eventhub/delete":       do(d.DeleteEventHub),
		"POST /eventhub/recreate":     do(d.RecreateEventHub),
		"PUT /consumergroups/{id}":    withID(func(id string) error { d.events.AddGroup(id); return nil }),
		"DELETE /consumergroups/{id}": withID(func(id string) error { d.events.RemoveGroup(id); return nil }),
	}
}

// do adapts what needs nothing and cannot fail.
func do(f func()) debugHandler {
	return func(*http.Request) (any, error) { f(); return nil, nil }
}

func (d debugAPI) amqpState(*http.Request) (any, error) {
	return AMQPState{append([]amqp.Receiver{}, d.amqp.Receivers()...), d.amqp.FaultCounts()}, nil
}

func (d debugAPI) forceClose(r *http.Request) (any, error) {
	want, err := decodeOr(r, AMQPError{"amqp:connection:forced", "The connection was closed by the simulator."})
	if err == nil {
		d.amqp.ForceClose(want.Condition, want.Description)
	}
	return nil, err
}

// refuse leaves links or tokens alone that the request does not name.
func (d debugAPI) refuse(r *http.Request) (any, error) {
	want, err := decodeOr(r, RefuseRequest{AMQPError: AMQPError{"com.microsoft:server-busy", "The server is busy."}})
	if err != nil {
		return nil, err
	}
	if want.Links > 0 {
		d.amqp.RefuseAttach(want.Links, want.Condition, want.Description)
	}
	if want.Tokens > 0 {
		d.amqp.RefuseTokens(want.Tokens)
	}
	return nil, nil
}

// decodeOr overwrites the members of a value that the request has; it may be empty.
func decodeOr[T any](r *http.Request, v T) (T, error) {
	if r.ContentLength == 0 {
		return v, nil
	}
	err := decode(r, &v)
	return v, err
}

// setRoutes leaves a source as it is that the request does not name.
func (d debugAPI) setRoutes(r *http.Request) (any, error) {
	routes := d.router.Routes()
	if err := decode(r, &routes); err != nil {
		return nil, err
	}
	d.router.SetRoutes(routes)
	return routes, nil
}

func (d debugAPI) listEvents(r *http.Request) (any, error) {
	limit, err := strconv.Atoi(orZero(r.URL.Query().Get("limit")))
	if err != nil {
		return nil, badRequest(err)
	}
	device := r.URL.Query().Get("device")
	out := []Event{}
	for _, e := range d.router.Recent(0) {
		if device == "" || e.DeviceID == device {
			out = append(out, e)
		}
	}
	if limit > 0 && limit < len(out) {
		out = out[len(out)-limit:]
	}
	return out, nil
}

func (d debugAPI) addEventFault(r *http.Request) (any, error) {
	var f EventFault
	if err := decode(r, &f); err != nil {
		return nil, err
	}
	id, err := d.router.Faults().TryAdd(f)
	return map[string]string{"id": id}, badRequest(err)
}

func (d debugAPI) removeEventFault(r *http.Request) (any, error) {
	if id := r.PathValue("id"); !d.router.Faults().Remove(id) {
		return nil, notFound(fmt.Errorf("no fault %q", id))
	}
	return nil, nil
}

func (d debugAPI) telemetry(r *http.Request) (any, error) {
	var want TelemetryRequest
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	if want.Body == nil {
		return nil, badRequest(errors.New("give a body"))
	}
	id := r.PathValue("id")
	if _, ok := d.devices.Get(id); !ok {
		return nil, notFound(fmt.Errorf("no virtual device %q", id))
	}
	return nil, d.devices.SendTelemetry(id, want.Component, want.Body)
}

// Remember keeps the state of a device for Rewind.
func (s *Simulator) Remember(id string) error {
	t, err := s.hub.Get(id)
	if err != nil {
		return err
	}
	s.remembered.Store(id, t)
	return nil
}

// Rewind puts a device back to the state that Remember kept, as a failover of the hub does. Nothing is announced.
func (s *Simulator) Rewind(id string) error {
	t, ok := s.remembered.Load(id)
	if !ok {
		return fmt.Errorf("no state of the device %q is remembered", id)
	}
	return s.hub.Rewind(id, t.(*Twin))
}
