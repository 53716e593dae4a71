package session

import (
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// tagged is the event of a write of tags.
func tagged(t *testing.T, version int64) *twin.Notification {
	t.Helper()
	return notification(t, `{"version":%d,"tags":{"a":1}}`, version)
}

func TestMemoryKnowsTheEtagThatStatusDoesNotFollow(t *testing.T) {
	d := &Device{}
	if got := d.Newer(believed().Twin); got.ETag != twin.ETagOf(5) || got.DesiredVersion != 4 {
		t.Errorf("after a start: %+v", got)
	}
	seen := read(10, 5)
	d.observe(seen, d.beginRead())
	d.persisted(seen)
	for i, n := range []*twin.Notification{desired(t, 11, 5, `"foreign":1,`, 1), tagged(t, 12), reported(t, 13, 6, `"foreign":1,`, 2), desired(t, 14, 6, `"foreign":2,`, 3)} {
		if got := d.Fold(n, place(int64(i)), believed); got != Nothing {
			t.Errorf("event %d is %v", i, got)
		}
	}
	got := d.Newer(believed().Twin)
	if got.ETag != twin.ETagOf(8) || got.DesiredVersion != 6 || got.Version != 14 || got.ReportedVersion != 6 || !got.Partial {
		t.Errorf("got %+v", got)
	}
	if _, held := d.Outstanding(); held || d.Unpersisted() != nil || d.Doubtful() {
		t.Error("something is to be done")
	}
	if !d.hasSeen(twin.ETagOf(8)) || d.hasSeen(twin.ETagOf(9)) || (&Device{}).hasSeen(twin.ETagOf(1)) {
		t.Error("a sweep finds what events told, or nothing at all")
	}

	d.beginPass() // one that writes: the hub answered with the etag alone
	next := *d.Newer(believed().Twin)
	next.ETag, next.DesiredVersion, next.Version = twin.ETagOf(9), 7, 15
	d.accepted(&next)
	d.endPass()
	if got := d.Newer(believed().Twin); got.ETag != twin.ETagOf(9) || got.DesiredVersion != 7 {
		t.Errorf("after a write: %+v", got)
	}
}

func TestAnEtagOfBeforeAStartIsNoBelief(t *testing.T) {
	for name, event := range map[string]*twin.Notification{
		"a write that comes after others": desired(t, 15, 8, `"foreign":1,`, 9),
		"a report after writes":           reported(t, 15, 6, `"target":"on",`, 9),
	} {
		t.Run(name, func(t *testing.T) {
			d := &Device{}
			if got := d.Fold(event, place(1), believed); got != Urgent || !d.Doubtful() {
				t.Errorf("it is %v, and the twin is not read", got)
			}
		})
	}
}

func TestWhatMayUnblockAWriteIsUrgent(t *testing.T) {
	for name, c := range map[string]struct {
		blocked bool
		blame   []string
		event   *twin.Notification
		want    News
	}{
		"nothing is refused":                        {false, nil, desired(t, 11, 5, `"foreign":null,`, 9), Nothing},
		"a foreign value makes room":                {true, nil, desired(t, 11, 5, `"foreign":null,`, 9), Urgent},
		"tags, which may be what the hub looks at":  {true, nil, tagged(t, 11), Urgent},
		"a report of anything":                      {true, nil, reported(t, 11, 6, `"foreign":null,`, 9), Nothing},
		"the report that is to blame goes":          {true, []string{"foreign"}, reported(t, 11, 6, `"foreign":null,`, 9), Urgent},
		"something in a component that is to blame": {true, []string{"a-b"}, reported(t, 11, 6, `"a-b":{"__t":"c","x":null},`, 9), Urgent},
		"a property of a component":                 {true, []string{"c/a-b"}, reported(t, 11, 6, `"c":{"__t":"c","a-b":null},`, 9), Urgent},
		"the report of another one":                 {true, []string{"foreign"}, reported(t, 11, 6, `"other":null,`, 9), Nothing},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Device{}
			seen := read(10, 5)
			d.observe(seen, d.beginRead())
			d.persisted(seen)
			if c.blocked {
				d.Blocked(c.blame)
			}
			if got := d.Fold(c.event, place(1), believed); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			d.Unblocked()
			if got := d.Fold(tagged(t, 12), place(2), believed); got != Nothing {
				t.Errorf("when nothing is refused any more: %v", got)
			}
		})
	}
}

