package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
)

const (
	// holdFor is how long the checkpoint waits for an effect to reach status before it goes on without that device.
	holdFor = time.Minute
	// maxDoubtful devices are listed in a checkpoint; beyond it all are read after a restart.
	maxDoubtful = 2000
	// hintDelay has one read answer all the hints of a short while.
	hintDelay = 2 * time.Second
	// resyncRetry is the pause before devices that could not be listed are listed again.
	resyncRetry = 10 * time.Second
)

// Commands hear what devices do by themselves.
type Commands interface {
	// Resume is called before the first event is handled.
	Resume(ctx context.Context)
	// Signal notes an event of a device, and when what it tells happened, by the hub's clock.
	Signal(deviceID string, sign command.Sign, at time.Time, from command.Origin)
	// CaughtUp notes that all is handled that the hub held at a time, by our clock.
	CaughtUp(at time.Time)
	// Lost notes that events were lost.
	Lost()
	// Outstanding lists the events whose effect on commands is not on record.
	Outstanding() []command.Origin
}

// Meter counts what arrives.
type Meter interface {
	Event(kind eventstream.Kind)
	Poison()
	Telemetry(component string)
	Measured(m Measurement)
}

// Feed takes the events of a hub's stream into memory and tells the objects concerned.
type Feed struct {
	Session      *Session
	Declarations Declarations
	Meter        Meter
	Log          logr.Logger
	Commands     Commands
	// Changed is called when what the feed knows of the stream itself changed.
	Changed func()

	lifetime context.Context // of the session
	resync   resync
}

var _ eventstream.Sink = (*Feed)(nil)

// Handle takes one event.
func (f *Feed) Handle(ctx context.Context, e eventstream.Event) {
	f.Meter.Event(e.Kind)
	f.stir(e)
	f.meet(ctx, e)
	switch e.Kind {
	case eventstream.TwinChanged:
		f.twinChanged(ctx, e)
	case eventstream.TwinReplaced:
		f.suspect(ctx, e)
	case eventstream.DeviceCreated, eventstream.DeviceDeleted:
		f.take(ctx, e, func(d *Device, _ func() Belief) News {
			return d.Deleted(e.Kind == eventstream.DeviceDeleted, placeOf(e))
		})
	case eventstream.DigitalTwinChanged:
		f.digitalTwinChanged(ctx, e)
	case eventstream.Connected:
		f.connection(ctx, e, "Connected")
	case eventstream.Disconnected:
		f.connection(ctx, e, "Disconnected")
	case eventstream.Telemetry:
		f.telemetry(ctx, e)
	case eventstream.Module, eventstream.Unknown: // not ours
	}
}

// stir tells commands what the device did by itself.
func (f *Feed) stir(e eventstream.Event) {
	switch e.Kind {
	case eventstream.Connected:
		f.signal(e, command.Came)
	case eventstream.Disconnected:
		f.signal(e, command.Went)
	case eventstream.Telemetry:
		f.signal(e, command.Acted)
	case eventstream.TwinChanged:
		if e.Twin != nil && e.Twin.Reported != nil {
			f.signal(e, command.Acted)
		}
	case eventstream.TwinReplaced, eventstream.DeviceCreated, eventstream.DeviceDeleted, eventstream.DigitalTwinChanged, eventstream.Module, eventstream.Unknown:
	}
}

func (f *Feed) signal(e eventstream.Event, sign command.Sign) {
	from := command.Origin{Partition: e.Partition, SequenceNumber: e.SequenceNumber, EnqueuedTime: e.EnqueuedTime}
	f.Commands.Signal(e.DeviceID, sign, happened(e), from)
}

// meet has an object looked at whose device does something although the hub calls it disconnected: the
// time to answer begins.
func (f *Feed) meet(ctx context.Context, e eventstream.Event) {
	if e.Kind != eventstream.Telemetry && (e.Kind != eventstream.TwinChanged || e.Twin == nil || e.Twin.Reported == nil) {
		return
	}
	if d := f.Session.peek(e.DeviceID); d != nil && d.acted(happened(e)) {
		f.Declarations.Enqueue(ctx, e.DeviceID, CauseEvent, 0)
	}
}

