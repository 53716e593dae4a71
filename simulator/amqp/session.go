package amqp

import (
	"slices"

	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
)

const (
	// window is the session window that both sides of Event Hubs use, in frames.
	window = 5000
	// maxHandle is what Event Hubs was seen to answer a begin with.
	maxHandle = 255
)

// session is one session of a connection. c.mu guards it.
type session struct {
	channel      uint16
	nextIncoming uint32
	incoming     uint32 // frames that we take
	nextOutgoing uint32
	outgoing     uint32 // frames that the peer takes
	deliveries   uint32
	links        map[uint32]*link // by handle; ours has the peer's number
	senders      []*link          // those that we send on, in order of their attachment
}

func (c *conn) begin(channel uint16, p wire.Performative) error {
	if channel > maxChannel || c.sessions[channel] != nil {
		return conditionf(condNotAllowed, "channel %d is in use or above the maximum of %d", channel, maxChannel)
	}
	c.sessions[channel] = &session{
		channel: channel, nextIncoming: p.Uint(1, 0), incoming: window, outgoing: p.Uint(2, window), links: map[uint32]*link{},
	}
	c.frame(channel, wire.Begin, channel, uint32(0), uint32(window), uint32(window), uint32(maxHandle))
	return nil
}

// end ends a session, as the answer to the peer's end or with a reason.
func (c *conn) end(s *session, why *condition) {
	c.forgetSession(s)
	c.frame(s.channel, wire.End, why.value())
}

func (c *conn) forgetSession(s *session) {
	for _, l := range s.links {
		c.forget(l)
	}
	delete(c.sessions, s.channel)
}

// flow takes what the peer says of windows and credit.
func (c *conn) flow(s *session, p wire.Performative) {
	s.outgoing = remaining(p.Uint(1, 0), s.nextOutgoing-p.Uint(0, 0))
	handle, ofLink := p.At(4).(uint32)
	l, echo := s.links[handle], p.Bool(9)
	switch {
	case ofLink && l != nil:
		if l.sends {
			l.credit, l.drain = remaining(p.Uint(6, 0), l.deliveries-p.Uint(5, 0)), p.Bool(8)
		}
		if echo {
			c.linkFlow(l)
		}
	case echo:
		c.sessionFlow(s)
	}
}

// remaining is what is left of an allowance when the peer has yet to see some of what used it.
func remaining(allowed, unseen uint32) uint32 {
	if unseen > allowed {
		return 0
	}
	return allowed - unseen
}

// arrived counts a transfer frame of the peer's, and renews its window before it is used up.
func (c *conn) arrived(s *session) bool {
	if s.incoming == 0 {
		c.end(s, &condition{condWindow, "The session window is used up."})
		return false
	}
	s.nextIncoming++
	if s.incoming--; s.incoming < window/2 {
		s.incoming = window
		c.sessionFlow(s)
	}
	return true
}

func (c *conn) sessionFlow(s *session) {
	c.frame(s.channel, wire.Flow, s.nextIncoming, s.incoming, s.nextOutgoing, uint32(window))
}

func (c *conn) linkFlow(l *link) {
	s := l.session
	c.frame(s.channel, wire.Flow, s.nextIncoming, s.incoming, s.nextOutgoing, uint32(window), l.handle, l.deliveries, l.credit)
}

// forget drops a link without a frame.
func (c *conn) forget(l *link) {
	delete(l.session.links, l.handle)
	l.session.senders = slices.DeleteFunc(l.session.senders, func(o *link) bool { return o == l })
	if l.receiver != nil {
		c.server.receivers.remove(l)
	}
}

// detach ends a link for good: without closed=true azeventhubs waits for more until its context ends.
func (c *conn) detach(l *link, why *condition) bool {
	if l.session.links[l.handle] != l {
		return false
	}
	c.forget(l)
	c.frame(l.session.channel, wire.Detach, l.handle, true, why.value())
	return true
}
