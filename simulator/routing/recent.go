package routing

import (
	"maps"
	"sync"
	"time"
)

// keptEvents is how many events Router.Recent can return.
const keptEvents = 512

// Event is an appended event, for people to look at.
type Event struct {
	At             time.Time `json:"at"` // iothub-enqueuedtime
	Partition      int       `json:"partition"`
	SequenceNumber int64     `json:"sequenceNumber"`
	DeviceID       string    `json:"deviceId"`
	Source         Source    `json:"source"`
	Schema         string    `json:"schema,omitempty"`
	OpType         string    `json:"opType,omitempty"`
	Component      string    `json:"component,omitempty"`
	CorrelationID  string    `json:"correlationId,omitempty"`
	Body           string    `json:"body"` // text: a fault can make it something else than JSON
}

// recent is a ring of the newest events.
type recent struct {
	mu     sync.Mutex
	ring   [keptEvents]appended
	total  int
	counts map[Source]int
}

// appended holds the message itself, so that what nobody looks at costs no copy.
type appended struct {
	event
	partition int
	number    int64
}

func (r *recent) add(e event, partition int, number int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.total%keptEvents] = appended{e, partition, number}
	r.total++
	r.counts[e.source]++
}

func (r *recent) list(limit int) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(r.total, keptEvents)
	if limit > 0 {
		n = min(n, limit)
	}
	out := make([]Event, 0, n)
	for i := r.total - n; i < r.total; i++ {
		out = append(out, r.ring[i%keptEvents].show())
	}
	return out
}

func (r *recent) counted() map[Source]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts)
}

func (a appended) show() Event {
	m := a.message
	at, _ := m.Annotations["iothub-enqueuedtime"].(time.Time)
	return Event{
		At: at, Partition: a.partition, SequenceNumber: a.number, DeviceID: a.device, Source: a.source,
		Schema: text(m.Application, "iothub-message-schema"), OpType: text(m.Application, "opType"),
		Component: text(m.Annotations, "dt-subject"), CorrelationID: m.Properties.CorrelationID, Body: string(m.Body),
	}
}

func text(m map[string]any, name string) string {
	s, _ := m[name].(string)
	return s
}
