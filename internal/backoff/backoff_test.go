package backoff

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

var writesAtFactory = Trouble{Destination: "factory.azure-devices.net", Class: budget.TwinWrite}

// crowd is objects that fail at one hub.
type crowd struct {
	Failures

	woken []string
}

func (c *crowd) fail(now time.Time, row *waits.Row, names ...string) {
	for _, name := range names {
		c.Fails(name, Cause{Row: row, At: writesAtFactory, Wake: func() { c.woken = append(c.woken, name) }}, now)
	}
}

// succeed has a request for an object succeed, and returns who is woken by that.
func (c *crowd) succeed(now time.Time, name string) []string {
	c.woken = nil
	for _, wake := range c.Taken(writesAtFactory, name, now) {
		wake()
	}
	return c.woken
}

func names(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("factory/d-%d", i)
	}
	return all
}

// Ten thousand that fail at one hub come back as fast as it answers, and no faster: each success wakes a
// few, once each.
func TestSuccessesWakeThoseThatFailInBoundedBursts(t *testing.T) {
	const many = 10_000
	c, now := &crowd{}, time.Now()
	c.fail(now, waits.HubFails, names(many)...)
	now = now.Add(time.Minute)
	seen, inFlight := map[string]bool{}, []string{"factory/d-0"}
	for len(inFlight) > 0 {
		next := inFlight[0]
		inFlight = inFlight[1:]
		woken := c.succeed(now, next)
		c.Over(next)
		if len(woken) > wakeBurst {
			t.Fatalf("%d were woken at once", len(woken))
		}
		for _, name := range woken {
			if seen[name] {
				t.Fatalf("%s was woken twice", name)
			}
			seen[name] = true
		}
		inFlight = append(inFlight, woken...)
	}
	if len(seen) != many-1 || len(c.objects) != 0 || len(c.at) != 0 {
		t.Errorf("%d of %d were woken, %d fail, at %d hubs", len(seen), many-1, len(c.objects), len(c.at))
	}
}

// Those that go on to fail are not woken by each success of others.
func TestSuccessesOfOthersWakeNobodyAgainAndAgain(t *testing.T) {
	c, began := &crowd{}, time.Now()
	c.fail(began, waits.HubFails, "factory/ill")
	tries := 0
	for passed := time.Duration(0); passed < time.Hour; passed += 100 * time.Millisecond {
		now := began.Add(passed)
		if len(c.succeed(now, "factory/well")) > 0 {
			tries++
			c.fail(now, waits.HubFails, "factory/ill")
		}
	}
	if least, most := int(time.Hour/waits.SafetyNet), int(time.Hour/waits.SafetyNet)+10; tries < least || tries > most {
		t.Errorf("%d tries in an hour, expected %d to %d", tries, least, most)
	}
	c.fail(began, waits.DeviceAbsent, "factory/absent")
	if woken := c.succeed(began.Add(2*time.Hour), "factory/well"); len(woken) != 1 || woken[0] != "factory/ill" {
		t.Errorf("%v are woken, though the success says nothing of a device that is absent", woken)
	}
}

