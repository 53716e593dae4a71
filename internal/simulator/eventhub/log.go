package eventhub

import (
	"hash/fnv"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DefaultGroup is the consumer group that every event hub has.
const DefaultGroup = "$Default"

// Options of a Log.
type Options struct {
	// Name of the event hub in its namespace.
	Name string
	// Partitions is how many there are, default 1.
	Partitions int
	// Groups are the consumer groups beside $Default.
	Groups []string
	// Retention is how long events are kept; 0: for ever.
	Retention time.Duration
	// MaxEvents is how many events a partition keeps; 0: all.
	MaxEvents int
	// Clock stamps events and ages them; default time.Now.
	Clock func() time.Time
}

// Log is one event hub. It is safe for concurrent use.
type Log struct {
	options    Options
	partitions []*Partition

	mu      sync.Mutex
	groups  []string
	created time.Time
	deleted bool
}

// New returns an empty event hub.
func New(o Options) *Log {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	l := &Log{options: o, groups: append([]string{DefaultGroup}, o.Groups...), created: o.Clock()}
	for i := range max(o.Partitions, 1) {
		l.partitions = append(l.partitions, &Partition{log: l, id: strconv.Itoa(i)})
	}
	return l
}

// Name of the event hub.
func (l *Log) Name() string { return l.options.Name }

// Created is when the event hub was made, or made anew.
func (l *Log) Created() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.created
}

// Partitions are all partitions, by number.
func (l *Log) Partitions() []*Partition { return l.partitions }

// Partition finds a partition by its id, nil if there is none.
func (l *Log) Partition(id string) *Partition {
	i, err := strconv.Atoi(id)
	if err != nil || i < 0 || i >= len(l.partitions) || strconv.Itoa(i) != id {
		return nil
	}
	return l.partitions[i]
}

// HasGroup reports whether a consumer group exists. Names have no case.
func (l *Log) HasGroup(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.groups, func(g string) bool { return strings.EqualFold(g, name) })
}

// AddGroup makes a consumer group.
func (l *Log) AddGroup(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups = append(l.groups, name)
}

// RemoveGroup deletes a consumer group.
func (l *Log) RemoveGroup(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups = slices.DeleteFunc(l.groups, func(g string) bool { return strings.EqualFold(g, name) })
}

// Exists is false between Delete and Recreate.
func (l *Log) Exists() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.deleted
}

// Delete makes the event hub disappear with its events, as the built-in endpoint of a hub that failed over does.
func (l *Log) Delete() {
	l.mu.Lock()
	l.deleted = true
	l.mu.Unlock()
	l.clear()
}

// Recreate makes the event hub anew: empty, with sequence numbers that start over.
func (l *Log) Recreate() {
	l.mu.Lock()
	// A new one cannot be as old as the last one, however coarse the clock.
	l.created, l.deleted = latest(l.options.Clock(), l.created.Add(time.Second)), false
	l.mu.Unlock()
	l.clear()
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func (l *Log) clear() {
	for _, p := range l.partitions {
		p.reset()
	}
}

// PartitionFor returns the partition of a key, always the same one.
func (l *Log) PartitionFor(key string) int {
	f := fnv.New32a()
	_, _ = f.Write([]byte(key)) // never fails
	return int(f.Sum32() % uint32(len(l.partitions)))
}

// Append adds a message to a partition and returns its sequence number.
func (l *Log) Append(partition int, m Message) int64 { return l.partitions[partition].Append(m) }

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

// Partition is an ordered part of an event hub.
type Partition struct {
	log *Log
	id  string

	mu      sync.Mutex
	events  []Event
	next    int64 // sequence number of the next event
	offset  int64 // offset of the next event
	last    Event // also after it expired
	wakes   map[any]func()
}

// ID of the partition.
func (p *Partition) ID() string { return p.id }

// Append adds a message and returns its sequence number.
func (p *Partition) Append(m Message) int64 {
	p.mu.Lock()
	e := Event{SequenceNumber: p.next, Offset: p.offset, Enqueued: p.log.options.Clock(), Message: m}
	p.events = append(p.events, e)
	p.next, p.offset, p.last = p.next+1, p.offset+int64(max(len(m.Body)+len(m.Encoded), 1)), e
	p.expire()
	wakes := make([]func(), 0, len(p.wakes))
	for _, f := range p.wakes {
		wakes = append(wakes, f)
	}
	p.mu.Unlock()
	for _, wake := range wakes {
		wake()
	}
	return e.SequenceNumber
}

// expire drops what retention no longer keeps. p.mu is held.
func (p *Partition) expire() {
	drop := 0
	if keep := p.log.options.MaxEvents; keep > 0 {
		drop = max(0, len(p.events)-keep)
	}
	if keep := p.log.options.Retention; keep > 0 {
		oldest := p.log.options.Clock().Add(-keep)
		for drop < len(p.events) && p.events[drop].Enqueued.Before(oldest) {
			drop++
		}
	}
	p.trim(drop)
}

func (p *Partition) trim(n int) {
	if n > 0 {
		p.events = slices.Delete(p.events, 0, n)
	}
}

// Expire drops all events but the newest n, as if their time had come.
func (p *Partition) Expire(keep int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trim(max(0, len(p.events)-keep))
}

func (p *Partition) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events, p.next, p.offset, p.last = nil, 0, 0, Event{}
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

// Read returns up to most events with sequence numbers from the given one on. Expired ones are passed over.
func (p *Partition) Read(from int64, most int) []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	start := sort.Search(len(p.events), func(i int) bool { return p.events[i].SequenceNumber >= from })
	end := min(len(p.events), start+most)
	return slices.Clone(p.events[start:end])
}

// Key is what a position is a value of.
type Key string

// Keys of positions.
const (
	ByOffset   Key = "offset"
	BySequence Key = "sequence-number"
	ByTime     Key = "enqueued-time" // Unix milliseconds
)

// Find returns the sequence number of the first event whose key is above the value, or equal to it if inclusive.
func (p *Partition) Find(key Key, value int64, inclusive bool) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := sort.Search(len(p.events), func(i int) bool {
		v := p.events[i].valueOf(key)
		return v > value || inclusive && v == value
	})
	if i == len(p.events) {
		return p.next
	}
	return p.events[i].SequenceNumber
}

func (e Event) valueOf(key Key) int64 {
	switch key {
	case BySequence:
		return e.SequenceNumber
	case ByTime:
		return e.Enqueued.UnixMilli()
	default:
		return e.Offset
	}
}

// End is the sequence number of the next event; inclusive is that of the last one, if there is one.
func (p *Partition) End(inclusive bool) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if inclusive && len(p.events) > 0 {
		return p.next - 1
	}
	return p.next
}
