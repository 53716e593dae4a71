package amqp

import "github.com/pnp-operator/pnp-operator/simulator/amqp/wire"

// incoming is a message that comes in parts.
type incoming struct {
	begun      bool
	settled    bool
	id, format uint32
	bytes      []byte
}

// transfer takes one frame of a message from the peer.
func (c *conn) transfer(s *session, p wire.Performative, payload []byte) {
	if !c.arrived(s) {
		return
	}
	l := s.links[p.Uint(0, 0)]
	switch {
	case l == nil || l.sends: // of a link that has ended
	case l.credit == 0:
		c.detach(l, &condition{condTooMany, "There is no credit on the link."})
	case len(l.incoming.bytes)+len(payload) > maxMessage:
		c.detach(l, conditionf(condTooLarge, "The message is larger than the maximum of %d bytes.", maxMessage))
	default:
		c.receive(l, p, payload)
	}
}

func (c *conn) receive(l *link, p wire.Performative, payload []byte) {
	m := &l.incoming
	if !m.begun {
		*m = incoming{begun: true, id: p.Uint(1, 0), format: p.Uint(3, 0)}
	}
	m.settled = m.settled || p.Bool(4)
	m.bytes = append(m.bytes, payload...)
	aborted, more := p.Bool(9), p.Bool(5)
	if more && !aborted {
		return
	}
	message := *m
	l.incoming = incoming{}
	l.deliveries++
	l.credit--
	if !aborted {
		c.received(l, message)
	}
	if l.credit < senderCredit/2 {
		l.credit = senderCredit
		c.linkFlow(l)
	}
}

// received deals with a message that is complete.
func (c *conn) received(l *link, m incoming) {
	var state any = wire.Described{Descriptor: uint64(wire.Accepted), Value: []any{}}
	if l.target != nil {
		if why := c.server.ingest(l.target.partition, m); why != nil {
			state = wire.Described{Descriptor: uint64(wire.Rejected), Value: []any{why.value()}}
		}
	}
	if !m.settled {
		c.frame(l.session.channel, wire.Disposition, true, m.id, m.id, true, state)
	}
	if l.target == nil {
		c.respond(l, m.bytes)
	}
}
