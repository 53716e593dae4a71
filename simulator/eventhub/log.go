package eventhub

import (
	"hash/fnv"
	"slices"
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
	// MaxEvents is how many events a partition keeps at least; 0: all. The oldest go together, once there are a quarter more.
	MaxEvents int
	// Clock stamps events and ages them; default time.Now.
	Clock func() time.Time
}

// Log is one event hub. It is safe for concurrent use.
type Log struct {
	options    Options
	partitions []*Partition

	mu         sync.Mutex
	groups     []string
	created    time.Time
	deleted    bool
	generation int
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

// PartitionFor returns the partition of a key, always the same one.
func (l *Log) PartitionFor(key string) int {
	f := fnv.New32a()
	_, _ = f.Write([]byte(key)) // never fails
	return int(f.Sum32() % uint32(len(l.partitions)))
}

// Append adds a message to a partition and returns its sequence number.
func (l *Log) Append(partition int, m Message) int64 { return l.partitions[partition].Append(m) }

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

// RemoveGroup deletes a consumer group. Its readers are told.
func (l *Log) RemoveGroup(name string) {
	l.mu.Lock()
	l.groups = slices.DeleteFunc(l.groups, func(g string) bool { return strings.EqualFold(g, name) })
	l.mu.Unlock()
	l.wakeReaders()
}

// Exists is false between Delete and Restore or Recreate.
func (l *Log) Exists() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.deleted
}

// Generation changes when positions lose their meaning: with Delete and Recreate.
func (l *Log) Generation() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.generation
}

// Delete makes the event hub disappear, as the built-in endpoint of a hub that failed over does. Its readers are told.
func (l *Log) Delete() {
	l.mu.Lock()
	l.deleted = true
	l.generation++
	l.mu.Unlock()
	l.wakeReaders()
}

// Restore ends Delete. The event hub is the one that it was, with all its events.
func (l *Log) Restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deleted = false
}

// Recreate makes the event hub anew: empty, with sequence numbers that start over. Readers of the old one are told.
func (l *Log) Recreate() {
	l.mu.Lock()
	// A new one cannot be as old as the last one, however coarse the clock.
	l.created, l.deleted = latest(l.options.Clock(), l.created.Add(time.Second)), false
	for _, p := range l.partitions {
		p.reset()
	}
	l.generation++ // last, so that who knows the new generation finds the new events
	l.mu.Unlock()
	l.wakeReaders()
}

func (l *Log) wakeReaders() {
	for _, p := range l.partitions {
		p.wakeReaders()
	}
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
