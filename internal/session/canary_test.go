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
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func TestTheCanary(t *testing.T) {
	late := noon.Add(DefaultEchoWithin + time.Second)
	echoOf := func(version int64) *twin.Notification { return desired(t, version, version, `"target":"on",`, 1) }
	report := reported(t, 9, 9, `"target":"on",`, 1)
	write := func(c *canary, ids ...string) {
		for _, id := range ids {
			c.expect(id, 4, noon)
		}
	}
	heard := func(c *canary, ids ...string) {
		for _, id := range ids {
			c.hear(id, echoOf(5), noon)
		}
	}
	for name, c := range map[string]struct {
		act               func(c *canary)
		alive, sure, dead bool
	}{
		"knows nothing at first":          {func(*canary) {}, false, false, false},
		"is alive once it heard an event": {func(c *canary) { heard(c, "x") }, true, true, false},
		"bears two missing echoes": {func(c *canary) {
			write(c, "a", "b")
			c.judge(late, true)
		}, false, false, false},
		"is not sure after one": {func(c *canary) {
			heard(c, "x")
			write(c, "a")
			c.judge(late, true)
		}, true, false, false},
		"is sure again with the next event": {func(c *canary) {
			heard(c, "x")
			write(c, "a")
			c.judge(late, true)
			heard(c, "x")
		}, true, true, false},
		"is dead after three": {func(c *canary) {
			write(c, "a", "b", "c")
			c.judge(late, true)
		}, false, false, true},
		"comes back with the first event": {func(c *canary) {
			write(c, "a", "b", "c")
			c.judge(late, true)
			heard(c, "a")
		}, true, true, false},
		"does not count writes that failed": {func(c *canary) {
			for _, id := range []string{"a", "b", "c"} {
				c.expect(id, 4, noon)()
			}
			c.judge(late, true)
		}, false, false, false},
		"counts the write before one that failed": {func(c *canary) {
			write(c, "a", "b", "c")
			for _, id := range []string{"a", "b", "c"} {
				c.expect(id, 5, noon)()
			}
			c.judge(late, true)
		}, false, false, true},
		"has heard the write before one that failed": {func(c *canary) {
			write(c, "a", "b", "c")
			for _, id := range []string{"a", "b", "c"} {
				failed := c.expect(id, 5, noon)
				heard(c, id)
				failed()
			}
			c.judge(late.Add(time.Hour), true)
		}, true, true, false},
		"believes an earlier run, until it misses three itself": {func(c *canary) {
			c.resume(true)
			write(c, "a", "b")
			c.judge(late, true)
		}, true, false, false},
		"does not count while nobody listens": {func(c *canary) {
			write(c, "a", "b", "c")
			c.judge(late, false)
			c.judge(late, true)
		}, false, false, false},
		"counts from when somebody listens again": {func(c *canary) {
			write(c, "a", "b", "c")
			c.judge(late, false)
			c.judge(late.Add(DefaultEchoWithin+time.Second), true)
		}, false, false, true},
		"does not wait longer for a device that is written again and again": {func(c *canary) {
			for _, id := range []string{"a", "b", "c"} {
				c.expect(id, 4, noon)
				c.expect(id, 5, late)
			}
			c.judge(late, true)
		}, false, false, true},
		"waits for the later of two writes": {func(c *canary) {
			c.expect("a", 4, noon)
			c.expect("a", 5, noon)
			heard(c, "a")
			c.judge(late, true)
		}, true, false, false},
		"takes no report for an echo": {func(c *canary) {
			write(c, "a")
			c.hear("a", report, noon)
			c.judge(late, true)
		}, true, false, false},
		"takes no event for an echo that was on its way when the write was made": {func(c *canary) {
			write(c, "a")
			c.hear("a", echoOf(4), noon)
			c.judge(late, true)
		}, true, false, false},
		"forgets what came in time": {func(c *canary) {
			write(c, "a", "b", "c")
			heard(c, "a", "b", "c")
			c.judge(late, true)
		}, true, true, false},
		"forgets what the stream passed over": {func(c *canary) {
			write(c, "a", "b", "c")
			c.skip()
			c.judge(late, true)
		}, false, false, false},
		"believes nothing of another stream": {func(c *canary) {
			heard(c, "x")
			c.begin()
		}, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			bird := &canary{}
			c.act(bird)
			if bird.alive() != c.alive || bird.sure() != c.sure || bird.dead() != c.dead {
				t.Errorf("alive %v, sure %v, dead %v; want %v, %v, %v", bird.alive(), bird.sure(), bird.dead(), c.alive, c.sure, c.dead)
			}
		})
	}
}

func TestOnlyDevicesThatReliedOnEventsAreLate(t *testing.T) {
	late := noon.Add(DefaultEchoWithin + time.Second)
	for name, c := range map[string]struct {
		heard bool
		want  []string
	}{
		"twin changes came before":                {true, []string{"a", "b"}},
		"none came ever: devices are read anyway": {false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bird := &canary{}
			bird.resume(c.heard)
			bird.expect("b", 4, noon)
			bird.expect("a", 4, noon)
			bird.expect("in time", 4, late)
			if got, _ := bird.judge(late, true); !slices.Equal(got, c.want) {
				t.Errorf("late: %v, want %v", got, c.want)
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
