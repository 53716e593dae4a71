package budget

import (
	"cmp"
	"math/rand/v2"
	"sync"
	"time"
)

// Limits of one hub.
type Limits struct {
	TwinReadsPerSecond, TwinWritesPerSecond, QueriesPerMinute, CommandsPerSecond float64
	DailyMessages                                                                int64
}

// S1 is half of what a hub of one S1 unit grants ("IoT Hub quotas and throttling"): devices' own reads and writes of their twins share its throttles. Of its
// 400,000 messages a day it is a tenth.
var S1 = Limits{TwinReadsPerSecond: 50, TwinWritesPerSecond: 25, QueriesPerMinute: 10, CommandsPerSecond: 20, DailyMessages: 40_000}

// Or takes the numbers of o where l has none.
func (l Limits) Or(o Limits) Limits {
	return Limits{
		TwinReadsPerSecond:  cmp.Or(l.TwinReadsPerSecond, o.TwinReadsPerSecond),
		TwinWritesPerSecond: cmp.Or(l.TwinWritesPerSecond, o.TwinWritesPerSecond),
		QueriesPerMinute:    cmp.Or(l.QueriesPerMinute, o.QueriesPerMinute),
		CommandsPerSecond:   cmp.Or(l.CommandsPerSecond, o.CommandsPerSecond),
		DailyMessages:       cmp.Or(l.DailyMessages, o.DailyMessages),
	}
}

// lower takes the lower of each.
func (l Limits) lower(o Limits) Limits {
	return Limits{
		TwinReadsPerSecond:  min(l.TwinReadsPerSecond, o.TwinReadsPerSecond),
		TwinWritesPerSecond: min(l.TwinWritesPerSecond, o.TwinWritesPerSecond),
		QueriesPerMinute:    min(l.QueriesPerMinute, o.QueriesPerMinute),
		CommandsPerSecond:   min(l.CommandsPerSecond, o.CommandsPerSecond),
		DailyMessages:       min(l.DailyMessages, o.DailyMessages),
	}
}

// of gives rate and burst of a class. A burst is what a second brings, and for queries half a minute: with the defaults, half of a hub's throttle, rate and
// burst together stay within it.
func (l Limits) of(c Class) (perSecond, burst float64) {
	switch c {
	case TwinRead:
		perSecond = l.TwinReadsPerSecond
	case TwinWrite:
		perSecond = l.TwinWritesPerSecond
	case Command:
		perSecond = l.CommandsPerSecond
	default:
		return l.QueriesPerMinute / 60, max(1, l.QueriesPerMinute/2)
	}
	return perSecond, max(1, perSecond)
}

// Budget of one hub. It is safe for concurrent use.
type Budget struct {
	mu      sync.Mutex
	now     func() time.Time
	random  func() float64
	limits  Limits
	classes [classes]class
	day     day
	told    Trouble
	// dailyOwner states the number of daily messages, empty if the budget is not shared.
	dailyOwner string
	changed    chan struct{} // closed when whoever waits may ask again
}

// New returns a budget with full buckets.
func New(now func() time.Time, l Limits) *Budget {
	b := &Budget{now: now, random: rand.Float64, changed: make(chan struct{})}
	b.Set(l)
	return b
}

// Set puts limits in force and reports whether they are others. Then the hub is asked again, too, if it had said that its messages are used up: somebody who
// changes limits may have bought units.
func (b *Budget) Set(l Limits) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l == b.limits {
		return false
	}
	b.limits = l
	now := b.now()
	for c := range b.classes {
		perSecond, burst := l.of(Class(c))
		b.classes[c].set(now, perSecond, burst)
	}
	b.day.roll(now)
	b.day.limit = l.DailyMessages
	b.day.more()
	b.end()
	return true
}

// end has all who wait ask again. b.mu is held.
func (b *Budget) end() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// absorb takes from the budget what was taken from another one: of today's messages, and of the
// tokens that have not come back since.
func (b *Budget) absorb(o *Budget) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	now := b.now()
	b.day.roll(now)
	o.day.roll(now)
	b.day.used += o.day.used
	for c := range b.classes {
		b.classes[c].advance(now)
		o.classes[c].advance(now)
		// What is missing from a bucket may never have been in it: raised limits make it larger, not fuller.
		missing := o.classes[c].main.burst - o.classes[c].main.tokens
		b.classes[c].main.tokens -= min(missing, o.classes[c].spent)
		b.classes[c].spent += o.classes[c].spent
		for p, n := range o.classes[c].taken {
			b.classes[c].taken[p] += n
			b.classes[c].given[p] += o.classes[c].given[p]
		}
	}
}

// Take lets a call through, or says how long to wait. It never blocks.
func (b *Budget) Take(r Request) (Wait, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.day.roll(now)
	why, stops := b.day.stops(r.Priority)
	if stops && !b.day.mayProbe(now, r.Priority) {
		b.classes[r.Class].waits[r.Priority]++
		wait, lasts := b.day.wait(now, b.random())
		return Wait{Class: r.Class, Why: why, For: wait, Lasts: lasts, Daily: b.daily(), Over: b.changed}, false
	}
	wait, since, ok := b.classes[r.Class].take(now, r, b.random())
	if ok {
		b.day.used += int64(r.Messages)
		if stops {
			b.day.probe = now.Add(probeWithin)
		}
		return Wait{}, true
	}
	return Wait{Class: r.Class, For: wait, Lasts: now.Sub(since) + wait, Over: b.changed}, false
}

// GiveBack returns what was taken for a call that was not made, or that certainly did not reach the
// hub.
func (b *Budget) GiveBack(r Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.day.roll(now)
	b.day.giveBack(r.Messages, r.Taken)
	b.classes[r.Class].giveBack(now, r)
}

// Result is what became of a call.
type Result int

const (
	// Answered by the hub.
	Answered Result = iota
	// Throttled by the hub: it asks for fewer requests.
	Throttled
	// QuotaExceeded by the hub: it has no messages left today.
	QuotaExceeded
	// Failed in another way: that says nothing about rates.
	Failed
)

// Outcome of a call.
type Outcome struct {
	Result Result
	// Began, zero if that is not known.
	Began time.Time
	// Messages of the daily budget beyond those that were taken: the answer's.
	Messages int
}

// Done takes note of how a call went. It reports whether there is another trouble than after the last one.
func (b *Budget) Done(c Class, o Outcome) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.day.roll(now)
	b.day.used += int64(o.Messages)
	b.classes[c].learn(now, c, o)
	switch o.Result {
	case QuotaExceeded:
		b.day.exhaust(now, o.Began)
	case Answered:
		if b.day.hasMore(o.Began) {
			b.end()
		}
	case Throttled, Failed:
	}
	before := b.told
	b.told, _ = b.trouble(now)
	return b.told != before
}

// learn adapts the rate of a class. How long a command takes is the device's doing.
func (c *class) learn(now time.Time, of Class, o Outcome) {
	c.advance(now)
	switch o.Result {
	case Throttled:
		c.throttled++
		if c.pace.refuse(now, o.Began) {
			c.main.tokens = min(c.main.tokens, 0)
		}
	case Answered:
		c.pace.succeed(now, o.Began)
		if of != Command {
			c.pace.time(now, now.Sub(o.Began))
		}
	case QuotaExceeded, Failed:
	}
	c.apply()
}