func TestBackoffIsByTheTimeOfFailing(t *testing.T) {
	start := time.Now()
	why := Cause{Row: waits.HubFails}
	asked := Cause{Row: waits.HubFails, About: "a person asked"}
	for name, c := range map[string]struct {
		tries []time.Duration // since the first one
		last  Cause
		want  time.Duration
	}{
		"at first":      {[]time.Duration{0}, why, 500 * time.Millisecond},
		"after a while": {[]time.Duration{0, 8 * time.Second}, why, 8 * time.Second},
		"and many tries that something else caused": {[]time.Duration{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, time.Second}, why, time.Second},
		"for long":                       {[]time.Duration{0, time.Hour}, why, waits.SafetyNet},
		"for long, until a person asks":  {[]time.Duration{0, time.Hour}, asked, 500 * time.Millisecond},
		"with a clock that was set back": {[]time.Duration{0, -time.Hour}, why, 500 * time.Millisecond},
	} {
		f, got := &Failures{}, time.Duration(0)
		for i, at := range c.tries {
			one := why
			if i == len(c.tries)-1 {
				one = c.last
			}
			got = f.Fails("factory/d", one, start.Add(at))
		}
		if got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// However many fail at a hub, it is asked about every two seconds, and events of their devices do not
// have it asked more often.
func TestManyThatFailAtAHubShareItsQuestions(t *testing.T) {
	c, now := &crowd{}, time.Now()
	c.fail(now, waits.HubFails, names(1000)...)
	if next := c.Fails("factory/d-0", Cause{Row: waits.HubFails, At: writesAtFactory}, now); next != 1000*waits.HubFails.Each {
		t.Errorf("each of 1,000 is tried again in %v", next)
	}
	if held := c.Hold("factory/d-1", now.Add(time.Second)); held != 1000*waits.Event.Most-time.Second {
		t.Errorf("an event is held for %v", held)
	}
	alone := &crowd{}
	alone.fail(now, waits.HubFails, "factory/d")
	for after, want := range map[time.Duration]time.Duration{0: waits.Event.Most, time.Second: time.Second, time.Minute: 0, -time.Hour: 0} {
		if held := alone.Hold("factory/d", now.Add(after)); held != want {
			t.Errorf("an event %v after the last try is held for %v, want %v", after, held, want)
		}
	}
	if alone.Hold("factory/well", now) != 0 {
		t.Error("an event of a device that does not fail is held")
	}
}

// A cause that comes and goes leaves nothing behind.
func TestFailuresThatComeAndGoBeginAnew(t *testing.T) {
	b, item := NewLasting(&Failures{}, waits.APIServer, ""), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "factory", Name: "d"}}
	for range 100 {
		if wait := b.When(item); wait > waits.APIServer.First*11/10 {
			t.Fatalf("the first try after a success comes in %v", wait)
		}
		b.Ended(item)
	}
	b.Fails(b.nameOf(item), Cause{Row: waits.HubRefuses}, time.Now())
	if wait := b.When(item); wait < waits.HubRefuses.First*8/10 {
		t.Errorf("a failure that was noted is tried again in %v", wait)
	}
	if b.Left(b.nameOf(item), "", time.Now().Add(-time.Hour)) > waits.HubRefuses.First {
		t.Error("a clock that was set back makes a wait longer")
	}
}

// A hub that is well and does not know devices is no trouble of those that it knows.
func TestAbsentDevicesKeepNobodyWaiting(t *testing.T) {
	c, now := &crowd{}, time.Now()
	c.fail(now, waits.DeviceAbsent, names(1000)...)
	c.fail(now, waits.HubFails, "factory/known")
	if next := c.Left("factory/known", "", now); next != waits.HubFails.Each {
		t.Errorf("one that fails beside 1,000 absent ones is tried again in %v", next)
	}
	if held := c.Hold("factory/d-1", now); held != waits.Event.Most {
		t.Errorf("the event that tells that a device is there is held for %v", held)
	}
	if woken := c.succeed(now.Add(time.Minute), "factory/d-1"); len(woken) != 1 || woken[0] != "factory/known" {
		t.Errorf("that one device is there wakes %v", woken)
	}
}

// Of those that a hub refuses, one that it takes again shows that it may take others.
func TestRefusalsEndTogether(t *testing.T) {
	c, now := &crowd{}, time.Now()
	c.fail(now, waits.HubRefuses, names(20)...)
	now = now.Add(time.Minute)
	if woken := c.succeed(now, "factory/other"); len(woken) != 0 {
		t.Errorf("a success of one that was not refused wakes %v", woken)
	}
	if woken := c.succeed(now, "factory/d-3"); len(woken) != wakeBurst {
		t.Errorf("%d are woken", len(woken))
	}
}

func TestAnObjectDoesNotFailForAnEarlierOneOfItsName(t *testing.T) {
	var f Failures
	began := time.Now()
	f.Fails("factory/d", Cause{Row: waits.HubFails, Object: "1", At: writesAtFactory}, began)
	later := began.Add(10 * time.Minute)
	wait := f.Fails("factory/d", Cause{Row: waits.HubFails, Object: "2", At: writesAtFactory}, later)
	one, _ := f.Of("factory/d")
	if wait != waits.HubFails.Each || !one.Since.Equal(later) || !one.anew.Equal(later) || len(f.at[one.At]) != 1 {
		t.Errorf("it waits %v, has failed since %v, and %d fail there", wait, one.Since.Sub(began), len(f.at[one.At]))
	}
}
