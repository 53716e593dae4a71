package mqtt

import (
	"context"
	"strconv"
	"sync"
	"time"

	broker "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
)

// outbox is how many messages may wait for a device that does not read before the hub gives it up.
const outbox = 1024

// session is one connection of a device.
type session struct {
	id      string
	model   string
	server  *Server
	client  *broker.Client
	conn    *conn
	expires time.Time

	tasks  chan func() // what is to be sent, made when it is its turn
	ending chan struct{}
	once   sync.Once

	mu       sync.Mutex
	calls    map[string]chan methods.Answer // direct methods that wait, by $rid
	lastCall int
	detach   func() // nil while the device does not take direct methods
}

func newSession(s *Server, cl *broker.Client, a admission) *session {
	return &session{
		id: a.client, model: a.model, server: s, client: cl, conn: connOf(cl), expires: a.expires,
		tasks: make(chan func(), outbox), ending: make(chan struct{}), calls: map[string]chan methods.Answer{},
	}
}

// end asks for the end of the connection; it does not wait.
func (s *session) end() { s.once.Do(func() { close(s.ending) }) }

// run sends what is due until the connection is gone.
func (s *session) run() {
	defer s.server.ended(s)
	defer s.client.Stop(nil)
	var expired <-chan time.Time
	if !s.expires.IsZero() {
		timer := time.NewTimer(s.expires.Sub(s.server.Clock()))
		defer timer.Stop()
		expired = timer.C
	}
	for {
		select {
		case task := <-s.tasks:
			task()
		case <-s.conn.closed:
			return
		case <-s.ending:
			return
		case <-expired: // a device has to come back with a new token
			return
		}
	}
}

// later queues a task; a device that reads too slowly for that is dropped.
func (s *session) later(task func()) {
	select {
	case s.tasks <- task:
	default:
		s.end()
	}
}

// subscribed reports whether the device has asked for what matches a filter.
func (s *session) subscribed(filter string) bool {
	_, ok := s.client.State.Subscriptions.Get(filter)
	return ok
}

// send publishes to the device, at most once.
func (s *session) send(topic string, payload []byte) {
	if err := s.client.WritePacket(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: topic, Payload: payload, Created: s.server.Clock().Unix(),
	}); err != nil {
		s.end()
	}
}

// notify sends the keys that were written, with the version that they were written with.
func (s *session) notify(c hub.Change) {
	s.later(func() {
		if !s.subscribed(desiredFilter) {
			return
		}
		version := c.After.DesiredVersion()
		body := c.Desired.With("$version", version)
		s.send("$iothub/twin/PATCH/properties/desired/?$version="+strconv.FormatInt(version, 10), jsontree.Append(nil, body))
	})
}

// takeMethods begins or ends that direct methods go to this connection.
func (s *session) takeMethods(take bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case take && s.detach == nil:
		s.detach = s.server.Methods.Attach(s.id, s)
	case !take && s.detach != nil:
		s.detach()
		s.detach = nil
	}
}

// Invoke sends a direct method to the device and waits for its answer. If the connection breaks meanwhile it still waits: the
// device may have run the method, and the hub cannot know.
func (s *session) Invoke(ctx context.Context, i methods.Invocation) (methods.Answer, error) {
	request, answer := s.expect()
	defer s.forget(request)
	s.later(func() { s.send("$iothub/methods/POST/"+i.Name+"/?$rid="+request, i.Payload) })
	select {
	case a := <-answer:
		return a, nil
	case <-ctx.Done():
		return methods.Answer{}, ctx.Err()
	}
}

func (s *session) expect() (request string, answer <-chan methods.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastCall++
	request = strconv.FormatInt(int64(s.lastCall), 16)
	c := make(chan methods.Answer, 1)
	s.calls[request] = c
	return request, c
}

func (s *session) forget(request string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, request)
}

// answered gives an answer to who waits for it; one that comes too late, or twice, is dropped.
func (s *session) answered(request string, a methods.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.calls[request]; ok {
		c <- a
		delete(s.calls, request)
	}
}
