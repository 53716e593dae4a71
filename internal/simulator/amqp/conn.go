package amqp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/simulator/amqp/wire"
)

const (
	maxFrame   = 64 << 10  // what we take, and the most that we send in one frame
	minFrame   = 512       // what every peer takes (OASIS AMQP 1.0, 2.7.1)
	batchBytes = 256 << 10 // what is put together before it is written
	maxChannel = 4999      // azeventhubs opens a session for every token that it puts
	loginTime  = 30 * time.Second
)

// conn is one connection. One goroutine reads, one writes; the writer fetches events itself once its buffer is out, so a
// peer that does not read costs one buffer.
type conn struct {
	server *Server
	net    net.Conn
	wake   chan struct{}
	done   chan struct{} // the reader has ended
	once   sync.Once

	mu        sync.Mutex // guards all below
	out       []byte     // frames to write
	maxFrame  int        // what the peer takes
	keepAlive time.Duration
	sessions  map[uint16]*session // by channel; ours has the peer's number
	claims    claims
	closing   bool // write what is queued, then end
	truncate  bool // write half of what is queued, then end
}

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{
		server: s, net: nc, wake: make(chan struct{}, 1), done: make(chan struct{}),
		maxFrame: minFrame, keepAlive: s.options.IdleTimeout / 2, sessions: map[uint16]*session{}, claims: claims{},
	}
}

// cut ends the connection without a word.
func (c *conn) cut() { c.once.Do(func() { _ = c.net.Close() }) }

func (c *conn) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run serves the connection until it ends.
func (c *conn) run() error {
	r := bufio.NewReaderSize(c.net, maxFrame)
	if err := c.handshake(r); err != nil {
		c.cut()
		return err
	}
	written := make(chan struct{})
	go func() { defer close(written); c.write() }()
	err := c.read(r)
	close(c.done)
	<-written
	c.cut()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		c.forgetSession(s)
	}
	return err
}

// handshake answers the protocol headers, and lets everybody in who says ANONYMOUS: what counts is the token, later.
func (c *conn) handshake(r *bufio.Reader) error {
	_ = c.net.SetDeadline(time.Now().Add(loginTime))
	defer func() { _ = c.net.SetDeadline(time.Time{}) }()
	for {
		var header [8]byte
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return err
		}
		switch string(header[:]) {
		case wire.HeaderAMQP:
			_, err := c.net.Write(header[:])
			return err
		case wire.HeaderSASL:
			if err := c.login(r); err != nil {
				return err
			}
		default:
			_, err := c.net.Write([]byte(wire.HeaderSASL))
			return errors.Join(fmt.Errorf("protocol header %q", header), err)
		}
	}
}

func (c *conn) login(r *bufio.Reader) error {
	offer := wire.AppendFrame([]byte(wire.HeaderSASL), 0, wire.FrameSASL, wire.SASLMechanisms,
		[]wire.Symbol{"MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"})
	if _, err := c.net.Write(offer); err != nil {
		return err
	}
	f, err := wire.ReadFrame(r, maxFrame)
	if err != nil {
		return err
	}
	init, _, err := wire.ParsePerformative(f.Body)
	if err != nil || f.Type != wire.FrameSASL || init.Descriptor != wire.SASLInit {
		return errors.Join(errors.New("sasl-init expected"), err)
	}
	_, err = c.net.Write(wire.AppendFrame(nil, 0, wire.FrameSASL, wire.SASLOutcome, uint8(0)))
	return err
}

// read handles frames until the peer closes, breaks the protocol, or is silent for too long.
func (c *conn) read(r *bufio.Reader) error {
	for {
		_ = c.net.SetReadDeadline(time.Now().Add(c.server.options.IdleTimeout))
		f, err := wire.ReadFrame(r, maxFrame)
		if err != nil {
			c.finish(nil)
			return err
		}
		if f.Type != wire.FrameAMQP || len(f.Body) == 0 {
			continue // keep-alive
		}
		if err := c.handle(f); err != nil {
			c.finish(err)
			return err
		}
	}
}

