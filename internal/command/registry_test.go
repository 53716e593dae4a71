package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

// full is a hub whose last place is taken by device d63.
func full(t *testing.T) *office {
	t.Helper()
	o := newOffice()
	for i := range maxPlaces {
		if id := fmt.Sprintf("d%d", i); !o.begin(id, id) {
			t.Fatalf("no place for command %d", i)
		}
	}
	return o
}

func TestAHubHasSoManyPlaces(t *testing.T) {
	o := full(t)
	if o.begin("another", "a") {
		t.Errorf("%d commands under way", maxPlaces+1)
	}
	o.end("d0")
	wantNames(t, "told", o.told, "a")
	if !o.begin("another", "a") {
		t.Error("the place that became free is not given")
	}
	if o.begin("yet another", "b") {
		t.Error("the place that became free is given twice")
	}
}

func TestADeviceHasOnePlace(t *testing.T) {
	o := newOffice()
	if !o.begin("d", "a") || o.begin("d", "b") || !o.begin("e", "c") {
		t.Fatal("a device has one place, and another device its own")
	}
	o.end("d")
	wantNames(t, "told", o.told, "b")
	if !o.begin("d", "b") {
		t.Error("the device is still taken")
	}
}

func TestPlacesAreOfferedInTurn(t *testing.T) {
	o := full(t)
	for _, name := range []string{"a", "b", "c", "b", "a"} { // those that ask again keep their turn, and have one only
		if o.begin("of "+name, name) {
			t.Fatal("a place of a full hub")
		}
	}
	for i := range 5 {
		o.end(fmt.Sprintf("d%d", i))
	}
	wantNames(t, "told", o.told, "a", "b", "c")
}

func TestAPlaceIsNotOfferedToABusyDevice(t *testing.T) {
	o := full(t)
	o.begin("d7", "a") // waits for d7, not for the hub
	o.begin("of b", "b")
	o.end("d0")
	wantNames(t, "told", o.told, "b")
	o.end("d7")
	wantNames(t, "told", o.told, "b", "a")
}

func TestWhoTookAPlaceDoesNotWaitForOne(t *testing.T) {
	o := full(t)
	o.begin("of a", "a")
	o.begin("of b", "b")
	o.end("d0") // tells a, but b is faster
	if !o.begin("of b", "b") || o.begin("of a", "a") {
		t.Fatal("one place is free")
	}
	o.end("d1")
	wantNames(t, "told", o.told, "a", "a")
}

// A command that is deleted while it waits for a place would be told of one, and nobody else.
func TestACommandThatIsGoneWaitsForNoPlace(t *testing.T) {
	for name, end := range map[string]func(*office){
		"it is gone":     func(o *office) { o.Gone(object("a")) },
		"it is finished": func(o *office) { o.Clear(object("a")) },
	} {
		o := full(t)
		o.begin("of a", "a")
		o.begin("of b", "b")
		if state := o.State(object("a")); state != Waiting {
			t.Errorf("%s: %s", name, state)
		}
		end(o)
		o.end("d0")
		wantNames(t, name, o.told, "b")
		for i := 1; i < maxPlaces; i++ {
			o.end(fmt.Sprintf("d%d", i))
		}
		o.wantNothing(t)
	}
}

func TestAPlaceIsGivenBackOnce(t *testing.T) {
	o := newOffice()
	o.begin("d", "a")
	earlier := o.slots["d"]
	earlier.Leave()
	if o.State(object("a")) != Running {
		t.Error("the attempt has ended with its call")
	}
	if !o.begin("d", "b") {
		t.Fatal("the place is not given back")
	}
	earlier.Leave()
	earlier.End()
	wantNames(t, "looked at", o.looked(), "a")
	if o.begin("d", "c") || earlier.IsUnderWay() || !o.slots["d"].IsUnderWay() {
		t.Error("the place of the next command is given back with the first one's")
	}
}

// The payloads of commands under way are memory of all tenants.
func TestLargePayloadsAreBoundedOverAllHubs(t *testing.T) {
	r, offered, slots := NewRegistry(func(types.NamespacedName) {}), []string{}, map[string]*Slot{}
	reserve := func(namespace, hub, device string, payload int) bool {
		key := types.NamespacedName{Namespace: namespace, Name: hub + device}
		s, err := r.Reserve(Request{
			Key: key, Site: Site{Hub: Hub{IoTHub: types.NamespacedName{Namespace: namespace, Name: hub}}}, Device: device, Payload: payload,
			Freed: func() { offered = append(offered, key.String()) },
		})
		if err == nil {
			slots[key.String()] = s
		}
		return err == nil
	}
	large, most := func(namespace string) (n int) {
		for reserve(namespace, fmt.Sprint("hub", n%5), fmt.Sprint(n), smallPayload+1) {
			n++
		}
		return n
	}, 0
	for _, namespace := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		n := large(namespace)
		if namespace == "a" && n != maxLarge/2 || namespace == "b" && n != maxLarge/4 {
			t.Errorf("namespace %s has %d large payloads under way", namespace, n)
		}
		most += n
	}
	if most > maxLarge {
		t.Errorf("%d large payloads under way, expected at most %d", most, maxLarge)
	}
	if !reserve("a", "hub0", "small", smallPayload) {
		t.Error("a small payload waits for large ones")
	}
	if reserve("i", "hub0", "first", smallPayload+1) || len(offered) > 0 {
		t.Fatalf("there was room for another namespace, or %v were offered a place", offered)
	}
	slots["a/hub00"].End()
	slots["a/hub11"].End()
	if !slices.Contains(offered, "i/hub0first") || !reserve("i", "hub0", "first", smallPayload+1) {
		t.Errorf("room that became free was offered to %v", offered)
	}
}

