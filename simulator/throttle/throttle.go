// Package throttle refuses what a hub of a given size would: it first holds requests back, and then answers 429; when the messages of the day are used up,
// 403002. The numbers are those of Microsoft's "IoT Hub quotas and throttling".
package throttle

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Kind of operation that is throttled by itself.
type Kind string

// Kinds, as a 429 names them.
const (
	TwinRead     Kind = "TwinRead"
	TwinWrite    Kind = "TwinWrite"
	Query        Kind = "Query"
	DirectMethod Kind = "DirectMethod"
)

// blockBytes is what digital twins, direct methods and daily messages are metered in.
const blockBytes = 4096

// Limits of a hub. A zero one does not limit.
type Limits struct {
	TwinReadsPerSecond  float64 `json:"twinReadsPerSecond,omitempty"`
	TwinWritesPerSecond float64 `json:"twinWritesPerSecond,omitempty"`
	QueriesPerMinute    float64 `json:"queriesPerMinute,omitempty"`
	// MethodsPerSecond of 4 KB each.
	MethodsPerSecond float64 `json:"methodsPerSecond,omitempty"`
	// DailyMessages of 4 KB each, from 00:00 to 24:00 UTC.
	DailyMessages int64 `json:"dailyMessages,omitempty"`
	// JobDevicesPerSecond are visited by the jobs of the hub.
	JobDevicesPerSecond float64 `json:"jobDevicesPerSecond,omitempty"`
	// ActiveJobs that run, wait or are scheduled.
	ActiveJobs int `json:"activeJobs,omitempty"`
	// CountDevices has what devices report take from TwinWritesPerSecond and DailyMessages, and what they are notified of from
	// the latter. They are not held back themselves.
	CountDevices bool `json:"countDevices,omitempty"`
	// CountConfigurations has what configurations write take from TwinWritesPerSecond and DailyMessages. Whether it does at a
	// real hub is not known.
	CountConfigurations bool `json:"countConfigurations,omitempty"`
	// HoldSeconds is how long a request is held back at most; one that would have to wait longer is refused. 0: 10 s.
	HoldSeconds float64 `json:"holdSeconds,omitempty"`
}

// S1 are the limits of a hub with so many units of S1.
func S1(units int) Limits {
	n := float64(units)
	return Limits{
		TwinReadsPerSecond: 100, TwinWritesPerSecond: 50, QueriesPerMinute: 20 * n, MethodsPerSecond: 40 * n, DailyMessages: 400_000 * int64(units),
		JobDevicesPerSecond: 10, ActiveJobs: 1,
	}
}

// Check refuses limits below zero.
func (l Limits) Check() error {
	for name, n := range map[string]float64{
		"twinReadsPerSecond": l.TwinReadsPerSecond, "twinWritesPerSecond": l.TwinWritesPerSecond, "queriesPerMinute": l.QueriesPerMinute,
		"methodsPerSecond": l.MethodsPerSecond, "dailyMessages": float64(l.DailyMessages), "holdSeconds": l.HoldSeconds,
		"jobDevicesPerSecond": l.JobDevicesPerSecond, "activeJobs": float64(l.ActiveJobs),
	} {
		if n < 0 {
			return fmt.Errorf("limits: %s is %v, expected 0 or more", name, n)
		}
	}
	return nil
}

const defaultHold = 10 * time.Second

func (l Limits) hold() time.Duration {
	if l.HoldSeconds == 0 {
		return defaultHold
	}
	return time.Duration(l.HoldSeconds * float64(time.Second))
}

// of gives rate and burst of a kind: a second's worth, a minute's of queries. 0 is no limit.
func (l Limits) of(k Kind) (perSecond, burst float64) {
	switch k {
	case TwinRead:
		return l.TwinReadsPerSecond, l.TwinReadsPerSecond
	case TwinWrite:
		return l.TwinWritesPerSecond, l.TwinWritesPerSecond
	case DirectMethod:
		return l.MethodsPerSecond, l.MethodsPerSecond
	case Query:
		return l.QueriesPerMinute / 60, l.QueriesPerMinute
	}
	return 0, 0
}

// Refusals.
var (
	ErrThrottled = errors.New("too many requests")
	ErrQuota     = errors.New("the messages of the day are used up")
)

// Throttle of one hub. Without limits it lets everything pass.
type Throttle struct {
	mu      sync.Mutex
	clock   func() time.Time
	limits  Limits
	buckets map[Kind]*bucket
	day     time.Time
	used    int64
}

type bucket struct {
	tokens float64
	at     time.Time
}

// New returns one.
func New(clock func() time.Time, l Limits) *Throttle {
	t := &Throttle{clock: clock}
	t.Set(l)
	return t
}

// Set puts limits in force, with full buckets; the messages of the day stay counted.
func (t *Throttle) Set(l Limits) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limits, t.buckets = l, map[Kind]*bucket{}
}

// Limits returns those in force.
func (t *Throttle) Limits() Limits {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limits
}

// Used returns the messages of the day.
func (t *Throttle) Used() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.roll(t.clock())
	return t.used
}

// Blocks is how many messages a body is.
func Blocks(bytes int) int { return max(1, (bytes+blockBytes-1)/blockBytes) }

// Admit says how long a request is held back, or refuses it. size is in operations of its kind, messages in messages.
func (t *Throttle) Admit(k Kind, size, messages int) (hold time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock()
	t.roll(now)
	if t.limits.DailyMessages > 0 && t.used >= t.limits.DailyMessages {
		return 0, ErrQuota
	}
	if hold, err = t.shape(now, k, float64(size)); err == nil {
		t.used += int64(messages)
	}
	return hold, err
}

// Add counts the messages of an answer.
func (t *Throttle) Add(messages int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.roll(t.clock())
	t.used += int64(messages)
}

func (t *Throttle) roll(now time.Time) {
	if day := now.UTC().Truncate(24 * time.Hour); !day.Equal(t.day) {
		t.day, t.used = day, 0
	}
}

// filled returns the bucket of a kind with what has come until now, or nil for a kind that has no limit.
func (t *Throttle) filled(now time.Time, k Kind) *bucket {
	perSecond, burst := t.limits.of(k)
	if perSecond == 0 {
		return nil
	}
	b := t.buckets[k]
	if b == nil {
		b = &bucket{tokens: burst, at: now}
		t.buckets[k] = b
	}
	b.tokens = min(burst, b.tokens+perSecond*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	return b
}

// shape takes tokens, on credit as long as the credit is paid in time.
func (t *Throttle) shape(now time.Time, k Kind, size float64) (time.Duration, error) {
	b := t.filled(now, k)
	if b == nil {
		return 0, nil
	}
	perSecond, _ := t.limits.of(k)
	hold := max(0, time.Duration((size-b.tokens)/perSecond*float64(time.Second)))
	if hold > t.limits.hold() {
		return 0, ErrThrottled
	}
	b.tokens -= size
	return hold, nil
}

// Charge counts what the hub did by itself or a device did, which nothing holds back: twin updates, which those that are asked
// for later have to wait for, and messages.
func (t *Throttle) Charge(updates, messages int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock()
	t.roll(now)
	t.used += int64(messages)
	if b := t.filled(now, TwinWrite); b != nil {
		b.tokens -= float64(updates)
	}
}
