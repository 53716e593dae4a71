package amqp

import (
	"strings"

	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

// batchFormat is the message format of a message whose data sections are messages.
const batchFormat = 0x80013700

// target is where a sending client sends: one partition, or nil for whichever.
type target struct{ partition *eventhub.Partition }

// openTarget connects a sending client's link: HUB or HUB/Partitions/ID.
func (c *conn) openTarget(l *link) *condition {
	log := c.server.options.Log
	path := strings.Split(l.address, "/")
	whole := len(path) == 1
	if !log.Exists() || !strings.EqualFold(path[0], log.Name()) || !whole && (len(path) != 3 || !strings.EqualFold(path[1], "Partitions")) {
		return entityNotFound(l.address)
	}
	l.target = &target{}
	if whole {
		return nil
	}
	if l.target.partition = log.Partition(path[2]); l.target.partition == nil {
		return badPartition()
	}
	return nil
}

// ingest appends a client's message, or all messages of a batch, which have the batch's key.
func (s *Server) ingest(p *eventhub.Partition, m incoming) *condition {
	sections, err := wire.ParseSections(m.bytes)
	if err != nil {
		return &condition{condDecode, err.Error()}
	}
	key := keyOf(sections)
	messages := []eventhub.Message{messageOf(sections, key)}
	if m.format == batchFormat {
		if messages, err = messagesOf(sections, key); err != nil {
			return &condition{condDecode, err.Error()}
		}
	}
	if p == nil {
		p = s.choose(key)
	}
	for _, message := range messages {
		p.Append(message)
	}
	return nil
}

// choose spreads messages that have no key.
func (s *Server) choose(key string) *eventhub.Partition {
	all := s.options.Log.Partitions()
	if key != "" {
		return all[s.options.Log.PartitionFor(key)]
	}
	return all[s.sent.Add(1)%uint32(len(all))]
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

func messagesOf(batch []wire.Section, key string) ([]eventhub.Message, error) {
	var all []eventhub.Message
	for _, section := range batch {
		inner, isData := section.Value.([]byte)
		if section.Descriptor != wire.SectionData || !isData {
			continue
		}
		sections, err := wire.ParseSections(inner)
		if err != nil {
			return nil, err
		}
		all = append(all, messageOf(sections, key))
	}
	return all, nil
}

// messageOf keeps a client's message as it came, but for the annotations that the service owns.
func messageOf(sections []wire.Section, key string) eventhub.Message {
	m := eventhub.Message{PartitionKey: key, Annotations: map[string]any{}, Encoded: []byte{}}
	for _, s := range sections {
		switch s.Descriptor {
		case wire.SectionDeliveryAnnotations, wire.SectionHeader: // of this hop only
		case wire.SectionAnnotations:
			annotate(m.Annotations, s.Value)
		default:
			m.Encoded = append(m.Encoded, s.Raw...)
		}
	}
	return m
}

func annotate(out map[string]any, value any) {
	annotations, _ := value.(wire.Map)
	for i := 0; i+1 < len(annotations); i += 2 {
		if name, ok := annotations[i].(wire.Symbol); ok && !strings.HasPrefix(string(name), "x-opt-") {
			out[string(name)] = annotations[i+1]
		}
	}
}
