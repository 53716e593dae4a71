package amqp

import (
	"fmt"
	"sync/atomic"

	"strings"

	"github.com/pnp-operator/pnp-operator/internal/simulator/amqp/wire"
	"github.com/pnp-operator/pnp-operator/internal/simulator/eventhub"
)

// batchFormat is the message format of a message whose data sections are messages.
const batchFormat = 0x80013700

// target is where a sending client sends: one partition, or nil for whichever.
type target struct{ partition *eventhub.Partition }

// turn spreads messages without a key.
var turn atomic.Uint32

// openTarget connects a sending client's link: HUB or HUB/Partitions/ID.
func (c *conn) openTarget(l *link) *condition {
	log := c.server.options.Log
	path := strings.Split(strings.Trim(l.address, "/"), "/")
	whole := len(path) == 1
	if !log.Exists() || !strings.EqualFold(path[0], log.Name()) || !whole && (len(path) != 3 || !strings.EqualFold(path[1], "Partitions")) {
		return &condition{condNotFound, fmt.Sprintf("The messaging entity '%s' could not be found.", l.address)}
	}
	l.target = &target{}
	if whole {
		return nil
	}
	if l.target.partition = log.Partition(path[2]); l.target.partition == nil {
		return &condition{condOutOfRange, "The specified partition is invalid for an EventHub partition sender or receiver."}
	}
	return nil
}

// incoming is a message that comes in parts.
type incoming struct {
	begun      bool
	id, format uint32
	bytes      []byte
}

// transfer takes one frame of a message from the peer.
func (c *conn) transfer(s *session, p wire.Performative, payload []byte) error {
	s.nextIncoming++
	if s.received++; s.received >= window/2 {
		s.received = 0
		c.sessionFlow(s)
	}
	l := s.links[p.Uint(0, 0)]
	if l == nil || l.sends {
		return nil
	}
	m := &l.incoming
	if !m.begun {
		*m = incoming{begun: true, id: p.Uint(1, 0), format: p.Uint(3, 0)}
	}
	if m.bytes = append(m.bytes, payload...); len(m.bytes) > maxMessage {
		c.detach(l, &condition{condTooLarge, fmt.Sprintf("The message is larger than the maximum of %d bytes.", maxMessage)})
		return nil
	}
	if !p.Bool(5) {
		c.received(l, p.Bool(4))
	}
	return nil
}

// received deals with a message that is complete.
func (c *conn) received(l *link, settled bool) {
	m := l.incoming
	l.incoming = incoming{}
	l.deliveries++
	l.credit--
	var state any = wire.Described{Descriptor: uint64(wire.Accepted), Value: []any{}}
	if l.target != nil {
		if why := c.server.ingest(l.target.partition, m); why != nil {
			state = wire.Described{Descriptor: uint64(wire.Rejected), Value: []any{why.value()}}
		}
	}
	if !settled {
		c.frame(l.session.channel, wire.Disposition, true, m.id, m.id, true, state)
	}
	if l.credit < senderCredit/2 {
		l.credit = senderCredit
		c.linkFlow(l)
	}
	if l.target == nil {
		c.respond(l, m.bytes)
	}
}

// ingest appends a client's message, or the messages of a batch.
func (s *Server) ingest(p *eventhub.Partition, m incoming) *condition {
	sections, err := wire.ParseSections(m.bytes)
	if err != nil {
		return &condition{condDecode, err.Error()}
	}
	key := keyOf(sections)
	if p == nil {
		p = s.choose(key)
	}
	if m.format != batchFormat {
		p.Append(messageOf(sections, key))
		return nil
	}
	for _, section := range sections {
		inner, isData := section.Value.([]byte)
		if section.Descriptor != wire.SectionData || !isData {
			continue
		}
		parts, err := wire.ParseSections(inner)
		if err != nil {
			return &condition{condDecode, err.Error()}
		}
		p.Append(messageOf(parts, key))
	}
	return nil
}

func (s *Server) choose(key string) *eventhub.Partition {
	all := s.options.Log.Partitions()
	if key != "" {
		return all[s.options.Log.PartitionFor(key)]
	}
	return all[turn.Add(1)%uint32(len(all))]
}

func keyOf(sections []wire.Section) string {
	for _, s := range sections {
		if m, ok := s.Value.(wire.Map); ok && s.Descriptor == wire.SectionAnnotations {
			key, _ := m.Get("x-opt-partition-key").(string)
			return key
		}
	}
	return ""
}

// messageOf keeps a client's message as it came, but for the annotations that the service owns.
func messageOf(sections []wire.Section, key string) eventhub.Message {
	m := eventhub.Message{PartitionKey: key, Annotations: map[string]any{}, Encoded: []byte{}}
	for _, s := range sections {
		switch s.Descriptor {
		case wire.SectionDeliveryAnnotations, wire.SectionHeader:
		case wire.SectionAnnotations:
			annotations, _ := s.Value.(wire.Map)
			for i := 0; i+1 < len(annotations); i += 2 {
				if name, ok := annotations[i].(wire.Symbol); ok && !strings.HasPrefix(string(name), "x-opt-") {
					m.Annotations[string(name)] = annotations[i+1]
				}
			}
		default:
			m.Encoded = append(m.Encoded, s.Raw...)
		}
	}
	return m
}
