package amqp

import (
	"slices"

	"github.com/pnp-operator/pnp-operator/internal/simulator/amqp/wire"
)

// window is the session window that both sides of Event Hubs use, in frames.
const window = 5000

// session is one session of a connection. c.mu guards it.
type session struct {
	channel      uint16
	nextIncoming uint32
	nextOutgoing uint32
	remoteWindow uint32 // frames that the peer takes
	received     uint32 // frames since the peer was told of our window
	deliveries   uint32
	links        map[uint32]*link // by handle; ours has the peer's number
	senders      []*link          // those that we send on, in order of their attachment
}

func (c *conn) begin(channel uint16, p wire.Performative) {
	if old := c.sessions[channel]; old != nil {
		c.forgetSession(old)
	}
	c.sessions[channel] = &session{
		channel: channel, nextIncoming: p.Uint(1, 0), remoteWindow: p.Uint(2, window), links: map[uint32]*link{},
	}
	c.frame(channel, wire.Begin, channel, uint32(0), uint32(window), uint32(window), uint32(255))
}

func (c *conn) forgetSession(s *session) {
	for _, l := range s.links {
		c.forget(l)
	}
	delete(c.sessions, s.channel)
}

// flow takes what the peer says of windows and credit.
func (c *conn) flow(s *session, p wire.Performative) {
	s.remoteWindow = p.Uint(0, 0) + p.Uint(1, 0) - s.nextOutgoing
	s.nextIncoming = p.Uint(2, s.nextIncoming)
	handle, ofLink := p.At(4).(uint32)
	l := s.links[handle]
	echo := p.Bool(9)
	if !ofLink || l == nil {
		if echo {
			c.sessionFlow(s)
		}
		return
	}
	if l.sends {
		l.credit = p.Uint(5, 0) + p.Uint(6, 0) - l.deliveries
		l.drain = p.Bool(8)
	}
	if echo {
		c.linkFlow(l)
	}
}

func (c *conn) sessionFlow(s *session) {
	c.frame(s.channel, wire.Flow, s.nextIncoming, uint32(window), s.nextOutgoing, uint32(window))
}

func (c *conn) linkFlow(l *link) {
	s := l.session
	c.frame(s.channel, wire.Flow, s.nextIncoming, uint32(window), s.nextOutgoing, uint32(window), l.handle, l.deliveries, l.credit)
}

// forget drops a link without a frame.
func (c *conn) forget(l *link) {
	delete(l.session.links, l.handle)
	l.session.senders = slices.DeleteFunc(l.session.senders, func(o *link) bool { return o == l })
	if l.receiver != nil {
		c.server.receivers.remove(l)
	}
}

// detach ends a link for good: without closed=true clients wait for more.
func (c *conn) detach(l *link, why *condition) {
	if l.session.links[l.handle] != l {
		return
	}
	c.forget(l)
	c.frame(l.session.channel, wire.Detach, l.handle, true, why.value())
}
