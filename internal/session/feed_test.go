package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// audience is the objects: one PnPDevice per known device.
type audience struct {
	mu    sync.Mutex
	knows map[string]func() Belief
	told  []string
	woken []string
}

func (a *audience) List(context.Context) ([]Declared, error) {
	var all []Declared
	for id := range a.knows {
		all = append(all, Declared{DeviceID: id, Adopted: true})
	}
	return all, nil
}

func (a *audience) Cached(_ context.Context, id string) (func() Belief, bool) {
	b, ok := a.knows[id]
	return b, ok
}

func (a *audience) Differs(context.Context, *twin.Twin) bool { return false }

func (a *audience) Enqueue(_ context.Context, id string, cause Cause, after time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case cause == CauseSweep:
		a.woken = append(a.woken, id)
	case after > 0:
		a.told = append(a.told, id+" later")
	default:
		a.told = append(a.told, id+" now")
	}
}

func (a *audience) sleepers() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(slices.Values(a.woken))
}

// heard are those that were told of something.
func (a *audience) heard() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(slices.Values(a.told))
}

type counter struct {
	kinds    map[string]int
	measured []Measurement
}

func (c *counter) Event(k eventstream.Kind)   { c.kinds[string(k)]++ }
func (c *counter) Poison()                    { c.kinds["Poison"]++ }
func (c *counter) Telemetry(component string) { c.kinds["telemetry of "+component]++ }
func (c *counter) Measured(m Measurement)     { c.measured = append(c.measured, m) }
func newFeed() (*Feed, *audience, *counter)   { return feedOf(map[string]func() Belief{"d": believed}) }
func event(k eventstream.Kind, id string) eventstream.Event {
	return eventstream.Event{Kind: k, DeviceID: id, Partition: "0", SequenceNumber: 5}
}

func feedOf(knows map[string]func() Belief) (*Feed, *audience, *counter) {
	a, c := &audience{knows: knows}, &counter{kinds: map[string]int{}}
	session := NewSession(&hub{}, "h", "")
	return &Feed{Session: session, Declarations: a, Commands: newCommands(session), Meter: c, Log: logr.Discard(), Changed: func() {}, lifetime: context.Background()}, a, c
}

func TestWhoIsToldOfAnEvent(t *testing.T) {
	change := func(n *twin.Notification) eventstream.Event {
		e := event(eventstream.TwinChanged, "d")
		e.Twin = n
		return e
	}
	connected := event(eventstream.Connected, "d")
	connected.ConnectionSequence, connected.OperationTime = "01", noon
	model := event(eventstream.DigitalTwinChanged, "d")
	model.Model = "dtmi:com:example:Other;1"
	for name, c := range map[string]struct {
		event    eventstream.Event
		told     []string
		doubtful bool
	}{
		"a device reports":                    {change(reported(t, 11, 6, `"target":"on",`, 1)), []string{"d now"}, false},
		"a device reports nothing declared":   {change(reported(t, 11, 6, `"x":1,`, 1)), nil, false},
		"somebody writes desired properties":  {change(desired(t, 11, 5, `"target":"x",`, 1)), []string{"d now"}, false},
		"an event is missing":                 {change(desired(t, 12, 6, `"target":"x",`, 1)), []string{"d now"}, true},
		"the twin is replaced":                {event(eventstream.TwinReplaced, "d"), []string{"d now"}, true},
		"the device is created":               {event(eventstream.DeviceCreated, "d"), []string{"d now"}, true},
		"the device is deleted":               {event(eventstream.DeviceDeleted, "d"), []string{"d now"}, true},
		"the device connects":                 {connected, []string{"d now"}, false},
		"the device has another model":        {model, []string{"d now"}, true},
		"only digital twin events are routed": {event(eventstream.DigitalTwinChanged, "d"), []string{"d later"}, true},
		"a module changes":                    {event(eventstream.Module, "d"), nil, false},
		"something unheard of":                {event(eventstream.Unknown, "d"), nil, false},
		"a device that nobody declares":       {event(eventstream.DeviceCreated, "other"), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, a, count := newFeed()
			f.Handle(t.Context(), c.event)
			if diff := cmp.Diff(c.told, a.told); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			if got := f.Session.Device("d").Doubtful(); got != c.doubtful {
				t.Errorf("doubtful: %v", got)
			}
			if count.kinds[string(c.event.Kind)] != 1 {
				t.Errorf("counted: %v", count.kinds)
			}
		})
	}
}

