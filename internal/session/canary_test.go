package session

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
)

// trust is what a canary says of the stream.
type trust struct{ alive, sure, dead bool }

var (
	unknown = trust{}
	trusted = trust{alive: true, sure: true}
	doubted = trust{alive: true} // an echo or two are missing, or another run heard the last one
	lost    = trust{dead: true}
)

// A step is what happens to a canary between noon and late, when all echoes of noon are late.
type step func(*testing.T, *canary)

var late = noon.Add(DefaultEchoWithin + time.Second)

// written makes writes that follow a desired version.
func written(after int64, at time.Time, ids ...string) step {
	return func(_ *testing.T, c *canary) {
		for _, id := range ids {
			c.expect(id, after, at)
		}
	}
}

// refused makes writes that fail, in whose time the event of a version is heard, 0 if none is.
func refused(after, heard int64, ids ...string) step {
	return func(t *testing.T, c *canary) {
		for _, id := range ids {
			cancel := c.expect(id, after, noon)
			if heard != 0 {
				echoed(heard, id)(t, c)
			}
			cancel()
		}
	}
}

// echoed hears the events of a desired version.
func echoed(version int64, ids ...string) step {
	return func(t *testing.T, c *canary) {
		for _, id := range ids {
			c.hear(id, desired(t, version, version, `"target":"on",`, 1), noon)
		}
	}
}

// reports hears that a device reported.
func reports(id string) step {
	return func(t *testing.T, c *canary) { c.hear(id, reported(t, 9, 9, `"target":"on",`, 1), noon) }
}

// judged looks for echoes that are late.
func judged(at time.Time, reading bool) step {
	return func(_ *testing.T, c *canary) { c.judge(at, reading) }
}

func resumed(_ *testing.T, c *canary) { c.resume(true) }
func skipped(_ *testing.T, c *canary) { c.skip() }
func begun(_ *testing.T, c *canary)   { c.begin() }

func TestTrustInEventsFollowsTheEchoesOfWrites(t *testing.T) {
	const reading, notReading = true, false
	for name, test := range map[string]struct {
		steps []step
		want  trust
	}{
		"nothing happened":                     {nil, unknown},
		"an event is heard":                    {[]step{echoed(5, "x")}, trusted},
		"two echoes are missing, none came":    {[]step{written(4, noon, "a", "b"), judged(late, reading)}, unknown},
		"one is missing":                       {[]step{echoed(5, "x"), written(4, noon, "a"), judged(late, reading)}, doubted},
		"one is missing, then an event comes":  {[]step{echoed(5, "x"), written(4, noon, "a"), judged(late, reading), echoed(5, "x")}, trusted},
		"three are missing":                    {[]step{written(4, noon, "a", "b", "c"), judged(late, reading)}, lost},
		"three are missing, then an event":     {[]step{written(4, noon, "a", "b", "c"), judged(late, reading), echoed(5, "a")}, trusted},
		"three writes failed":                  {[]step{refused(4, 0, "a", "b", "c"), judged(late, reading)}, unknown},
		"those before three failed ones":       {[]step{written(4, noon, "a", "b", "c"), refused(5, 0, "a", "b", "c"), judged(late, reading)}, lost},
		"those before failed ones were heard":  {[]step{written(4, noon, "a", "b", "c"), refused(5, 5, "a", "b", "c"), judged(late.Add(time.Hour), reading)}, trusted},
		"an earlier run heard one, two missed": {[]step{resumed, written(4, noon, "a", "b"), judged(late, reading)}, doubted},
		"nobody listened":                      {[]step{written(4, noon, "a", "b", "c"), judged(late, notReading), judged(late, reading)}, unknown},
		"nobody listened, then for a minute": {
			[]step{written(4, noon, "a", "b", "c"), judged(late, notReading), judged(late.Add(DefaultEchoWithin+time.Second), reading)}, lost,
		},
		"three are written again and again": {[]step{written(4, noon, "a", "b", "c"), written(5, late, "a", "b", "c"), judged(late, reading)}, lost},
		"the first of two writes is heard":  {[]step{written(4, noon, "a"), written(5, noon, "a"), echoed(5, "a"), judged(late, reading)}, doubted},
		"a report is no echo":               {[]step{written(4, noon, "a"), reports("a"), judged(late, reading)}, doubted},
		"an event that was on its way":      {[]step{written(4, noon, "a"), echoed(4, "a"), judged(late, reading)}, doubted},
		"all came in time":                  {[]step{written(4, noon, "a", "b", "c"), echoed(5, "a", "b", "c"), judged(late, reading)}, trusted},
		"the stream passed over them":       {[]step{written(4, noon, "a", "b", "c"), skipped, judged(late, reading)}, unknown},
		"another stream brought an event":   {[]step{echoed(5, "x"), begun}, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			c := &canary{}
			for _, take := range test.steps {
				take(t, c)
			}
			if got := (trust{c.alive(), c.sure(), c.dead()}); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

func TestOnlyDevicesThatReliedOnEventsAreLate(t *testing.T) {
	for name, test := range map[string]struct {
		heard bool
		want  []string
	}{
		"twin changes came before":                {true, []string{"a", "b"}},
		"none came ever: devices are read anyway": {false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := &canary{}
			c.resume(test.heard)
			written(4, noon, "b", "a")(t, c)
			written(4, late, "in time")(t, c)
			if got, _ := c.judge(late, true); !slices.Equal(got, test.want) {
				t.Errorf("late: %v, want %v", got, test.want)
			}
		})
	}
}

// reading is a feed whose stream is read, and trusted.
func reading(t *testing.T, devices ...string) (*Feed, *audience) {
	t.Helper()
	knows := map[string]func() Belief{}
	for _, id := range devices {
		knows[id] = believed
	}
	f, a, _ := feedOf(knows)
	f.Session.stream.Store(&streamState{State: eventstream.State{Phase: eventstream.Reading}})
	f.Session.memory.canary.resume(true)
	return f, a
}

func TestAMissedEchoHasItsDeviceReadOnceAndAllThatOweAnAnswerLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a := reading(t, "written", "owes", "idle")
		ctx, stop := context.WithCancel(t.Context())
		go f.Session.judge(ctx, f, nil)
		f.Session.Device("owes").Awaits(true)
		f.Session.Device("idle")
		f.Session.EventsTrusted() // a pass relies on it
		f.Session.writing("written", time.Now())
		f.Session.writing("undeclared", time.Now())
		if got := f.Outstanding(time.Now()).Doubtful; !slices.Equal(got, []string{"undeclared", "written"}) {
			t.Errorf("a restart before the echo would believe status of %v", got)
		}
		time.Sleep(DefaultEchoWithin)
		if told := a.heard(); len(told) > 0 {
			t.Fatalf("told before their time: %v", told)
		}
		time.Sleep(2 * judgeEvery)
		if diff := cmp.Diff([]string{"owes now", "written now"}, a.heard()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		d := f.Session.Device("written")
		if !d.Doubtful() || d.OnlySwept() || f.Session.EventsTrusted() {
			t.Errorf("doubtful: %t, only swept: %t, events trusted: %t", d.Doubtful(), d.OnlySwept(), f.Session.EventsTrusted())
		}
		if got := f.Outstanding(time.Now()).Doubtful; !slices.Equal(got, []string{"written"}) {
			t.Errorf("in the checkpoint: %v", got)
		}
		time.Sleep(time.Hour)
		if len(a.heard()) != 2 {
			t.Errorf("told again: %v", a.heard())
		}
		stop()
		synctest.Wait()
	})
}

