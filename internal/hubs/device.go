package hubs

import (
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// followUpDelays are the reads after a write while no event stream tells what the device answered.
var followUpDelays = []time.Duration{2 * time.Second, 10 * time.Second, 60 * time.Second}

// Device is what memory holds of one device beyond its PnPDevice's status: only what is newer, and what is due.
// It is safe for concurrent use.
type Device struct {
	mu sync.Mutex

	version    int64  // newest version seen, 0 if nothing was seen since the start
	deviceETag string // identity that version belongs to

	doubts, settledDoubts int        // doubtful while doubts > settledDoubts
	unpersisted           *twin.Twin // seen at the hub, not in status yet

	unsettledSince time.Time // zero: no follow-up reads wanted
	followUps      int       // how many of followUpDelays are done

	failingSince time.Time // zero: the last call succeeded
}

// Doubt asks for a read before status is believed again.
func (d *Device) Doubt() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doubts++
}

// Doubtful reports whether status must not be believed without a read.
func (d *Device) Doubtful() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.doubts > d.settledDoubts
}

// BeginRead returns the token that Observe takes: a doubt raised while the read is under way outlives it.
func (d *Device) BeginRead() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.doubts
}

// Observe keeps a twin that the hub returned, or that follows from an accepted write, until it is in status.
func (d *Device) Observe(t *twin.Twin, token int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unpersisted, d.settledDoubts = t, token
	d.version, d.deviceETag = t.Version, t.DeviceETag
}

// Unpersisted returns the newest twin that is not in status yet, or nil.
func (d *Device) Unpersisted() *twin.Twin {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unpersisted
}

// Persisted says that status holds what was observed.
func (d *Device) Persisted() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unpersisted = nil
}

// Row is one device in the answer of a sweep query.
type Row struct {
	DeviceID        string `json:"deviceId"`
	ETag            string `json:"etag"`
	DeviceETag      string `json:"deviceEtag"`
	Version         int64  `json:"version"`
	ConnectionState string `json:"connectionState"`
}

// compare says whether the row shows something that memory has not seen. A device absent in memory is seeded from
// the row. An older row of the same identity is the query index lagging behind.
func (d *Device) compare(r Row) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.version == 0 {
		d.version, d.deviceETag = r.Version, r.DeviceETag
		return false
	}
	return r.DeviceETag != d.deviceETag || r.Version > d.version
}

// busy reports whether the reconciler has this device in hand: something is not in status yet, or follow-up reads are due.
func (d *Device) busy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, due := d.nextFollowUp(time.Time{})
	return d.unpersisted != nil || due
}

// older reports whether the row is behind memory.
func (d *Device) older(r Row) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return r.DeviceETag == d.deviceETag && r.Version < d.version
}

// Unsettled wants follow-up reads. They are counted from the first call, or from this one if restart is set.
func (d *Device) Unsettled(now time.Time, restart bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if restart || d.unsettledSince.IsZero() {
		d.unsettledSince, d.followUps = now, 0
	}
}

// Settled wants no more follow-up reads.
func (d *Device) Settled() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unsettledSince, d.followUps = time.Time{}, 0
}

// FollowUpDue reports whether a follow-up read is due, and counts it as done.
func (d *Device) FollowUpDue(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	wait, ok := d.nextFollowUp(now)
	if !ok || wait > 0 {
		return false
	}
	for ok && wait <= 0 { // reads that were missed are not made up for
		d.followUps++
		wait, ok = d.nextFollowUp(now)
	}
	return true
}

// NextFollowUp returns how long until the next follow-up read, and whether there is one.
func (d *Device) NextFollowUp(now time.Time) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nextFollowUp(now)
}

func (d *Device) nextFollowUp(now time.Time) (time.Duration, bool) {
	if d.unsettledSince.IsZero() || d.followUps >= len(followUpDelays) {
		return 0, false
	}
	return d.unsettledSince.Add(followUpDelays[d.followUps]).Sub(now), true
}

// Failing notes a failed call and returns since when calls have been failing.
func (d *Device) Failing(now time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failingSince.IsZero() {
		d.failingSince = now
	}
	return d.failingSince
}

// Recovered notes that a pass went through without a failing call.
func (d *Device) Recovered() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failingSince = time.Time{}
}
