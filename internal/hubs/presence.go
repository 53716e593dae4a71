package hubs

import "time"

// presence is what a device that the hub calls disconnected did all the same: one behind IoT Edge is
// called that all its life. The zero value knows of nothing.
type presence struct {
	changed time.Time // by the hub's clock: the last connection event
	proved  time.Time // by ours: the first thing that the device did since, and since it owes an answer
	offline bool      // so the hub calls it
}

// acted notes that a device did something at a time by the hub's clock, after what is known of its
// connection. It reports whether that is news of one that the hub calls disconnected.
func (d *Device) acted(at time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !at.IsZero() && !at.After(d.presence.changed) {
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

// read compares two reads of a device: that it reported in between proves something if both call it
// disconnected. What it did before the first of them says nothing.
func (p *presence) read(isOffline bool, before, now int64) (proves bool) {
	proves = p.offline && isOffline && before > 0 && now > before
	if isOffline && !p.offline {
		p.proved = time.Time{}
	}
	p.offline = isOffline
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
