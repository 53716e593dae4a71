package eventhub

import (
	"maps"
	"slices"
	"sort"
	"sync"
	"time"
)

// Event is a message in a partition.
type Event struct {
	SequenceNumber int64
	Offset         int64
	Enqueued       time.Time
	Message        Message
}

// Info is what a partition says of itself.
type Info struct {
	Begin, Last int64 // sequence numbers; Last is -1 if there never was an event
	LastOffset  int64
	LastTime    time.Time
	IsEmpty     bool
}

// Partition is an ordered part of an event hub. Offsets rise strictly, and times never fall.
type Partition struct {
	log *Log
	id  string

	mu     sync.Mutex
	events []Event
	next   int64 // sequence number of the next event
	offset int64 // offset of the next event
	last   Event // also after it expired
	wakes  map[any]func()
}

// ID of the partition.
func (p *Partition) ID() string { return p.id }

// Append adds a message and returns its sequence number.
func (p *Partition) Append(m Message) int64 {
	p.mu.Lock()
	e := Event{SequenceNumber: p.next, Offset: p.offset, Enqueued: latest(p.log.options.Clock(), p.last.Enqueued), Message: m}
	p.events = append(p.events, e)
	p.next, p.offset, p.last = p.next+1, p.offset+int64(max(len(m.Body)+len(m.Encoded), 1)), e
	p.expire()
	p.mu.Unlock()
	p.wakeReaders()
	return e.SequenceNumber
}

// OnAppend has f called after every append, until f is nil for the same key. f must not block.
func (p *Partition) OnAppend(key any, f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wakes == nil {
		p.wakes = map[any]func(){}
	}
	p.wakes[key] = f
	if f == nil {
		delete(p.wakes, key)
	}
}

// wakeReaders calls the readers without the lock: they read at once, perhaps.
func (p *Partition) wakeReaders() {
	p.mu.Lock()
	wakes := slices.Collect(maps.Values(p.wakes))
	p.mu.Unlock()
	for _, wake := range wakes {
		wake()
	}
}

// Read returns up to most events with sequence numbers from the given one on. Expired ones are passed over.
func (p *Partition) Read(from int64, most int) []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	start := sort.Search(len(p.events), func(i int) bool { return p.events[i].SequenceNumber >= from })
	return slices.Clone(p.events[start:min(len(p.events), start+most)])
}

// Has reports whether there is an event to read from a sequence number on.
func (p *Partition) Has(from int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	return len(p.events) > 0 && p.last.SequenceNumber >= from
}

// Info is the partition's state now.
func (p *Partition) Info() Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	i := Info{Begin: p.next, Last: p.next - 1, LastOffset: -1, LastTime: time.UnixMilli(0).UTC(), IsEmpty: len(p.events) == 0}
	if p.next > 0 {
		i.LastOffset, i.LastTime = p.last.Offset, p.last.Enqueued
	}
	if len(p.events) > 0 {
		i.Begin = p.events[0].SequenceNumber
	}
	return i
}

// Expire drops all events but the newest n, as if their time had come.
func (p *Partition) Expire(keep int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trim(len(p.events) - keep)
}

// expire drops what retention no longer keeps. p.mu is held.
func (p *Partition) expire() {
	drop := 0
	if keep := p.log.options.MaxEvents; keep > 0 && len(p.events) > keep+keep/4 {
		drop = len(p.events) - keep
	}
	if keep := p.log.options.Retention; keep > 0 {
		oldest := p.log.options.Clock().Add(-keep)
		for drop < len(p.events) && p.events[drop].Enqueued.Before(oldest) {
			drop++
		}
	}
	p.trim(drop)
}

// trim forgets the n oldest events. Their place is freed when the slice next grows.
func (p *Partition) trim(n int) {
	if n > 0 {
		clear(p.events[:n])
		p.events = p.events[n:]
	}
}

func (p *Partition) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events, p.next, p.offset, p.last = nil, 0, 0, Event{}
}
