package eventstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// partition is one partition over one connection.
type partition struct {
	*Stream

	clients  connection
	silence  *silence
	id       string
	prefetch int                             // events
	end      azeventhubs.PartitionProperties // as it was when the connection began
}

// run reads. A refusal that another try on the same connection may mend is waited out; the other partitions go on.
func (p *partition) run(ctx context.Context) error {
	pauses := pauses{longest: p.Timing.Retry}
	for {
		began := time.Now()
		err := p.receive(ctx)
		phase, wait := phaseOf(err), pauses.next(time.Since(began))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errSilent):
			p.Log.Info("Partition is silent, opening it anew", "partition", p.id)
			_ = p.lookAtEnd(ctx) // as below
			continue
		case errors.Is(err, errMoreAhead):
			continue
		case errors.Is(err, errTooOld) || isPositionError(err):
			if err := p.jump(ctx, err); err != nil {
				return err
			}
			if !pause(ctx, wait) { // should the new place be refused as well, it is not asked for in a loop
				return ctx.Err()
			}
			continue
		case phase == Unavailable:
			return fmt.Errorf("partition %s: %w", p.id, err)
		}
		p.Log.Info("Partition refused, trying again", "partition", p.id, "reason", phase, "error", err.Error())
		p.phases.set(p.id, phase)
		if !pause(ctx, wait) {
			return ctx.Err()
		}
		_ = p.lookAtEnd(ctx) // what keeps it from being told is told when the partition is opened
	}
}

// lookAtEnd finds out how far the partition has grown.
func (p *partition) lookAtEnd(ctx context.Context) error {
	ends, err := p.ends(ctx, p.clients, []string{p.id})
	if err == nil {
		p.end = ends[p.id]
	}
	return err
}

// receive opens the partition behind the last handled event and handles what comes.
func (p *partition) receive(ctx context.Context) error {
	at, _ := p.places.get(p.id)
	ahead := min(p.prefetch, p.ahead.get())
	client, err := p.clients.events.NewPartitionClient(p.id, &azeventhubs.PartitionClientOptions{
		StartPosition: azeventhubs.StartPosition{SequenceNumber: &at.SequenceNumber}, OwnerLevel: &p.level, Prefetch: int32(ahead), //nolint:gosec // at most maxPrefetch
	})
	if err != nil {
		return err
	}
	defer p.clients.in.dropped(p.id)
	defer closing(client)
	end, caughtUp := p.end, false // what the hub holds already has to be handled first
	settled := time.AfterFunc(p.Timing.Settle, func() { p.phases.open(p.id, func() bool { return p.behind(p.id, end) > 0 }) })
	defer settled.Stop()
	opened, receiving, leave := p.silence.watch(ctx, p.id)
	defer leave()
	for first := true; ; first = false {
		// One at a time: the client waits for as many as it is asked for, and what it has prefetched it returns at once.
		events, err := client.ReceiveEvents(receiving, 1, nil)
		if err != nil {
			return cmp.Or(silent(receiving), err)
		}
		opened.busy.Store(true) // the events are handled whatever becomes of the receiver
		for _, e := range events {
			if first && p.isTooOld(e) {
				return errTooOld
			}
			p.handle(ctx, e)
			p.clients.in.handled(p.id, sizeOf(e))
		}
		opened.busy.Store(false)
		if !caughtUp && p.behind(p.id, end) == 0 {
			caughtUp = true
			p.phases.set(p.id, Reading)
		}
		if ahead < min(p.prefetch, p.ahead.get()) {
			return errMoreAhead
		}
	}
}

// sizeOf is about what the body and the properties of an event took on their way, in bytes.
func sizeOf(e *azeventhubs.ReceivedEventData) int {
	size := len(e.Body)
	for _, properties := range []map[string]any{e.Properties, e.SystemProperties} {
		for name, value := range properties {
			size += len(name)
			if text, ok := value.(string); ok {
				size += len(text)
			}
		}
	}
	return size
}

// errMoreAhead has a partition opened anew, with more events ahead.
var errMoreAhead = errors.New("more events may be read ahead again")

var errTooOld = errors.New("the oldest unread event is too old to catch up from")

// isTooOld compares with the partition's end, both by the hub's clock.
func (p *partition) isTooOld(e *azeventhubs.ReceivedEventData) bool {
	return e.EnqueuedTime != nil && p.end.LastEnqueuedOn.Sub(*e.EnqueuedTime) > p.Timing.MaxCatchUp
}

// jump goes on at the partition's end and has every declared device read. The new place is stored before it is used.
func (p *partition) jump(ctx context.Context, why error) error {
	if err := p.lookAtEnd(ctx); err != nil {
		return err
	}
	p.Log.Info("Reading devices instead of events", "partition", p.id, "reason", why.Error())
	p.Sink.Resync(ctx) // before the new place: a checkpoint that is written meanwhile has both, or the old place
	p.places.set(p.id, endOf(p.end))
	p.catchUp.reached(p.id, math.MaxInt64) // nothing is waited for any more
	return p.put(ctx, p.checkpoint(time.Now()))
}

// handle passes one event on. One that cannot be decoded is counted and passed over: it would not get better.
func (p *partition) handle(ctx context.Context, e *azeventhubs.ReceivedEventData) {
	m := messageOf(p.id, e)
	event, err := Decode(m)
	if err != nil {
		p.Log.Info("Event cannot be decoded, passing over it", "partition", p.id, "sequenceNumber", m.SequenceNumber, "error", err.Error())
		p.Sink.Poison(ctx, err)
	} else {
		p.Sink.Handle(ctx, event)
	}
	p.places.set(p.id, Mark{SequenceNumber: m.SequenceNumber, EnqueuedTime: m.EnqueuedTime})
	p.catchUp.reached(p.id, m.SequenceNumber)
}

func messageOf(partition string, e *azeventhubs.ReceivedEventData) Message {
	m := Message{
		Partition: partition, SequenceNumber: e.SequenceNumber, Offset: e.Offset,
		Annotations: e.SystemProperties, Properties: e.Properties, Body: e.Body,
	}
	if e.EnqueuedTime != nil {
		m.EnqueuedTime = e.EnqueuedTime.UTC()
	}
	if e.ContentType != nil {
		m.ContentType = *e.ContentType
	}
	m.CorrelationID, _ = e.CorrelationID.(string)
	return m
}
