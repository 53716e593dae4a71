package command

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	s     = time.Second
	never = -time.Hour // of an event: nobody knows when it happened
)

func TestWhatStirsACommand(t *testing.T) {
	o, now := newOffice(), time.Now()
	ear := o.At(first)
	answered := func(device string) bool { // within a second, by the hub's clock
		o.slots[device].Answered(Window{now, now.Add(s)})
		return o.slots[device].IsStirred()
	}
	ear.Signal("d", Acted, now, Origin{})
	o.begin("d", "a")
	o.begin("e", "b")
	ear.Signal("d", Went, now, Origin{})
	if o.slots["d"].IsStirred() {
		t.Error("nobody knows when the command was under way, by the hub's clock")
	}
	if !answered("d") || answered("e") {
		t.Error("a disconnection is an event of its device, and of no other")
	}
	o.end("d")
	o.begin("d", "a")
	if answered("d") {
		t.Error("an event of an earlier command counts")
	}
	o.At(Site{Hub{object("other"), "h"}, &Life{}}).Signal("e", Acted, now, Origin{})
	if o.slots["e"].IsStirred() {
		t.Error("an event of another hub counts")
	}
}

// told is what events say of a command.
type told struct {
	mayHaveRun bool // the device was there while the command was under way
	isBack     bool // an event of another time tells that it is there, so that it may be asked again
}

var (
	nothing       = told{}
	back          = told{isBack: true}
	there         = told{mayHaveRun: true}
	thereAndAgain = told{mayHaveRun: true, isBack: true}
)

// signal is an event, and when it happened, since the command took its place; never is unknown.
type signal struct {
	sign Sign
	at   time.Duration
}

// An event arrives after what it tells of: here all arrive after the hub's answer, which it
// gave after 10 s, or before. The hub's clock may say anything.
var afterAnAnswer = map[string]struct {
	signals []signal
	want    told
}{
	"nothing":                                  {nil, nothing},
	"it acted before":                          {[]signal{{Acted, -s}}, back},
	"it went before":                           {[]signal{{Went, -s}}, nothing},
	"it acted meanwhile":                       {[]signal{{Acted, 5 * s}}, there},
	"it came meanwhile":                        {[]signal{{Came, 5 * s}}, there},
	"it went meanwhile":                        {[]signal{{Went, 5 * s}}, there},
	"it did something, nobody knows when":      {[]signal{{Acted, never}}, there},
	"it came afterwards":                       {[]signal{{Came, 11 * s}}, back},
	"it acted afterwards":                      {[]signal{{Acted, 11 * s}}, back},
	"it went afterwards: it was there":         {[]signal{{Went, 11 * s}}, there},
	"it rebooted":                              {[]signal{{Went, 11 * s}, {Came, 20 * s}}, there},
	"it came afterwards, and went":             {[]signal{{Came, 11 * s}, {Went, 20 * s}}, back},
	"it came afterwards; then late news":       {[]signal{{Came, 11 * s}, {Acted, 5 * s}}, thereAndAgain},
	"it went before and came afterwards":       {[]signal{{Went, -s}, {Came, 11 * s}}, back},
	"late news of what it did meanwhile":       {[]signal{{Went, -s}, {Acted, 5 * s}}, there},
	"it came and went, and acted before both":  {[]signal{{Came, 11 * s}, {Went, 12 * s}, {Acted, -s}}, back},
	"it went and came before, and again after": {[]signal{{Went, -2 * s}, {Came, -s}, {Went, 11 * s}}, thereAndAgain},
}

// playAfterAnAnswer has a command answered, calls then, has the signals come, and returns the office.
func playAfterAnAnswer(signals []signal, ahead time.Duration, then func(*office)) *office {
	o, began := newOffice(), time.Now().Add(ahead)
	o.begin("d", "a")
	o.slots["d"].Answered(WindowOf(began.Add(10*s), 10*s))
	then(o)
	for _, e := range signals {
		at := began.Add(e.at)
		if e.at == never {
			at = time.Time{}
		}
		o.signals("d", e.sign, at)
	}
	return o
}

// onClocksOfHubs runs a test of each row by three clocks.
func onClocksOfHubs(t *testing.T, check func(t *testing.T, signals []signal, ahead time.Duration, want told)) {
	t.Helper()
	for name, test := range afterAnAnswer {
		for _, ahead := range []time.Duration{0, -time.Hour, time.Hour} {
			t.Run(fmt.Sprintf("%s, the hub's clock ahead by %s", name, ahead), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { check(t, test.signals, ahead, test.want) })
			})
		}
	}
}

