package diagnostics

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Bounds of what those may have who reach a port of the operator's, before a request is handed on.
// Controller-runtime's own servers have none on connections, and take a MiB of headers of each.
const (
	// maxConnections are open at a time. One more takes the place of the oldest: whoever keeps silent
	// keeps no probe out, and a scrape or a probe is over at once.
	maxConnections = 16
	// maxHeaders of one request, in bytes.
	maxHeaders = 8 << 10
	// headersWithin is how long a connection may take until a request has begun.
	headersWithin = 5 * time.Second
	idleWithin    = 90 * time.Second
	endsWithin    = time.Minute
)

// Probes are the checks that the kubelet asks for.
type Probes struct {
	Healthz, Readyz map[string]healthz.Checker
}

// Server listens, and serves /healthz and /readyz once it is started, on all replicas. It is nil if
// the address is 0 or "".
func (p Probes) Server(ctx context.Context, address string) (*manager.Server, error) {
	listener, err := listen(ctx, address)
	if listener == nil || err != nil {
		return nil, err
	}
	handlers := map[string]http.Handler{}
	for path, checks := range map[string]map[string]healthz.Checker{"/healthz": p.Healthz, "/readyz": p.Readyz} {
		handler := http.StripPrefix(path, &healthz.Handler{Checks: checks})
		handlers[path], handlers[path+"/"] = handler, handler
	}
	return served(ctx, "health probe", listener, muxOf(handlers)), nil
}

func served(ctx context.Context, name string, listener net.Listener, handler http.Handler) *manager.Server {
	return &manager.Server{
		Name: name, Listener: listener, ShutdownTimeout: new(endsWithin),
		Server: &http.Server{
			Handler: handler, BaseContext: func(net.Listener) context.Context { return ctx },
			MaxHeaderBytes: maxHeaders, ReadHeaderTimeout: headersWithin, IdleTimeout: idleWithin,
		},
	}
}

// listen returns nil if there is nothing to listen at.
func listen(ctx context.Context, address string) (net.Listener, error) {
	if address == "" || address == "0" {
		return nil, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &boundedListener{Listener: listener}, nil
}

// boundedListener closes the oldest connection for one beyond maxConnections.
type boundedListener struct {
	net.Listener

	mu   sync.Mutex
	open []*boundedConn // the oldest first
}

// Accept returns the next connection.
func (l *boundedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	bounded := &boundedConn{conn, l}
	if oldest := l.enter(bounded); oldest != nil {
		_ = oldest.Close()
	}
	return bounded, nil
}

// enter returns the connection that has to go.
func (l *boundedListener) enter(c *boundedConn) (oldest *boundedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open = append(l.open, c); len(l.open) > maxConnections {
		return l.open[0]
	}
	return nil
}

type boundedConn struct {
	net.Conn

	of *boundedListener
}

func (c *boundedConn) Close() error {
	c.of.mu.Lock()
	c.of.open = slices.DeleteFunc(c.of.open, func(other *boundedConn) bool { return other == c })
	c.of.mu.Unlock()
	return c.Conn.Close()
}