// happened is when, by the hub's clock, or at the latest, by that of its event hub.
func happened(e eventstream.Event) time.Time {
	if e.OperationTime.IsZero() {
		return e.EnqueuedTime
	}
	return e.OperationTime
}

// Poison counts an event that cannot be decoded. The device is read that an event of the hub itself was
// about: it may have been the last word on its twin, its connection or its model. To commands any
// event may have said that their device was there.
func (f *Feed) Poison(ctx context.Context, err error) {
	f.Meter.Poison()
	e, ok := errors.AsType[*eventstream.PoisonError](err)
	if !ok || e.DeviceID == "" {
		return
	}
	unreadable := eventstream.Event{DeviceID: e.DeviceID, Partition: e.Partition, SequenceNumber: e.SequenceNumber}
	f.signal(unreadable, command.Acted)
	if e.Kind != eventstream.Telemetry {
		f.suspect(ctx, unreadable)
	}
}

func (f *Feed) twinChanged(ctx context.Context, e eventstream.Event) {
	changed, missed := f.Session.memory.canary.hear(e.DeviceID, e.Twin, time.Now())
	if changed {
		f.Changed()
	}
	if missed { // the stream has a hole
		f.Resync(ctx)
	}
	f.take(ctx, e, func(d *Device, believed func() Belief) News { return d.Fold(e.Twin, placeOf(e), believed) })
}

// missed has devices read whose writes did not come back as events: what they answered may not have
// come either.
func (f *Feed) missed(ctx context.Context, devices []string) {
	for _, id := range devices {
		if _, declared := f.Declarations.Cached(ctx, id); declared {
			f.Session.Device(id).Unheard()
			f.Declarations.Enqueue(ctx, id, CauseEvent, 0)
		}
	}
}

// distrusted has devices read that owe an answer, as if they had been written now: it has to be asked
// for.
func (f *Feed) distrusted(ctx context.Context) {
	for id, d := range f.Session.devices() {
		if d.askAgain(time.Now()) {
			f.Declarations.Enqueue(ctx, id, CauseEvent, 0)
		}
	}
}

// take has a declared device learn from an event, and tells its object of what is news.
func (f *Feed) take(ctx context.Context, e eventstream.Event, learn func(*Device, func() Belief) News) {
	believed, declared := f.Declarations.Cached(ctx, e.DeviceID)
	if !declared {
		return
	}
	d := f.Session.Device(e.DeviceID)
	switch learn(d, believed) {
	case Urgent:
		f.Declarations.Enqueue(ctx, e.DeviceID, CauseEvent, 0)
	case FromDevice:
		f.Declarations.Enqueue(ctx, e.DeviceID, CauseEvent, d.tellAfter(time.Now()))
	case Nothing:
	}
}

func (f *Feed) suspect(ctx context.Context, e eventstream.Event) {
	f.take(ctx, e, func(d *Device, _ func() Belief) News { return d.Suspect(placeOf(e)) })
}

// digitalTwinChanged has a model looked at that the device announced. All else the twin change event says better: it
// has versions. Where only this source is routed, the event is no more than a hint to read.
func (f *Feed) digitalTwinChanged(ctx context.Context, e eventstream.Event) {
	switch {
	case e.Model != "":
		f.suspect(ctx, e)
	case !f.Session.memory.canary.alive():
		if _, declared := f.Declarations.Cached(ctx, e.DeviceID); declared {
			f.Session.Device(e.DeviceID).Suspect(placeOf(e))
			f.Declarations.Enqueue(ctx, e.DeviceID, CauseEvent, hintDelay)
		}
	}
}

func (f *Feed) connection(ctx context.Context, e eventstream.Event, state string) {
	f.take(ctx, e, func(d *Device, believed func() Belief) News {
		return d.Connection(state, e.ConnectionSequence, e.OperationTime.Truncate(time.Second), placeOf(e), believed)
	})
}

// Measurement is one number of a device's telemetry that an object asked for.
type Measurement struct {
	Object           types.NamespacedName
	Component, Field string
	Value            float64
}

