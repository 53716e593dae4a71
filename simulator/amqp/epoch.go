package amqp

import (
	"slices"
	"strings"
	"sync"
)

// maxPlain receivers without an epoch may read one partition in one group.
const maxPlain = 5

// receivers are all readers, and the rules on who may read beside whom. Its lock is taken after a connection's.
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

// add lets a reader in, and evicts those that it displaces. The newest of equal epochs stays.
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
		r.links = slices.DeleteFunc(r.links, func(o *link) bool { return slices.Contains(rivals, o) })
		for _, o := range rivals {
			o.evictedBy(l.receiver)
		}
	}
	r.links = append(r.links, l)
	return nil
}

// refusedBy says which rival keeps a receiver out. The texts are the service's: the first is asserted by Microsoft's live tests
// (and seen in azure-sdk-for-java#26583), the others were seen in azure-event-hubs-go#181 and azure-docs#24985.
func (r *receiver) refusedBy(rivals []*link) *condition {
	for _, l := range rivals {
		switch o := l.receiver; {
		case o.epoch <= r.epoch:
		case r.epoch >= 0:
			return conditionf(condStolen, "Receiver '%s' with a higher epoch '%d' already exists. Receiver '%s' with epoch %d cannot be created. Make sure you are creating receiver with increasing epoch value to ensure connectivity, or ensure all old epoch receivers are closed or disconnected.", o.name, o.epoch, r.name, r.epoch)
		default:
			return conditionf(condStolen, "At least one receiver for the endpoint is created with epoch of '%d', and so non-epoch receiver is not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected.", o.epoch)
		}
	}
	if r.epoch < 0 && len(rivals) >= maxPlain {
		return conditionf(condResourceLimit, "Exceeded the maximum number of allowed receivers per partition in a consumer group which is %d. List of connected receivers - %s.", maxPlain, names(rivals))
	}
	return nil
}

func names(links []*link) string {
	all := make([]string, len(links))
	for i, l := range links {
		all[i] = l.receiver.name
	}
	return strings.Join(all, ", ")
}

// evictedBy detaches a reader. Locks are taken connection first, so this has a goroutine of its own.
func (l *link) evictedBy(r *receiver) {
	why := evicted(l.receiver, r)
	l.conn.server.running.Go(func() {
		l.conn.mu.Lock()
		defer l.conn.mu.Unlock()
		l.conn.detach(l, why)
		l.conn.wakeUp()
	})
}

// evicted is what a reader is told that another one displaces (azure-sdk-for-java#12483).
func evicted(old, by *receiver) *condition {
	return conditionf(condStolen, "New receiver '%s' with higher epoch of '%d' is created hence current receiver '%s' with epoch '%d' is getting disconnected. If you are recreating the receiver, make sure a higher epoch is used.", by.name, by.epoch, old.name, max(old.epoch, 0))
}