func TestWhoConnectsIsNotDisabled(t *testing.T) {
	since := noon.Add(500 * time.Millisecond)
	for name, c := range map[string]struct {
		state string
		at    time.Time
		want  string
	}{
		"it connected later":                   {"Connected", noon.Add(time.Second), "enabled"},
		"within the second":                    {"Connected", noon, "enabled"},
		"before that: the event was late":      {"Connected", noon.Add(-time.Second), "disabled"},
		"it lost its connection by that":       {"Disconnected", noon, "disabled"},
		"and the hub may say so a while after": {"Disconnected", noon.Add(time.Minute), "disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			off := believed()
			off.Twin.Status, off.Twin.StatusReason, off.Twin.StatusSince = "disabled", "stolen", since
			d := &Device{}
			d.Connection(c.state, "0A", c.at, place(1), func() Belief { return off })
			if got := d.Unpersisted(); got.Status != c.want || (got.StatusReason == "") != (c.want == "enabled") {
				t.Errorf("got %q for %q, want %q", got.Status, got.StatusReason, c.want)
			}
		})
	}
}

func TestOneReadExplainsWhyADeviceIsOffline(t *testing.T) {
	d := &Device{}
	d.Unexplained(noon)
	d.Unexplained(noon.Add(time.Second)) // of the same
	if in, ok := d.NextFollowUp(noon); !ok || in != followUpDelays[0] {
		t.Errorf("the read is due in %v (%t)", in, ok)
	}
	d.observe(read(10, 5), d.beginRead())
	if _, ok := d.NextFollowUp(noon); ok {
		t.Error("another read is wanted")
	}
	d.Unsettled(noon, false)
	d.observe(read(10, 5), d.beginRead())
	if _, ok := d.NextFollowUp(noon); !ok {
		t.Error("a read ends those that follow a write")
	}
}

func TestADeletionIsTheHubsWordUntilItSpeaksAgain(t *testing.T) {
	d := &Device{}
	if d.Deleted(true, place(1)); !d.IsAbsent() || !d.Doubtful() {
		t.Error("a deletion is no news")
	}
	if d.Deleted(false, place(2)); d.IsAbsent() {
		t.Error("a device that was created is gone")
	}
	d.Deleted(true, place(3))
	if d.observe(read(10, 5), d.beginRead()); d.IsAbsent() {
		t.Error("a device that was read is gone")
	}
}

// TestTheStatusOfAnotherObjectIsNotVouchedFor: it may be of before the one whose changes memory followed.
func TestTheStatusOfAnotherObjectIsNotVouchedFor(t *testing.T) {
	d := &Device{}
	if d.belongs("a"); d.Doubtful() {
		t.Error("the first object has its device read, although status may know all")
	}
	d.observe(read(10, 5), d.beginRead())
	if d.belongs("a"); d.Doubtful() {
		t.Error("the same object has it read again")
	}
	if d.belongs("b"); !d.Doubtful() {
		t.Error("what another object's status says is believed")
	}
}

// A component's marker is no leaf, and status follows it.
func TestAMarkerIsNews(t *testing.T) {
	leaf := twin.Leaf{Component: "c", Name: "p"}
	unmarked := func() Belief {
		b := believed()
		b.Twin.Properties[leaf] = twin.Property{Desired: &twin.Desired{Value: "x", Version: 3}}
		b.Twin.Components, b.Twin.Unmarked = map[string]bool{"c": true}, map[string]bool{"c": true}
		return b
	}
	for name, c := range map[string]struct {
		patch string
		want  News
	}{
		"the marker that was missing":       {`"c":{"__t":"c"},`, Urgent},
		"with another property beside it":   {`"c":{"__t":"c","q":1},`, Urgent},
		"another component's":               {`"e":{"__t":"c","q":1},`, Nothing},
		"another property of the component": {`"c":{"q":1},`, Nothing},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Device{}
			seen := *unmarked().Twin
			d.observe(&seen, d.beginRead())
			d.persisted(&seen)
			if got := d.Fold(desired(t, 11, 5, c.patch, 1), place(1), unmarked); got != c.want {
				t.Errorf("it is %v, want %v", got, c.want)
			}
		})
	}
}
