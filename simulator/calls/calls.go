// Package calls records what was asked of the simulated hub: a bounded ring of calls with exact counters beside it.
package calls

import (
	"context"
	"maps"
	"sync"
	"time"
)

const (
	ringSize  = 8192
	bodyLimit = 2048
)

// Call is one REST call. Until it is answered, Done is false and Status is 0; a call whose connection was cut
// keeps Status 0.
type Call struct {
	Seq       uint64        `json:"seq"`
	Time      time.Time     `json:"time"`
	Operation string        `json:"operation"`
	DeviceID  string        `json:"deviceId,omitempty"`
	Method    string        `json:"method"`
	Path      string        `json:"path"`
	Status    int           `json:"status"`
	Done      bool          `json:"done"`
	Fault     string        `json:"fault,omitempty"`
	IfMatch   string        `json:"ifMatch,omitempty"`
	RequestID string        `json:"requestId"`
	Duration  time.Duration `json:"durationNanos"`
	Body      string        `json:"body,omitempty"`
	Truncated bool          `json:"truncated,omitempty"`
}

// Filter selects calls; a zero field selects all.
type Filter struct {
	Operation string
	DeviceID  string
	AfterSeq  uint64
	Limit     int // the newest that many
}

func (f Filter) matches(c *Call) bool {
	return (f.Operation == "" || f.Operation == c.Operation) &&
		(f.DeviceID == "" || f.DeviceID == c.DeviceID) &&
		c.Seq > f.AfterSeq
}

type deviceKey struct{ operation, deviceID string }

// Log is the call log. Counters are exact; of the calls themselves the newest 8192 are kept.
type Log struct {
	mu       sync.Mutex
	seq      uint64
	ring     []Call
	first    uint64 // sequence number of ring[0] before the ring wraps
	byOp     map[string]int
	byDevice map[deviceKey]int
	arrived  chan struct{} // closed by the next Begin; nil while nobody waits
}

// New returns an empty log.
func New() *Log {
	l := &Log{}
	l.Reset()
	return l
}

// Begin records a call as it arrives and returns its sequence number.
func (l *Log) Begin(c Call) uint64 {
	if len(c.Body) > bodyLimit {
		c.Body, c.Truncated = c.Body[:bodyLimit], true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	c.Seq = l.seq
	if len(l.ring) < ringSize {
		l.ring = append(l.ring, c)
	} else {
		l.ring[l.slot(c.Seq)] = c
	}
	l.byOp[c.Operation]++
	l.byDevice[deviceKey{c.Operation, c.DeviceID}]++
	if l.arrived != nil {
		close(l.arrived)
		l.arrived = nil
	}
	return c.Seq
}

// AwaitCount waits until the operation has been called n times since the last Reset, answered or not.
func (l *Log) AwaitCount(ctx context.Context, operation string, n int) error {
	for {
		arrived, enough := l.countOrWait(operation, n)
		if enough {
			return nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// countOrWait returns what the next Begin closes unless there are n calls already.
func (l *Log) countOrWait(operation string, n int) (arrived <-chan struct{}, enough bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byOp[operation] >= n {
		return nil, true
	}
	if l.arrived == nil {
		l.arrived = make(chan struct{})
	}
	return l.arrived, false
}

func (l *Log) slot(seq uint64) int { return int((seq - l.first) % ringSize) }

// End completes a call that Begin recorded.
func (l *Log) End(seq uint64, status int, fault string, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq < l.first {
		return // reset in between
	}
	c := &l.ring[l.slot(seq)]
	if c.Seq != seq {
		return // overwritten in between
	}
	c.Status, c.Fault, c.Duration, c.Done = status, fault, took, true
}

// Count returns how often the operation was called since the last Reset.
func (l *Log) Count(operation string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byOp[operation]
}

// CountFor returns how often the operation was called for one device since the last Reset.
func (l *Log) CountFor(operation, deviceID string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byDevice[deviceKey{operation, deviceID}]
}

// Counts returns the calls per operation since the last Reset.
func (l *Log) Counts() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.byOp)
}

// Total returns how many calls there were since the last Reset.
func (l *Log) Total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, c := range l.byOp {
		n += c
	}
	return n
}

// List returns the calls that the filter selects, oldest first.
func (l *Log) List(f Filter) []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Call
	for seq := l.oldest(); seq <= l.seq; seq++ {
		if c := &l.ring[l.slot(seq)]; f.matches(c) {
			out = append(out, *c)
		}
	}
	if f.Limit > 0 && len(out) > f.Limit {
		out = out[len(out)-f.Limit:]
	}
	return out
}

func (l *Log) oldest() uint64 {
	return l.seq + 1 - uint64(len(l.ring))
}

// Reset forgets calls and counters; sequence numbers go on.
func (l *Log) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring, l.first = nil, l.seq+1
	l.byOp, l.byDevice = map[string]int{}, map[deviceKey]int{}
}