func TestAWakeMayAskAgain(t *testing.T) {
	r := NewRegistry(nil)
	s, err := r.Reserve(Request{Key: object("a"), Site: first, Device: "d"})
	if err != nil {
		t.Fatal(err)
	}
	again := errors.New("not told")
	another := Request{Key: object("b"), Site: first, Device: "d"}
	waits := another
	waits.Freed = func() { _, again = r.Reserve(another) }
	_, _ = r.Reserve(waits)
	s.Cancel()
	if again != nil {
		t.Errorf("no place from within the wake: %v", again)
	}
}

func TestStatesOfACommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, key, now := newOffice(), object("a"), time.Now()
		want := func(want State) {
			t.Helper()
			if got := o.State(key); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		want(Idle)
		o.begin("d", "before")
		o.begin("d", "a")
		want(Waiting)
		o.end("d")
		o.begin("d", "a")
		want(Running)
		o.slots["d"].Answered(WindowOf(now, time.Second))
		o.slots["d"].Rest(Rest{RequestID: "r1", Awaits: AwaitsConnection})
		want(Running)
		o.end("d")
		want(Resting)
		o.signals("d", Acted, now)
		want(Doubted)
		if !o.IsDoubted(key, "r1") || o.IsDoubted(key, "r2") {
			t.Error("it is the attempt that is in doubt")
		}
		o.DoubtIsOnRecord(key)
		want(Resting)
		o.Clear(key)
		want(Idle)
		o.wantNothing(t)
	})
}

func TestWhatIsKnownBetweenAttempts(t *testing.T) {
	o, key := newOffice(), object("a")
	o.Claiming(key, "r1")
	o.ClaimFailed(key, errors.New("no"))
	if id, err := o.Unsent(key), o.Failure(key); id != "r1" || err == nil {
		t.Errorf("request ID %q, failure %v", id, err)
	}
	o.Claimed(key)
	if id, err := o.Unsent(key), o.Failure(key); id != "" || err != nil {
		t.Errorf("request ID %q, failure %v", id, err)
	}
	o.wantNothing(t)
	if !o.PassBy(key, "1") || o.PassBy(key, "1") || !o.IsPassedBy(key, "1") || o.IsPassedBy(key, "2") || o.IsPassedBy(object("b"), "") {
		t.Error("it is the object that is passed by, and that is news once")
	}
	o.Clear(key)
	o.wantNothing(t)
}

func TestADrainWaitsForAttempts(t *testing.T) {
	for name, test := range map[string]struct {
		takes, want time.Duration
	}{
		"those that end in time":  {time.Second, time.Second},
		"those that have to stop": {time.Hour, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			o, began := newOffice(), time.Now()
			o.begin("d", "a")
			s := o.slots["d"]
			s.Start(func(ctx context.Context) {
				select {
				case <-ctx.Done():
				case <-time.After(test.takes):
				}
				s.End()
			})
			o.Drain(time.Minute)
			if took := time.Since(began); took != test.want {
				t.Errorf("%s: %s", name, took)
			}
			if _, err := o.Reserve(Request{Key: object("b"), Site: first, Device: "e"}); !errors.Is(err, ErrClosing) || !o.IsClosing() {
				t.Errorf("%s: an attempt is begun after the stop: %v", name, err)
			}
			o.wantNothing(t)
		})
	}
}

func TestTheCallOfAnObjectThatIsGoneEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice()
		o.begin("d", "a")
		s := o.slots["d"]
		s.Start(func(ctx context.Context) {
			<-ctx.Done()
			if !s.IsAbandoned() {
				t.Error("the object is gone")
			}
			s.End()
		})
		o.Gone(object("a"))
		o.Wait()
		o.wantNothing(t)
	})
}