func TestEventsStirACommandThatWasAnswered(t *testing.T) {
	onClocksOfHubs(t, func(t *testing.T, signals []signal, ahead time.Duration, want told) {
		t.Helper()
		o := playAfterAnAnswer(signals, ahead, func(*office) {})
		if got := o.slots["d"].IsStirred(); got != want.mayHaveRun {
			t.Errorf("stirred %v, want %v", got, want.mayHaveRun)
		}
	})
}

func TestEventsWakeACommandAtRestOrCastDoubtOnIt(t *testing.T) {
	onClocksOfHubs(t, func(t *testing.T, signals []signal, ahead time.Duration, want told) {
		t.Helper()
		o := playAfterAnAnswer(signals, ahead, func(o *office) {
			o.slots["d"].Rest(Rest{Awaits: AwaitsConnection})
			o.end("d")
		})
		looked := o.looked()
		if got := (told{mayHaveRun: slices.Contains(looked, "doubt about a"), isBack: slices.Contains(looked, "a")}); got != want {
			t.Errorf("looked at %v: %+v, want %+v", looked, got, want)
		}
	})
}

func TestWhatEventsSayBeforeTheHubAnswers(t *testing.T) {
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	began := noon.Add(-10 * s) // by the hub's clock, which is days away from ours
	for name, test := range map[string]struct {
		at      time.Time
		window  Window
		stirred bool
	}{
		"it was there before":        {began.Add(-1), WindowOf(noon, 10*s), false},
		"it was there when it began": {began, WindowOf(noon, 10*s), true},
		"it was there meanwhile":     {began.Add(s), WindowOf(noon, 10*s), true},
		"nobody knows when it was":   {time.Time{}, WindowOf(noon, 10*s), true},
		"the hub says no time":       {began.Add(-s), WindowOf(time.Time{}, 10*s), true},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice()
			o.begin("d", "a")
			o.At(first).Signal("d", Acted, test.at, Origin{})
			o.slots["d"].Answered(test.window)
			if got := o.slots["d"].IsStirred(); got != test.stirred {
				t.Errorf("stirred %v", got)
			}
			o.slots["d"].Rest(Rest{RequestID: "r1", Awaits: AwaitsConnection})
			if o.IsDoubted(object("a"), "r1") != test.stirred {
				t.Errorf("looked at %v after what was heard before", o.looked())
			}
		})
	}
}

func TestADeviceThatIsBackEndsARest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.rest("d", "a", AwaitsConnection, s)
		o.rest("e", "b", AwaitsConnection, s)
		o.rest("g", "cleared", AwaitsConnection, s)
		o.Clear(object("cleared"))
		o.rest("h", "sent again", AwaitsConnection, s)
		o.begin("h", "sent again")
		o.rest("i", "refused", AwaitsNothing, s)
		o.signals("d", Went, time.Now().Add(-time.Hour))
		for _, device := range []string{"f", "g", "h", "i"} {
			o.signals(device, Came, time.Now())
		}
		wantNames(t, "looked at without the device", o.looked())
		if got := o.Waits(hub, "d"); len(got) != 1 || got[0].Name != "a" || len(o.Waits(hub, "h")) > 0 {
			t.Errorf("wait for the device: %v", got)
		}
		o.At(first).Signal("d", Came, time.Now(), Origin{})
		if rest, _ := o.RestOf(object("a"), "of a"); rest.Over {
			t.Error("over before the device has settled")
		}
		o.settles()
		o.signals("d", Came, time.Now())
		wantNames(t, "looked at once", o.looked(), "a")
		if rest, known := o.RestOf(object("a"), "of a"); !known || !rest.Over {
			t.Errorf("known %v, over %v", known, rest.Over)
		}
		if _, known := o.RestOf(object("a"), "of another attempt"); known {
			t.Error("it is the rest after one attempt")
		}
	})
}

// recalled is an office with a command that was under way for a second until now, before this
// process listened.
func recalled() *office {
	o, until := newOffice(), time.Now()
	of := Rest{RequestID: "of a", Awaits: AwaitsConnection, At: first, Began: until.Add(-s)}
	time.Sleep(time.Minute)
	o.Recall(object("a"), of, "d", WindowOf(until, s))
	o.Recall(object("a"), of, "d", WindowOf(until, time.Hour))
	return o
}

