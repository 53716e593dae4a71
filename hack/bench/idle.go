package main

import (
	"context"
	"errors"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// stretch is what was used for some time.
type stretch struct {
	usage
	took time.Duration
}

func stretchOf(from, to usage) stretch { return stretch{to.since(from), to.at.Sub(from.at)} }

// idle measures the sweep that follows a start, and a minute after it in which nothing happens: an hour has sixty of these, and one sweep.
func (b *bench) idle(ctx context.Context) error {
	if err := b.settle(ctx, b.size.most(), 3); err != nil {
		return err
	}
	if err := b.saved(ctx); err != nil { // without the checkpoint the sweep compares values, as it does once a day
		return err
	}
	sweep, alone, err := b.firstSweep(ctx)
	if err != nil {
		return err
	}
	before, err := b.usage(ctx)
	if err != nil {
		return err
	}
	b.Out.Sayf("  nothing happens for %s", b.size.minute)
	if !pause(ctx, b.size.minute) {
		return context.Cause(ctx)
	}
	after, err := b.usage(ctx)
	if err != nil {
		return err
	}
	b.tellOfHour(stretchOf(before, after), sweep, alone)
	m, err := b.operatorMetrics(ctx)
	if err != nil {
		return err
	}
	b.out.one("goroutines of the operator, "+thousands(b.present.count)+" devices", "goroutines", m.sum("go_goroutines"))
	b.out.one("resident memory of the operator, "+thousands(b.present.count)+" devices", "MiB", m.sum("process_resident_memory_bytes")/(1<<20))
	return nil
}

// probe is how many queries a start makes beside the sweep's: one, to see whether the hub can be reached.
const probe = 1

// firstSweep restarts the operator and measures its first sweep, from when the start is over. alone is false if the sweep began before that: then the
// start is in it.
func (b *bench) firstSweep(ctx context.Context) (sweep stretch, alone bool, err error) {
	if err := b.stop(); err != nil {
		return sweep, false, err
	}
	stopped, err := b.usage(ctx)
	if err != nil {
		return sweep, false, err
	}
	if err := b.start(ctx); err != nil {
		return sweep, false, err
	}
	if err := b.calm(ctx); err != nil {
		return sweep, false, err
	}
	from, err := b.usage(ctx)
	if err != nil {
		return sweep, false, err
	}
	if alone = from.calls[simulator.OpQuery] <= stopped.calls[simulator.OpQuery]+probe; !alone {
		from = stopped
	}
	b.Out.Sayf("  waiting for the first sweep")
	if err := b.swept(ctx, stopped.calls[simulator.OpQuery]+probe); err != nil {
		return sweep, alone, err
	}
	to, err := b.usage(ctx)
	return stretchOf(from, to), alone, err
}

// swept waits until there were more queries than those, and none more for a while: a sweep that finds something waits three seconds for the event.
// Then what it found is read.
func (b *bench) swept(ctx context.Context, queries int) error {
	const rest = 5 * time.Second
	last, moved := queries, time.Now()
	for {
		counts, err := b.Hub.CallCounts(ctx, "")
		if err != nil {
			return err
		}
		if n := counts[simulator.OpQuery]; n != last {
			last, moved = n, time.Now()
		}
		still := time.Since(moved)
		if last > queries && still > rest {
			return b.calm(ctx)
		}
		if still > patience {
			return errors.New("the operator does not sweep")
		}
		if !pause(ctx, 200*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

func (b *bench) tellOfHour(quiet, sweep stretch, alone bool) {
	of := ", an idle hour of " + thousands(b.present.count) + " devices: 60 quiet minutes and one sweep"
	tell := func(measure, unit, remark string, amount func(usage) float64) *Row {
		aSecond := amount(quiet.usage) / quiet.took.Seconds()
		swept := max(0, amount(sweep.usage)-aSecond*sweep.took.Seconds()) // what it adds to the time that it was waited for
		return b.out.one(measure+of, unit, aSecond*time.Hour.Seconds()+swept).notef("a quiet minute %s, the sweep %s%s", number(aSecond*60), number(swept), remark)
	}
	if !alone {
		of += ", which is overstated: it began before the start was over"
	}
	const control = "; the control plane's own work included"
	tell("processor time of the operator", "s", "", func(u usage) float64 { return u.cpu[operator].Seconds() })
	tell("processor time of API server and etcd", "s", control, func(u usage) float64 { return u.processor(apiServer, etcd).Seconds() })
	tell("written by etcd", "MiB", control, func(u usage) float64 { return float64(u.written[etcd]) / (1 << 20) })
	tell("status patches", "patches", "", func(u usage) float64 { return u.statusPatches }).atMost(0)
	tell("calls of the hub", "calls", ": "+sweep.callText(), func(u usage) float64 { return float64(u.hubCalls() + u.calls[simulator.OpQuery]) })
}
