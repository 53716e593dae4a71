package hubs

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/internal/watch"
)

func object(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "factory", Name: name}
}

// callPlaces is Calls, and who was told of a free place.
type callPlaces struct {
	Calls

	told []string
}

func (p *callPlaces) begin(deviceID, name string) bool {
	return p.Begin(deviceID, object(name), func() { p.told = append(p.told, name) })
}

// full is a hub whose last place is taken by device d63.
func full(t *testing.T) *callPlaces {
	t.Helper()
	p := &callPlaces{}
	for i := range maxCalls {
		if id := fmt.Sprintf("d%d", i); !p.begin(id, id) {
			t.Fatalf("no place for command %d", i)
		}
	}
	return p
}

func (p *callPlaces) wantTold(t *testing.T, names ...string) {
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
	p := &callPlaces{}
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
	answered := func(deviceID string) bool { // within a second, by the hub's clock
		c.Answered(deviceID, Window{noon, noon.Add(time.Second)})
		return c.Stirred(deviceID)
	}
	c.stir("d", Acted, noon, Place{})
	c.Begin("d", object("a"), func() {})
	c.Begin("e", object("b"), func() {})
	c.stir("d", Went, noon, Place{})
	if c.Stirred("d") {
		t.Error("nobody knows when the command was under way, by the hub's clock")
	}
	if !answered("d") || answered("e") {
		t.Error("a disconnection is an event of its device, and of no other")
	}
	c.End("d")
	if c.Stirred("d") {
		t.Error("after the end")
	}
	c.Begin("d", object("a"), func() {})
	if answered("d") {
		t.Error("an event of an earlier command counts")
	}
}

// What an event tells happened before it arrives: here all arrive after the hub's answer, which it
// gave after 10 s, or before. The hub's clock may say anything.
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
		"it did something, nobody knows when":      {[]event{{Acted, never}}, true, false, true},
		"it came afterwards":                       {[]event{{Came, 11 * s}}, false, true, false},
		"it acted afterwards":                      {[]event{{Acted, 11 * s}}, false, true, false},
		"it went afterwards: it was there":         {[]event{{Went, 11 * s}}, true, false, true},
		"it rebooted":                              {[]event{{Went, 11 * s}, {Came, 20 * s}}, true, false, true},
		"it came afterwards, and went":             {[]event{{Came, 11 * s}, {Went, 20 * s}}, false, true, false},
		"it came afterwards; then late news":       {[]event{{Came, 11 * s}, {Acted, 5 * s}}, true, true, true},
		"it went before and came afterwards":       {[]event{{Went, -s}, {Came, 11 * s}}, false, true, false},
		"late news of what it did meanwhile":       {[]event{{Went, -s}, {Acted, 5 * s}}, true, false, true},
		"it came and went, and acted before both":  {[]event{{Came, 11 * s}, {Went, 12 * s}, {Acted, -s}}, false, true, false},
		"it went and came before, and again after": {[]event{{Went, -2 * s}, {Came, -s}, {Went, 11 * s}}, true, true, true},
	}
	for name, test := range tests {
		for _, ahead := range []time.Duration{0, -time.Hour, time.Hour} { // the hub's clock
			for _, resting := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, resting %v, the hub's clock ahead by %s", name, resting, ahead), func(t *testing.T) {
					var c Calls
					began := time.Now().Add(ahead)
					c.Begin("d", object("a"), func() {})
					c.Answered("d", WindowOf(began.Add(10*s), 10*s))
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
						c.stir("d", e.sign, at, Place{})
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
			}
		}
	}
}

func TestWhatEventsSayBeforeTheHubAnswers(t *testing.T) {
	const s = time.Second
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
			var c Calls
			c.Begin("d", object("a"), func() {})
			c.stir("d", Acted, test.at, Place{})
			c.Answered("d", test.window)
			if c.Stirred("d") != test.stirred {
				t.Errorf("stirred %v", c.Stirred("d"))
			}
			doubted := false
			c.Await("d", object("a"), func() {}, func() { doubted = true })
			if doubted != test.stirred {
				t.Errorf("doubted %v by what was heard before", doubted)
			}
		})
	}
}

