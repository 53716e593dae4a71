package amqp

import (
	"slices"
	"strings"

	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

// What an attach says of a receiver, as azeventhubs and @azure/event-hubs put it.
const (
	selectorFilter    = "apache.org:selector-filter:string"
	propertyName      = "com.microsoft:receiver-name"
	propertyEpoch     = "com.microsoft:epoch"
	capabilityMetrics = "com.microsoft:enable-receiver-runtime-metric"
)

// receiver is a reader of a partition. conn.mu guards the last three; the rest does not change.
type receiver struct {
	partition  *eventhub.Partition
	generation int    // of the log
	group      string // in lower case
	name       string
	epoch      int64 // -1: none
	metrics    bool

	next     int64 // sequence number
	sent     int64 // events
	heldBack bool  // by a stall
}

// openReceiver connects a link to a partition.
func (c *conn) openReceiver(l *link, p wire.Performative) *condition {
	r, why := c.newReceiver(l.address)
	if why != nil {
		return why
	}
	if r.next, why = position(r.partition, selectorOf(p)); why != nil {
		return why
	}
	r.describe(p)
	l.receiver = r
	if why := c.server.receivers.add(l); why != nil {
		l.receiver = nil
		return why
	}
	r.partition.OnAppend(l, c.wakeUp)
	return nil
}

// newReceiver finds HUB/ConsumerGroups/GROUP/Partitions/ID.
func (c *conn) newReceiver(address string) (*receiver, *condition) {
	log := c.server.options.Log
	generation := log.Generation() // before anything is read: what changes from now on shows
	path := strings.Split(address, "/")
	if len(path) != 5 || !log.Exists() || !strings.EqualFold(path[0], log.Name()) ||
		!strings.EqualFold(path[1], "ConsumerGroups") || !strings.EqualFold(path[3], "Partitions") {
		return nil, entityNotFound(address)
	}
	if !log.HasGroup(path[2]) {
		return nil, entityNotFound(path[0] + "|" + path[2])
	}
	partition := log.Partition(path[4])
	if partition == nil {
		return nil, badPartition()
	}
	return &receiver{partition: partition, generation: generation, group: strings.ToLower(path[2]), name: "nil", epoch: -1}, nil
}

// describe reads what an attach says of its receiver.
func (r *receiver) describe(p wire.Performative) {
	if name, ok := p.Map(13).Get(propertyName).(string); ok {
		r.name = name
	}
	switch epoch := p.Map(13).Get(propertyEpoch).(type) {
	case int64:
		r.epoch = epoch
	case int32:
		r.epoch = int64(epoch)
	}
	wanted, ok := p.At(12).([]any)
	if !ok {
		wanted = []any{p.At(12)}
	}
	r.metrics = slices.Contains(wanted, any(wire.Symbol(capabilityMetrics)))
}

func selectorOf(p wire.Performative) string {
	filter, _ := p.Composite(5).Map(7).Get(selectorFilter).(wire.Described)
	selector, _ := filter.Value.(string)
	return selector
}

// gone says why there is nothing to read any more, if that is so.
func (r *receiver) gone(log *eventhub.Log) *condition {
	switch {
	case log.Generation() != r.generation:
		return entityNotFound(log.Name())
	case !log.HasGroup(r.group):
		return entityNotFound(log.Name() + "|" + r.group)
	}
	return nil
}

// detachGone ends the receivers whose event hub or consumer group is not what it was.
func (c *conn) detachGone() {
	for _, s := range c.sessions {
		for _, l := range s.links {
			if l.receiver == nil {
				continue
			}
			if why := l.receiver.gone(c.server.options.Log); why != nil {
				c.server.faults.count(func(n *FaultCounts) { n.Detached++ })
				c.detach(l, why)
			}
		}
	}
}

// end detaches a link from outside its connection.
func (l *link) end(why *condition) {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	if l.conn.detach(l, why) {
		l.conn.server.faults.count(func(n *FaultCounts) { n.Detached++ })
		l.conn.wakeUp()
	}
}
