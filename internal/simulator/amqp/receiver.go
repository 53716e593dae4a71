package amqp

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pnp-operator/pnp-operator/internal/simulator/amqp/wire"
	"github.com/pnp-operator/pnp-operator/internal/simulator/eventhub"
)

const (
	selectorFilter    = "apache.org:selector-filter:string"
	propertyName      = "com.microsoft:receiver-name"
	propertyEpoch     = "com.microsoft:epoch"
	capabilityMetrics = "com.microsoft:enable-receiver-runtime-metric"

	// maxPlain receivers without an epoch may read one partition in one group.
	maxPlain = 5
)

// receiver is a reader of a partition. conn.mu guards next; the rest does not change.
type receiver struct {
	partition *eventhub.Partition
	group     string // in lower case
	name      string
	epoch     int64 // -1: none
	metrics   bool
	next      int64 // sequence number
}

// openReceiver connects a link to a partition.
func (c *conn) openReceiver(l *link, p wire.Performative) *condition {
	r, why := c.newReceiver(l.address)
	if why != nil {
		return why
	}
	filter := ""
	if d, ok := p.Composite(5).Map(7).Get(selectorFilter).(wire.Described); ok {
		filter, _ = d.Value.(string)
	}
	next, err := position(r.partition, filter)
	if err != nil {
		return &condition{condNotSupported, err.Error()}
	}
	r.next = next
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
	path := strings.Split(strings.Trim(address, "/"), "/")
	if len(path) != 5 || !log.Exists() || !strings.EqualFold(path[0], log.Name()) ||
		!strings.EqualFold(path[1], "ConsumerGroups") || !strings.EqualFold(path[3], "Partitions") {
		return nil, &condition{condNotFound, fmt.Sprintf("The messaging entity '%s' could not be found.", address)}
	}
	if !log.HasGroup(path[2]) {
		return nil, &condition{condNotFound, fmt.Sprintf("The messaging entity '%s|%s' could not be found.", path[0], path[2])}
	}
	partition := log.Partition(path[4])
	if partition == nil {
		return nil, &condition{condOutOfRange, "The specified partition is invalid for an EventHub partition sender or receiver."}
	}
	return &receiver{partition: partition, group: strings.ToLower(path[2]), epoch: -1}, nil
}

// describe reads what an attach says of its receiver.
func (r *receiver) describe(p wire.Performative) {
	r.name = "nil"
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

var filterPattern = regexp.MustCompile(`^amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time)\s*(>=?)\s*'([^']*)'$`)

// position turns a selector into the sequence number to start at. These are all the selectors that clients send.
func position(p *eventhub.Partition, selector string) (int64, error) {
	if selector == "" {
		return 0, nil
	}
	m := filterPattern.FindStringSubmatch(strings.TrimSpace(selector))
	if m == nil {
		return 0, fmt.Errorf("selector %q is not supported", selector)
	}
	inclusive := m[2] == ">="
	if m[1] == string(eventhub.ByOffset) && m[3] == "@latest" {
		return p.End(inclusive), nil
	}
	value, err := strconv.ParseInt(m[3], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("selector %q: the value is no number", selector)
	}
	return p.Find(eventhub.Key(m[1]), value, inclusive), nil
}

// receivers are all readers, and the rules on who may read beside whom.
type receivers struct {
	mu    sync.Mutex
	links []*link
}

func (r *receivers) list() []*link {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.links)
}

func (r *receivers) remove(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.links = slices.DeleteFunc(r.links, func(o *link) bool { return o == l })
	l.receiver.partition.OnAppend(l, nil)
}

// add lets a reader in, and evicts those that it displaces. The texts are those of the service.
func (r *receivers) add(l *link) *condition {
	r.mu.Lock()
	defer r.mu.Unlock()
	rivals := slices.DeleteFunc(slices.Clone(r.links), func(o *link) bool {
		return o.receiver.partition != l.receiver.partition || o.receiver.group != l.receiver.group
	})
	if why := l.receiver.refusedBy(rivals); why != nil {
		return why
	}
	if l.receiver.epoch >= 0 {
		for _, o := range rivals {
			o.evictedBy(l.receiver)
		}
		r.links = slices.DeleteFunc(r.links, func(o *link) bool { return slices.Contains(rivals, o) })
	}
	r.links = append(r.links, l)
	return nil
}

func (r *receiver) refusedBy(rivals []*link) *condition {
	for _, l := range rivals {
		switch o := l.receiver; {
		case o.epoch <= r.epoch:
		case r.epoch >= 0:
			return &condition{condStolen, fmt.Sprintf("Receiver '%s' with a higher epoch '%d' already exists. Receiver '%s' with epoch %d cannot be created. Make sure you are creating receiver with increasing epoch value to ensure connectivity, or ensure all old epoch receivers are closed or disconnected.", o.name, o.epoch, r.name, r.epoch)}
		default:
			return &condition{condStolen, fmt.Sprintf("At least one receiver for the endpoint is created with epoch of '%d', and so non-epoch receiver is not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected.", o.epoch)}
		}
	}
	if r.epoch < 0 && len(rivals) >= maxPlain {
		names := make([]string, len(rivals))
		for i, l := range rivals {
			names[i] = l.receiver.name
		}
		return &condition{condResourceLimit, "Exceeded the maximum number of allowed receivers per partition in a consumer group which is 5. List of connected receivers - " + strings.Join(names, ", ") + "."}
	}
	return nil
}

// evictedBy detaches a reader. Locks are taken connection first, so this has a goroutine of its own.
func (l *link) evictedBy(r *receiver) {
	why := &condition{condStolen, fmt.Sprintf("New receiver '%s' with higher epoch of '%d' is created hence current receiver '%s' with epoch '%d' is getting disconnected. If you are recreating the receiver, make sure a higher epoch is used.", r.name, r.epoch, l.receiver.name, max(l.receiver.epoch, 0))}
	go l.end(why)
}

// end detaches a link from outside its connection.
func (l *link) end(why *condition) {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	l.conn.detach(l, why)
	l.conn.wakeUp()
}
