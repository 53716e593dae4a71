package simulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/pnp-operator/pnp-operator/simulator/amqp"
	"github.com/pnp-operator/pnp-operator/simulator/auth"
	"github.com/pnp-operator/pnp-operator/simulator/calls"
	"github.com/pnp-operator/pnp-operator/simulator/devices"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
	"github.com/pnp-operator/pnp-operator/simulator/faults"
	"github.com/pnp-operator/pnp-operator/simulator/fleet"
	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
	"github.com/pnp-operator/pnp-operator/simulator/mqtt"
	"github.com/pnp-operator/pnp-operator/simulator/rest"
	"github.com/pnp-operator/pnp-operator/simulator/routing"
	"github.com/pnp-operator/pnp-operator/simulator/throttle"
)

// DefaultHostName is the hub's name unless Options say otherwise.
const DefaultHostName = "factory.azure-devices.net"

// Options configure a Simulator. The zero value is useful.
type Options struct {
	// HostName of the hub, as connection strings and tokens name it; default DefaultHostName. Clients connect to
	// Simulator.Endpoint instead.
	HostName string
	// Listen is the address of the REST API, default 127.0.0.1:0.
	Listen string
	// DebugListen is the address of the debug API; empty is off.
	DebugListen string
	// EventPartitions is how many partitions the event hub has, default 4.
	EventPartitions int
	// MaxEvents is how many events a partition keeps at least; 0: those of a day.
	MaxEvents int
	// ConsumerGroups of the event hub besides $Default; nil is DefaultConsumerGroup.
	ConsumerGroups []string
	// EventsListen is the address of the event hub, AMQP over TLS, default 127.0.0.1:0.
	EventsListen string
	// EventsPlainListen is an address of the event hub without TLS, for SDKs in their emulator mode; empty is off.
	EventsPlainListen string
	// MQTTListen is the address that devices connect to, MQTT over TLS, default 127.0.0.1:0.
	MQTTListen string
	// EventHubNamespace is the event hub's host name, as connection strings name it, default
	// iothub-ns-HUB.servicebus.windows.net. Clients connect to Simulator.EventsAddress instead.
	EventHubNamespace string
	// EventHubName is the name of the event hub in its namespace, default iothub-ehub-HUB.
	EventHubName string
	// JournalFile, if set, is written with every change of a device, see JournalEntry.
	JournalFile string
	// CAFile, if set, is written with the certificate of the CA that signed the listener's.
	CAFile string
	// Entra is whose tokens are accepted beside those of policies; nil: nobody's.
	Entra *EntraAuthority
	// Certificate to serve with instead of one of the simulator's own CA; clients have to know by themselves who vouches for it.
	Certificate *tls.Certificate
	// ServiceKey is the key of the policy service, where it has to be known beforehand; default a generated one.
	ServiceKey string
	// AckDelay is how long a virtual device takes to react: 0 is 20 ms, negative not at all.
	AckDelay time.Duration
	// Limits that the hub throttles by; zero ones do not limit. S1 has those of a tier.
	Limits Limits
	// Seed makes generated keys repeatable; 0 makes them random.
	Seed uint64
	// Logger is silent by default.
	Logger logr.Logger
	// Clock gives time stamps, judges tokens and ages the query index; default time.Now. Simulator.SetClockOffset moves it.
	Clock func() time.Time
}

