package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// storm is how long the hub refuses nearly all writes.
const storm = 10 * time.Second

// throttled edits half of the devices at once, and some of the others one a second, while the hub answers nine writes of ten with 429.
func (b *bench) throttled(ctx context.Context) error {
	if err := b.settle(ctx, b.size.devices[len(b.size.devices)-2], 3); err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	fault := simulator.Throttled()
	fault.Operation, fault.Probability, fault.Seed, fault.Count = simulator.OpPatchDigitalTwin, 0.9, 1, simulator.Forever
	if _, err := b.Hub.AddFault(ctx, fault); err != nil {
		return err
	}
	before, err := b.usage(ctx)
	if err != nil {
		return err
	}
	crowd := b.present.count / 2
	b.Out.Sayf("  nine writes of ten are refused for %s; %d devices are edited at once, and others one a second", storm, crowd)
	all := time.Now().Add(storm)
	err = each(ctx, crowd, clients, func(ctx context.Context, i int) error {
		_, err := b.editTo(ctx, b.present.name(i), b.serial+i)
		return err
	})
	if err != nil {
		return err
	}
	b.serial += crowd
	late := map[string]int64{} // edited one by one, to the generation
	for i := 0; time.Now().Before(all); i++ {
		name := b.present.name(crowd + i%(b.present.count-crowd))
		if late[name], err = b.edit(ctx, name); err != nil {
			return err
		}
		if !pause(ctx, time.Second) {
			return context.Cause(ctx)
		}
	}
	return b.afterStorm(ctx, before, late, crowd)
}

func (b *bench) afterStorm(ctx context.Context, before usage, late map[string]int64, crowd int) error {
	during, err := b.usage(ctx)
	if err != nil {
		return err
	}
	if err := b.Hub.ClearFaults(ctx); err != nil {
		return err
	}
	over := time.Now()
	var took sample
	for name, generation := range late {
		at, err := b.seen.await(ctx, name, generation)
		if err != nil {
			return err
		}
		took = append(took, max(0, at.Sub(over).Seconds()))
	}
	if err := b.awaitSettled(ctx); err != nil {
		return err
	}
	took, through := took.sorted(), time.Since(over).Seconds()
	edits := crowd + len(late)
	used := during.since(before)
	b.out.add(fmt.Sprintf("end of the 429s until an edit made during them is acknowledged, %s others waiting", thousands(crowd)), "s", took)
	b.out.one("end of the 429s until everything is acknowledged", "s", through)
	b.out.one(fmt.Sprintf("writes sent for each of %s edits during %s of 429s", thousands(edits), storm), "calls", float64(used.calls[simulator.OpPatchDigitalTwin])/float64(edits))
	after, err := b.usage(ctx)
	if err != nil {
		return err
	}
	if writes := after.since(before).calls[simulator.OpPatchDigitalTwin]; writes < edits {
		return fmt.Errorf("the hub saw %d writes for %d edits", writes, edits)
	}
	return nil
}
