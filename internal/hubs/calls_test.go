package hubs

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/internal/watch"
)

func object(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "factory", Name: name}
}

// places is Calls, and who was told of a free place.
type places struct {
	Calls

	told []string
}

func (p *places) begin(deviceID, name string) bool {
	return p.Begin(deviceID, object(name), func() { p.told = append(p.told, name) })
}

// full is a hub whose last place is taken by device d63.
func full(t *testing.T) *places {
	t.Helper()
	p := &places{}
	for i := range maxCalls {
		if id := fmt.Sprintf("d%d", i); !p.begin(id, id) {
			t.Fatalf("no place for command %d", i)
		}
	}
	return p
}

func (p *places) wantTold(t *testing.T, names ...string) {
	t.Helper()
	if diff := cmp.Diff(names, p.told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestAHubHasSoManyPlaces(t *testing.T) {
	p := full(t)
	if p.begin("another", "a") {
		t.Errorf("%d commands under way", maxCalls+1)
	}
	p.End("d0")
	p.wantTold(t, "a")
	if !p.begin("another", "a") {
		t.Error("the place that became free is not given")
	}
	if p.begin("yet another", "b") {
		t.Error("the place that became free is given twice")
	}
}

func TestADeviceHasOnePlace(t *testing.T) {
	p := &places{}
	if !p.begin("d", "a") || p.begin("d", "b") || !p.begin("e", "c") {
		t.Fatal("a device has one place, and another device its own")
	}
	p.End("d")
	p.wantTold(t, "b")
	if !p.begin("d", "b") {
		t.Error("the device is still taken")
	}
}

func TestPlacesAreOfferedInTurn(t *testing.T) {
	p := full(t)
	for _, name := range []string{"a", "b", "c", "b", "a"} { // those that ask again keep their turn, and have one only
		if p.begin("of "+name, name) {
			t.Fatal("a place of a full hub")
		}
	}
	for i := range 5 {
		p.End(fmt.Sprintf("d%d", i))
	}
	p.wantTold(t, "a", "b", "c")
}

func TestAPlaceIsNotOfferedToABusyDevice(t *testing.T) {
	p := full(t)
	p.begin("d7", "a") // waits for d7, not for the hub
	p.begin("of b", "b")
	p.End("d0")
	p.wantTold(t, "b")
	p.End("d7")
	p.wantTold(t, "b", "a")
}

func TestWhoTookAPlaceDoesNotWaitForOne(t *testing.T) {
	p := full(t)
	p.begin("of a", "a")
	p.begin("of b", "b")
	p.End("d0") // tells a, but b is faster
	if !p.begin("of b", "b") || p.begin("of a", "a") {
		t.Fatal("one place is free")
	}
	p.End("d1")
	p.wantTold(t, "a", "a")
}

func TestEndOfWhatHasNotBegun(t *testing.T) {
	var c Calls
	c.End("d")
	if !c.Begin("d", object("a"), func() {}) {
		t.Error("no place")
	}
}

func TestStirred(t *testing.T) {
	var c Calls
	c.stir("d", Acted, time.Now())
	if c.Stirred("d") {
		t.Error("before its command was sent")
	}
	c.Begin("d", object("a"), func() {})
	c.Begin("e", object("b"), func() {})
	if c.Stirred("d") {
		t.Error("an event before the command counts")
	}
	c.stir("d", Went, time.Now())
	if !c.Stirred("d") || c.Stirred("e") {
		t.Error("a disconnection is an event of its device, and of no other")
	}
	c.End("d")
	if c.Stirred("d") {
		t.Error("after the end")
	}
	c.Begin("d", object("a"), func() {})
	if c.Stirred("d") {
		t.Error("an event of an earlier command counts")
	}
}

// what an event tells happened before it arrives: here all arrive after the answer, which came 10 s after the place was taken.
func TestWhatEventsSayOfACommandThatWasAnswered(t *testing.T) {
	type event struct {
		sign Sign
		at   time.Duration // since the place was taken; never is unknown
	}
	const s, never = time.Second, -time.Hour
	tests := map[string]struct {
		events                []event
		stirred, woken, doubt bool
	}{
		"nothing":                                  {},
		"it acted before":                          {[]event{{Acted, -s}}, false, true, false},
		"it went before":                           {[]event{{Went, -s}}, false, false, false},
		"it acted meanwhile":                       {[]event{{Acted, 5 * s}}, true, false, true},
		"it came meanwhile":                        {[]event{{Came, 5 * s}}, true, false, true},
		"it went meanwhile":                        {[]event{{Went, 5 * s}}, true, false, true},
		"it did something, nobody knows when":      {[]event{{Acted, never}}, false, true, false},
		"it came afterwards":                       {[]event{{Came, 11 * s}}, false, true, false},
		"it acted afterwards":                      {[]event{{Acted, 11 * s}}, false, true, false},
		"it went afterwards: it was there":         {[]event{{Went, 11 * s}}, true, false, true},
		"it rebooted":                              {[]event{{Went, 11 * s}, {Came, 20 * s}}, true, false, true},
		"it came afterwards, and went":             {[]event{{Came, 11 * s}, {Went, 20 * s}}, false, true, false},
		"it went before and came afterwards":       {[]event{{Went, -s}, {Came, 11 * s}}, false, true, false},
		"late news of what it did meanwhile":       {[]event{{Went, -s}, {Acted, 5 * s}}, true, false, true},
		"it came and went, and acted before both":  {[]event{{Came, 11 * s}, {Went, 12 * s}, {Acted, -s}}, false, true, false},
		"it went and came before, and again after": {[]event{{Went, -2 * s}, {Came, -s}, {Went, 11 * s}}, true, true, false},
	}
	for name, test := range tests {
		for _, resting := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, resting %v", name, resting), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var c Calls
					began := time.Now()
					c.Begin("d", object("a"), func() {})
					time.Sleep(10 * s)
					c.Answered("d")
					time.Sleep(time.Minute)
					var woken, doubted bool
					if resting {
						c.Await("d", object("a"), func() { woken = true }, func() { doubted = true })
						c.End("d")
					}
					for _, e := range test.events {
						at := began.Add(e.at)
						if e.at == never {
							at = time.Time{}
						}
						c.stir("d", e.sign, at)
					}
					if !resting {
						if got := c.Stirred("d"); got != test.stirred {
							t.Errorf("stirred %v", got)
						}
						return
					}
					if woken != test.woken || doubted != test.doubt {
						t.Errorf("woken %v, doubted %v", woken, doubted)
					}
				})
			})
		}
	}
}

