package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

var (
	noon   = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	target = twin.Leaf{Name: "target"}
)

// reported is the event of a report; at is in seconds after noon.
func reported(t *testing.T, version, section int64, patch string, at int) *twin.Notification {
	t.Helper()
	return notification(t, `{"version":%d,"properties":{"reported":{%s"$metadata":{"$lastUpdated":%q},"$version":%d}}}`, version, patch, stamp(at), section)
}

func desired(t *testing.T, version, section int64, patch string, at int) *twin.Notification {
	t.Helper()
	return notification(t, `{"version":%d,"properties":{"desired":{%s"$metadata":{"$lastUpdated":%q},"$version":%d}}}`, version, patch, stamp(at), section)
}

func stamp(at int) string { return noon.Add(time.Duration(at) * time.Second).Format(time.RFC3339) }

func notification(t *testing.T, format string, args ...any) *twin.Notification {
	t.Helper()
	n, err := twin.ParseNotification(fmt.Appendf(nil, format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// believed is what status says of a device at version 10: etag counter 5, so five reports.
func believed() Belief {
	return Belief{Twin: &twin.Twin{
		Partial: true, DeviceID: "d", ETag: twin.ETagOf(5), DeviceETag: "a", Version: 10, DesiredVersion: 4, ConnectionState: "Connected",
		Properties: map[twin.Leaf]twin.Property{target: {
			Desired: &twin.Desired{Value: "on", Version: 4}, Reported: &twin.Reported{Value: "off"},
		}},
		Components: map[string]bool{},
	}}
}

// read is the same device as a GET shows it.
func read(version, reportedVersion int64) *twin.Twin {
	t := *believed().Twin
	t.Partial, t.Version, t.ReportedVersion = false, version, reportedVersion
	return &t
}

func place(n int64) Place { return Place{Partition: "0", SequenceNumber: n, Handled: noon} }

func TestEventsAreFoldedOnlyWhereTheyComeNext(t *testing.T) {
	for name, c := range map[string]struct {
		memory *twin.Twin // observed and persisted before, nil after a restart
		event  *twin.Notification
		want   News
		value  any // of the declared property afterwards, nil if nothing is to be persisted
	}{
		"the first event after a restart is accepted whatever its number": {nil, reported(t, 30, 25, `"target":"on",`, 9), FromDevice, "on"},
		"an event that status knows already is dropped":                   {nil, reported(t, 10, 5, `"target":"old",`, 9), Nothing, nil},
		"the next report is folded":                                       {read(10, 5), reported(t, 11, 6, `"target":"on",`, 9), FromDevice, "on"},
		"a report twice is dropped":                                       {read(11, 6), reported(t, 11, 6, `"target":"old",`, 9), Nothing, nil},
		"a gap is a doubt":                                                {read(10, 5), reported(t, 12, 7, `"target":"on",`, 9), Urgent, nil},
		"a report of what nobody declared is nothing":                     {read(10, 5), reported(t, 11, 6, `"foreign":1,`, 9), Nothing, nil},
		"a desired write that was not seen is a doubt":                    {read(10, 5), reported(t, 12, 6, `"target":"on",`, 9), Urgent, nil},
		"a foreign write of what is declared is urgent":                   {read(10, 5), desired(t, 11, 5, `"target":"off",`, 9), Urgent, "off"},
		"a foreign write of what nobody declared is nothing":              {read(10, 5), desired(t, 11, 5, `"foreign":1,`, 9), Nothing, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Device{}
			if c.memory != nil {
				d.observe(c.memory, d.beginRead())
				d.persisted(c.memory)
			}
			if got := d.Fold(c.event, place(1), believed); got != c.want {
				t.Errorf("news: got %v, want %v", got, c.want)
			}
			if held := d.Unpersisted(); (held == nil) != (c.value == nil) {
				t.Errorf("to be persisted: got %v, want %v", held, c.value)
			} else if held != nil && held.Properties[target].Reported.Value != c.value {
				t.Errorf("reported: got %v, want %v", held.Properties[target].Reported.Value, c.value)
			}
			if d.Doubtful() != (c.want == Urgent && c.value == nil) {
				t.Errorf("doubtful: %v", d.Doubtful())
			}
		})
	}
}

func TestUndeclaredReportsMoveTheCountersOnly(t *testing.T) {
	d := &Device{}
	for i := range int64(100) {
		if got := d.Fold(reported(t, 30+i, 25+i, `"foreign":1,`, int(i)), place(i), believed); got != Nothing {
			t.Fatalf("report %d: got %v, want nothing", i, got)
		}
	}
	if _, ok := d.Outstanding(); ok {
		t.Error("reports of what nobody declared hold the checkpoint back")
	}
	if got := d.Fold(reported(t, 130, 125, `"target":"on",`, 200), place(200), believed); got != FromDevice {
		t.Errorf("the declared report after them: got %v", got)
	}
	if got := d.Fold(reported(t, 132, 127, `"target":"off",`, 201), place(201), believed); got != Urgent {
		t.Errorf("a gap after them: got %v", got)
	}
}

func TestAFailoverOfTheHubIsADoubtNotAnOldEvent(t *testing.T) {
	d := &Device{}
	d.Fold(reported(t, 11, 6, `"target":"on",`, 100), place(1), believed)
	if got := d.Fold(reported(t, 9, 4, `"target":"off",`, 200), place(2), believed); got != Urgent {
		t.Errorf("a lower version with a later time: got %v, want a doubt", got)
	}
	d = &Device{}
	d.Fold(reported(t, 11, 6, `"target":"on",`, 100), place(1), believed)
	if got := d.Fold(reported(t, 10, 7, `"target":"off",`, 50), place(2), believed); got != Nothing {
		t.Errorf("a known version with an earlier time: got %v, want nothing", got)
	}
}

// TestAClockOfTheHubThatWentBackHidesNothing is what make chaos found: reports were dropped as old until the clock had caught up.
func TestAClockOfTheHubThatWentBackHidesNothing(t *testing.T) {
	d := &Device{}
	d.Fold(reported(t, 11, 6, `"target":"on",`, 1200), place(1), believed)
	if got := d.Fold(reported(t, 12, 7, `"target":"off",`, 0), place(2), believed); got != Urgent || !d.Doubtful() {
		t.Fatalf("the next report with an earlier time: got %v, want a doubt", got)
	}
	read := read(12, 7)
	read.ReportedUpdated = reported(t, 12, 7, `"target":"off",`, 0).Reported.LastUpdated
	d.observe(read, d.beginRead())
	if got := d.Fold(reported(t, 13, 8, `"target":"on",`, 1), place(3), believed); got != FromDevice || d.Doubtful() {
		t.Errorf("the report after the read: got %v, want it folded in", got)
	}
}

func TestEventsThatArriveDuringAPassAreFoldedIntoItsOutcome(t *testing.T) {
	for name, c := range map[string]struct {
		events   []*twin.Notification
		want     any
		doubtful bool
	}{
		"one that the read shows already":     {[]*twin.Notification{reported(t, 11, 6, `"target":"a",`, 1)}, "off", false},
		"one that is newer than the read":     {[]*twin.Notification{reported(t, 12, 7, `"target":"b",`, 2)}, "b", false},
		"both":                                {[]*twin.Notification{reported(t, 11, 6, `"target":"a",`, 1), reported(t, 12, 7, `"target":"b",`, 2)}, "b", false},
		"one that does not follow the read":   {[]*twin.Notification{reported(t, 14, 9, `"target":"c",`, 4)}, "off", true},
		"one that reveals a write in-between": {[]*twin.Notification{reported(t, 13, 7, `"target":"c",`, 4)}, "off", true},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Device{}
			d.Doubt()
			d.beginPass()
			token := d.beginRead()
			for i, n := range c.events {
				d.Fold(n, place(int64(i)), believed)
			}
			d.observe(read(11, 6), token)
			if got := d.Unpersisted().Properties[target].Reported.Value; got != c.want {
				t.Errorf("reported: got %v, want %v", got, c.want)
			}
			if d.Doubtful() != c.doubtful {
				t.Errorf("doubtful: got %v, want %v", d.Doubtful(), c.doubtful)
			}
		})
	}
}