func TestAStreamThatIsLostHasThoseLookedAtThatOweAnAnswerOnceEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a := reading(t, "owes", "idle")
		ctx, stop := context.WithCancel(t.Context())
		go f.Session.judge(ctx, f, nil)
		f.Session.Device("owes").Awaits(true)
		f.Session.Device("idle").Awaits(false)
		for _, c := range []struct {
			phase eventstream.Phase
			relax bool // a pass relies on events
			want  int
		}{
			{eventstream.Reading, true, 0}, {eventstream.Unavailable, true, 1}, {eventstream.Taken, true, 1},
			{eventstream.Reading, true, 1}, {eventstream.Lagging, true, 2},
			{eventstream.Reading, false, 2}, {eventstream.Connecting, false, 2}, // nobody looked meanwhile
		} {
			f.Session.stream.Store(&streamState{State: eventstream.State{Phase: c.phase}})
			if c.relax {
				f.Session.EventsTrusted()
			}
			time.Sleep(judgeEvery + time.Second)
			if got := a.heard(); len(got) != c.want || c.want > 0 && got[0] != "owes now" {
				t.Errorf("%s: told %v, want %d times", c.phase, got, c.want)
			}
		}
		stop()
		synctest.Wait()
	})
}

func TestEventsThatComeBackAfterManyWereMissedHaveAllDevicesRead(t *testing.T) {
	f, a := reading(t, "a", "b")
	change := event(eventstream.TwinChanged, "a")
	change.Twin = desired(t, 11, 5, `"target":"on",`, 1)
	f.Handle(t.Context(), change)
	if len(a.sleepers()) > 0 || f.Outstanding(noon).Resync {
		t.Fatal("an event like others had devices read")
	}
	for _, id := range []string{"a", "b", "c"} {
		f.Session.memory.canary.expect(id, 9, noon)
	}
	f.Session.memory.canary.judge(noon.Add(time.Hour), true)
	f.Handle(t.Context(), change)
	deadline := time.After(10 * time.Second)
	for f.Outstanding(noon).Resync {
		select {
		case <-deadline:
			t.Fatal("the resync does not end")
		case <-time.After(time.Millisecond):
		}
	}
	if diff := cmp.Diff([]string{"a", "b"}, a.sleepers()); diff != "" {
		t.Errorf("woken (-want +got):\n%s", diff)
	}
}

// closed is a hub that is closed at the end of a session.
type closed struct{ Hub }

func (*closed) Close() {}

func TestASessionThatFollowsAnotherWaitsForItsEchoes(t *testing.T) {
	var r Registry
	name := types.NamespacedName{Namespace: "factory", Name: "hub"}
	first, second := NewSession(&closed{}, "h", "1"), NewSession(&closed{}, "h", "2")
	r.Put(t.Context(), name, first, func(ctx context.Context) { <-ctx.Done() })
	first.stream.Store(&streamState{State: eventstream.State{Phase: eventstream.Reading}})
	first.writing("d", noon)
	r.Put(t.Context(), name, second, func(ctx context.Context) { <-ctx.Done() })
	second.memory.canary.begin()
	second.memory.canary.resume(true)
	if late, _ := second.memory.canary.judge(noon.Add(time.Hour), true); !slices.Equal(late, []string{"d"}) {
		t.Errorf("late: %v", late)
	}
	r.Drop(name)
}
