package amqp

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

// appendEvent encodes an event as a message.
func appendEvent(b []byte, e eventhub.Event) []byte {
	b = wire.AppendSection(b, wire.SectionAnnotations, annotationsOf(e))
	m := e.Message
	if m.Encoded != nil {
		return append(b, m.Encoded...)
	}
	b = appendProperties(b, m.Properties)
	if len(m.Application) > 0 {
		b = wire.AppendSection(b, wire.SectionApplication, applicationOf(m))
	}
	return wire.AppendSection(b, wire.SectionData, m.Body)
}

// annotationsOf: azeventhubs insists on an offset that is a string, a signed sequence number and a timestamp.
func annotationsOf(e eventhub.Event) wire.Map {
	all := wire.Map{
		wire.Symbol("x-opt-sequence-number"), e.SequenceNumber,
		wire.Symbol("x-opt-offset"), strconv.FormatInt(e.Offset, 10),
		wire.Symbol("x-opt-enqueued-time"), e.Enqueued,
	}
	if key := e.Message.PartitionKey; key != "" {
		all = append(all, wire.Symbol("x-opt-partition-key"), key)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Message.Annotations)) {
		all = append(all, wire.Symbol(name), e.Message.Annotations[name])
	}
	return all
}

func applicationOf(m eventhub.Message) wire.Map {
	var all wire.Map
	for _, name := range slices.Sorted(maps.Keys(m.Application)) {
		all = append(all, name, m.Application[name])
	}
	return all
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

// appendMetrics tells a receiver that asked for it where its partition ends.
func appendMetrics(b []byte, i eventhub.Info, now time.Time) []byte {
	return wire.AppendSection(b, wire.SectionDeliveryAnnotations, wire.Map{
		wire.Symbol("last_enqueued_sequence_number"), i.Last,
		wire.Symbol("last_enqueued_offset"), strconv.FormatInt(i.LastOffset, 10),
		wire.Symbol("last_enqueued_time_utc"), i.LastTime,
		wire.Symbol("runtime_info_retrieval_time_utc"), now,
	})
}
