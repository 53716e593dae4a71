package amqp

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
)

const (
	maxFrame   = 64 << 10 // what we take, and the most that we send in one frame
	minFrame   = 512      // what every peer takes ("OASIS AMQP Version 1.0", 2.7.1)
	maxChannel = 4999     // azeventhubs opens a session for every token that it puts

	// lingerTime is how long a peer may take to read the last words. Cutting the connection at once could destroy them.
	lingerTime = time.Second
)

// conn is one connection. One goroutine reads, one writes; the writer fetches events itself once its buffer is out, so a
// peer that does not read costs one buffer.
type conn struct {
	server *Server
	net    net.Conn
	wake   chan struct{}
	// password is that of the login, which the endpoint of the IoT hub asks for.
	password string

	mu        sync.Mutex // guards all below
	out       []byte     // frames to write
	opened    bool
	maxFrame  int // what the peer takes
	keepAlive time.Duration
	sessions  map[uint16]*session // by channel; ours has the peer's number
	claims    claims
	closing   bool // write what is queued, then end
	deadline  time.Time
	truncate  bool // write half a frame, then end
}

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{
		server: s, net: nc, wake: make(chan struct{}, 1),
		maxFrame: minFrame, keepAlive: s.options.IdleTimeout / 3, sessions: map[uint16]*session{}, claims: claims{},
	}
}

// cut ends the connection without a word; TLS would say goodbye, and could wait for the peer to hear it.
func (c *conn) cut() {
	if t, ok := c.net.(*tls.Conn); ok {
		_ = t.NetConn().Close()
		return
	}
	_ = c.net.Close()
}

func (c *conn) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run serves the connection until it ends.
func (c *conn) run() error {
	defer c.cut()
	r := bufio.NewReaderSize(c.net, maxFrame)
	if err := c.handshake(r); err != nil {
		return err
	}
	written := make(chan struct{})
	go func() { defer close(written); c.write() }()
	err := c.read(r)
	why := reasonFor(err, c.server.options.IdleTimeout)
	c.close(why)
	<-written
	if why != nil {
		_, _ = io.Copy(io.Discard, r) // until the deadline
	}
	c.forgetSessions()
	return err
}

// close queues a close, with a reason or as the answer to the peer's, and has the connection end.
func (c *conn) close(why *condition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	if why != nil {
		c.frame(0, wire.Close, why.value())
	}
	c.closing, c.deadline = true, time.Now().Add(lingerTime)
	_ = c.net.SetDeadline(c.deadline)
	c.wakeUp()
}

func (c *conn) forgetSessions() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		c.forgetSession(s)
	}
}

// read handles frames until the peer closes, breaks the protocol, or is silent for too long.
func (c *conn) read(r *bufio.Reader) error {
	for {
		c.expectFrame()
		f, err := wire.ReadFrame(r, maxFrame)
		if err != nil {
			return err
		}
		if f.Type != wire.FrameAMQP || len(f.Body) == 0 {
			continue // keep-alive
		}
		if err := c.handle(f); err != nil {
			return err
		}
	}
}

func (c *conn) expectFrame() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.deadline = time.Now().Add(c.server.options.IdleTimeout)
	}
	_ = c.net.SetReadDeadline(c.deadline)
}

// frame queues a frame. c.mu is held, and the caller sees to it that the writer wakes up.
func (c *conn) frame(channel uint16, descriptor uint64, fields ...any) {
	c.out = wire.AppendFrame(c.out, channel, wire.FrameAMQP, descriptor, fields...)
}

// handle deals with one frame.
func (c *conn) handle(f wire.Frame) error {
	p, payload, err := wire.ParsePerformative(f.Body)
	if err != nil {
		return &condition{condDecode, err.Error()}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.wakeUp()
	switch {
	case p.Descriptor == wire.Close:
		return c.closed()
	case c.closing:
		return nil // whatever was sent before the peer saw our close
	case (p.Descriptor == wire.Open) == c.opened:
		return &condition{condNotAllowed, "A connection is opened first, and once."}
	case p.Descriptor == wire.Open:
		c.open(p)
		return nil
	case p.Descriptor == wire.Begin:
		return c.begin(f.Channel, p)
	}
	if s := c.sessions[f.Channel]; s != nil {
		return c.inSession(s, p, payload)
	}
	return nil // of a session that has ended
}

func (c *conn) closed() error {
	if !c.closing {
		c.frame(0, wire.Close)
	}
	return io.EOF
}

func (c *conn) inSession(s *session, p wire.Performative, payload []byte) error {
	switch p.Descriptor {
	case wire.Attach:
		return c.attach(s, p)
	case wire.Flow:
		c.flow(s, p)
	case wire.Transfer:
		c.transfer(s, p, payload)
	case wire.Disposition: // nothing is kept for redelivery
	case wire.Detach:
		if l := s.links[p.Uint(0, 0)]; l != nil {
			c.detach(l, nil)
		}
	case wire.End:
		c.end(s, nil)
	default:
		return conditionf(condNotSupported, "performative %#x", p.Descriptor)
	}
	return nil
}

func (c *conn) open(p wire.Performative) {
	c.opened = true
	c.maxFrame = int(max(min(p.Uint(2, maxFrame), maxFrame), minFrame))
	if ms := p.Uint(4, 0); ms > 0 { // well before half of it has passed: SDKs tell half of what they bear, but not all peers do
		c.keepAlive = min(c.keepAlive, time.Duration(ms)*time.Millisecond/3)
	}
	c.frame(0, wire.Open, "iothub-simulator", nil, uint32(maxFrame), uint16(maxChannel), uint32(c.server.options.IdleTimeout.Milliseconds()))
}