func TestTheEchoOfAnAcceptedWriteIsOldAndItsAnswerIsNews(t *testing.T) {
	d := &Device{}
	base := believed().Twin
	d.Fold(reported(t, 11, 6, `"foreign":1,`, 1), place(1), believed) // the counters are ahead of status
	d.beginPass()
	echo := desired(t, 12, 5, `"target":"auto",`, 2)
	d.Fold(echo, place(2), believed) // it overtakes the answer
	written := base.Apply([]twin.Change{{Leaf: target, Cause: twin.Edited, Value: "auto"}}, twin.ETagOf(6), 5)
	d.accepted(written)
	d.endPass()
	if d.Doubtful() {
		t.Fatal("the echo of our own write is a doubt")
	}
	d.persisted(written)
	if d.Unpersisted() != nil {
		t.Error("the echo of our own write is to be persisted once more")
	}
	inStatus := func() Belief { return Belief{Twin: partial(written)} }
	if got := d.Fold(echo, place(3), inStatus); got != Nothing {
		t.Errorf("the echo again: got %v", got)
	}
	if got := d.Fold(reported(t, 13, 7, `"target":{"value":"auto","ac":200,"av":5},`, 3), place(4), inStatus); got != FromDevice {
		t.Errorf("the device's answer: got %v, doubtful %v", got, d.Doubtful())
	}
}