func TestAwait(t *testing.T) {
	var c Calls
	var woken []string
	wake := func(what string) func() { return func() { woken = append(woken, what) } }
	await := func(deviceID, name, what string) {
		c.Begin(deviceID, object(name), func() {})
		c.Answered(deviceID)
		c.Await(deviceID, object(name), wake(what), wake("doubt about "+what))
		c.End(deviceID)
	}
	await("d", "a", "replaced")
	await("d", "a", "a")
	await("e", "b", "b")
	await("g", "forgotten", "forgotten")
	c.Forget("g", object("forgotten"))
	await("h", "sent again", "sent again")
	c.Begin("h", object("sent again"), func() {})
	long := time.Now().Add(-time.Hour)
	c.stir("d", Went, long)
	for _, id := range []string{"f", "g", "h"} {
		c.stir(id, Came, time.Now().Add(time.Hour))
	}
	if woken != nil {
		t.Errorf("woken without the device: %q", woken)
	}
	c.stir("d", Came, time.Now().Add(time.Hour))
	c.stir("d", Came, time.Now().Add(time.Hour))
	if diff := cmp.Diff([]string{"a"}, woken); diff != "" {
		t.Errorf("one wake, once (-want +got):\n%s", diff)
	}
}

func TestAWakeMayAskAgain(t *testing.T) {
	var c Calls
	c.Begin("d", object("a"), func() {})
	again := false
	c.Begin("d", object("b"), func() { again = c.Begin("d", object("b"), func() {}) })
	c.End("d")
	if !again {
		t.Error("no place from within the wake")
	}
	woken := 0
	c.Begin("d", object("a"), func() {})
	c.Answered("d")
	c.Await("d", object("a"), func() { woken++; c.Await("d", object("a"), func() { woken++ }, nil) }, nil)
	later := time.Now().Add(time.Hour)
	c.stir("d", Acted, later)
	c.stir("d", Acted, later)
	if woken != 2 {
		t.Errorf("woken %d times", woken)
	}
}