func (o Options) withDefaults() Options {
	if o.HostName == "" {
		o.HostName = DefaultHostName
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.MQTTListen == "" {
		o.MQTTListen = "127.0.0.1:0"
	}
	o = o.withEventDefaults()
	if o.Logger.GetSink() == nil {
		o.Logger = logr.Discard()
	}
	return o
}

// Simulator is a running IoT Hub.
type Simulator struct {
	options        Options
	hub            *hub.Hub
	devices        *devices.Devices
	faults         *faults.Set
	calls          *calls.Log
	throttle       *throttle.Throttle
	policies       *auth.Policies
	events         *eventhub.Log
	amqp           *amqp.Server
	router         *routing.Router
	methods        *methods.Exchange
	jobs           *fleet.Jobs
	configurations *fleet.Configurations
	mqtt           *mqtt.Server
	journal        *journal // nil: none is kept
	offset         *atomic.Int64
	caPEM          []byte
	closed         chan struct{}
	once           sync.Once

	remembered sync.Map // device id to *Twin

	rest, debug                 *http.Server
	restAddr, debugAddr         net.Addr
	eventsAddr, plainEventsAddr net.Addr
	mqttAddr                    net.Addr
}

// Start runs a simulator until ctx ends or Close is called.
func Start(ctx context.Context, o Options) (*Simulator, error) {
	o = o.withDefaults()
	if o.EventPartitions < 1 {
		return nil, fmt.Errorf("an event hub cannot have %d partitions", o.EventPartitions)
	}
	offset := &atomic.Int64{}
	o.Clock = movable(o.Clock, offset)
	s := &Simulator{options: o, offset: offset, faults: faults.New(), calls: calls.New(), methods: methods.New(), closed: make(chan struct{})}
	s.throttle = throttle.New(o.Clock, o.Limits)
	s.hub = hub.New(o.Clock, o.Seed)
	if o.JournalFile != "" {
		var err error
		if s.journal, err = keepJournal(s.hub, o.JournalFile); err != nil {
			return nil, err
		}
	}
	s.policies = auth.NewPolicies(s.hub.NewKey)
	if o.ServiceKey != "" {
		if err := s.policies.SetKey("service", o.ServiceKey); err != nil {
			return nil, err
		}
	}
	s.events = newLog(o)
	s.amqp = amqp.New(amqp.Options{
		Log: s.events, HubHostName: o.HostName, Namespace: o.EventHubNamespace, Policies: s.policies, VerifyJWT: o.eventTokens(),
		Clock: o.Clock, Logger: o.Logger,
	})
	s.router = routing.New(s.hub, s.events, routing.Options{HostName: o.HostName, Clock: o.Clock, Routes: routing.DefaultRoutes()})
	s.devices = devices.New(s.hub, s.methods, o.AckDelay, s.router, o.Logger)
	s.configurations = fleet.NewConfigurations(s.hub, o.Clock, o.Logger)
	s.jobs = fleet.NewJobs(s.hub, s.methods, o.Clock)
	s.SetLimits(o.Limits)
	s.hub.Subscribe(s.charge)
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	return s, nil
}

func (s *Simulator) listen() error {
	l, err := s.openListeners()
	if err != nil {
		return err
	}
	certificate, err := s.certificate(l.rest, l.events, l.mqtt)
	if err != nil {
		return errors.Join(err, l.close())
	}
	s.serveREST(l.rest, certificate)
	s.serveEvents(l.events, l.plainEvents, certificate)
	if err := s.serveMQTT(l.mqtt, certificate); err != nil || s.options.DebugListen == "" {
		return err
	}
	return s.serveDebug()
}

// certificate is the given one, or one for the listeners of a CA of its own that is written where it is asked for.
func (s *Simulator) certificate(listeners ...net.Listener) (tls.Certificate, error) {
	if s.options.Certificate != nil {
		return *s.options.Certificate, nil
	}
	certificate, caPEM, err := issue([]string{s.options.HostName, s.options.EventHubNamespace}, listeners...)
	if err != nil {
		return certificate, fmt.Errorf("certificate: %w", err)
	}
	s.caPEM = caPEM
	if s.options.CAFile == "" {
		return certificate, nil
	}
	return certificate, os.WriteFile(s.options.CAFile, caPEM, 0o644)
}

func (s *Simulator) serveREST(l net.Listener, certificate tls.Certificate) {
	s.rest = s.server(s.withWebSocket(&rest.Server{
		HostName: s.options.HostName, Hub: s.hub, Methods: s.methods, Policies: s.policies, VerifyJWT: s.options.hubTokens(), Faults: s.faults, Calls: s.calls,
		Configurations: s.configurations, Jobs: s.jobs, Throttle: s.throttle, Clock: s.options.Clock, Log: s.options.Logger, Closed: s.closed,
	}))
	// The real hub speaks HTTP/1.1 only.
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	go s.serve(s.rest, tls.NewListener(l, config))
}

func (s *Simulator) serveDebug() error {
	l, err := net.Listen("tcp", s.options.DebugListen)
	if err != nil {
		return err
	}
	s.debugAddr = l.Addr()
	s.debug = s.server(newDebugAPI(s))
	go s.serve(s.debug, l)
	return nil
}

func (s *Simulator) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          stdlog.New(logWriter{s.options.Logger}, "", 0),
	}
}

