package main

import (
	"context"
	"errors"
	"fmt"
)

// memory measures the live heap, which is what a garbage collection leaves, over that of an operator without devices.
func (b *bench) memory(ctx context.Context) error {
	perThousand := map[string]float64{}
	var rows []string
	limits := map[string]float64{}
	for _, of := range []struct {
		properties int
		limit      float64
	}{{3, 4}, {20, 12}} {
		if err := b.stop(); err != nil { // what a process has done before must not count
			return err
		}
		what := fmt.Sprintf("%s devices with %d properties", thousands(b.size.most()), of.properties)
		converged, err := b.heapOf(ctx, of.properties)
		if err != nil {
			return err
		}
		if err := b.stop(); err != nil {
			return err
		}
		started, err := b.heapOf(ctx, of.properties)
		if err != nil {
			return err
		}
		rows = append(rows, what+", which this process converged", what+", after a restart")
		perThousand[rows[len(rows)-2]], perThousand[rows[len(rows)-1]] = converged, started
		limits[rows[len(rows)-1]], limits[rows[len(rows)-2]] = of.limit, of.limit
	}
	empty, err := b.emptyHeap(ctx)
	if err != nil {
		return err
	}
	b.out.one("live heap of an operator without devices", "MiB", empty)
	for _, what := range rows {
		row := b.out.one("live heap over that per 1,000 of "+what, "MiB", (perThousand[what]-empty)/float64(b.size.most())*1000)
		if b.size.most() >= 1000 { // what does not grow with devices would count too much
			row.atMost(limits[what])
		}
	}
	return nil
}

// heapOf is the live heap in MiB of an operator that has nothing left to do for all devices.
func (b *bench) heapOf(ctx context.Context, properties int) (float64, error) {
	if err := b.settle(ctx, b.size.most(), properties); err != nil {
		return 0, err
	}
	if err := b.calm(ctx); err != nil {
		return 0, err
	}
	return b.heap(ctx)
}

func (b *bench) emptyHeap(ctx context.Context) (float64, error) {
	if err := b.stop(); err != nil {
		return 0, err
	}
	if err := b.clear(ctx); err != nil {
		return 0, err
	}
	if err := b.start(ctx); err != nil {
		return 0, err
	}
	return b.heap(ctx)
}

// heap asks for the operator's metrics until the garbage that this makes was collected twice: what the first collection counts may have become garbage
// while it ran.
func (b *bench) heap(ctx context.Context) (float64, error) {
	const collections = "go_gc_cycles_total_gc_cycles_total"
	first := -1.0
	for range 20_000 {
		m, err := b.operatorMetrics(ctx)
		if err != nil {
			return 0, err
		}
		if first < 0 {
			first = m.sum(collections)
		}
		if m.sum(collections) >= first+2 {
			return m.sum("go_gc_heap_live_bytes") / (1 << 20), nil
		}
	}
	return 0, errors.New("the operator does not collect its garbage")
}