// The event that cannot be decoded may be the last one that its device has for an hour.
func TestAnEventThatCannotBeDecodedHasItsDeviceRead(t *testing.T) {
	for kind, isRead := range map[eventstream.Kind]bool{
		eventstream.TwinChanged: true, eventstream.Connected: true, eventstream.Disconnected: true, eventstream.DigitalTwinChanged: true,
		eventstream.Telemetry: false,
	} {
		t.Run(string(kind), func(t *testing.T) {
			f, a, count := newFeed()
			f.Poison(t.Context(), &eventstream.PoisonError{Kind: kind, DeviceID: "d", Partition: "0", SequenceNumber: 5})
			if is := f.Session.Device("d").Doubtful(); is != isRead || (len(a.told) == 1) != isRead || count.kinds["Poison"] != 1 {
				t.Errorf("doubtful %t, told %v, counted %v", is, a.told, count.kinds)
			}
		})
	}
}

func TestADeviceThatNobodyDeclaresCostsNoMemory(t *testing.T) {
	f, _, _ := newFeed()
	f.Handle(t.Context(), event(eventstream.DeviceCreated, "other"))
	telemetry := event(eventstream.Telemetry, "other")
	telemetry.Telemetry = &eventstream.TelemetryMessage{Body: []byte(`{"x":1}`)}
	f.Handle(t.Context(), telemetry)
	if got := len(f.Session.devices()); got != 0 {
		t.Errorf("%d devices in memory", got)
	}
}

