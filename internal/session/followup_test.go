package session

import (
	"testing"
	"time"
)

// A device that was written while the stream told of all is read as after a write once it does not: also
// one that the hub calls disconnected.
func TestADeviceThatOwesAnAnswerIsAskedForOnceTheStreamDoesNotTell(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		awaited bool
		before  func(*Device)
		want    bool
	}{
		"one that owes none":                   {false, func(*Device) {}, false},
		"one whose reads were left out":        {true, (*Device).Settled, true},
		"one whose reads are over":             {true, func(d *Device) { d.Unsettled(now.Add(-time.Hour), true); d.FollowUpDue(now) }, true},
		"one whose reads go on, as if written": {true, func(d *Device) { d.Unsettled(now.Add(-time.Second), true) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Device{}
			d.Awaits(c.awaited)
			c.before(d)
			asks := d.askAgain(now)
			in, due := d.NextFollowUp(now)
			if asks != c.want || due != c.want || due && in != followUpDelays[0] {
				t.Errorf("asks %v, a read in %s (%v)", asks, in, due)
			}
		})
	}
}

func TestASessionThatFollowsOneThatReliedOnEventsHasDevicesAskedFor(t *testing.T) {
	for _, relied := range []bool{false, true} {
		before, after := NewSession(nil, "hub", "a"), NewSession(nil, "hub", "b")
		before.Device("d").Awaits(true)
		before.relied.Store(relied)
		after.follow(before)
		if _, due := after.Device("d").NextFollowUp(time.Now()); due != relied {
			t.Errorf("relied %v: a read is due: %v", relied, due)
		}
	}
}
