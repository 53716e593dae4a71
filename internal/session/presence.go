package session

import "time"

// presence is what a device that the hub calls disconnected did all the same: one behind IoT Edge is
// called that all its life. The zero value knows of nothing.
type presence struct {
	changed time.Time // by the hub's clock: the last connection event
	proved  time.Time // by ours: the first thing that the device did since, and since it owes an answer
	offline bool      // so the hub calls it
	first   int64     // the reported version that the first read shows since it owes an answer, 0: there was none
}

// acted notes that a device did something at a time by the hub's clock, after what is known of its
// connection. It reports whether that is news of one that the hub calls disconnected. Events are told
// again after a start: what it did before the last write, by the hub's clock, proves nothing.
func (d *Device) acted(at time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	written := d.known.DesiredUpdated
	if written.IsZero() || !at.After(written) || !at.After(d.presence.changed) {
		return false
	}
	return d.prove() && d.presence.offline
}

func (d *Device) prove() (isNews bool) {
	isNews = d.awaited && d.presence.proved.IsZero()
	if isNews {
		d.presence.proved = time.Now()
	}
	return isNews
}

// read takes note of a read of a device that owes an answer, or does not. A later report than the first
// read showed since it owes one proves that it is there. What it did before that says nothing.
func (p *presence) read(owes, isOffline bool, reported int64) (proves bool) {
	if isOffline && !p.offline {
		p.proved = time.Time{}
	}
	p.offline = isOffline
	switch {
	case !owes || !isOffline:
		p.first = 0
	case p.first == 0:
		p.first = reported
	default:
		proves = reported > p.first
	}
	return proves
}

// PresentSince returns since when a device is known to be there that the hub calls disconnected; false:
// it did nothing after a time, and what it did before that proves nothing any more.
func (d *Device) PresentSince(t time.Time) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.presence.offline = true
	if d.presence.proved.Before(t) {
		d.presence.proved = time.Time{}
	}
	return d.presence.proved, !d.presence.proved.IsZero()
}