func TestARecalledCommandIsWokenOnceAllIsHeard(t *testing.T) {
	second := Site{hub, &Life{}}
	tests := map[string]struct {
		steps func(o *office, until time.Time)
		want  []string
	}{
		"nothing is heard yet":   {func(*office, time.Time) {}, nil},
		"all is heard":           {func(o *office, _ time.Time) { o.caughtUp() }, []string{"a"}},
		"all is heard, twice":    {func(o *office, _ time.Time) { o.caughtUp(); o.caughtUp() }, []string{"a"}},
		"it was there meanwhile": {func(o *office, u time.Time) { o.signals("d", Acted, u.Add(-s/2)); o.caughtUp() }, []string{"doubt about a"}},
		"it rebooted": {func(o *office, u time.Time) {
			o.signals("d", Went, u.Add(s))
			o.signals("d", Came, u.Add(9*s))
			o.caughtUp()
		}, []string{"doubt about a"}},
		"it is back": {func(o *office, u time.Time) { o.signals("d", Came, u.Add(s)); o.caughtUp() }, []string{"a"}},
		"it is back, and then late news": {func(o *office, u time.Time) { o.signals("d", Came, u.Add(s)); o.signals("d", Acted, u) },
			[]string{"a", "doubt about a"}},
		"all is heard, but for late news": {func(o *office, u time.Time) { o.caughtUp(); o.signals("d", Acted, u) }, []string{"a", "doubt about a"}},
		"events were lost": {func(o *office, u time.Time) {
			o.At(first).Lost()
			o.caughtUp()
			o.signals("d", Came, u.Add(s))
		}, nil},
		"events were lost, and it was there": {func(o *office, u time.Time) { o.At(first).Lost(); o.signals("d", Acted, u) }, []string{"doubt about a"}},
		"events were lost after all was heard": {func(o *office, u time.Time) {
			o.caughtUp()
			o.moved(second, first)
			o.At(first).Lost()
			o.signals("d", Came, u.Add(s))
		}, []string{"a", "a"}},
		"events were lost, and it moved": {func(o *office, u time.Time) {
			o.At(first).Lost()
			o.moved(second, first)
			o.caughtUp()
			o.signals("d", Came, u.Add(s))
		}, nil},
		"it moved, and all is heard":           {func(o *office, _ time.Time) { o.moved(second, first); o.caughtUp() }, []string{"a"}},
		"it moved, and it was there meanwhile": {func(o *office, u time.Time) { o.moved(second, first); o.signals("d", Acted, u) }, []string{"doubt about a"}},
		"its IoTHub is another one": {func(o *office, u time.Time) {
			other := Site{Hub{object("other"), "h"}, &Life{}}
			o.Move(object("a"), other)
			o.signals("d", Came, u.Add(s)) // at the one before
			o.At(other).CaughtUp(time.Now())
			o.settles()
		}, []string{"a"}},
		"it went before that":                  {func(o *office, u time.Time) { o.signals("d", Went, u.Add(-2*s)); o.caughtUp() }, []string{"a"}},
		"it is sent again before all is heard": {func(o *office, _ time.Time) { o.begin("d", "a"); o.caughtUp() }, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				until := time.Now()
				o := recalled()
				test.steps(o, until)
				if diff := cmp.Diff(test.want, o.looked()); diff != "" {
					t.Errorf("looked at (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// caughtUp says that all is handled that the hub holds now.
func (o *office) caughtUp() {
	o.At(first).CaughtUp(time.Now())
	o.settles()
}

// moved has sessions follow each other, each after a gap.
func (o *office) moved(to ...Site) {
	for _, at := range to {
		o.At(at).Resume()
	}
}

// A session that follows another one without a gap goes on where that one's events ended.
func TestACommandIsNotWokenByASessionThatFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.rest("d", "a", AwaitsConnection, s)
		o.At(first).Resume()
		o.caughtUp()
		wantNames(t, "looked at", o.looked())
		second := Site{hub, &Life{}}
		o.moved(second)
		o.caughtUp()
		wantNames(t, "looked at once the session before the gap has caught up", o.looked())
		o.At(second).CaughtUp(time.Now())
		o.settles()
		wantNames(t, "looked at after the gap", o.looked(), "a")
	})
}

// A session that goes while a command is under way leaves it to the next one, before the hub
// answers and afterwards.
func TestACommandThatIsUnderWayIsHeardAcrossAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, second := newOffice(), Site{hub, &Life{}}
		o.begin("d", "a")
		o.moved(second)
		began := time.Now()
		o.At(second).Signal("d", Acted, began, Origin{})
		o.slots["d"].Answered(WindowOf(began.Add(s), s))
		if !o.slots["d"].IsStirred() {
			t.Error("an event is lost")
		}
		o.begin("e", "b")
		o.moved(first)
		o.rest("e", "b", AwaitsConnection, s)
		o.slots["e"].Answered(WindowOf(began, s))
		o.slots["e"].Rest(Rest{RequestID: "r2", Awaits: AwaitsConnection})
		o.end("e")
		o.caughtUp()
		wantNames(t, "woken as after a gap", o.looked())
	})
}