func partial(t *twin.Twin) *twin.Twin {
	next := *t
	next.Partial, next.ReportedVersion = true, 0
	return &next
}

func TestAReportInFlightDuringAWriteIsNotLostToARestart(t *testing.T) {
	written := believed().Twin.Apply([]twin.Change{{Leaf: target, Cause: twin.Edited, Value: "auto"}}, twin.ETagOf(6), 5)
	inFlight := reported(t, 11, 6, `"target":"on",`, 1) // the hub took it before our write, which made version 12
	restarted := &Device{}
	if got := restarted.Fold(inFlight, place(2), func() Belief { return Belief{Twin: partial(written)} }); got == Nothing {
		t.Error("the report is lost")
	}
}

func TestTheCheckpointIsHeldUntilTheEffectIsInStatus(t *testing.T) {
	held := func(d *Device) int64 {
		at, ok := d.Outstanding()
		if !ok {
			return -1
		}
		return at.SequenceNumber
	}
	d := &Device{}
	d.Fold(reported(t, 11, 6, `"target":"a",`, 1), place(7), believed)
	d.Fold(reported(t, 12, 7, `"target":"b",`, 2), place(8), believed)
	if got := held(d); got != 7 {
		t.Fatalf("held at %d, want the first event", got)
	}
	d.beginPass()
	taken := d.Unpersisted()
	d.Fold(reported(t, 13, 8, `"target":"c",`, 3), place(9), believed)
	d.persisted(taken)
	d.endPass()
	if got := held(d); got != 9 {
		t.Errorf("held at %d, want the event that arrived during the pass", got)
	}
	d.beginPass()
	d.persisted(d.Unpersisted())
	d.endPass()
	if got := held(d); got != -1 {
		t.Errorf("held at %d although everything is in status", got)
	}
	d.Suspect(place(10))
	d.beginPass()
	d.persisted(d.Unpersisted())
	d.endPass()
	if got := held(d); got != 10 {
		t.Errorf("held at %d, want the doubt, which no read has settled", got)
	}
}

func TestConnectionEventsTellSinceWhen(t *testing.T) {
	d := &Device{}
	at := noon.Add(time.Minute)
	if got := d.Connection("Disconnected", "0A", at, place(1), believed); got != FromDevice {
		t.Fatalf("got %v", got)
	}
	want := []any{"Disconnected", at}
	if got := []any{d.Unpersisted().ConnectionState, d.Unpersisted().ConnectionStateSince}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := d.Connection("Connected", "09", at, place(2), believed); got != Nothing {
		t.Errorf("an earlier event that comes late: got %v", got)
	}
	restarted := &Device{}
	inStatus := func() Belief { return Belief{Twin: d.Unpersisted()} }
	if got := restarted.Connection("Connected", "08", at.Add(-time.Second), place(1), inStatus); got != Nothing {
		t.Errorf("an event that status knows already: got %v", got)
	}
	if !d.ModelInDoubt() {
		t.Error("a device that came back may be another one")
	}
}

func TestADeviceThatConnectsForTheFirstTimeIsRead(t *testing.T) {
	never := believed()
	never.Twin.ConnectionState = "Disconnected"
	d := &Device{}
	if got := d.Connection("Connected", "0A", noon, place(1), func() Belief { return never }); got != Urgent || !d.Doubtful() {
		t.Errorf("got %v, doubtful %v", got, d.Doubtful())
	}
	now := read(10, 5)
	now.ConnectionState, now.ModelID = "Connected", "dtmi:a;1"
	d.observe(now, d.beginRead())
	if d.Unpersisted() != now {
		t.Error("what was read is not what status is told: it would never count as stored")
	}
	if got := d.Unpersisted(); got.ModelID != "dtmi:a;1" || !got.ConnectionStateSince.Equal(noon) {
		t.Errorf("known: %+v", got)
	}
	if got := d.Connection("Disconnected", "0B", noon, place(2), believed); got != FromDevice || d.Doubtful() {
		t.Errorf("a device that goes: got %v", got)
	}
	if got := d.Connection("Connected", "0C", noon, place(3), believed); got != FromDevice || d.Doubtful() {
		t.Errorf("a device that comes back: got %v", got)
	}
}

