package budget

import "time"

// Trouble is what keeps work waiting, the gravest first.
type Trouble int

const (
	// NoTrouble is nothing but the limits, if that.
	NoTrouble Trouble = iota
	// HubThrottles means that the hub refuses requests, so the rates of some classes are reduced.
	HubThrottles
	// SweepsStopped until the next day by the daily messages of the limits.
	SweepsStopped
	// FollowUpsStopped as well.
	FollowUpsStopped
	// AllStopped by them.
	AllStopped
	// HubQuota has all stopped, by the hub's own quota.
	HubQuota
)

// recently is how long after a refusal a class counts as throttled by the hub.
const recently = time.Minute

// Trouble says what keeps work waiting, and which classes the hub throttles.
func (b *Budget) Trouble() (Trouble, []Class) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.day.roll(now)
	return b.trouble(now)
}

func (b *Budget) trouble(now time.Time) (Trouble, []Class) {
	var reduced []Class
	for c := range b.classes {
		if p := &b.classes[c].pace; !p.refused.IsZero() && now.Sub(p.refused) < recently {
			reduced = append(reduced, Class(c))
		}
	}
	switch {
	case b.day.confirmed:
		return HubQuota, reduced
	case b.day.spent(PriorityEdit):
		return AllStopped, reduced
	case b.day.spent(PriorityFollowUp):
		return FollowUpsStopped, reduced
	case b.day.spent(PrioritySweep):
		return SweepsStopped, reduced
	case len(reduced) > 0:
		return HubThrottles, reduced
	}
	return NoTrouble, nil
}

// Stats are numbers for metrics.
type Stats struct {
	Classes       []ClassStats
	DailyMessages int64 // used today
}

// ClassStats are those of one class.
type ClassStats struct {
	Class Class
	// PerSecond is the rate in force.
	PerSecond float64
	// Throttled counts refusals by the hub.
	Throttled uint64
	// By priority: calls let through, those of calls that were not made after all, calls turned
	// away, and who waits now.
	Taken, GivenBack, Waits [priorities]uint64
	Waiting                 [priorities]int
}

// Stats returns them as they are now.
func (b *Budget) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.day.roll(now)
	s := Stats{DailyMessages: b.day.used}
	for i := range b.classes {
		c := &b.classes[i]
		one := ClassStats{Class: Class(i), PerSecond: c.main.rate, Throttled: c.throttled, GivenBack: c.given, Waits: c.waits}
		for p := range c.lines {
			one.Taken[p] = c.taken[p] - c.given[p]
			c.lines[p].expire(now)
			one.Waiting[p] = len(c.lines[p].places)
		}
		s.Classes = append(s.Classes, one)
	}
	return s
}
