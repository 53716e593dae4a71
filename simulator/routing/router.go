// Package routing turns what happens in a simulated hub into messages for its Event Hubs-compatible endpoint, as the
// routes of a real hub do: telemetry, device twin and digital twin changes, lifecycle and connection state events.
//
// The shapes are those of Microsoft's "Non-telemetry event schemas" and of events that a real hub sent, kept in testdata.
package routing

import (
	"context"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
	"github.com/pnp-operator/pnp-operator/simulator/hub"
)

// Sink is the event hub that messages are appended to.
type Sink interface {
	// PartitionFor returns the partition of a key. All messages of a device go to one partition.
	PartitionFor(key string) int
	// Append adds a message and returns its sequence number.
	Append(partition int, m eventhub.Message) int64
}

// laneCount is how many devices' events are made at the same time.
const laneCount = 4

// Options configure a Router.
type Options struct {
	// HostName of the hub; events carry its first label.
	HostName string
	// Clock stamps events; default time.Now. Faults wait in real time.
	Clock func() time.Time
	// Routes in force at the start.
	Routes Routes
}

// Router announces the changes of a hub. The events of a device stay in order; those of different devices do not.
type Router struct {
	hub         *hub.Hub
	sink        Sink
	hubName     string
	clock       func() time.Time
	seed        maphash.Seed
	routes      atomic.Pointer[Routes]
	faults      Faults
	numbers     numbers
	recent      recent
	lanes       [laneCount]*lane
	unsubscribe func()
	closed      chan struct{}
	once        sync.Once
}

// New announces every change of h from now on, until Close.
func New(h *hub.Hub, sink Sink, o Options) *Router {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	name, _, _ := strings.Cut(o.HostName, ".")
	r := &Router{hub: h, sink: sink, hubName: name, clock: o.Clock, seed: maphash.MakeSeed(), closed: make(chan struct{})}
	r.recent.counts = map[Source]int{}
	r.routes.Store(&o.Routes)
	for i := range r.lanes {
		r.lanes[i] = startLane(r)
	}
	r.unsubscribe = h.SubscribeAll(r.changed)
	return r
}

// Close stops the router; what is not appended yet is lost.
func (r *Router) Close() {
	r.once.Do(func() {
		r.unsubscribe()
		close(r.closed)
		for _, l := range r.lanes {
			<-l.done
		}
	})
}

// Routes returns the routes in force.
func (r *Router) Routes() Routes { return *r.routes.Load() }

// SetRoutes puts other routes in force for what happens from now on.
func (r *Router) SetRoutes(routes Routes) { r.routes.Store(&routes) }

// Faults returns the faults in force.
func (r *Router) Faults() *Faults { return &r.faults }

// changed runs inside a commit of the hub: it only queues. The routes count that are in force now.
func (r *Router) changed(c hub.Change) {
	if routes := r.Routes(); routes != (Routes{}) {
		r.lane(c.DeviceID).push(entry{change: c, routes: routes})
	}
}

// DeviceMessage is what a device sends.
type DeviceMessage struct {
	Component   string // empty for the default one
	Model       string // empty: the one that the device has announced
	Properties  eventhub.Properties
	Application map[string]any
	Body        []byte
}

// PublishTelemetry sends JSON of a device as a DeviceMessage.
func (r *Router) PublishTelemetry(deviceID, component, model string, body []byte) error {
	return r.PublishMessage(deviceID, DeviceMessage{
		Component: component, Model: model, Body: body, Properties: eventhub.Properties{ContentType: plainJSON, ContentEncoding: "utf-8"},
	})
}

// PublishMessage sends a message of a device. It fails if the hub does not know the device.
func (r *Router) PublishMessage(deviceID string, m DeviceMessage) error {
	if err := r.hub.Active(deviceID); err != nil {
		return err
	}
	t, err := r.hub.Get(deviceID)
	if err != nil {
		return err
	}
	if !r.Routes().Telemetry {
		return nil // the hub takes it, and drops what no route takes
	}
	if m.Model == "" {
		m.Model = t.ModelID
	}
	e := telemetry(t, m, r.clock())
	r.lane(deviceID).push(entry{telemetry: &e})
	return nil
}

// Flush returns once everything that has happened so far is appended: it ends the windows of Coalesce faults and waits for
// what Delay faults hold.
func (r *Router) Flush(ctx context.Context) error {
	for _, l := range r.lanes {
		flushed := make(chan struct{})
		l.push(entry{flushed: flushed})
		select {
		case <-flushed:
		case <-r.closed:
			return context.Canceled
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// lane returns the one lane that all events of a device pass.
func (r *Router) lane(deviceID string) *lane {
	return r.lanes[maphash.String(r.seed, deviceID)%laneCount]
}

// append hands an event to the sink.
func (r *Router) append(e event) {
	partition := r.sink.PartitionFor(e.device)
	r.recent.add(e, partition, r.sink.Append(partition, e.message))
}

// Recent returns up to limit of the newest events, oldest first; 0 is all that are kept.
func (r *Router) Recent(limit int) []Event { return r.recent.list(limit) }

// Counts returns how many events of each source were appended.
func (r *Router) Counts() map[Source]int { return r.recent.counted() }
