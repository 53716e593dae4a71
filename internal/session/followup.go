package session

import "time"

// FirstFollowUp and LastFollowUp bound the reads after a write while no event stream tells what the
// device answered.
const (
	FirstFollowUp = 2 * time.Second
	LastFollowUp  = time.Minute
)

var followUpDelays = []time.Duration{FirstFollowUp, 10 * time.Second, 30 * time.Second, LastFollowUp}

// followUps counts the reads that are due after a write. The zero value wants none.
type followUps struct {
	since time.Time // zero: none wanted
	done  int       // how many of followUpDelays
	once  bool      // any read ends them
}

func (f *followUps) next(now time.Time) (time.Duration, bool) {
	if f.since.IsZero() || f.done >= len(followUpDelays) {
		return 0, false
	}
	return f.since.Add(followUpDelays[f.done]).Sub(now), true
}

// Unsettled wants follow-up reads. They are counted from the first call, or from this one if restart is set.
func (d *Device) Unsettled(now time.Time, restart bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if restart || d.followUps.since.IsZero() {
		d.followUps = followUps{since: now}
	}
}

// answered are the follow-up reads that are wanted after a read.
func (f followUps) answered() followUps {
	if f.once {
		return followUps{}
	}
	return f
}

// Unexplained wants to know soon why the device is offline: events do not tell that it was disabled. One read answers that.
func (d *Device) Unexplained(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.followUps.since.IsZero() {
		d.followUps = followUps{since: now, once: true}
	}
}

// Settled wants no more follow-up reads.
func (d *Device) Settled() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.followUps = followUps{}
}

// FollowUpDue reports whether a follow-up read is due, and counts it as done.
func (d *Device) FollowUpDue(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	wait, ok := d.followUps.next(now)
	if !ok || wait > 0 {
		return false
	}
	for ok && wait <= 0 { // reads that were missed are not made up for
		d.followUps.done++
		wait, ok = d.followUps.next(now)
	}
	return true
}

// NextFollowUp returns how long until the next follow-up read, and whether there is one.
func (d *Device) NextFollowUp(now time.Time) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.followUps.next(now)
}

// askAgain wants them as after a write that was made now, if the device owes an answer: what was to tell
// of it will not. It reports whether the device does.
func (d *Device) askAgain(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.awaited {
		d.followUps = followUps{since: now}
	}
	return d.awaited
}
