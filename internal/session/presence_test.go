package session

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func TestADeviceThatIsCalledDisconnectedProvesItsPresence(t *testing.T) {
	read := func(d *Device, state string, reported int64) {
		d.observe(&twin.Twin{Version: reported, ReportedVersion: reported, ConnectionState: state, DesiredUpdated: d.known.DesiredUpdated}, d.beginRead())
	}
	disconnect := func(d *Device, sequence string, at time.Time) {
		d.Connection("Disconnected", sequence, at, Place{Partition: "0"}, func() Belief { return Belief{Twin: &twin.Twin{}} })
	}
	for name, c := range map[string]struct {
		happens func(d *Device, now time.Time)
		want    bool
	}{
		"by nothing":                          {func(*Device, time.Time) {}, false},
		"by what it does after the event":     {func(d *Device, now time.Time) { disconnect(d, "1", now); d.acted(now.Add(time.Second)) }, true},
		"by what it does, without an event":   {func(d *Device, now time.Time) { read(d, "Disconnected", 1); d.acted(now) }, true},
		"not by what it did before the event": {func(d *Device, now time.Time) { d.acted(now); disconnect(d, "1", now.Add(time.Second)) }, false},
		"not by what it did before the write": {func(d *Device, now time.Time) { read(d, "Disconnected", 1); d.acted(now.Add(-2 * time.Minute)) }, false},
		"not while the time of the write is not known": {func(d *Device, now time.Time) {
			read(d, "Disconnected", 1)
			d.known.DesiredUpdated = time.Time{}
			d.acted(now)
		}, false},
		"not by what is told late":                  {func(d *Device, now time.Time) { disconnect(d, "1", now); d.acted(now.Add(-time.Second)) }, false},
		"not by what it did before it was found so": {func(d *Device, now time.Time) { d.acted(now); read(d, "Disconnected", 1) }, false},
		"by a report between two reads":             {func(d *Device, _ time.Time) { read(d, "Disconnected", 1); read(d, "Disconnected", 2) }, true},
		"not by two reads alone":                    {func(d *Device, _ time.Time) { read(d, "Disconnected", 1); read(d, "Disconnected", 1) }, false},
		"not by a report while it was connected":    {func(d *Device, _ time.Time) { read(d, "Connected", 1); read(d, "Disconnected", 2) }, false},
		"not by a report from before the write": {func(d *Device, _ time.Time) {
			d.Awaits(false)
			read(d, "Disconnected", 5)
			d.Awaits(true)
			read(d, "Disconnected", 6)
		}, false},
		"by one after that": {func(d *Device, _ time.Time) {
			d.Awaits(false)
			read(d, "Disconnected", 5)
			d.Awaits(true)
			read(d, "Disconnected", 6)
			read(d, "Disconnected", 7)
		}, true},
		"not if it owes nothing": {func(d *Device, now time.Time) { d.Awaits(false); d.acted(now) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			d, now := &Device{}, time.Now()
			d.known = twin.Position{Version: 1, DesiredUpdated: now.Add(-time.Minute)}
			d.Awaits(true)
			c.happens(d, now)
			if _, present := d.PresentSince(now.Add(-time.Minute)); present != c.want {
				t.Errorf("present: %v", present)
			}
		})
	}
}

func TestTheFirstProofOfPresenceAfterAWriteCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, written := &Device{}, time.Now()
		d.known.DesiredUpdated = written
		d.Awaits(true)
		d.PresentSince(written)
		for i := range 3 {
			time.Sleep(time.Second)
			if isNews := d.acted(time.Now()); isNews != (i == 0) {
				t.Errorf("report %d is news: %v", i, isNews)
			}
		}
		if since, ok := d.PresentSince(written); !ok || since.Sub(written) != time.Second {
			t.Errorf("present since %s (%v), expected a second after the write", since, ok)
		}
		if _, ok := d.PresentSince(time.Now()); ok {
			t.Error("what it did before another write proves something")
		}
		if !d.acted(time.Now()) {
			t.Error("what it does after it is no news")
		}
		d.Connection("Connected", "1", time.Now(), Place{Partition: "0"}, func() Belief { return Belief{Twin: &twin.Twin{}} })
		if d.acted(time.Now().Add(time.Second)) {
			t.Error("what it does while it is connected is news")
		}
	})
}
