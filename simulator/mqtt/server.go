// Package mqtt is the device side of the simulated hub: MQTT 3.1.1 as "Communicate with an IoT hub using the MQTT protocol"
// has it. The broker is mochi-mqtt; nothing is brokered, though: what a device publishes is answered by the hub's state, and a
// device is sent only what is meant for it.
package mqtt

import (
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/go-logr/logr"
	broker "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/pnp-operator/pnp-operator/simulator/auth"
	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
	"github.com/pnp-operator/pnp-operator/simulator/routing"
)

// maxMessage is the largest message of a device; the packet around it has a topic with properties beside.
const (
	maxMessage = 256 << 10
	maxPacket  = maxMessage + 64<<10
)

// Options are what a Server stands in front of.
type Options struct {
	// HostNames are the names by which user names and tokens may call the hub; the first is its own.
	HostNames []string
	Hub       *hub.Hub
	Policies  *auth.Policies
	Methods   *methods.Exchange
	Router    *routing.Router
	Clock     func() time.Time
	Logger    logr.Logger
}

// Server lets devices connect.
type Server struct {
	Options
	broker      *broker.Server
	unsubscribe func()

	life     sync.Mutex // serialises the beginnings and ends of sessions
	sessions sync.Map   // device id to *session
}

// New returns a server that listens nowhere yet.
func New(o Options) *Server {
	capabilities := broker.NewDefaultServerCapabilities()
	capabilities.MaximumQos = 1
	capabilities.MaximumPacketSize = maxPacket
	capabilities.MinimumProtocolVersion = 4
	capabilities.SharedSubAvailable = 0
	s := &Server{Options: o}
	s.broker = broker.New(&broker.Options{Capabilities: capabilities, Logger: slog.New(slog.DiscardHandler), SysTopicResendInterval: 3600})
	if err := s.broker.AddHook(&hook{server: s}, nil); err != nil {
		panic(err) // a hook without configuration cannot fail
	}
	s.unsubscribe = o.Hub.Subscribe(s.changed)
	return s
}

// Serve takes connections of a listener, which speaks TLS already, until Close.
func (s *Server) Serve(l net.Listener) error {
	if err := s.broker.AddListener(listeners.NewNet(l.Addr().String(), tracked{l})); err != nil {
		return err
	}
	return s.broker.Serve()
}

// Close ends all connections.
func (s *Server) Close() error {
	s.unsubscribe()
	return s.broker.Close()
}

// Cut ends the connection of a device without a word, or of all devices if id is empty.
func (s *Server) Cut(id string) {
	s.sessions.Range(func(_, v any) bool {
		if one := v.(*session); id == "" || one.id == id {
			one.end()
		}
		return true
	})
}

func (s *Server) session(id string) *session {
	v, _ := s.sessions.Load(id)
	one, _ := v.(*session)
	return one
}

// sessionOf returns the session of a connection unless another one of the device has replaced it.
func (s *Server) sessionOf(cl *broker.Client) *session {
	if one := s.session(cl.ID); one != nil && one.client == cl {
		return one
	}
	return nil
}

// changed runs inside a commit of the hub: it only queues.
func (s *Server) changed(c hub.Change) {
	one := s.session(c.DeviceID)
	switch {
	case one == nil:
	case c.After == nil || c.After.Identity.Disabled:
		one.end()
	case c.Desired != nil:
		one.notify(c)
	}
}

// begin replaces the connection that the device has, if it has one: the second closes the first.
func (s *Server) begin(one *session) error {
	s.life.Lock()
	defer s.life.Unlock()
	if old := s.session(one.id); old != nil {
		old.end()
		s.forget(old)
	}
	s.sessions.Store(one.id, one)
	if err := s.Hub.SetConnected(one.id, true, one.model); err != nil {
		s.sessions.Delete(one.id)
		return err
	}
	go one.run()
	return nil
}

// ended is called by a session whose connection is gone.
func (s *Server) ended(one *session) {
	s.life.Lock()
	defer s.life.Unlock()
	s.forget(one)
}

// forget says that a device is offline if the session was its last one. s.life is held.
func (s *Server) forget(one *session) {
	if !s.sessions.CompareAndDelete(one.id, one) {
		return
	}
	one.takeMethods(false)
	if t, err := s.Hub.Get(one.id); err != nil || !t.Identity.Connected {
		return // deleted or disabled: that it is gone is known
	}
	if err := s.Hub.SetConnected(one.id, false, ""); err != nil {
		s.Logger.V(1).Info("A device is gone, and so is its identity", "deviceID", one.id, "error", err.Error())
	}
}
