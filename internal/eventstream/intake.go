package eventstream

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
	// maxArrived is how many bytes that wait to be handled all streams of the process hold at most. From five sixths of
	// that on, streams that hold more than an equal share of the rest are broken off.
	maxArrived = 72 << 20
	// dialTime is for connecting, with TLS.
	dialTime = 30 * time.Second
)

var (
	errIntake = errors.New("the event hub sends more than it was asked for")
	errShare  = errors.New("event streams hold more than the operator has room for, this one more than its share: it begins anew")
)

// arrived is what all streams of the process hold.
var arrived = &arrivals{most: maxArrived}

// arrivals is the sum of what connections brought and was not handled.
type arrivals struct {
	mu          sync.Mutex
	held, most  int64
	connections int64
}

// add counts bytes, and connections that begin or end.
func (a *arrivals) add(bytes, connections int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held += bytes
	a.connections += connections
}

// isTooMuch reports whether a connection that holds so many bytes has to go.
func (a *arrivals) isTooMuch(held int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held > a.most/6*5 && held > a.most/6/max(1, a.connections)
}

// intake is what connections to an event hub brought and was not handled. The AMQP library takes a message of any size, and the peer's word for that; an
// event hub sends what was asked for, and waits. Beyond that the connection is broken off.
type intake struct {
	all *arrivals

	mu       sync.Mutex
	current  *countedConn       // whose bytes are counted
	held     int64              // bytes that were read
	most     int64              // of them
	weight   int64              // of what they decode to
	waiting  map[string][]int64 // weights of the messages of a partition, "": of one that is not known
	isBroken bool               // for its share
}

func newIntake() *intake { return &intake{all: arrived, most: slack} }

// allow has the hub send so many events ahead.
func (i *intake) allow(events int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.most = slack + int64(events)*(maxEvent+frames)
}

// brought counts what a connection read.
func (i *intake) brought(by *countedConn, n int) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current != by {
		return net.ErrClosed
	}
	i.count(int64(n), 0)
	if i.held > i.most {
		return errIntake
	}
	return i.share()
}

// share is called with the lock held. Values of one stream take half of what there is for all.
func (i *intake) share() error {
	if i.weight > i.all.most/2 || i.all.isTooMuch(i.held+i.weight) {
		i.isBroken = true
		return errShare
	}
	return nil
}

// isForShare reports whether a connection was broken off because it held more than its share.
func (i *intake) isForShare() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.isBroken
}

// handled counts an event of a partition, or an answer (""), with a body of a size. Other messages
// are handled with the next event.
func (i *intake) handled(partition string, bytes int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.waiting[partition]) == 0 {
		partition = ""
	}
	weight := int64(0)
	if queue := i.waiting[partition]; len(queue) > 0 {
		weight, i.waiting[partition] = queue[0], queue[1:]
	}
	i.count(-min(i.held, int64(bytes)+frames), -weight)
}

// dropped counts what came of a partition and is not handled any more: its receiver is gone.
func (i *intake) dropped(partition string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, weight := range i.waiting[partition] {
		i.count(0, -weight)
	}
	delete(i.waiting, partition)
}

// count is called with the lock held.
func (i *intake) count(bytes, weight int64) {
	i.held += bytes
	i.weight += weight
	i.all.add(bytes+weight, 0)
}

// of counts what a connection brings, from its beginning to its end, or until there is another one.
func (i *intake) of(conn net.Conn) *countedConn {
	counted := &countedConn{conn, i}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leave()
	i.forget()
	i.current = counted
	i.all.add(0, 1)
	return counted
}

// leave is called with the lock held, once the connection that is counted is over. Its bytes are
// held until all partitions have handled what they had begun with.
func (i *intake) leave() {
	if i.current != nil {
		i.all.add(0, -1)
		i.current = nil
	}
}

// forget is called with the lock held.
func (i *intake) forget() {
	i.count(-i.held, -i.weight)
	i.waiting = map[string][]int64{}
}

// end is called once nothing of what came is used any more.
func (i *intake) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leave()
	i.forget()
}

type countedConn struct {
	net.Conn

	in *intake
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if full := c.in.brought(c, n); full != nil {
		return 0, full
	}
	return n, err
}

// weigh counts what messages decode to.
func (c *countedConn) weigh(weight int64) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	if c.in.current != c {
		return net.ErrClosed
	}
	if c.in.count(0, weight); weight < 0 {
		return nil
	}
	return c.in.share()
}

// came has a message of a partition wait.
func (c *countedConn) came(partition string, weight int64) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	if c.in.current == c && (partition != "" || weight > 0) {
		c.in.waiting[partition] = append(c.in.waiting[partition], weight)
	}
}

func (c *countedConn) Close() error {
	c.in.mu.Lock()
	if c.in.current == c {
		c.in.leave()
	}
	c.in.mu.Unlock()
	return c.Conn.Close()
}

// dialer connects as the configuration says, counts what the connections bring, and keeps from the
// library what it cannot read safely. The library's own way of connecting does neither.
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
		counted := in.of(conn)
		return &screenedConn{Conn: counted, screen: screen{scales: counted}}, nil
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