func (s *Simulator) serve(server *http.Server, l net.Listener) {
	if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		s.options.Logger.Error(err, "Listener failed")
	}
}

// logWriter sends what net/http complains about, mostly handshakes, to a quiet level.
type logWriter struct{ log logr.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.log.V(2).Info("HTTP server", "message", string(p))
	return len(p), nil
}

// Close stops the simulator and cuts all its connections.
func (s *Simulator) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closed)
		for _, server := range []*http.Server{s.rest, s.debug} {
			if server != nil {
				err = errors.Join(err, server.Close())
			}
		}
		s.methods.Close()
		s.jobs.Close()
		s.configurations.Close()
		if s.mqtt != nil {
			err = errors.Join(err, s.mqtt.Close())
		}
		s.devices.Close()
		s.router.Close()
		err = errors.Join(err, s.amqp.Close())
		if s.journal != nil {
			err = errors.Join(err, s.journal.close())
		}
	})
	return err
}

// HostName returns the hub's host name.
func (s *Simulator) HostName() string { return s.options.HostName }

// Endpoint returns where the REST API listens: https://localhost:PORT, or with the address that Options.Listen chose.
func (s *Simulator) Endpoint() string { return "https://" + reachable(s.restAddr) }

// DebugURL returns where the debug API listens, or "" if it is off.
func (s *Simulator) DebugURL() string {
	if s.debugAddr == nil {
		return ""
	}
	return "http://" + s.debugAddr.String()
}

// CAPEM returns the certificate of the CA that signed the listener's.
func (s *Simulator) CAPEM() []byte { return s.caPEM }

// ConnectionString returns the connection string of a policy as it is now, or "" if there is no such policy.
func (s *Simulator) ConnectionString(policy string) string {
	p, ok := s.policies.Get(policy)
	if !ok {
		return ""
	}
	return "HostName=" + s.HostName() + ";SharedAccessKeyName=" + p.Name + ";SharedAccessKey=" + p.Key
}

// Configurations returns the configurations of the hub, which are written to the twins that they target.
func (s *Simulator) Configurations() *Configurations { return s.configurations }

// Hub returns the state store.
func (s *Simulator) Hub() *Hub { return s.hub }

// Devices returns the virtual devices.
func (s *Simulator) Devices() *Devices { return s.devices }

// Router returns what makes events of what happens in the hub.
func (s *Simulator) Router() *Router { return s.router }

// Faults returns the faults in force.
func (s *Simulator) Faults() *Faults { return s.faults }

// SetLimits puts limits of the hub in force.
func (s *Simulator) SetLimits(l Limits) {
	s.throttle.Set(l)
	s.jobs.SetLimits(fleet.Limits{Active: l.ActiveJobs, DevicesPerSecond: l.JobDevicesPerSecond})
}

// Calls returns the call log.
func (s *Simulator) Calls() *CallLog { return s.calls }

// Policies returns the hub's shared access policies.
func (s *Simulator) Policies() *Policies { return s.policies }
