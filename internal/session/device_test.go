package session

import (
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func TestADoubtRaisedDuringAReadOutlivesIt(t *testing.T) {
	d := &Device{}
	d.Doubt()
	token := d.beginRead()
	d.Doubt()
	d.observe(&twin.Twin{Version: 2}, token)
	if !d.Doubtful() {
		t.Error("the doubt that was raised while the read was under way is gone")
	}
	d.observe(&twin.Twin{Version: 3}, d.beginRead())
	if d.Doubtful() {
		t.Error("a read that began after the last doubt did not settle it")
	}
}

func TestWhatLeavesTheModelInDoubt(t *testing.T) {
	shown := func() *twin.Twin {
		seen := read(10, 5)
		seen.ModelID = "dtmi:a;1"
		return seen
	}
	look := func(d *Device) { d.observe(shown(), d.beginRead()) }
	cameBack := func(d *Device) { d.Connection("Connected", "0A", noon, place(1), believed) }
	foreign := func(d *Device) { d.Foreign("dtmi:b;1") }
	// during has something happen while the hub is read.
	during := func(what func(*Device)) func(*Device) {
		return func(d *Device) {
			token := d.beginRead()
			what(d)
			d.observe(shown(), token)
		}
	}
	for name, c := range map[string]struct {
		acts    []func(*Device)
		inDoubt bool
	}{
		"nobody has looked since the start":        {nil, true},
		"the hub was read":                         {[]func(*Device){look}, false},
		"the device came back after the read":      {[]func(*Device){look, cameBack}, true},
		"it came back while the hub was read":      {[]func(*Device){during(cameBack)}, true},
		"telemetry named another model meanwhile":  {[]func(*Device){look, during(foreign)}, true},
		"it came back, and the hub was read since": {[]func(*Device){during(cameBack), look}, false},
		"another doubt is none of the model":       {[]func(*Device){look, (*Device).Doubt}, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Device{}
			for _, act := range c.acts {
				act(d)
			}
			if d.ModelInDoubt() != c.inDoubt {
				t.Errorf("in doubt: %t, want %t", d.ModelInDoubt(), c.inDoubt)
			}
		})
	}
}

func TestADoubtOfTheModelAloneAsksForNoRead(t *testing.T) {
	d := &Device{}
	d.observe(read(10, 5), d.beginRead())
	d.Connection("Connected", "0A", noon, place(1), believed)
	if d.Doubtful() || !d.ModelInDoubt() {
		t.Errorf("doubtful: %t, model in doubt: %t", d.Doubtful(), d.ModelInDoubt())
	}
}

func TestAWriteThatStatusDoesNotShowStandsInTheCheckpoint(t *testing.T) {
	d := &Device{}
	d.beginPass()
	d.Unshown()
	d.endPass()
	if at, held := d.Outstanding(); !held || at.Partition != "" {
		t.Errorf("the device is not listed as doubtful: %v, %t", at, held)
	}
	d.beginPass()
	d.persisted(&twin.Twin{})
	d.endPass()
	_, isUnshown := d.isUnshown()
	if _, held := d.Outstanding(); held || isUnshown {
		t.Error("status shows it, and still it is held")
	}
}

func TestFollowUpReadsComeAtTwoTenThirtyAndSixtySeconds(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	d := &Device{}
	if d.FollowUpDue(start.Add(time.Hour)) {
		t.Fatal("a follow-up read is due although nothing is unsettled")
	}
	d.Unsettled(start, false)
	for _, second := range []int{2, 10, 30, 60} {
		due := start.Add(time.Duration(second) * time.Second)
		if d.FollowUpDue(due.Add(-time.Millisecond)) {
			t.Errorf("the read at %d s is due before its time", second)
		}
		if !d.FollowUpDue(due) {
			t.Errorf("the read at %d s is not due", second)
		}
	}
	if _, more := d.NextFollowUp(start.Add(time.Hour)); more {
		t.Error("there is a fifth follow-up read")
	}
}

func TestFollowUpReadsThatWereMissedAreNotMadeUpFor(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	d := &Device{}
	d.Unsettled(start, false)
	if !d.FollowUpDue(start.Add(30 * time.Second)) {
		t.Fatal("no read is due after 30 s")
	}
	if in, _ := d.NextFollowUp(start.Add(30 * time.Second)); in != 30*time.Second {
		t.Errorf("the next read is in %v, want 30s", in)
	}
}

func TestANewWriteRestartsFollowUpsAndSettlingEndsThem(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	d := &Device{}
	d.Unsettled(start, true)
	d.Unsettled(start.Add(time.Second), false)
	if in, _ := d.NextFollowUp(start); in != 2*time.Second {
		t.Errorf("being unsettled still moved the first read to %v", in)
	}
	d.Unsettled(start.Add(time.Second), true)
	if in, _ := d.NextFollowUp(start); in != 3*time.Second {
		t.Errorf("after a new write the first read is in %v, want 3s", in)
	}
	d.Settled()
	if _, more := d.NextFollowUp(start); more {
		t.Error("reads go on after the device settled")
	}
}
