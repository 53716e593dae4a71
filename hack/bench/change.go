package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// change measures what one edit and one report cost, and how the cost of an edit grows once it was measured with the fewest and with the most devices.
func (b *bench) change(ctx context.Context, count int) error {
	if err := b.settle(ctx, count, 3); err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	cost, err := b.costOfEdits(ctx)
	if err != nil {
		return err
	}
	b.costs[count] = cost
	if many, few := b.costs[b.size.most()], b.costs[b.size.fewest()]; many > 0 && few > 0 {
		b.out.one(fmt.Sprintf("processor time of an edit, %s devices / %s devices", thousands(b.size.most()), thousands(b.size.fewest())), "ratio", many/few).
			atMost(1.1)
	}
	return b.costOfReports(ctx)
}

// costOfEdits changes one property of device after device, some at a time, and returns the milliseconds of processor time that each cost.
func (b *bench) costOfEdits(ctx context.Context) (float64, error) {
	of := thousands(b.present.count)
	var costs, patches, calls, bytes, sent, own sample
	for range b.size.repetitions {
		used, err := b.edits(ctx, b.size.changes)
		if err != nil {
			return 0, err
		}
		n := float64(b.size.changes)
		costs = append(costs, milliseconds(used.processor())/n)
		own = append(own, milliseconds(used.processor(operator))/n)
		patches = append(patches, used.statusPatches/n)
		calls = append(calls, float64(used.hubCalls())/n)
		bytes = append(bytes, float64(used.written[etcd])/n/1024)
		sent = append(sent, float64(used.sent[apiServer])/n/1024)
		b.Out.Sayf("    %d edits: %s; %.0f status patches; %s of processor time, %s of it the operator's", b.size.changes, used.callText(), used.statusPatches,
			used.processor(), used.processor(operator))
	}
	b.out.add("calls of the hub for an edit, "+of+" devices", "calls", calls).atMost(1)
	b.out.add("status patches for an edit, "+of+" devices", "patches", patches).atMost(2)
	b.out.add("processor time of operator, API server and etcd for an edit, "+of+" devices", "ms", costs)
	b.out.add("processor time of the operator for an edit, "+of+" devices", "ms", own)
	b.out.add("written by etcd for an edit, "+of+" devices", "KiB", bytes)
	b.out.add("sent by the API server for an edit, "+of+" devices", "KiB", sent)
	return costs.median(), nil
}

// edits makes that many, and waits until all are acknowledged.
func (b *bench) edits(ctx context.Context, count int) (used usage, err error) {
	before, err := b.usage(ctx)
	if err != nil {
		return used, err
	}
	first := b.serial
	b.serial += count
	err = each(ctx, count, concurrency, func(ctx context.Context, i int) error {
		name := b.present.name(i % b.present.count)
		generation, err := b.editTo(ctx, name, first+i)
		if err != nil {
			return err
		}
		_, err = b.seen.await(ctx, name, generation)
		return err
	})
	if err != nil {
		return used, err
	}
	after, err := b.usage(ctx)
	return after.since(before), err
}

// costOfReports has devices report what nobody declared, and then answer again what was declared.
func (b *bench) costOfReports(ctx context.Context) error {
	of := thousands(b.present.count)
	for _, kind := range []struct{ what, patch string }{
		{"an undeclared property", `{"uptime":%d}`},
		{"an answer with another text", `{"thermostat1":{"__t":"c","targetTemperature":{"ad":"text %d"}}}`},
	} {
		before, err := b.usage(ctx)
		if err != nil {
			return err
		}
		first := b.serial
		b.serial += b.size.changes
		err = each(ctx, b.size.changes, concurrency, func(ctx context.Context, i int) error {
			return b.Hub.PatchReported(ctx, b.present.name(i%b.present.count), fmt.Sprintf(kind.patch, first+i))
		})
		if err != nil {
			return err
		}
		if !pause(ctx, quietTime) { // what comes within the quiet time of a device is shown with what came before it
			return context.Cause(ctx)
		}
		after, err := b.usage(ctx)
		if err != nil {
			return err
		}
		used, n := after.since(before), float64(b.size.changes)
		b.Out.Sayf("    %d reports of %s: %s; %.0f status patches", b.size.changes, kind.what, used.callText(), used.statusPatches)
		b.out.one("calls of the hub for a report of "+kind.what+", "+of+" devices", "calls", float64(used.hubCalls())/n).atMost(0)
		b.out.one("status patches for a report of "+kind.what+", "+of+" devices", "patches", used.statusPatches/n).atMost(1)
	}
	return nil
}

// quietTime is a little more than the operator collects what a device did by itself.
const quietTime = 6_000_000_000

// reports is what wore out the API servers of others (kubeedge#3761): every report of a few devices is to be seen in status.
func (b *bench) reports(ctx context.Context) error {
	const devices, perSecond = 30, 3
	seconds := int(b.size.minute.Seconds())
	if err := b.connectHub(ctx); err != nil {
		return err
	}
	if err := b.clear(ctx); err != nil {
		return err
	}
	f := b.fresh(devices, 3)
	f.reported = "All"
	if err := b.declare(ctx, f); err != nil {
		return err
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	if err := b.awaitSettled(ctx); err != nil {
		return err
	}
	before, err := b.usage(ctx)
	if err != nil {
		return err
	}
	var sent atomic.Int64
	defer b.progress(ctx, "reports", func() (int, int) { return int(sent.Load()), devices * perSecond * seconds })()
	err = each(ctx, devices, devices, func(ctx context.Context, i int) error {
		return everySecond(ctx, perSecond, seconds, func(n int) error {
			sent.Add(1)
			return b.Hub.PatchReported(ctx, b.present.name(i), fmt.Sprintf(`{"thermostat1":{"__t":"c","maxTempSinceLastReboot":%d.5}}`, n))
		})
	})
	if err != nil {
		return err
	}
	if !pause(ctx, quietTime) {
		return context.Cause(ctx)
	}
	after, err := b.usage(ctx)
	if err != nil {
		return err
	}
	used := after.since(before)
	row := b.out.one(fmt.Sprintf("%d devices × %d reports/s × %d s: status patches of %s reports", devices, perSecond, seconds, thousands(devices*perSecond*seconds)),
		"patches", used.statusPatches)
	if seconds == 60 {
		row.atMost(400)
	}
	b.out.one("calls of the hub meanwhile", "calls", float64(used.hubCalls())).atMost(0)
	b.out.one("processor time of operator, API server and etcd a second meanwhile", "ms", milliseconds(used.processor())/float64(seconds))
	if used.statusPatches < devices {
		return fmt.Errorf("%.0f status patches: not every device's reports were shown", used.statusPatches)
	}
	if writes := used.calls[simulator.OpPatchDigitalTwin]; writes > 0 {
		return fmt.Errorf("%d writes to the hub after reports", writes)
	}
	return nil
}