// A stream that begins anew tells of events once more. One of before a read, which showed another
// state, may be long over: the hub is asked.
func TestAConnectionEventOfBeforeAReadIsAskedAbout(t *testing.T) {
	wasRead := believed()
	wasRead.Twin.ModelID = "dtmi:a;1"
	wasRead.Twin.ConnectionState, wasRead.Twin.ConnectionStateSince, wasRead.StateSeen = "Disconnected", time.Time{}, noon
	inStatus := func() Belief { return wasRead }
	for name, test := range map[string]struct {
		state string
		at    time.Time
		want  News
	}{
		"another state, before the read": {"Connected", noon.Add(-10 * time.Second), Urgent},
		"another state, after the read":  {"Connected", noon.Add(time.Second), FromDevice},
		"the same state: since when":     {"Disconnected", noon.Add(-5 * time.Second), FromDevice},
	} {
		d := &Device{}
		if got := d.Connection(test.state, "0A", test.at, place(1), inStatus); got != test.want || d.Doubtful() != (test.want == Urgent) {
			t.Errorf("%s: got %v, doubtful %v", name, got, d.Doubtful())
		}
		now := read(10, 5)
		now.ConnectionState = test.state
		d.observe(now, d.beginRead())
		if since := d.Unpersisted().ConnectionStateSince; !since.Equal(test.at) {
			t.Errorf("%s: a read confirms it, since %s", name, since)
		}
	}
}

func TestAConnectionEventDuringAReadOutlivesIt(t *testing.T) {
	d := &Device{}
	d.beginPass()
	token := d.beginRead()
	d.Connection("Disconnected", "0A", noon, place(1), believed)
	d.observe(read(10, 5), token)
	if got := d.Unpersisted().ConnectionState; got != "Disconnected" {
		t.Errorf("got %s", got)
	}
}

func TestAnUnknownPropertyIsReadWhereStatusMirrorsAll(t *testing.T) {
	d := &Device{}
	all := believed()
	all.MirrorsAll = true
	if got := d.Fold(reported(t, 11, 6, `"foreign":1,`, 1), place(1), func() Belief { return all }); got != Urgent || !d.Doubtful() {
		t.Errorf("got %v, doubtful %v", got, d.Doubtful())
	}
}

func TestWhatAPassLeavesBehindNeedsAnother(t *testing.T) {
	tests := map[string]struct {
		during func(*Device) // what arrives while the hub is read
		again  bool
	}{
		"nothing": {func(*Device) {}, false},
		"a report of what is followed": {func(d *Device) {
			d.Fold(reported(t, 11, 6, `"target":"on",`, 1), place(1), believed)
		}, true},
		"more than are kept": {func(d *Device) {
			for i := range int64(maxArrivals + 1) {
				d.Fold(reported(t, 11+i, 6+i, `"target":"on",`, 1), place(i), believed)
			}
		}, true},
		"a gap": {func(d *Device) {
			d.Fold(reported(t, 13, 8, `"target":"on",`, 1), place(1), believed)
		}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := &Device{}
			d.Doubt()
			d.beginPass()
			token, now := d.beginRead(), read(10, 5)
			test.during(d)
			d.observe(now, token)
			d.persisted(now)
			if again := d.endPass(); again != test.again {
				t.Errorf("another pass: %v, want %v", again, test.again)
			}
		})
	}
}

func TestAPassThatStoresNothingDoesNotComeBackByItself(t *testing.T) {
	d := &Device{}
	d.Fold(reported(t, 11, 6, `"target":"on",`, 1), place(1), believed)
	d.beginPass() // and it halts before it looks at the twin
	if d.endPass() {
		t.Error("a pass that halted would follow itself for ever")
	}
}

// A device that does something shows that its hub may be well again.
func TestAnEventOfADeviceWhoseCallFailedIsUrgent(t *testing.T) {
	d := &Device{}
	d.missRead()
	for i := range int64(3) {
		if got := d.Fold(reported(t, 11+i, 6+i, `"target":"on",`, int(i)), place(i), believed); got != Urgent || !d.Doubtful() {
			t.Errorf("event %d: got %v, doubtful %t", i, got, d.Doubtful())
		}
	}
	d.observe(read(13, 8), d.beginRead())
	d.Doubt() // as for want of a token
	if got := d.Fold(reported(t, 14, 9, `"target":"off",`, 4), place(4), believed); got != Nothing {
		t.Errorf("an event of a device whose read is due: got %v", got)
	}
}
