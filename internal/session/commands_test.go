package session

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// commands are those of one hub.
type commands struct {
	*command.Ear

	registry *command.Registry
	site     command.Site
	recall   func()
}

func newCommands(session *Session) *commands {
	c := &commands{site: command.Site{Hub: command.Hub{Host: session.HostName()}, Life: session.Life()}}
	c.registry = command.NewRegistry(func(types.NamespacedName) {})
	c.Ear = c.registry.At(c.site)
	return c
}

func (c *commands) Resume(context.Context) {
	c.Ear.Resume()
	if c.recall != nil {
		c.recall()
	}
}

// rests has a command rest that was under way for a second until noon, before this process
// listened.
func (c *commands) rests(name, deviceID string) {
	c.registry.Recall(object(name), command.Rest{RequestID: name, Awaits: command.AwaitsConnection, At: c.site}, deviceID, command.WindowOf(noon, time.Second))
}

func object(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "factory", Name: name}
}

func TestWhatADeviceDoesStirsItsCommands(t *testing.T) {
	change := func(n *twin.Notification) eventstream.Event {
		e := event(eventstream.TwinChanged, "d")
		e.Twin = n
		return e
	}
	telemetry := func(id string) eventstream.Event {
		e := event(eventstream.Telemetry, id)
		e.Telemetry = &eventstream.TelemetryMessage{Body: []byte(`{"temperature":1}`)}
		return e
	}
	type told struct{ stirred, woken bool }
	isThere, wasThere, nothing := told{stirred: true, woken: true}, told{stirred: true}, told{}
	tests := map[string]struct {
		event eventstream.Event
		want  told
	}{
		"it connects":                        {event(eventstream.Connected, "d"), isThere},
		"it disconnects":                     {event(eventstream.Disconnected, "d"), wasThere},
		"it sends telemetry":                 {telemetry("d"), isThere},
		"it reports":                         {change(reported(t, 11, 6, `"target":"on",`, 1)), isThere},
		"somebody writes desired properties": {change(desired(t, 11, 5, `"target":"x",`, 1)), nothing},
		"somebody replaces its twin":         {event(eventstream.TwinReplaced, "d"), nothing},
		"a module changes":                   {event(eventstream.Module, "d"), nothing},
		"another device reports":             {telemetry("other"), nothing},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _, _ := newFeed()
				c := f.Commands.(*commands)
				c.rests("waits", "d")
				slot, err := c.registry.Reserve(command.Request{Key: object("c"), Site: c.site, Device: "d", Freed: func() {}})
				if err != nil {
					t.Fatal(err)
				}
				test.event.OperationTime = noon.Add(time.Hour)
				f.Handle(t.Context(), test.event)
				slot.Answered(command.WindowOf(noon.Add(time.Hour), time.Second))
				time.Sleep(2 * command.SettleFor)
				waits, _ := c.registry.RestOf(object("waits"), "waits")
				if got := (told{slot.IsStirred(), waits.Over}); got != test.want {
					t.Errorf("%+v, want %+v", got, test.want)
				}
			})
		})
	}
}

// Until it is on record, the event that casts doubt on a command has to be read again after a
// restart.
func TestADoubtAboutACommandHoldsTheCheckpoint(t *testing.T) {
	f, _, _ := newFeed()
	c := f.Commands.(*commands)
	c.recall = func() { c.rests("a", "other") }
	f.Resume(t.Context(), eventstream.Checkpoint{})
	telemetry := event(eventstream.Telemetry, "other") // nobody declares it any more
	telemetry.OperationTime, telemetry.Telemetry = noon, &eventstream.TelemetryMessage{}
	f.Handle(t.Context(), telemetry)
	if diff := cmp.Diff(map[string]eventstream.Mark{"0": {SequenceNumber: 5}}, f.Outstanding(time.Now()).First); diff != "" {
		t.Errorf("outstanding (-want +got):\n%s", diff)
	}
	c.registry.DoubtIsOnRecord(object("a"))
	if o := f.Outstanding(time.Now()); len(o.First) != 0 {
		t.Errorf("outstanding %v", o.First)
	}
}

func TestAnEventThatCannotBeReadMayTellOfADevice(t *testing.T) {
	f, _, _ := newFeed()
	c := f.Commands.(*commands)
	c.recall = func() { c.rests("a", "d") }
	f.Resume(t.Context(), eventstream.Checkpoint{})
	f.Poison(t.Context(), &eventstream.PoisonError{Kind: eventstream.Disconnected, DeviceID: "d", Partition: "0", SequenceNumber: 5})
	if !c.registry.IsDoubted(object("a"), "a") {
		t.Error("not doubted")
	}
}

func TestWhatAStreamMayTellOf(t *testing.T) {
	for name, test := range map[string]struct {
		phase eventstream.Phase // "": none is read
		heard time.Duration
		tells bool
	}{
		"no stream":                     {"", 0, false},
		"it is being opened":            {eventstream.Connecting, 0, true},
		"it is read, and nothing known": {eventstream.Reading, 0, true},
		"it was read until before":      {eventstream.Reading, -time.Second, true},
		"it was read until then":        {eventstream.Reading, time.Second, false},
		"it lags":                       {eventstream.Lagging, -time.Second, true},
		"it is refused":                 {eventstream.Unauthorized, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, _, _ := newFeed()
			if test.phase != "" {
				f.Session.stream.Store(&streamState{State: eventstream.State{Phase: test.phase}})
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