func TestAwait(t *testing.T) {
	var c Calls
	var woken []string
	wake := func(what string) func() { return func() { woken = append(woken, what) } }
	await := func(deviceID, name, what string) {
		c.Begin(deviceID, object(name), func() {})
		c.Answered(deviceID, WindowOf(noon, time.Second))
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
	c.stir("d", Went, noon.Add(-time.Hour), Place{})
	for _, id := range []string{"f", "g", "h"} {
		c.stir(id, Came, noon.Add(time.Hour), Place{})
	}
	if woken != nil {
		t.Errorf("woken without the device: %q", woken)
	}
	c.stir("d", Came, noon.Add(time.Hour), Place{})
	c.stir("d", Came, noon.Add(time.Hour), Place{})
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
	c.Answered("d", WindowOf(noon, time.Second))
	c.Await("d", object("a"), func() { woken++; c.Await("d", object("a"), func() { woken++ }, nil) }, nil)
	c.stir("d", Acted, noon.Add(time.Hour), Place{})
	c.stir("d", Acted, noon.Add(time.Hour), Place{})
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
			c.stir(id, Acted, noon, Place{})
			c.Answered(id, WindowOf(noon, 0))
			c.Await(id, name, func() {}, func() {})
			c.stir(id, Acted, noon, Place{})
			if !c.Stirred(id) {
				t.Errorf("an event of device %s is lost", id)
			}
			running.Add(-1)
			busy[device].Add(-1)
			c.End(id)
			c.Told(name)
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
			calls.Answered("d", WindowOf(noon, time.Second))
			calls.Await("d", object("waits"), func() { woken = true }, func() {})
			calls.End("d")
			test.event.OperationTime = noon.Add(time.Hour)
			calls.Begin("d", object("c"), func() {})
			f.Handle(t.Context(), test.event)
			calls.Answered("d", WindowOf(noon.Add(time.Hour), time.Second))
			if calls.Stirred("d") != test.stirred || woken != test.woken {
				t.Errorf("stirred %v, woken %v", calls.Stirred("d"), woken)
			}
		})
	}
}

// recalled is Calls with a command that was under way for a second until noon, before this process
// listened.
func recalled(t *testing.T) (c *Calls, said *[]string) {
	t.Helper()
	c, said = &Calls{}, &[]string{}
	say := func(what string) func() { return func() { *said = append(*said, what) } }
	c.Recall("d", object("a"), WindowOf(noon, time.Second), say("wake"), say("doubt"))
	c.Recall("d", object("a"), WindowOf(noon, time.Hour), say("wake again"), say("doubt again"))
	return c, said
}

func TestARecalledCommandIsWokenOnceAllIsHeard(t *testing.T) {
	const s = time.Second
	stir := func(sign Sign, after time.Duration) func(*Calls) {
		return func(c *Calls) { c.stir("d", sign, noon.Add(after), Place{Partition: "1", SequenceNumber: 7}) }
	}
	caughtUp, deafen := func(c *Calls) { c.caughtUp(time.Now()) }, (*Calls).deafen
	doubt := func() {}
	moved := func(c *Calls) { // to another session, and back
		var other Calls
		c.MoveTo(&other, "d", object("a"), func() {})
		other.MoveTo(c, "d", object("a"), doubt)
	}
	for name, test := range map[string]struct {
		steps []func(*Calls)
		said  []string
	}{
		"nothing is heard yet":                 {nil, nil},
		"all is heard":                         {[]func(*Calls){caughtUp}, []string{"wake"}},
		"all is heard, again and again":        {[]func(*Calls){caughtUp, caughtUp}, []string{"wake"}},
		"it was there meanwhile":               {[]func(*Calls){stir(Acted, -s/2), caughtUp}, []string{"doubt"}},
		"it rebooted":                          {[]func(*Calls){stir(Went, s), stir(Came, 9*s), caughtUp}, []string{"doubt"}},
		"it is back":                           {[]func(*Calls){stir(Came, s), caughtUp}, []string{"wake"}},
		"it is back, and then late news":       {[]func(*Calls){stir(Came, s), stir(Acted, 0)}, []string{"wake", "doubt"}},
		"all is heard, but for late news":      {[]func(*Calls){caughtUp, stir(Acted, 0)}, []string{"wake", "doubt"}},
		"events were lost":                     {[]func(*Calls){deafen, caughtUp, stir(Came, s)}, nil},
		"events were lost, and it was there":   {[]func(*Calls){deafen, stir(Acted, 0)}, []string{"doubt"}},
		"events were lost after all was heard": {[]func(*Calls){caughtUp, moved, deafen, stir(Came, s)}, []string{"wake", "wake"}},
		"events were lost, and it moved":       {[]func(*Calls){deafen, moved, caughtUp, stir(Came, s)}, nil},
		"it moved, and all is heard":           {[]func(*Calls){moved, caughtUp}, []string{"wake"}},
		"it moved, and it was there meanwhile": {[]func(*Calls){moved, stir(Acted, 0)}, []string{"doubt"}},
		"it went before that":                  {[]func(*Calls){stir(Went, -2*s), caughtUp}, []string{"wake"}},
		"it is sent again before all is heard": {[]func(*Calls){func(c *Calls) { c.Begin("d", object("a"), func() {}) }, caughtUp}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c, said := recalled(t)
			doubt = func() { *said = append(*said, "doubt") }
			for _, step := range test.steps {
				step(c)
			}
			if !slices.Equal(*said, test.said) {
				t.Errorf("said %q, want %q", *said, test.said)
			}
		})
	}
}

