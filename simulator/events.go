package simulator

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/amqp"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

// DefaultConsumerGroup is the consumer group that exists besides $Default unless Options say otherwise.
const DefaultConsumerGroup = "pnp-operator"

const defaultPartitions = 4

func (o Options) withEventDefaults() Options {
	hubName, _, _ := strings.Cut(o.HostName, ".")
	if o.EventPartitions == 0 {
		o.EventPartitions = defaultPartitions
	}
	if o.ConsumerGroups == nil {
		o.ConsumerGroups = []string{DefaultConsumerGroup}
	}
	if o.EventsListen == "" {
		o.EventsListen = "127.0.0.1:0"
	}
	if o.EventHubNamespace == "" {
		o.EventHubNamespace = "iothub-ns-" + hubName + ".servicebus.windows.net"
	}
	if o.EventHubName == "" {
		o.EventHubName = "iothub-ehub-" + hubName
	}
	return o
}

// eventRetention is that of a new hub's built-in endpoint.
const eventRetention = 24 * time.Hour

func newLog(o Options) *eventhub.Log {
	return eventhub.New(eventhub.Options{
		Name: o.EventHubName, Partitions: o.EventPartitions, Groups: o.ConsumerGroups, Retention: eventRetention, MaxEvents: o.MaxEvents, Clock: o.Clock,
	})
}

// Events returns the event hub.
func (s *Simulator) Events() *EventHub { return s.events }

// EventHubConnectionString returns the connection string of the event hub for a policy as it is now, or "" if there is no
// such policy.
func (s *Simulator) EventHubConnectionString(policy string) string {
	return s.eventHubConnectionString(s.options.EventHubNamespace, policy, "")
}

func (s *Simulator) eventHubConnectionString(host, policy, more string) string {
	p, ok := s.policies.Get(policy)
	if !ok {
		return ""
	}
	return "Endpoint=sb://" + host + "/;SharedAccessKeyName=" + p.Name + ";SharedAccessKey=" + p.Key + more +
		";EntityPath=" + s.options.EventHubName
}

// EventsAddress returns where the event hub listens, with TLS: the custom endpoint of Microsoft's SDKs.
func (s *Simulator) EventsAddress() string { return reachable(s.eventsAddr) }

// EmulatorConnectionString returns the connection string of the event hub for SDKs in their emulator mode, without TLS: ""
// if that is off, or there is no such policy.
func (s *Simulator) EmulatorConnectionString(policy string) string {
	if s.plainEventsAddr == nil {
		return ""
	}
	return s.eventHubConnectionString(reachable(s.plainEventsAddr), policy, ";UseDevelopmentEmulator=true")
}

// WebSocketAddress returns where the event hub is reached through a WebSocket: at Event Hubs that is port 443, here the port
// of the REST API.
func (s *Simulator) WebSocketAddress() string { return reachable(s.restAddr) }

// withWebSocket serves AMQP over WebSocket beside the REST API.
func (s *Simulator) withWebSocket(api http.Handler) http.Handler {
	tunnel := s.amqp.WebSocketHandler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == amqp.WebSocketPath {
			tunnel.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// AMQP returns the server of the event hub.
func (s *Simulator) AMQP() *AMQP { return s.amqp }

// RecreateEventHub gives the hub a new, empty event hub of the same name, as a failover does. Its readers are detached.
func (s *Simulator) RecreateEventHub() {
	s.events.Recreate()
	s.detachAll()
}

// DeleteEventHub makes the event hub disappear until RecreateEventHub.
func (s *Simulator) DeleteEventHub() {
	s.events.Delete()
	s.detachAll()
}

func (s *Simulator) detachAll() {
	s.amqp.Detach("amqp:not-found", "The messaging entity '"+s.options.EventHubName+"' could not be found.")
}

// StealReceivers evicts all readers as one with a higher owner level does.
func (s *Simulator) StealReceivers() {
	s.amqp.Detach("amqp:link:stolen", "New receiver 'nil' with higher epoch is created hence current receiver is getting disconnected. "+
		"If you are recreating the receiver, make sure a higher epoch is used.")
}

func (s *Simulator) serveEvents(l, plain net.Listener, certificate tls.Certificate) {
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	go s.serveAMQP(tls.NewListener(l, config))
	if plain != nil {
		go s.serveAMQP(plain)
	}
}

func (s *Simulator) serveAMQP(l net.Listener) {
	if err := s.amqp.Serve(l); err != nil && !errors.Is(err, net.ErrClosed) {
		s.options.Logger.Error(err, "Listener failed")
	}
}