func TestACommandThatHeardBeforeALossIsNotWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.begin("d", "a")
		o.At(first).Lost() // while it is under way
		o.slots["d"].Answered(WindowOf(time.Now(), s))
		o.slots["d"].Rest(Rest{Awaits: AwaitsConnection})
		o.signals("d", Came, time.Now().Add(s))
		o.caughtUp()
		wantNames(t, "events that were lost may have told that it ran", o.looked())
	})
}

// An event may come after what it tells of, and after others that the hub held then. All of an
// attempt's time are heard only a while after it.
func TestALossMattersUntilAllEventsOfTheAttemptsTimeAreHeard(t *testing.T) {
	for caughtUp, want := range map[time.Duration][]string{
		0: nil, s: nil, tellsWithin: nil, tellsWithin + 1: {"a"},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice()
			o.rest("d", "a", AwaitsConnection, s)
			time.Sleep(caughtUp)
			o.At(first).CaughtUp(time.Now())
			time.Sleep(time.Minute)
			o.At(first).Lost()
			o.signals("d", Came, time.Now())
			wantNames(t, fmt.Sprintf("looked at, caught up after %s", caughtUp), o.looked(), want...)
		})
	}
}

// The hub says for certain of a disabled device that it did not ask it: no event that is lost could
// tell otherwise.
func TestACommandThatCannotHaveRunIsWokenAfterALoss(t *testing.T) {
	for _, awaits := range []Awaited{AwaitsEnabling, AwaitsIdentity} {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice()
			o.rest("d", "a", awaits, s)
			o.At(first).Lost()
			o.signals("d", Acted, time.Now().Add(-s/2)) // while it was asked
			wantNames(t, "looked at", o.looked(), "a")
		})
	}
}

// Until it is on record, the event that casts doubt on a command has to be read again after a
// restart.
func TestADoubtIsOutstandingUntilItIsOnRecord(t *testing.T) {
	for name, end := range map[string]func(*office){
		"it is on record": func(o *office) { o.DoubtIsOnRecord(object("a")) },
		"it is cleared":   func(o *office) { o.Clear(object("a")) },
		"it is sent again": func(o *office) {
			o.begin("d", "a")
			o.slots["d"].Start(func(context.Context) {})
			o.Wait()
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := recalled()
			o.signals("d", Acted, time.Time{})
			if diff := cmp.Diff([]Origin{{Partition: "1", SequenceNumber: 7}}, o.At(first).Outstanding()); diff != "" {
				t.Errorf("outstanding (-want +got):\n%s", diff)
			}
			end(o)
			if left := o.At(first).Outstanding(); len(left) > 0 {
				t.Errorf("%s: outstanding %v", name, left)
			}
		})
	}
}

// The device of an object that is gone is listened for while a command of its name and spec may be
// sent, and no longer.
func TestTheRestOfAnObjectThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, key := newOffice(), object("a")
		o.rest("d", "a", AwaitsConnection, s)
		if o.Gone(key) != nil || o.State(key) != Resting {
			t.Error("nobody listens for its device")
		}
		time.Sleep(time.Hour + 1)
		wantNames(t, "looked at", o.looked(), "a")
		o.Gone(key)
		o.wantNothing(t)

		at := time.Now()
		o.rest("d", "a", AwaitsConnection, s)
		o.Gone(key)
		o.signals("d", Acted, at)
		if doubted := o.Gone(key); doubted == nil || doubted.RequestID != "of a" {
			t.Errorf("doubted %v", doubted)
		}
		o.wantNothing(t)
	})
}