func TestCallsOfManyAtOnce(t *testing.T) {
	const commands = 400
	var c Calls
	var all sync.WaitGroup
	var running, most atomic.Int32
	busy := make([]atomic.Int32, commands/4)
	for i := range commands {
		device := i % len(busy)
		id, name := fmt.Sprint(device), object(fmt.Sprint(i))
		all.Go(func() {
			offers := make(chan struct{}, 1)
			for !c.Begin(id, name, func() { offers <- struct{}{} }) {
				<-offers // one that is lost hangs
			}
			if busy[device].Add(1) != 1 {
				t.Errorf("two commands of device %s", id)
			}
			now := running.Add(1)
			for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
			}
			c.stir(id, Acted, time.Now())
			c.Answered(id)
			c.Await(id, name, func() {}, func() {})
			c.stir(id, Acted, time.Now())
			if !c.Stirred(id) {
				t.Errorf("an event of device %s is lost", id)
			}
			running.Add(-1)
			busy[device].Add(-1)
			c.End(id)
		})
	}
	all.Wait()
	if most.Load() > maxCalls {
		t.Errorf("%d commands under way at once", most.Load())
	}
	if len(c.full) != 0 || len(c.running) != 0 || len(c.waiting) != 0 {
		t.Errorf("left over: %d waiters, %d running, %d awaited", len(c.full), len(c.running), len(c.waiting))
	}
}

func TestWhatADeviceDoesStirsItsCommands(t *testing.T) {
	change := func(n *twin.Notification) watch.Event {
		e := event(watch.TwinChanged, "d")
		e.Twin = n
		return e
	}
	telemetry := func(id string) watch.Event {
		e := event(watch.Telemetry, id)
		e.Telemetry = &watch.TelemetryMessage{Body: []byte(`{"temperature":1}`)}
		return e
	}
	tests := map[string]struct {
		event          watch.Event
		stirred, woken bool
	}{
		"it connects":                        {event(watch.Connected, "d"), true, true},
		"it disconnects":                     {event(watch.Disconnected, "d"), true, false},
		"it sends telemetry":                 {telemetry("d"), true, true},
		"it reports":                         {change(reported(t, 11, 6, `"target":"on",`, 1)), true, true},
		"somebody writes desired properties": {change(desired(t, 11, 5, `"target":"x",`, 1)), false, false},
		"somebody replaces its twin":         {event(watch.TwinReplaced, "d"), false, false},
		"a module changes":                   {event(watch.Module, "d"), false, false},
		"another device reports":             {telemetry("other"), false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f, _, _ := newFeed()
			calls := f.Session.Calls()
			woken := false
			calls.Begin("d", object("waits"), func() {})
			calls.Answered("d")
			calls.Await("d", object("waits"), func() { woken = true }, func() {})
			calls.End("d")
			test.event.OperationTime = time.Now().Add(time.Hour)
			calls.Begin("d", object("c"), func() {})
			f.Handle(t.Context(), test.event)
			if calls.Stirred("d") != test.stirred || woken != test.woken {
				t.Errorf("stirred %v, woken %v", calls.Stirred("d"), woken)
			}
		})
	}
}
