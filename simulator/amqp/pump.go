package amqp

import "github.com/pnp-operator/pnp-operator/simulator/amqp/wire"

// outgoing is a message of which a part is written. Its frames stop where the peer's session window does.
type outgoing struct {
	id, tag uint32
	begun   bool
	rest    []byte
}

// pump moves what there is to send into the buffer: within credit, window, and the buffer's own limit.
func (c *conn) pump() {
	c.detachGone()
	for _, s := range c.sessions {
		for _, l := range s.senders {
			c.pumpLink(l)
		}
		for _, l := range s.links {
			c.checkSize(l)
		}
	}
}

func (c *conn) pumpLink(l *link) {
	for c.room(l) && (l.partly != nil || l.takeMessage()) && l.fits() {
		c.sendFrames(l)
	}
	if l.drain && l.credit > 0 && l.partly == nil && !l.hasMessage() {
		c.drained(l)
	}
}

// room reports whether anything may be sent on a link now.
func (c *conn) room(l *link) bool {
	return (l.credit > 0 || l.partly != nil) && l.session.outgoing > 0 && len(c.out) < batchBytes
}

// fits reports whether the peer takes the message that is next.
func (l *link) fits() bool {
	return l.largest == 0 || l.partly == nil || l.partly.begun || uint64(len(l.partly.rest)) <= l.largest
}

func (c *conn) checkSize(l *link) {
	if !l.fits() {
		c.detach(l, conditionf(condTooLarge, "The message of %d bytes is larger than the receiver's maximum of %d.", len(l.partly.rest), l.largest))
	}
}

func (l *link) takeMessage() bool {
	message, ok := l.nextMessage()
	if !ok {
		return false
	}
	l.partly = &outgoing{id: l.session.deliveries, tag: l.deliveries, rest: message}
	l.session.deliveries++
	l.deliveries++
	l.credit--
	return true
}

// sendFrames writes frames of the message under way until it is out or the window is used up.
func (c *conn) sendFrames(l *link) {
	m, s := l.partly, l.session
	for s.outgoing > 0 && l.partly != nil {
		n := min(len(m.rest), c.maxFrame-wire.TransferOverhead)
		head := wire.TransferHead{
			Channel: s.channel, Handle: l.handle, First: !m.begun, DeliveryID: m.id, Tag: m.tag,
			// azeventhubs never settles what it receives, and what is unsettled uses up its credit for good.
			Settled: l.settled, More: n < len(m.rest),
		}
		c.out = wire.AppendTransfer(c.out, head, m.rest[:n])
		m.begun, m.rest = true, m.rest[n:]
		s.nextOutgoing++
		s.outgoing--
		if !head.More {
			l.partly = nil
		}
	}
}

// drained uses up credit that there are no messages for ("OASIS AMQP Version 1.0", 2.6.7).
func (c *conn) drained(l *link) {
	l.deliveries += l.credit
	l.credit, l.drain = 0, false
	s := l.session
	c.frame(s.channel, wire.Flow, s.nextIncoming, s.incoming, s.nextOutgoing, uint32(window), l.handle, l.deliveries, uint32(0), uint32(0), true)
}

func (l *link) hasMessage() bool {
	if r := l.receiver; r != nil {
		return !l.conn.server.faults.stalled(r) && r.partition.Has(r.next)
	}
	return len(l.answers) > 0
}

func (l *link) nextMessage() ([]byte, bool) {
	if l.receiver != nil {
		return l.conn.nextEvent(l.receiver)
	}
	if len(l.answers) == 0 {
		return nil, false
	}
	answer := l.answers[0]
	l.answers = l.answers[1:]
	return answer, true
}

func (c *conn) nextEvent(r *receiver) ([]byte, bool) {
	if c.server.faults.stalled(r) {
		c.holdBack(r)
		return nil, false
	}
	r.heldBack = false
	events := r.partition.Read(r.next, 1)
	if len(events) == 0 {
		return nil, false
	}
	r.next = events[0].SequenceNumber + 1
	r.sent++
	var b []byte
	if r.metrics {
		b = appendMetrics(b, r.partition.Info(), c.server.options.Clock())
	}
	return appendEvent(b, events[0]), true
}

// holdBack counts a stall that a reader would notice.
func (c *conn) holdBack(r *receiver) {
	if !r.heldBack && r.partition.Has(r.next) {
		r.heldBack = true
		c.server.faults.count(func(n *FaultCounts) { n.Stalled++ })
	}
}
