package amqp

import (
	"maps"
	"slices"
	"strconv"

	"github.com/pnp-operator/pnp-operator/internal/simulator/amqp/wire"
	"github.com/pnp-operator/pnp-operator/internal/simulator/eventhub"
)

// outgoing is a message of which a part is written. Its frames stop where the peer's session window does.
type outgoing struct {
	id, tag uint32
	begun   bool
	rest    []byte
}

// pump moves what there is to send into the buffer: within credit, window, and the buffer's own limit.
func (c *conn) pump() {
	for _, s := range c.sessions {
		for _, l := range s.senders {
			c.pumpLink(l)
		}
	}
}

func (c *conn) pumpLink(l *link) {
	for c.room(l) {
		if l.partly == nil {
			message, ok := l.nextMessage()
			if !ok {
				break
			}
			l.partly = &outgoing{id: l.session.deliveries, tag: l.deliveries, rest: message}
			l.session.deliveries++
			l.deliveries++
			l.credit--
		}
		c.send(l)
	}
	if l.drain && l.credit > 0 && !l.hasMessage() {
		l.deliveries += l.credit
		l.credit, l.drain = 0, false
		s := l.session
		c.frame(s.channel, wire.Flow, s.nextIncoming, uint32(window), s.nextOutgoing, uint32(window), l.handle, l.deliveries, uint32(0), uint32(0), true)
	}
}

// room reports whether anything may be sent on a link now.
func (c *conn) room(l *link) bool {
	return (l.credit > 0 || l.partly != nil) && l.session.remoteWindow > 0 && len(c.out) < batchBytes
}

// send writes frames of the message under way until it is out or the window is used up.
func (c *conn) send(l *link) {
	m, s := l.partly, l.session
	for s.remoteWindow > 0 {
		n := min(len(m.rest), c.maxFrame-wire.TransferOverhead)
		head := wire.TransferHead{
			Channel: s.channel, Handle: l.handle, First: !m.begun, DeliveryID: m.id, Tag: m.tag,
			// Clients never settle what they receive, and what is unsettled uses up their credit for good.
			Settled: l.settled, More: n < len(m.rest),
		}
		c.out = wire.AppendTransfer(c.out, head, m.rest[:n])
		m.begun, m.rest = true, m.rest[n:]
		s.nextOutgoing++
		s.remoteWindow--
		if !head.More {
			l.partly = nil
			return
		}
	}
}

func (l *link) hasMessage() bool {
	if l.receiver == nil {
		return len(l.answers) > 0
	}
	return len(l.receiver.partition.Read(l.receiver.next, 1)) > 0 && !l.conn.server.faults.stalled(l.receiver.partition.ID())
}

func (l *link) nextMessage() ([]byte, bool) {
	if r := l.receiver; r != nil {
		return l.nextEvent(r)
	}
	if len(l.answers) == 0 {
		return nil, false
	}
	answer := l.answers[0]
	l.answers = l.answers[1:]
	return answer, true
}

func (l *link) nextEvent(r *receiver) ([]byte, bool) {
	if l.conn.server.faults.stalled(r.partition.ID()) {
		return nil, false
	}
	events := r.partition.Read(r.next, 1)
	if len(events) == 0 {
		return nil, false
	}
	r.next = events[0].SequenceNumber + 1
	var b []byte
	if r.metrics {
		b = appendMetrics(b, r.partition.Info(), l.conn.server.options.Clock())
	}
	return appendEvent(b, events[0]), true
}

func appendEvent(b []byte, e eventhub.Event) []byte {
	m := e.Message
	annotations := wire.Map{
		wire.Symbol("x-opt-sequence-number"), e.SequenceNumber,
		wire.Symbol("x-opt-offset"), strconv.FormatInt(e.Offset, 10),
		wire.Symbol("x-opt-enqueued-time"), e.Enqueued,
	}
	if m.PartitionKey != "" {
		annotations = append(annotations, wire.Symbol("x-opt-partition-key"), m.PartitionKey)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Annotations)) {
		annotations = append(annotations, wire.Symbol(name), m.Annotations[name])
	}
	b = wire.AppendSection(b, wire.SectionAnnotations, annotations)
	if m.Encoded != nil {
		return append(b, m.Encoded...)
	}
	b = appendProperties(b, m.Properties)
	if len(m.Application) > 0 {
		application := wire.Map{}
		for _, name := range slices.Sorted(maps.Keys(m.Application)) {
			application = append(application, name, m.Application[name])
		}
		b = wire.AppendSection(b, wire.SectionApplication, application)
	}
	return wire.AppendSection(b, wire.SectionData, m.Body)
}

func appendProperties(b []byte, p eventhub.Properties) []byte {
	var user any
	if p.UserID != nil {
		user = p.UserID
	}
	fields := []any{text(p.MessageID), user, nil, nil, nil, text(p.CorrelationID), symbol(p.ContentType), symbol(p.ContentEncoding)}
	if !slices.ContainsFunc(fields, func(f any) bool { return f != nil }) {
		return b
	}
	return wire.List(b, wire.SectionProperties, fields...)
}

func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func symbol(s string) any {
	if s == "" {
		return nil
	}
	return wire.Symbol(s)
}