// finish has the writer end after what is queued, with a close that tells of an error of the peer's.
func (c *conn) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && !errors.Is(err, io.EOF) {
		c.frame(0, wire.Close, (&condition{condDecode, err.Error()}).value())
	}
	c.closing = true
	c.wakeUp()
}

// frame queues a frame. c.mu is held, and the caller sees to it that the writer wakes up.
func (c *conn) frame(channel uint16, descriptor uint64, fields ...any) {
	c.out = wire.AppendFrame(c.out, channel, wire.FrameAMQP, descriptor, fields...)
}

// handle deals with one frame.
func (c *conn) handle(f wire.Frame) error {
	p, payload, err := wire.ParsePerformative(f.Body)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.wakeUp()
	switch p.Descriptor {
	case wire.Open:
		c.open(p)
		return nil
	case wire.Begin:
		c.begin(f.Channel, p)
		return nil
	case wire.Close:
		for _, s := range c.sessions {
			c.forgetSession(s)
		}
		c.frame(0, wire.Close)
		return io.EOF
	}
	s := c.sessions[f.Channel]
	if s == nil {
		return nil // of a session that has ended
	}
	return c.inSession(s, p, payload)
}

func (c *conn) inSession(s *session, p wire.Performative, payload []byte) error {
	switch p.Descriptor {
	case wire.Attach:
		c.attach(s, p)
	case wire.Flow:
		c.flow(s, p)
	case wire.Transfer:
		return c.transfer(s, p, payload)
	case wire.Disposition: // nothing is kept for redelivery
	case wire.Detach:
		if l := s.links[p.Uint(0, 0)]; l != nil {
			c.detach(l, nil)
		}
	case wire.End:
		c.forgetSession(s)
		c.frame(s.channel, wire.End)
	default:
		return fmt.Errorf("performative %#x", p.Descriptor)
	}
	return nil
}

func (c *conn) open(p wire.Performative) {
	c.maxFrame = int(max(min(p.Uint(2, maxFrame), maxFrame), minFrame))
	if ms := p.Uint(4, 0); ms > 0 { // a frame well before the peer gives up
		c.keepAlive = min(c.keepAlive, time.Duration(ms)*time.Millisecond/2)
	}
	c.frame(0, wire.Open, "iothub-simulator", nil, uint32(maxFrame), uint16(maxChannel), uint32(c.server.options.IdleTimeout.Milliseconds()))
}

// write writes what is queued and, when that is out, fetches events. It never writes under the lock.
func (c *conn) write() {
	defer c.cut()
	var spare []byte
	for {
		c.mu.Lock()
		c.expireClaims()
		c.pump()
		buf, wait, last, half := c.out, c.nextWake(), c.closing, c.truncate
		c.out = spare[:0]
		c.mu.Unlock()
		if half && len(buf) > 1 {
			_, _ = c.net.Write(buf[:len(buf)/2])
			return
		}
		if len(buf) == 0 {
			if last {
				return
			}
			spare = buf
			if buf = c.idle(wait); buf == nil {
				continue
			}
		}
		if _, err := c.net.Write(buf); err != nil {
			return
		}
		if spare = buf[:0]; cap(spare) > 4*batchBytes {
			spare = nil
		}
	}
}

// idle waits for something to write. It returns a keep-alive when the time for one has come.
func (c *conn) idle(wait time.Duration) []byte {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-c.wake:
		return nil
	case <-timer.C:
		return append([]byte(nil), wire.KeepAlive...)
	}
}

// nextWake is when to send a keep-alive or to look at the claims again.
func (c *conn) nextWake() time.Duration {
	wait := c.keepAlive
	if at := c.claims.nextExpiry(); !at.IsZero() {
		wait = min(wait, max(at.Sub(c.server.options.Clock()), 10*time.Millisecond))
	}
	return wait
}
