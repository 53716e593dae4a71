package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/pnp-operator/pnp-operator/test/harness"
)

// footprint is what an operator needs while nothing happens.
type footprint struct {
	goroutines int
	liveHeap   int // bytes, as the last garbage collection found them
}

// What may be more at the end than at the beginning: connections that are kept, maps that do not shrink.
const (
	moreGoroutines = 20
	moreHeap       = 8 << 20
)

// measure notes the footprint of each replica the first time, and holds it against that the second time. Connections that idle are closed after a
// while, so there is some time for it to come down.
func (k *storm) measure(ctx context.Context) error {
	if k.baseline == nil {
		k.baseline = map[*operator]footprint{}
		for _, one := range k.operators.all {
			f, err := one.footprint(ctx)
			if err != nil {
				return err
			}
			k.baseline[one] = f
			k.Out.Sayf("%s%s has %d goroutines and %.1f MiB of live heap", one.Name, one.Replica, f.goroutines, mebibytes(f.liveHeap))
		}
		k.restarted = 0
		return nil
	}
	if err := k.Check("operators that ended by themselves meanwhile", "none", fmt.Sprint(k.restarted), k.restarted == 0); err != nil {
		return err
	}
	for _, one := range k.operators.all {
		if err := k.compareFootprint(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

func (k *storm) compareFootprint(ctx context.Context, one *operator) error {
	const within = 3 * time.Minute
	before := k.baseline[one]
	var now footprint
	expected := fmt.Sprintf("at most %d goroutines and %.1f MiB", before.goroutines+moreGoroutines, mebibytes(before.liveHeap+moreHeap))
	got := func() string {
		return fmt.Sprintf("%d goroutines and %.1f MiB of live heap, %d and %.1f MiB before", now.goroutines, mebibytes(now.liveHeap), before.goroutines, mebibytes(before.liveHeap))
	}
	what := "what " + one.Name + one.Replica + " needs after it all"
	late := func() error { return harness.Missed(what, expected, got()) }
	err := harness.PollEvery(ctx, time.Second, within, late, func(ctx context.Context) (_ bool, err error) {
		now, err = one.footprint(ctx)
		return now.goroutines <= before.goroutines+moreGoroutines && now.liveHeap <= before.liveHeap+moreHeap, err
	})
	if err == nil {
		k.Out.Passf("%s: %s", what, got())
	}
	return err
}

func mebibytes(n int) float64 { return float64(n) / (1 << 20) }

// footprint asks for metrics until two garbage collections have ended since: being asked makes garbage.
func (one *operator) footprint(ctx context.Context) (footprint, error) {
	const within = time.Minute
	var f footprint
	var collections []float64
	late := func() error {
		return harness.Missed("garbage collections of "+one.Name+one.Replica, "two within "+within.String(), fmt.Sprint(len(collections)))
	}
	err := harness.Poll(ctx, within, late, func(ctx context.Context) (bool, error) {
		values, err := harness.Metrics(ctx, "http://"+one.address+"/metrics")
		if err != nil {
			return false, err
		}
		if at := values["go_memstats_last_gc_time_seconds"]; len(collections) == 0 || at != collections[len(collections)-1] {
			collections = append(collections, at)
		}
		// The next collection is due when the heap is twice what the last one left (GOGC=100).
		f = footprint{int(values["go_goroutines"]), int(values["go_memstats_next_gc_bytes"] / 2)}
		return len(collections) > 2, nil
	})
	return f, err
}