func TestACommandThatHeardBeforeALossIsNotWoken(t *testing.T) {
	var c Calls
	woken := false
	c.Begin("d", object("a"), func() {})
	c.deafen() // while it is under way
	c.Answered("d", WindowOf(noon, time.Second))
	c.Await("d", object("a"), func() { woken = true }, func() {})
	c.stir("d", Came, noon.Add(time.Second), Place{})
	c.caughtUp(time.Now())
	if woken {
		t.Error("events that were lost may have told that it ran")
	}
}

// The hub says for certain of a disabled device that it did not ask it: no event that is lost could tell
// otherwise.
func TestACommandThatCannotHaveRunIsWokenAfterALoss(t *testing.T) {
	var c Calls
	woken := false
	c.Begin("d", object("a"), func() {})
	c.Answered("d", WindowOf(noon, time.Second))
	c.Await("d", object("a"), func() { woken = true }, nil)
	c.End("d")
	c.deafen()
	c.stir("d", Came, noon.Add(time.Second), Place{})
	if !woken {
		t.Error("it waits for its timer")
	}
}

// Until it is on record, the event that casts doubt on a command has to be read again after a
// restart.
func TestADoubtAboutACommandHoldsTheCheckpoint(t *testing.T) {
	f, a, _ := newFeed()
	a.recall = func(c *Calls) { c.Recall("other", object("a"), WindowOf(noon, time.Second), func() {}, func() {}) }
	f.Resume(t.Context(), watch.Checkpoint{})
	telemetry := event(watch.Telemetry, "other") // nobody declares it any more
	telemetry.OperationTime, telemetry.Telemetry = noon, &watch.TelemetryMessage{}
	f.Handle(t.Context(), telemetry)
	if diff := cmp.Diff(map[string]watch.Mark{"0": {SequenceNumber: 5}}, f.Outstanding(time.Now()).First); diff != "" {
		t.Errorf("outstanding (-want +got):\n%s", diff)
	}
	f.Session.Calls().Told(object("a"))
	if o := f.Outstanding(time.Now()); len(o.First) != 0 {
		t.Errorf("outstanding %v", o.First)
	}
}

func TestAnEventThatCannotBeReadMayTellOfADevice(t *testing.T) {
	f, a, _ := newFeed()
	doubted := false
	a.recall = func(c *Calls) {
		c.Recall("d", object("a"), WindowOf(noon, time.Second), func() {}, func() { doubted = true })
	}
	f.Resume(t.Context(), watch.Checkpoint{})
	f.Poison(t.Context(), &watch.PoisonError{Kind: watch.Disconnected, DeviceID: "d", Partition: "0", SequenceNumber: 5})
	if !doubted {
		t.Error("not doubted")
	}
}

func TestWhatAStreamMayTellOf(t *testing.T) {
	for name, test := range map[string]struct {
		phase watch.Phase // "": none is read
		heard time.Duration
		tells bool
	}{
		"no stream":                     {"", 0, false},
		"it is being opened":            {watch.Connecting, 0, true},
		"it is read, and nothing known": {watch.Reading, 0, true},
		"it was read until before":      {watch.Reading, -time.Second, true},
		"it was read until then":        {watch.Reading, time.Second, false},
		"it lags":                       {watch.Lagging, -time.Second, true},
		"it is refused":                 {watch.Unauthorized, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, _, _ := newFeed()
			if test.phase != "" {
				f.Session.stream.Store(&streamState{State: watch.State{Phase: test.phase}})
			}
			if test.heard != 0 {
				f.CaughtUp(noon.Add(test.heard))
			}
			if got := f.Session.MayTellOf(noon); got != test.tells {
				t.Errorf("tells %v", got)
			}
		})
	}
}
