package convergence

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// correctedAt has memory know that speed was put back some minutes ago, each time.
func correctedAt(minutes ...int) func(*State) {
	return func(s *State) {
		var times []time.Time
		for _, m := range minutes {
			times = append(times, noon.Add(-time.Duration(m)*time.Minute))
		}
		s.Memory.Corrections = map[twin.Leaf][]time.Time{speed: times}
	}
}

// TestContested leaves to other writers what they fight for.
func TestContested(t *testing.T) {
	by := func(cause twin.Cause, configuration string) twin.Change {
		return twin.Change{Leaf: speed, Cause: cause, Was: &twin.Desired{Value: num("9"), By: configuration}}
	}
	for name, c := range map[string]struct {
		change    twin.Change
		edit      func(*State)
		kept      string
		conflicts map[twin.Leaf]string
	}{
		"a value that drifted once is put back": {
			change: by(twin.Drifted, ""), kept: "Drifted speed",
		},
		"one that was put back twice is put back": {
			change: by(twin.Drifted, ""), edit: correctedAt(20, 10), kept: "Drifted speed",
		},
		"one that was put back three times is left alone": {
			change: by(twin.Drifted, ""), edit: correctedAt(30, 20, 10), conflicts: map[twin.Leaf]string{speed: ""},
		},
		"one of which the first time was an hour ago is put back": {
			change: by(twin.Drifted, ""), edit: correctedAt(60, 20, 10), kept: "Drifted speed",
		},
		"an edit of it ends the fight": {
			change: by(twin.Edited, ""), edit: correctedAt(30, 20, 10), kept: "Edited speed",
		},
		"what is gone from the hub is put back": {
			change: twin.Change{Leaf: speed, Cause: twin.Drifted}, kept: "Drifted speed",
		},
		"what a configuration writes is left alone at once": {
			change: by(twin.Drifted, "winter"), conflicts: map[twin.Leaf]string{speed: "winter"},
		},
		"so is a new value that a configuration has written before": {
			change: by(twin.New, "winter"), conflicts: map[twin.Leaf]string{speed: "winter"},
		},
		"what is removed is no matter of a fight": {
			change: by(twin.Removed, "winter"), kept: "Removed speed",
		},
		"what was a conflict in the round before is forgotten": {
			change: by(twin.Edited, ""), edit: func(s *State) { s.Conflicts[level] = "summer" }, kept: "Edited speed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(nil, nil)
			if c.edit != nil {
				c.edit(s)
			}
			changes := []twin.Change{c.change}
			if got := names(s.contested(changes)); got != c.kept {
				t.Errorf("it keeps %q, want %q", got, c.kept)
			}
			if c.conflicts == nil {
				c.conflicts = map[twin.Leaf]string{}
			}
			if diff := cmp.Diff(c.conflicts, s.Conflicts); diff != "" {
				t.Errorf("conflicts (-want +got):\n%s", diff)
			}
			if changes[0].Leaf != speed {
				t.Errorf("the changes of the caller are %v", changes)
			}
		})
	}
}

// TestCorrectionsOf takes them from status, or from memory if that knows of more.
func TestCorrectionsOf(t *testing.T) {
	for name, c := range map[string]struct {
		recorded []time.Duration
		memory   func(*State)
		want     int
	}{
		"neither knows of any":                          {nil, func(*State) {}, 0},
		"status alone knows":                            {[]time.Duration{time.Minute, time.Second}, func(*State) {}, 2},
		"memory alone knows":                            {nil, correctedAt(3, 2), 2},
		"memory knows of one more":                      {[]time.Duration{3 * time.Minute}, correctedAt(3, 2), 2},
		"status knows of one more, from before a start": {[]time.Duration{3 * time.Minute, 2 * time.Minute}, correctedAt(2), 2},
		"what is an hour old does not count in status":  {[]time.Duration{FightWindow, time.Minute}, func(*State) {}, 1},
		"nor in memory":                                 {nil, correctedAt(60, 59), 1},
		"without a memory status has to do":             {[]time.Duration{time.Minute}, func(s *State) { s.Memory = nil }, 1},
	} {
		p := owning(speed, "5")
		for _, before := range c.recorded {
			p.CorrectedAt = append(p.CorrectedAt, metav1.NewTime(noon.Add(-before)))
		}
		s := started(nil, []v1alpha1.PropertyStatus{p}, c.memory)
		got := s.CorrectionsOf(speed)
		if len(got) != c.want {
			t.Errorf("%s: %v, want %d", name, got, c.want)
		}
		for i := 1; i < len(got); i++ {
			if got[i].Before(got[i-1]) {
				t.Errorf("%s: %v is not the oldest first", name, got)
			}
		}
		if other := s.CorrectionsOf(level); len(other) > 0 {
			t.Errorf("%s: of another leaf: %v", name, other)
		}
	}
}

