package budget

import "time"

// stopAt is the part of the daily messages at which a priority stops until the next day.
var stopAt = [priorities]float64{PrioritySweep: 0.8, PriorityFollowUp: 0.9, PriorityCommand: 1, PriorityEdit: 1}

const (
	// MaxQuotaWait is how long a wait for the next day is at most: limits can be raised meanwhile.
	MaxQuotaWait = time.Hour
	// afterMidnight spreads those who come back on the next day.
	afterMidnight = time.Minute
	// clocksDiffer is how far the hub's clock may be behind: a quota that it finds used up so soon
	// after midnight may be yesterday's.
	clocksDiffer = time.Minute
	// probeEvery is how often one call finds out whether the hub has messages again: before the
	// first of those who wait comes back.
	probeEvery = MaxQuotaWait * 9 / 10
	// confirmAfter is how soon one call asks the hub whether it meant that it has no messages: it has
	// said so by mistake, and a day is long.
	confirmAfter = 2 * time.Second
	// whileAsked spreads those who come back once that is known.
	whileAsked = 4 * time.Second
	// probeWithin is how long the answer to that may take.
	probeWithin = 2 * time.Minute
)

// day counts messages of a UTC day, and knows if the hub has no more of them.
type day struct {
	limit     int64
	used      int64
	ends      time.Time
	exhausted bool      // so the hub said
	confirmed bool      // twice
	said      time.Time // when
	probe     time.Time // when one call is let through to ask again
}

func (d *day) roll(now time.Time) {
	if now.Before(d.ends) {
		return
	}
	d.ends = now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	d.used, d.exhausted, d.confirmed = 0, false, false
}

// began is when the day did.
func (d *day) began() time.Time { return d.ends.Add(-24 * time.Hour) }

// exhaust takes note that the hub has no messages left. What it says of a call that began
// yesterday, by its clock or ours, says nothing about today. It is believed once a call says so that
// began after the first one had: until then one finds out, and the others wait for that.
func (d *day) exhaust(now, began time.Time) {
	if !began.IsZero() && began.Before(d.began().Add(clocksDiffer)) {
		return
	}
	switch {
	case !d.exhausted:
		d.exhausted, d.said, d.probe = true, now, now.Add(confirmAfter)
	case d.confirmed || !began.Before(d.said):
		d.confirmed, d.said, d.probe = true, now, now.Add(probeEvery)
	}
}

// more notes that the hub may have messages.
func (d *day) more() { d.exhausted, d.confirmed = false, false }

// hasMore takes note that the hub answered a call. One that began since it said that it had no
// messages left shows that it has. It reports whether that is news.
func (d *day) hasMore(began time.Time) bool {
	if d.exhausted && began.After(d.said) {
		d.more()
		return true
	}
	return false
}

// mayProbe reports whether it is time for one call to ask the hub again.
func (d *day) mayProbe(now time.Time, p Priority) bool {
	return d.exhausted && !now.Before(d.probe) && !d.spent(p)
}

// giveBack returns messages of a call that was not made. Those of yesterday are gone.
func (d *day) giveBack(messages int, taken time.Time) {
	if taken.IsZero() || !taken.Before(d.began()) {
		d.used = max(0, d.used-int64(messages))
	}
}

// stops reports whether a priority has to wait for the next day.
func (d *day) stops(p Priority) (Why, bool) {
	if d.exhausted {
		return WhyHubQuota, true
	}
	return WhyDailyBudget, d.spent(p)
}

// spent reports whether the messages that the limits grant to a priority are used up.
func (d *day) spent(p Priority) bool { return float64(d.used) >= stopAt[p]*float64(d.limit) }

// wait is until the next day, or until it is worth asking again, and for how long that goes on.
func (d *day) wait(now time.Time, random float64) (wait, lasts time.Duration) {
	if d.exhausted && !d.confirmed {
		wait = confirmAfter + time.Duration(random*float64(whileAsked))
		return wait, wait
	}
	left := d.ends.Sub(now)
	if left > MaxQuotaWait {
		return MaxQuotaWait - time.Duration(random*float64(MaxQuotaWait/10)), left
	}
	return left + time.Duration(random*float64(afterMidnight)), left
}
