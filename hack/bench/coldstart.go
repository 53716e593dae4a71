package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/simulator"
)

// coldStart restarts the operator with all devices converged and its checkpoint valid, and edits devices while it works through them.
func (b *bench) coldStart(ctx context.Context) error {
	if err := b.settle(ctx, b.size.most(), 3); err != nil {
		return err
	}
	if err := b.saved(ctx); err != nil {
		return err
	}
	if err := b.callsOfColdStart(ctx); err != nil {
		return err
	}
	idle, err := b.chainOfOperator(ctx, b.size.edits)
	if err != nil {
		return err
	}
	return b.editsDuringColdStart(ctx, idle)
}

// saved waits until the checkpoint is past everything that happened: it is written every ten seconds.
func (b *bench) saved(ctx context.Context) error {
	if !pause(ctx, 11*time.Second) {
		return context.Cause(ctx)
	}
	return nil
}

// callsOfColdStart has devices report what nobody declared while the operator is away, which must not make it read them.
func (b *bench) callsOfColdStart(ctx context.Context) error {
	if err := b.stop(); err != nil {
		return err
	}
	count := b.present.count
	b.Sayf("  %d devices report while the operator is away", count)
	err := each(ctx, count, concurrency, func(ctx context.Context, i int) error {
		return b.Hub().PatchReported(ctx, b.present.name(i), `{"uptime":1}`)
	})
	if err != nil {
		return err
	}
	before, err := b.usage(ctx)
	if err != nil {
		return err
	}
	if _, err := b.restart(ctx); err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	drained, err := b.usage(ctx)
	if err != nil {
		return err
	}
	if !pause(ctx, b.size.minute/2) { // the first sweep is in it, and what it finds
		return context.Cause(ctx)
	}
	after, err := b.usage(ctx)
	if err != nil {
		return err
	}
	used, start, sweep := after.since(before), drained.since(before), after.since(drained)
	of := thousands(count) + " converged devices"
	row := b.out.one("calls of the hub on a cold start, "+of+", each reported meanwhile", "calls", float64(used.hubCalls()+start.calls[simulator.OpQuery])).
		notef("%s by %.0f s after the start, and %d queries of the sweep that follows", start.callText(), after.at.Sub(before.at).Seconds(), sweep.calls[simulator.OpQuery])
	if count == b.size.most() {
		row.atMost(100)
	}
	b.out.one("status patches on a cold start, "+of, "patches", used.statusPatches).atMost(0)
	b.out.one("start until every device was looked at, "+of, "s", drained.at.Sub(before.at).Seconds())
	return nil
}

// editsDuringColdStart edits devices from the moment that the caches are filled until the operator has been through all.
func (b *bench) editsDuringColdStart(ctx context.Context, idle sample) error {
	var during, later, first, ready sample
	var ratio sample
	for range b.size.restarts {
		if err := b.saved(ctx); err != nil {
			return err
		}
		if err := b.stop(); err != nil {
			return err
		}
		away := b.present.name(b.present.count / 2)
		generation, err := b.edit(ctx, away)
		if err != nil {
			return err
		}
		began, err := b.restart(ctx)
		if err != nil {
			return err
		}
		ready = append(ready, time.Since(began).Seconds())
		one, err := b.editsUntilThrough(ctx)
		if err != nil {
			return err
		}
		at, err := b.seen.await(ctx, away, generation)
		if err != nil {
			return err
		}
		first = append(first, at.Sub(began).Seconds())
		during, later = append(during, one...), append(later, one[1:]...)
		ratio = append(ratio, one.quantile(0.99)/idle.quantile(0.99))
		b.Sayf("    %d edits during a cold start: p50 %.1f ms, p99 %.1f ms; idle p99 %.1f ms; an edit made before the start took %.2f s", len(one), one.median(),
			one.quantile(0.99), idle.quantile(0.99), first[len(first)-1])
	}
	of := thousands(b.present.count) + " devices"
	b.out.add("edit during a cold start of "+of+", p99 / idle p99", "ratio", ratio).atMost(3).
		notef("over all %d edits %s", len(during), number(during.quantile(0.99)/idle.quantile(0.99)))
	b.out.add("edit during a cold start of "+of, "ms", during).notef("p99 %s ms, idle p99 %s ms", number(during.quantile(0.99)), number(idle.quantile(0.99)))
	if len(later) > 0 {
		b.out.one("edit during a cold start of "+of+" but for the first one of each, p99 / idle p99", "ratio", later.quantile(0.99)/idle.quantile(0.99)).
			notef("the first one waits until controllers, session and stream have begun")
	}
	b.out.add("start until the caches are filled, "+of, "s", ready)
	b.out.add("start until an edit made before it is acknowledged, "+of, "s", first)
	return nil
}

// editsUntilThrough edits until the operator has looked at every device, and a few times at least.
func (b *bench) editsUntilThrough(ctx context.Context) (sample, error) {
	var took sample
	for i := 0; ; i++ {
		m, err := b.operatorMetrics(ctx)
		if err != nil {
			return nil, err
		}
		if through := m.sum("controller_runtime_reconcile_total", `controller="pnpdevice"`) >= float64(b.present.count); through && m.sum("workqueue_depth", `name="pnpdevice"`) == 0 && i > 0 {
			return took, nil
		}
		if i > 10_000 {
			return nil, errors.New("the operator does not get through its devices")
		}
		one, err := b.timedEdit(ctx, b.present.name(i*13%b.present.count))
		if err != nil {
			return nil, err
		}
		took = append(took, one)
	}
}

// idle measures a minute in which nothing happens.
func (b *bench) idle(ctx context.Context) error {
	if err := b.settle(ctx, b.size.most(), 3); err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	before, err := b.usage(ctx)
	if err != nil {
		return err
	}
	b.Sayf("  nothing happens for %s", b.size.minute)
	if !pause(ctx, b.size.minute) {
		return context.Cause(ctx)
	}
	after, err := b.usage(ctx)
	if err != nil {
		return err
	}
	used := after.since(before)
	hours := time.Hour.Seconds() / after.at.Sub(before.at).Seconds()
	of := fmt.Sprintf("an idle hour of %s devices, extrapolated from %s", thousands(b.present.count), b.size.minute)
	b.out.one("processor time of the operator, "+of, "s", used.cpu[operator].Seconds()*hours)
	b.out.one("processor time of API server and etcd, "+of, "s", used.processor(apiServer, etcd).Seconds()*hours).notef("the control plane's own work included")
	b.out.one("written by etcd, "+of, "MiB", float64(used.written[etcd])*hours/(1<<20)).notef("the control plane's own work included")
	b.out.one("status patches, "+of, "patches", used.statusPatches*hours).atMost(0)
	b.out.one("calls of the hub, "+of, "calls", float64(used.hubCalls()+used.calls[simulator.OpQuery])*hours).notef("%s in that minute", used.callText())
	m, err := b.operatorMetrics(ctx)
	if err != nil {
		return err
	}
	b.out.one("goroutines of the operator, "+thousands(b.present.count)+" devices", "goroutines", m.sum("go_goroutines"))
	b.out.one("resident memory of the operator, "+thousands(b.present.count)+" devices", "MiB", m.sum("process_resident_memory_bytes")/(1<<20))
	return nil
}