func TestBothTwinSourcesTogetherDoNoWorkTwice(t *testing.T) {
	f, a, _ := newFeed()
	first := event(eventstream.TwinChanged, "d")
	first.Twin, first.CorrelationID = reported(t, 11, 6, `"target":"on",`, 1), "12104ced5402"
	second := event(eventstream.DigitalTwinChanged, "d")
	second.CorrelationID = first.CorrelationID
	f.Handle(t.Context(), first)
	f.Handle(t.Context(), second)
	if diff := cmp.Diff([]string{"d now"}, a.told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if f.Session.Device("d").Doubtful() {
		t.Error("the second notification of one change asks for a read")
	}
}

func TestWhatADeviceDoesWaitsForTheQuietTimeToEnd(t *testing.T) {
	f, a, _ := newFeed()
	f.Session.Device("d").Quiet(time.Now().Add(time.Hour))
	e := event(eventstream.TwinChanged, "d")
	e.Twin = reported(t, 11, 6, `"target":"on",`, 1)
	f.Handle(t.Context(), e)
	e.Twin = desired(t, 12, 5, `"target":"x",`, 2)
	f.Handle(t.Context(), e)
	if diff := cmp.Diff([]string{"d later", "d now"}, a.told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestAnAnswerThatIsThereBeforeThatOfTheHubIsToldAtOnce(t *testing.T) {
	f, a, _ := newFeed()
	d := f.Session.Device("d")
	d.Quiet(time.Now().Add(time.Hour))
	d.sending([]twin.Change{{Leaf: twin.Leaf{Name: "target"}, Value: "on"}}, &twin.Twin{DesiredVersion: 1})
	e := event(eventstream.TwinChanged, "d")
	e.Twin = reported(t, 11, 6, `"target":"on",`, 1)
	f.Handle(t.Context(), e)
	if diff := cmp.Diff([]string{"d now"}, a.told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestTelemetryShowsWhatWasAskedFor(t *testing.T) {
	f, _, count := newFeed()
	object := types.NamespacedName{Namespace: "n", Name: "line"}
	f.Session.Device("d").Interested(Interest{Object: object, Fields: map[string][]string{"thermostat1": {"temperature", "absent"}}})
	for _, component := range []string{"thermostat1", "thermostat2"} {
		e := event(eventstream.Telemetry, "d")
		e.Telemetry = &eventstream.TelemetryMessage{Component: component, Body: []byte(`{"temperature":21.5,"humidity":40,"text":"x"}`)}
		f.Handle(t.Context(), e)
	}
	want := []Measurement{{Object: object, Component: "thermostat1", Field: "temperature", Value: 21.5}}
	if diff := cmp.Diff(want, count.measured); diff != "" {
		t.Errorf("measured (-want +got):\n%s", diff)
	}
	if count.kinds["telemetry of thermostat2"] != 1 {
		t.Errorf("counted: %v", count.kinds)
	}
}

func TestTelemetryOfAnotherModelHasTheTwinReadOnce(t *testing.T) {
	f, a, _ := newFeed()
	d := f.Session.Device("d")
	seen := read(10, 5)
	seen.ModelID = "dtmi:a;1"
	d.observe(seen, d.beginRead())
	send := func(model string) {
		e := event(eventstream.Telemetry, "d")
		e.Telemetry = &eventstream.TelemetryMessage{Model: model}
		f.Handle(t.Context(), e)
	}
	send("dtmi:a;1")
	if d.Doubtful() || d.ModelInDoubt() {
		t.Fatal("telemetry of the known model raised a doubt")
	}
	send("dtmi:b;1")
	send("dtmi:b;1")
	if diff := cmp.Diff([]string{"d now"}, a.told); diff != "" || !d.Doubtful() || !d.ModelInDoubt() {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	d.observe(seen, d.beginRead()) // the message was a late one
	send("dtmi:b;1")
	if d.Doubtful() || len(a.told) != 1 {
		t.Errorf("looked for again: %v", a.told)
	}
}

func TestWhatHoldsTheCheckpointBack(t *testing.T) {
	f, _, _ := feedOf(map[string]func() Belief{"a": believed, "b": believed, "c": believed, "d": believed})
	hold := func(id, partition string, n int64, since time.Time) {
		f.Session.Device(id).Suspect(Place{Partition: partition, SequenceNumber: n, Handled: since})
	}
	hold("a", "0", 20, noon)
	hold("b", "0", 10, noon)
	hold("c", "1", 5, noon.Add(-2*holdFor))
	f.Resume(t.Context(), eventstream.Checkpoint{Doubtful: []string{"d", "gone"}})
	want := eventstream.Outstanding{First: map[string]eventstream.Mark{"0": {SequenceNumber: 10}}, Doubtful: []string{"c", "d"}}
	if diff := cmp.Diff(want, f.Outstanding(noon)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	d := f.Session.Device("d")
	d.beginPass()
	seen := read(10, 5)
	d.observe(seen, d.beginRead())
	d.persisted(seen)
	if got := f.Outstanding(noon).Doubtful; !slices.Equal(got, []string{"c"}) {
		t.Errorf("still doubtful: %v", got)
	}
}

func TestAResyncReadsEveryDeclaredDeviceAndStandsInTheCheckpointMeanwhile(t *testing.T) {
	knows := map[string]func() Belief{}
	var ids []string
	for i := range 60 {
		id := fmt.Sprintf("device-%02d", i)
		knows[id], ids = believed, append(ids, id)
	}
	f, a, _ := feedOf(knows)
	ctx, cancel := context.WithCancel(t.Context())
	f.lifetime = ctx
	a.mu.Lock() // nobody can be woken yet
	f.Resync(t.Context())
	underWay := f.Outstanding(noon).Resync
	a.mu.Unlock()
	if !underWay {
		t.Fatal("a crash now would lose the resync")
	}
	deadline := time.After(10 * time.Second)
	for f.Outstanding(noon).Resync {
		select {
		case <-deadline:
			t.Fatalf("woken after 10 s: %v", a.sleepers())
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if diff := cmp.Diff(ids, a.sleepers()); diff != "" {
		t.Errorf("woken (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(ids, f.Outstanding(noon).Doubtful); diff != "" {
		t.Errorf("doubtful until read (-want +got):\n%s", diff)
	}
}

// deaf cannot list devices a few times.
type deaf struct {
	*audience

	times int
}

func (d *deaf) List(ctx context.Context) ([]Declared, error) {
	if d.times--; d.times >= 0 {
		return nil, errors.New("no list")
	}
	return d.audience.List(ctx)
}

func TestAResyncThatCannotListDevicesIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a, _ := newFeed()
		f.Declarations = &deaf{a, 3}
		f.Resync(t.Context())
		time.Sleep(3*resyncRetry - time.Second)
		if !f.Outstanding(noon).Resync || len(a.sleepers()) > 0 {
			t.Errorf("done although nobody was woken: %v", a.sleepers())
		}
		time.Sleep(2 * time.Second)
		if f.Outstanding(noon).Resync || len(a.sleepers()) != 1 {
			t.Errorf("not done; woken: %v", a.sleepers())
		}
	})
}

func TestRoundsOfAResyncAreMerged(t *testing.T) {
	var r resync
	if !r.begin() || r.begin() || r.begin() {
		t.Fatal("more than one round runs at a time")
	}
	first := r.round()
	r.begin()
	if again := r.end(first, true); !again || !r.underWay() {
		t.Error("what was asked for during the round is forgotten")
	}
	if again := r.end(r.round(), true); again || r.underWay() {
		t.Error("it does not end")
	}
	r.begin()
	if again := r.end(r.round(), false); again || !r.underWay() {
		t.Error("a round that failed must stand in the checkpoint")
	}
	if !r.begin() {
		t.Error("nothing runs after a failure")
	}
}