func TestManyCommandsAtOnce(t *testing.T) {
	const commands = 400
	r := NewRegistry(func(types.NamespacedName) {})
	var all sync.WaitGroup
	var running, most atomic.Int32
	busy := make([]atomic.Int32, commands/4)
	now := time.Now()
	for i := range commands {
		device := i % len(busy)
		id, key := fmt.Sprint(device), object(fmt.Sprint(i))
		all.Go(func() {
			offers := make(chan struct{}, 1)
			request := Request{Key: key, Site: first, Device: id, Freed: func() { offers <- struct{}{} }}
			s, err := r.Reserve(request)
			for err != nil {
				<-offers // one that is lost hangs
				s, err = r.Reserve(request)
			}
			if busy[device].Add(1) != 1 {
				t.Errorf("two commands of device %s", id)
			}
			n := running.Add(1)
			for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
			}
			ear := r.At(first)
			ear.Signal(id, Acted, now, Origin{})
			s.Answered(WindowOf(now, 0))
			s.Rest(Rest{Awaits: AwaitsConnection})
			ear.Signal(id, Acted, now, Origin{})
			if !s.IsStirred() {
				t.Errorf("an event of device %s is lost", id)
			}
			running.Add(-1)
			busy[device].Add(-1)
			s.Cancel()
			r.Clear(key)
		})
	}
	all.Wait()
	if most.Load() > maxPlaces {
		t.Errorf("%d commands under way at once", most.Load())
	}
	if len(r.runs) != 0 || len(r.lines) != 0 {
		t.Errorf("left over: %d commands, %d lines", len(r.runs), len(r.lines))
	}
}

// In any order of things that happen to commands, a device runs one at a time, a hub so many, and
// nothing is kept of those that are over.
func TestNothingIsKeptOfCommandsThatAreOver(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := NewRegistry(func(types.NamespacedName) {})
		slots := map[string]*Slot{}
		name := rapid.SampledFrom([]string{"a", "b", "c"})
		device := rapid.SampledFrom([]string{"d", "e"})
		sites := []Site{first, {hub, &Life{}}, {Hub{object("other"), "h"}, &Life{}}}
		site := rapid.SampledFrom(sites)
		now := time.Now()
		running := func(do func(*Slot)) func(*rapid.T) {
			return func(t *rapid.T) {
				if s := slots[name.Draw(t, "name")]; s != nil {
					do(s)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(t *rapid.T) {
				n, d, at := name.Draw(t, "name"), device.Draw(t, "device"), site.Draw(t, "site")
				if s, err := r.Reserve(Request{Key: object(n), Site: at, Device: d, Freed: func() {}}); err == nil {
					slots[n] = s
				}
			},
			"answer": running(func(s *Slot) { s.Answered(WindowOf(now, time.Second)) }),
			"rest":   running(func(s *Slot) { s.Rest(Rest{RequestID: "r", Awaits: Awaited(s.Device[0] % 4)}) }),
			"leave":  running(func(s *Slot) { s.Leave() }),
			"end": func(t *rapid.T) {
				if n := name.Draw(t, "name"); slots[n] != nil {
					slots[n].Cancel()
					delete(slots, n)
				}
			},
			"event":  func(t *rapid.T) { r.At(site.Draw(t, "site")).Signal(device.Draw(t, "device"), Acted, now, Origin{}) },
			"caught": func(t *rapid.T) { r.At(site.Draw(t, "site")).CaughtUp(now.Add(time.Hour)) },
			"lost":   func(t *rapid.T) { r.At(site.Draw(t, "site")).Lost() },
			"resume": func(t *rapid.T) { r.At(site.Draw(t, "site")).Resume() },
			"move":   func(t *rapid.T) { r.Move(object(name.Draw(t, "name")), site.Draw(t, "site")) },
			"recall": func(t *rapid.T) {
				r.Recall(object(name.Draw(t, "name")), Rest{RequestID: "r2", At: first}, "d", Window{})
			},
			"record":  func(t *rapid.T) { r.DoubtIsOnRecord(object(name.Draw(t, "name"))) },
			"gone":    func(t *rapid.T) { r.Gone(object(name.Draw(t, "name"))) },
			"claim":   func(t *rapid.T) { r.Claiming(object(name.Draw(t, "name")), "r3") },
			"passed":  func(t *rapid.T) { r.PassBy(object(name.Draw(t, "name")), "1") },
			"failure": func(t *rapid.T) { r.ClaimFailed(object(name.Draw(t, "name")), errors.New("no")) },
			"": func(t *rapid.T) {
				for _, l := range r.lines {
					for d, s := range l.busy {
						if s.Device != d || s.run.slot != s || s.isLeft {
							t.Fatalf("device %s has the place of another attempt", d)
						}
					}
					for d, runs := range l.resting {
						for key, is := range runs {
							if r.runs[key] != is || is.rest == nil || is.rest.device != d || is.rest.hearing == nil || r.lines[is.rest.At.Hub] != l {
								t.Fatalf("what device %s does is heard by a command that does not rest for it", d)
							}
						}
					}
				}
			},
		})
		for n, s := range slots {
			s.Cancel()
			delete(slots, n)
		}
		for _, n := range []string{"a", "b", "c"} {
			r.Clear(object(n))
		}
		if len(r.runs)+len(r.lines) > 0 {
			t.Fatalf("left over: %d commands, %d lines", len(r.runs), len(r.lines))
		}
	})
}
