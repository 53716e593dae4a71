package main

import (
	"context"
	"errors"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
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

// reportMeanwhile has all devices report what nobody declared while the operator is away.
func (b *bench) reportMeanwhile(ctx context.Context) error {
	if err := b.stop(); err != nil {
		return err
	}
	b.Out.Sayf("  %d devices report while the operator is away", b.present.count)
	return each(ctx, b.present.count, concurrency, func(ctx context.Context, i int) error {
		return b.Hub.PatchReported(ctx, b.present.name(i), `{"uptime":1}`)
	})
}

// callsOfColdStart counts what a start makes of that: it must not have the operator read the devices.
func (b *bench) callsOfColdStart(ctx context.Context) error {
	if err := b.reportMeanwhile(ctx); err != nil {
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
	if !pause(ctx, b.size.minute/2) {
		return context.Cause(ctx)
	}
	if err := b.swept(ctx, before.calls[simulator.OpQuery]+probe); err != nil {
		return err
	}
	after, err := b.usage(ctx)
	if err != nil {
		return err
	}
	used, start, sweep := after.since(before), drained.since(before), after.since(drained)
	of := thousands(b.present.count) + " converged devices"
	row := b.out.one("calls of the hub on a cold start, "+of+", each reported meanwhile", "calls", float64(used.hubCalls()+start.calls[simulator.OpQuery])).
		notef("%s until every device was looked at, %d more by %.0f s after the start, and the queries of the next row", start.callText(), sweep.hubCalls(), after.at.Sub(before.at).Seconds())
	if b.present.count == b.size.most() {
		row.atMost(100)
	}
	b.out.one("queries of the first sweep, which follows a start, "+of, "queries", float64(sweep.calls[simulator.OpQuery]))
	b.out.one("status patches on a cold start, "+of, "patches", used.statusPatches).atMost(0)
	b.out.one("start until every device was looked at, "+of, "s", drained.at.Sub(before.at).Seconds())
	return nil
}

// editsDuringColdStart edits devices from the moment that the caches are filled until the operator has been through all.
func (b *bench) editsDuringColdStart(ctx context.Context, idle sample) error {
	var during, later, first, ready sample
	var ratio, edits sample
	for range b.size.restarts {
		one, err := b.editsOfStart(ctx)
		if err != nil {
			return err
		}
		p99 := one.edits.quantile(0.99)
		ready, first, edits = append(ready, one.ready), append(first, one.first), append(edits, float64(len(one.edits)))
		during, later = append(during, one.edits...), append(later, one.edits[1:]...)
		ratio = append(ratio, p99/idle.quantile(0.99))
		b.Out.Sayf("    %d edits during a cold start: p50 %.1f ms, p99 %.1f ms; idle p99 %.1f ms; an edit made before the start took %.2f s", len(one.edits),
			one.edits.median(), p99, idle.quantile(0.99), one.first)
	}
	of := thousands(b.present.count) + " devices"
	b.out.add("edit during a cold start of "+of+", p99 / idle p99", "ratio", ratio).atMost(3).
		notef("a start has %s to %s edits, so its p99 is the slowest of them; over all %d edits %s",
			number(edits.quantile(0)), number(edits.quantile(1)), len(during), number(during.quantile(0.99)/idle.quantile(0.99)))
	b.out.add("edit during a cold start of "+of, "ms", during).notef("p99 %s ms, idle p99 %s ms", number(during.quantile(0.99)), number(idle.quantile(0.99)))
	if len(later) > 0 {
		b.out.one("edit during a cold start of "+of+" but for the first one of each, p99 / idle p99", "ratio", later.quantile(0.99)/idle.quantile(0.99)).
			notef("the first one waits until controllers, session and stream have begun")
	}
	b.out.add("start until the caches are filled, "+of, "s", ready)
	b.out.add("start until an edit made before it is acknowledged, "+of, "s", first)
	return nil
}

// coldEdits are those of one start: the milliseconds that each took, and the seconds from the start until the caches were filled and until an edit made
// before it was acknowledged.
type coldEdits struct {
	edits        sample
	ready, first float64
}

func (b *bench) editsOfStart(ctx context.Context) (one coldEdits, err error) {
	if err := b.saved(ctx); err != nil {
		return one, err
	}
	if err := b.stop(); err != nil {
		return one, err
	}
	away := b.present.name(b.present.count / 2)
	generation, err := b.edit(ctx, away)
	if err != nil {
		return one, err
	}
	began, err := b.restart(ctx)
	if err != nil {
		return one, err
	}
	one.ready = time.Since(began).Seconds()
	if one.edits, err = b.editsUntilThrough(ctx); err != nil {
		return one, err
	}
	at, err := b.seen.await(ctx, away, generation)
	one.first = at.Sub(began).Seconds()
	return one, err
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
