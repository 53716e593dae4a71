// Package amqp serves an event log as Event Hubs does: the part of AMQP 1.0 that its clients use. They log in with tokens put
// on $cbs, ask $management for properties, and receive from partitions; sending works too.
//
// What clients insist on was found by running Microsoft's own: azeventhubs for Go with its live tests, and @azure/event-hubs
// for Node. Where the comments say so, the rule is from there.
package amqp

import (
	"cmp"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/pnp-operator/pnp-operator/simulator/auth"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

// Options of a Server.
type Options struct {
	Log *eventhub.Log
	// HubHostName is the host name of the IoT hub whose own endpoint this is too, and Namespace that of the event hub, to which it
	// redirects its readers. Without them there is no redirection.
	HubHostName, Namespace string
	// Policies whose tokens are accepted, for what they grant of listening and sending.
	Policies *auth.Policies
	// VerifyJWT checks a token of Microsoft Entra ID and says what it grants, and until when: zero is for ever. nil refuses all.
	VerifyJWT func(token string) (rights auth.Right, expires time.Time, err error)
	// Clock judges tokens; default time.Now.
	Clock func() time.Time
	// IdleTimeout is how long a peer may be silent, default 4 minutes as at Event Hubs.
	IdleTimeout time.Duration
	// Logger is silent by default.
	Logger logr.Logger
}

// Server serves one event hub. Wrap a listener with TLS where it is wanted.
type Server struct {
	options   Options
	faults    faults
	receivers receivers

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	running   sync.WaitGroup
	sent      atomic.Uint32 // messages of sending clients without a key
}

// New returns a server that listens nowhere yet.
func New(o Options) *Server {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 4 * time.Minute
	}
	if o.Logger.GetSink() == nil {
		o.Logger = logr.Discard()
	}
	return &Server{options: o, listeners: map[net.Listener]struct{}{}, conns: map[*conn]struct{}{}}
}

// Serve accepts connections until the listener or the server is closed.
func (s *Server) Serve(l net.Listener) error {
	if !s.add(func() { s.listeners[l] = struct{}{} }) {
		return errors.Join(net.ErrClosed, l.Close())
	}
	defer s.running.Done()
	defer func() { s.mu.Lock(); defer s.mu.Unlock(); delete(s.listeners, l) }()
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		go s.ServeConn(nc)
	}
}

// ServeConn serves one connection until it ends: a TCP, TLS or WebSocket stream.
func (s *Server) ServeConn(nc net.Conn) {
	c := newConn(s, nc)
	if !s.add(func() { s.conns[c] = struct{}{} }) {
		_ = nc.Close()
		return
	}
	defer s.running.Done()
	err := c.run()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.options.Logger.V(2).Info("AMQP connection ended", "peer", nc.RemoteAddr().String(), "reason", err)
}

// add counts something that runs, unless the server is closed.
func (s *Server) add(register func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	register()
	return true
}

// Close cuts all connections and returns when nothing runs any more.
func (s *Server) Close() error {
	var err error
	s.mu.Lock()
	s.closed = true
	for l := range s.listeners {
		err = errors.Join(err, l.Close())
	}
	for c := range s.conns {
		c.cut()
	}
	s.mu.Unlock()
	s.running.Wait()
	return err
}

func (s *Server) connections() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

// Receiver is one reader of a partition.
type Receiver struct {
	Peer      string `json:"peer"`
	Group     string `json:"group"`
	Partition string `json:"partition"`
	Name      string `json:"name"`
	// Epoch is the owner level, -1 without one.
	Epoch int64 `json:"epoch"`
	// Next is the sequence number of the next event to send.
	Next int64 `json:"next"`
	// Sent is how many events were sent.
	Sent int64 `json:"sent"`
}

// Receivers lists the readers, by group and partition.
func (s *Server) Receivers() []Receiver {
	var list []Receiver
	for _, l := range s.receivers.list() {
		l.conn.mu.Lock()
		list = append(list, Receiver{
			Peer: l.conn.net.RemoteAddr().String(), Group: l.receiver.group, Partition: l.receiver.partition.ID(),
			Name: l.receiver.name, Epoch: l.receiver.epoch, Next: l.receiver.next, Sent: l.receiver.sent,
		})
		l.conn.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b Receiver) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Name, b.Name))
	})
	return list
}