// TestHasConverged is about a pass whose rounds are over.
func TestHasConverged(t *testing.T) {
	for name, c := range map[string]struct {
		declared  twin.Declaration
		status    []v1alpha1.PropertyStatus
		holds     map[twin.Leaf]any
		conflicts []twin.Leaf
		want      bool
	}{
		"the hub holds it all": {
			declared: twin.Declaration{speed: num("5")}, holds: map[twin.Leaf]any{speed: num("5")}, want: true,
		},
		"the hub holds it in another form": {
			declared: twin.Declaration{speed: num("5")}, holds: map[twin.Leaf]any{speed: num("5.0")}, want: true,
		},
		"a value is another one": {
			declared: twin.Declaration{speed: num("5")}, holds: map[twin.Leaf]any{speed: num("6")},
		},
		"the one that differs is left alone": {
			declared: twin.Declaration{speed: num("5")}, holds: map[twin.Leaf]any{speed: num("6")}, conflicts: []twin.Leaf{speed}, want: true,
		},
		"one is left alone, and another one differs": {
			declared: twin.Declaration{speed: num("5"), level: num("1")}, holds: map[twin.Leaf]any{speed: num("6")}, conflicts: []twin.Leaf{speed},
		},
		"something is still to be removed": {
			status: []v1alpha1.PropertyStatus{owning(speed, "5")}, holds: map[twin.Leaf]any{speed: num("5")},
		},
		"something is still to be let go of": {
			status: []v1alpha1.PropertyStatus{owning(speed, "5")}, holds: map[twin.Leaf]any{speed: num("6")},
		},
		"what is another writer's stays": {
			holds: map[twin.Leaf]any{speed: num("6")}, want: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(c.declared, c.status)
			s.Took(holding(c.holds))
			for _, leaf := range c.conflicts {
				s.Conflicts[leaf] = ""
			}
			if got := s.hasConverged(); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}

// TestPlanIsSortedByWhatIsDone has edits come before removals, and both in the order of leaves.
func TestPlanIsSortedByWhatIsDone(t *testing.T) {
	a, z := twin.Leaf{Name: "a"}, twin.Leaf{Name: "z"}
	mine := []v1alpha1.PropertyStatus{owning(a, "1"), owning(level, "1"), owning(speed, "5"), owning(z, "1")}
	for name, c := range map[string]struct {
		declared twin.Declaration
		holds    map[twin.Leaf]any
		edit     func(*State)
		changes  string
		released []twin.Leaf
	}{
		"an edit and a removal": {
			declared: twin.Declaration{z: num("2"), a: num("1"), level: num("1")}, holds: map[twin.Leaf]any{a: num("1"), level: num("1"), speed: num("5"), z: num("1")},
			changes: "Edited z, Removed speed",
		},
		"a drift, and another writer's that is let go of": {
			declared: twin.Declaration{a: num("1"), z: num("1")}, holds: map[twin.Leaf]any{a: num("7"), level: num("7"), speed: num("5"), z: num("1")},
			changes: "Drifted a, Removed speed", released: []twin.Leaf{level},
		},
		"all leaves": {
			declared: twin.Declaration{}, holds: map[twin.Leaf]any{a: num("1"), level: num("1"), speed: num("5"), z: num("1")},
			changes: "Removed a, Removed level, Removed speed, Removed z",
		},
		"all was removed by others": {
			declared: twin.Declaration{}, released: []twin.Leaf{a, level, speed, z},
		},
		"a resend beside an edit": {
			declared: twin.Declaration{a: num("2"), level: num("1"), speed: num("5"), z: num("1")}, holds: map[twin.Leaf]any{a: num("1"), level: num("1"), speed: num("5"), z: num("1")},
			edit: annotated(v1alpha1.AnnotationResendRequestedAt, "now"), changes: "Edited a, Edited level, Edited speed, Edited z",
		},
	} {
		t.Run(name, func(t *testing.T) {
			edit := c.edit
			if edit == nil {
				edit = func(*State) {}
			}
			s := started(c.declared, mine, edit)
			s.Took(holding(c.holds))
			for range 2 { // it is asked each time that the next step is
				changes, released := s.plan()
				if diff := cmp.Diff(c.released, released); names(changes) != c.changes || diff != "" {
					t.Errorf("got %q, want %q, released (-want +got):\n%s", names(changes), c.changes, diff)
				}
			}
		})
	}
}

// TestRemovalsAreToldFromOtherChanges leaves what it is given as it is.
func TestRemovalsAreToldFromOtherChanges(t *testing.T) {
	edit := twin.Change{Leaf: level, Cause: twin.Edited, Value: num("1")}
	fresh := twin.Change{Leaf: twin.Leaf{Name: "mode"}, Cause: twin.New, Value: num("1")}
	removal := twin.Change{Leaf: speed, Cause: twin.Removed}
	for name, c := range map[string]struct {
		changes                   []twin.Change
		removals, others, blocked string
	}{
		"none":                  {nil, "", "", ""},
		"an edit":               {[]twin.Change{edit}, "", "Edited level", ""},
		"a removal alone":       {[]twin.Change{removal}, "Removed speed", "", ""},
		"a removal among edits": {[]twin.Change{edit, removal, fresh}, "Removed speed", "Edited level, New mode", "Removed speed"},
		"two edits":             {[]twin.Change{fresh, edit}, "", "New mode, Edited level", ""},
	} {
		before := names(c.changes)
		if got := names(removalsOf(c.changes)); got != c.removals {
			t.Errorf("%s: the removals are %q", name, got)
		}
		if got := names(withoutRemovals(c.changes)); got != c.others {
			t.Errorf("%s: the others are %q", name, got)
		}
		if got := names(inTheWay(c.changes)); got != c.blocked {
			t.Errorf("%s: in the way are %q", name, got)
		}
		if got := LeavesOf(c.changes); names(c.changes) != before || len(got) != len(c.changes) {
			t.Errorf("%s: what was given is %v now", name, c.changes)
		}
	}
}

// TestUnansweredAreHeldAndNotAcknowledged are what a resend is about.
func TestUnansweredAreHeldAndNotAcknowledged(t *testing.T) {
	for name, c := range map[string]struct {
		state twin.State
		held  any
		want  bool
	}{
		"the device is silent":                   {twin.StateApplied, num("5"), true},
		"the device refused it":                  {twin.StateRejected, num("5"), true},
		"the device works on it":                 {twin.StateInProgress, num("5"), false},
		"the device answered":                    {twin.StateAcknowledged, num("5"), false},
		"the device took another value":          {twin.StateAdjusted, num("5"), false},
		"it was not written yet":                 {twin.StatePending, num("5"), false},
		"it is only reported":                    {twin.StateReported, num("5"), false},
		"the hub has another value by now":       {twin.StateApplied, num("6"), false},
		"the hub has none by now":                {twin.StateApplied, nil, false},
		"the device refused what is not there":   {twin.StateRejected, nil, false},
		"the device is silent on another form":   {twin.StateApplied, num("5.0"), true},
		"the device is silent on a text of that": {twin.StateApplied, "5", false},
	} {
		p := owning(speed, "5")
		p.State = StateOf(c.state)
		s := started(twin.Declaration{speed: num("5")}, []v1alpha1.PropertyStatus{p})
		s.Twin = holding(nil)
		if c.held != nil {
			s.Twin = holding(map[twin.Leaf]any{speed: c.held})
		}
		if got := len(s.unanswered()) == 1; got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

// TestSeveralFightsAreTakenUpAsTheyBecomeDue waits for the first one.
func TestSeveralFightsAreTakenUpAsTheyBecomeDue(t *testing.T) {
	at := func(minutes int) v1alpha1.PropertyStatus {
		return fought(noon.Add(-time.Duration(minutes) * time.Minute))
	}
	for name, c := range map[string]struct {
		first, second v1alpha1.PropertyStatus
		in            time.Duration
		due           bool
	}{
		"the first is due first":    {at(50), at(20), 10 * time.Minute, false},
		"the second is due first":   {at(20), at(50), 10 * time.Minute, false},
		"one is due now":            {at(60), at(20), 0, true},
		"one is over, another lost": {owning(speed, "5"), at(45), 15 * time.Minute, false},
	} {
		in, due := Entries{speed: c.first, level: c.second}.conflictRetry(noon)
		if due != c.due || !due && in != c.in {
			t.Errorf("%s: in %v, due: %t", name, in, due)
		}
	}
}
