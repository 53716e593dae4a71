package twin

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var speed, level = Leaf{Name: "speed"}, Leaf{Name: "level"}

func TestAttemptsOfListsTheWritesOfEachLeafOldestFirst(t *testing.T) {
	got := AttemptsOf([]Attempt{
		{Version: 2, ETag: "a", Values: map[Leaf]any{speed: "1", level: nil}},
		{Version: 3, ETag: "b", Values: map[Leaf]any{speed: "2"}, Taken: true},
	})
	want := Attempts{
		speed: {{Value: "1", Version: 2, ETag: "a"}, {Value: "2", Version: 3, ETag: "b", Taken: true}},
		level: {{Version: 2, ETag: "a"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := AttemptsOf(nil); got == nil || len(got) != 0 {
		t.Errorf("of no writes: %v, want an empty map", got)
	}
}

func TestAttemptMayBeOf(t *testing.T) {
	written := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	over := Seen{DeviceETag: "id", Version: 4, DesiredVersion: 2, DesiredUpdated: written}
	for name, c := range map[string]struct {
		etag string
		now  Twin
		want bool
	}{
		"a later state of the twin that it was made over": {"", Twin{DeviceETag: "id", Version: 5, DesiredVersion: 3}, true},
		"another history":                     {"", Twin{DeviceETag: "id", Version: 3, DesiredVersion: 1}, false},
		"another history of the same version": {"", Twin{DeviceETag: "id", Version: 4, DesiredVersion: 2, DesiredUpdated: written.Add(time.Second)}, false},
		"another history whose etag follows":  {ETagOf(7), Twin{DeviceETag: "id", Version: 3, DesiredVersion: 1, ETag: ETagOf(8)}, true},
		"a device that may be another one":    {"", Twin{DeviceETag: "other", Version: 5, DesiredVersion: 3}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (Attempt{ETag: c.etag, Over: over}).MayBeOf(&c.now); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}

// TestRememberedOfNothing has every question asked of a process that knows nothing.
func TestRememberedOfNothing(t *testing.T) {
	var r *Remembered
	told := &Twin{ETag: "a"}
	if len(r.Attempts()) != 0 || r.Unsaved() != nil || r.IsWithheld(speed, Sent{}) || r.IsResolved(speed, Sent{}) || r.ReadSince(time.Time{}) ||
		r.CorrectionsAfter(speed, time.Time{}) != nil || r.Newer(told) != told {
		t.Error("nothing is known, and something is answered")
	}
	r.Correct(speed, nil, time.Now())
	r.ForgetWrites(told)
	r.SettleWrites()
}

func TestRememberedTellsRecordsApart(t *testing.T) {
	r := &Remembered{Withheld: map[Leaf]Sent{speed: {Value: "1", Version: 2}}, Resolved: map[Leaf]Sent{level: {Value: "1", Version: 2}}}
	for name, c := range map[string]struct {
		leaf               Leaf
		sent               Sent
		withheld, resolved bool
	}{
		"what was not sent":           {speed, Sent{Value: "1", Version: 2}, true, false},
		"what was sent":               {level, Sent{Value: "1", Version: 2}, false, true},
		"another value of that leaf":  {speed, Sent{Value: "2", Version: 2}, false, false},
		"another version of the same": {level, Sent{Value: "1", Version: 3}, false, false},
	} {
		if got := r.IsWithheld(c.leaf, c.sent); got != c.withheld {
			t.Errorf("%s is withheld: %t", name, got)
		}
		if got := r.IsResolved(c.leaf, c.sent); got != c.resolved {
			t.Errorf("%s is resolved: %t", name, got)
		}
	}
}

func TestRememberedNewer(t *testing.T) {
	told := &Twin{ETag: "a", Version: 3, DesiredVersion: 1, ModelID: "dtmi:m;1"}
	if got := (&Remembered{}).Newer(told); got != told {
		t.Errorf("nothing was seen: %+v", got)
	}
	at := time.Unix(9, 0)
	got := (&Remembered{ETag: "b", Position: Position{Version: 7, DesiredVersion: 2, ReportedVersion: 5, DesiredUpdated: at, ReportedUpdated: at}}).Newer(told)
	want := &Twin{ETag: "b", Version: 7, DesiredVersion: 2, ReportedVersion: 5, DesiredUpdated: at, ReportedUpdated: at, ModelID: "dtmi:m;1"}
	if diff := cmp.Diff(want, got); diff != "" || told.ETag != "a" {
		t.Errorf("(-want +got), and status has %s:\n%s", told.ETag, diff)
	}
}

func TestRememberedCorrections(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	r := &Remembered{}
	r.Correct(speed, nil, at(1))
	before := r.CorrectionsAfter(speed, at(0))
	r.Correct(speed, before, at(5))
	r.Correct(level, before, at(7))
	for name, c := range map[string]struct {
		leaf  Leaf
		since int64
		want  []time.Time
	}{
		"all":                   {speed, 0, []time.Time{at(1), at(5)}},
		"without the oldest":    {speed, 1, []time.Time{at(5)}},
		"none is recent":        {speed, 5, nil},
		"what status knew goes": {level, 0, []time.Time{at(1), at(7)}},
	} {
		if diff := cmp.Diff(c.want, append([]time.Time(nil), r.CorrectionsAfter(c.leaf, at(c.since))...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestRememberedReadSince(t *testing.T) {
	read := time.Unix(10, 0)
	for since, want := range map[int64]bool{9: true, 10: true, 11: false} {
		if got := (&Remembered{ReadAt: read}).ReadSince(time.Unix(since, 0)); got != want {
			t.Errorf("since %d: %t", since, got)
		}
	}
	if (&Remembered{}).ReadSince(time.Time{}) {
		t.Error("it was not read, and counts as read")
	}
}

func TestRememberedSettleAndForget(t *testing.T) {
	writes := []Attempt{
		{Version: 2, Over: Seen{DesiredVersion: 1}, Values: map[Leaf]any{speed: "1"}},
		{Version: 9, Over: Seen{DesiredVersion: 8}, Values: map[Leaf]any{level: "2"}},
	}
	earlier := map[Leaf]Sent{speed: {Value: "0", Version: 1}}
	r := &Remembered{Writes: writes, Resolved: earlier, Saved: &Saved{}, Withheld: map[Leaf]Sent{speed: {}}}
	r.SettleWrites()
	want := map[Leaf]Sent{speed: {Value: "1", Version: 2}, level: {Value: "2", Version: 9}}
	if diff := cmp.Diff(want, r.Resolved); diff != "" || len(r.Writes) != 0 || earlier[speed].Version != 1 {
		t.Errorf("%d writes are left, and %v of before (-want +got):\n%s", len(r.Writes), earlier, diff)
	}
	r.Writes = writes
	r.ForgetWrites(&Twin{DesiredVersion: 3})
	if len(r.Writes) != 1 || r.Writes[0].Version != 2 || r.Saved != nil || r.Withheld != nil || len(writes) != 2 {
		t.Errorf("left are %+v, %v and %v", r.Writes, r.Saved, r.Withheld)
	}
}

func TestSavedGivesWayToANewerStatus(t *testing.T) {
	of := Seen{DeviceETag: "id", Version: 8, DesiredVersion: 3}
	owns := func(v any) Ownership {
		return Ownership{Held: map[Leaf]Owned{speed: {Value: v, Version: 3, SetVersion: 3}}}
	}
	base := Recorded{Ownership: owns("1"), Of: of}
	for name, c := range map[string]struct {
		isOther             bool
		now                 Recorded
		corrected, isOther2 bool
	}{
		"the same status":               {false, base, false, false},
		"a status that says more":       {false, Recorded{Ownership: owns("2"), Of: of}, true, false},
		"a later status of the twin":    {false, Recorded{Ownership: owns("1"), Of: Seen{DeviceETag: "id", Version: 9, DesiredVersion: 4}}, true, false},
		"a status of another twin":      {false, Recorded{Ownership: owns("1"), Of: Seen{DeviceETag: "x", Version: 9, DesiredVersion: 1}}, false, true},
		"a status that is about none":   {false, Recorded{}, true, false},
		"the other one's status":        {true, base, false, true},
		"a newer one, after a failover": {true, Recorded{Ownership: owns("2"), Of: of}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			saved := &Saved{Ownership: owns("1"), Of: of, IsOther: c.isOther, Base: base}
			if got := saved.IsCorrectedBy(c.now); got != c.corrected {
				t.Errorf("is corrected: %t", got)
			}
			if got := saved.IsOfOther(c.now); got != c.isOther2 {
				t.Errorf("is of another one: %t", got)
			}
		})
	}
}
