package hubs

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

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
	c.stir("d", true)
	if c.Stirred("d") {
		t.Error("before its command was sent")
	}
	c.Begin("d", object("a"), func() {})
	c.Begin("e", object("b"), func() {})
	if c.Stirred("d") {
		t.Error("an event before the command counts")
	}
	c.stir("d", false)
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

func TestAwait(t *testing.T) {
	var c Calls
	var woken []string
	wake := func(what string) func() { return func() { woken = append(woken, what) } }
	c.Await("d", object("a"), wake("replaced"))
	c.Await("d", object("a"), wake("a"))
	c.Await("e", object("b"), wake("b"))
	c.stir("d", false)
	c.stir("f", true)
	if woken != nil {
		t.Errorf("woken without the device: %q", woken)
	}
	c.stir("d", true)
	c.stir("d", true)
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
	c.Await("d", object("a"), func() { woken++; c.Await("d", object("a"), func() { woken++ }) })
	c.stir("d", true)
	c.stir("d", true)
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
			c.Await(id, name, func() {})
			c.stir(id, true)
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
			calls.Begin("d", object("c"), func() {})
			calls.Await("d", object("waits"), func() { woken = true })
			f.Handle(t.Context(), test.event)
			if calls.Stirred("d") != test.stirred || woken != test.woken {
				t.Errorf("stirred %v, woken %v", calls.Stirred("d"), woken)
			}
		})
	}
}
