package budget

import "time"

// stopAt is the part of the daily messages at which a priority stops until the next day.
var stopAt = [priorities]float64{PrioritySweep: 0.8, PriorityFollowUp: 0.9, PriorityCommand: 1, PriorityEdit: 1}

const (
	// maxQuotaWait is how long a wait for the next day is at most: limits can be raised meanwhile.
	maxQuotaWait = time.Hour
	// afterMidnight spreads those who come back on the next day.
	afterMidnight = time.Minute
)

// day counts messages of a UTC day, and knows if the hub has no more of them.
type day struct {
	limit     int64
	used      int64
	ends      time.Time
	exhausted bool
}

func (d *day) roll(now time.Time) {
	if now.Before(d.ends) {
		return
	}
	d.ends = now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	d.used, d.exhausted = 0, false
}

// stops reports whether a priority has to wait for the next day.
func (d *day) stops(p Priority) (Why, bool) {
	if d.exhausted {
		return WhyHubQuota, true
	}
	return WhyDailyBudget, float64(d.used) >= stopAt[p]*float64(d.limit)
}

// wait is until the next day, or until it is worth asking again.
func (d *day) wait(now time.Time, random float64) time.Duration {
	left := d.ends.Sub(now)
	if left > maxQuotaWait {
		return maxQuotaWait - time.Duration(random*float64(maxQuotaWait/10))
	}
	return left + time.Duration(random*float64(afterMidnight))
}
