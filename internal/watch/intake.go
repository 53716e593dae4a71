package watch

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

const (
	// frames is what the frames and annotations of an event, or an answer to a question about the event hub, take beside a body.
	frames = 8 << 10
	// slack is what a connection may hold beside events: the answers to questions, and what is not counted as handled.
	slack = 8 << 20
	// dialTime is for connecting, with TLS.
	dialTime = 30 * time.Second
)

var errIntake = errors.New("the event hub sends more than it was asked for")

// intake is what connections to an event hub brought and was not handled. The AMQP library takes a message of any size, and the peer's word for that; an
// event hub sends what was asked for, and waits. Beyond that the connection is broken off.
type intake struct {
	mu   sync.Mutex
	held int64
	most int64
}

func newIntake() *intake { return &intake{most: slack} }

// allow has the hub send so many events ahead.
func (i *intake) allow(events int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.most = slack + int64(events)*(maxEvent+frames)
}

// brought counts what was read.
func (i *intake) brought(n int) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.held += int64(n); i.held > i.most {
		return errIntake
	}
	return nil
}

// handled counts an event, or an answer, with a body of a size. What is not an event is handled with the next one.
func (i *intake) handled(bytes int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.held = max(0, i.held-int64(bytes)-frames)
}

// of counts what a connection brings, from its beginning.
func (i *intake) of(conn net.Conn) net.Conn {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.held = 0
	return &countedConn{conn, i}
}

type countedConn struct {
	net.Conn

	in *intake
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if full := c.in.brought(n); full != nil {
		return 0, full
	}
	return n, err
}

// dialer connects as the configuration says, and counts what the connections bring. The library's own way of connecting cannot be counted.
func (c Config) dialer(in *intake) func(context.Context, azeventhubs.WebSocketConnParams) (net.Conn, error) {
	return func(ctx context.Context, args azeventhubs.WebSocketConnParams) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTime)
		defer cancel()
		dial := c.dialTLS
		if c.WebSocket {
			dial = func(ctx context.Context) (net.Conn, error) { return c.dialWebSocket(ctx, args) }
		}
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return in.of(conn), nil
	}
}

// dialTLS connects to the endpoint, or to the namespace, whose certificate is wanted in either case.
func (c Config) dialTLS(ctx context.Context) (net.Conn, error) {
	config, err := c.tls()
	if err != nil {
		return nil, err
	}
	config.ServerName = c.Namespace
	if host, _, err := net.SplitHostPort(c.Namespace); err == nil {
		config.ServerName = host
	}
	address := cmp.Or(c.Endpoint, c.Namespace)
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, amqpsPort)
	}
	return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
}

const amqpsPort = "5671"