func (f *Feed) telemetry(ctx context.Context, e eventstream.Event) {
	f.Meter.Telemetry(e.Telemetry.Component)
	d := f.Session.peek(e.DeviceID)
	if d == nil {
		return
	}
	if d.Foreign(e.Telemetry.Model) {
		f.suspect(ctx, e)
	}
	object, numbers := d.Telemetry(e.Telemetry)
	for field, value := range numbers {
		f.Meter.Measured(Measurement{Object: object, Component: e.Telemetry.Component, Field: field, Value: value})
	}
}

func placeOf(e eventstream.Event) Place {
	return Place{Partition: e.Partition, SequenceNumber: e.SequenceNumber, EnqueuedTime: e.EnqueuedTime, Handled: time.Now()}
}

// Resume has the doubtful devices of a checkpoint read. Those that nobody declares any more are forgotten.
func (f *Feed) Resume(ctx context.Context, c eventstream.Checkpoint) {
	f.Session.memory.canary.resume(c.TwinChanges)
	f.Commands.Resume(ctx)
	for _, id := range c.Doubtful {
		if _, declared := f.Declarations.Cached(ctx, id); declared {
			f.Session.Device(id).Suspect(Place{})
			f.Declarations.Enqueue(ctx, id, CauseSweep, 0)
		}
	}
}

// Outstanding says what the effects of handled events still lack.
func (f *Feed) Outstanding(now time.Time) eventstream.Outstanding {
	o := eventstream.Outstanding{First: map[string]eventstream.Mark{}, Resync: f.resync.underWay(), TwinChanges: f.Session.memory.canary.alive()}
	for id, d := range f.Session.devices() {
		at, ok := d.Outstanding()
		switch first, known := o.First[at.Partition]; {
		case !ok:
		case at.Partition == "" || now.Sub(at.Handled) > holdFor:
			if _, declared := f.Declarations.Cached(f.lifetime, id); !declared {
				f.Session.Forget(id) // its object went, or went to another hub
				continue
			}
			o.Doubtful = append(o.Doubtful, id)
		case !known || at.SequenceNumber < first.SequenceNumber:
			o.First[at.Partition] = eventstream.Mark{SequenceNumber: at.SequenceNumber, EnqueuedTime: at.EnqueuedTime}
		}
	}
	for _, at := range f.Commands.Outstanding() {
		if first, known := o.First[at.Partition]; !known || at.SequenceNumber < first.SequenceNumber {
			o.First[at.Partition] = eventstream.Mark{SequenceNumber: at.SequenceNumber, EnqueuedTime: at.EnqueuedTime}
		}
	}
	o.Doubtful = append(o.Doubtful, f.Session.memory.canary.pending()...)
	slices.Sort(o.Doubtful)
	o.Doubtful = slices.Compact(o.Doubtful)
	if len(o.Doubtful) > maxDoubtful {
		o.Doubtful, o.Resync = nil, true
	}
	return o
}

// CaughtUp lets commands go on that wait for that.
func (f *Feed) CaughtUp(at time.Time) {
	f.Session.heard.Store(&at)
	f.Commands.CaughtUp(at)
}

// Resync has every declared device read, in the background, for as long as the session lives: each as the hub's budget lets it.
func (f *Feed) Resync(context.Context) {
	f.Commands.Lost()
	f.Session.memory.canary.skip()
	if !f.resync.begin() {
		return // the round under way is followed by another one
	}
	go func() {
		for {
			round := f.resync.round()
			err := f.readAll(f.lifetime)
			if err != nil && f.lifetime.Err() == nil {
				f.Log.Error(err, "Not all devices could be marked for reading, trying again")
				if wait(f.lifetime, resyncRetry) {
					continue
				}
			}
			if !f.resync.end(round, err == nil) {
				return
			}
		}
	}()
}

func (f *Feed) readAll(ctx context.Context) error {
	declared, err := f.Declarations.List(ctx)
	if err != nil {
		return err
	}
	for _, d := range declared {
		f.Session.Device(d.DeviceID).Suspect(Place{})
	}
	for _, d := range declared {
		f.Declarations.Enqueue(ctx, d.DeviceID, CauseSweep, 0)
	}
	return ctx.Err()
}
