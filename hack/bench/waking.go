package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// waking measures what happens when all devices of a hub wake at once: edits beside devices that
// have nothing to do, and the request budget where each of them has a write that was held back.
func (b *bench) waking(ctx context.Context) error {
	if err := b.settle(ctx, b.size.most(), 3); err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	idle, err := b.chainOfOperator(ctx, b.size.edits)
	if err != nil {
		return err
	}
	if err := b.editsWhileWaking(ctx, idle); err != nil {
		return err
	}
	return b.writesHeldBack(ctx)
}

// changeHub merges fields into the spec of the IoTHub.
func (b *bench) changeHub(ctx context.Context, spec map[string]any) error {
	patch, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return fmt.Errorf("changing the IoTHub: %w", err)
	}
	hub := &unstructured.Unstructured{}
	hub.SetGroupVersionKind(hubKind)
	hub.SetNamespace(namespace)
	hub.SetName(hubName)
	return b.client.Patch(ctx, hub, client.RawPatch(types.MergePatchType, patch))
}

// editsWhileWaking resumes a suspended hub and edits devices until the operator has looked at all.
func (b *bench) editsWhileWaking(ctx context.Context, idle sample) error {
	var ratios, all sample
	for range b.size.restarts {
		if err := b.changeHub(ctx, map[string]any{"suspend": true}); err != nil {
			return err
		}
		if err := b.calm(ctx); err != nil {
			return err
		}
		before, _, err := b.passes(ctx)
		if err != nil {
			return err
		}
		if err := b.changeHub(ctx, map[string]any{"suspend": nil}); err != nil {
			return err
		}
		took, err := b.editsUntilLooked(ctx, before+float64(b.present.count))
		if err != nil {
			return err
		}
		all, ratios = append(all, took...), append(ratios, took.quantile(0.99)/idle.quantile(0.99))
		b.Out.Sayf("    %d edits while all wake: p50 %.1f ms, p99 %.1f ms; idle p99 %.1f ms", len(took), took.median(), took.quantile(0.99), idle.quantile(0.99))
	}
	of := thousands(b.present.count) + " devices of a hub that is resumed wake"
	b.out.one("edit while "+of+", p99 / idle p99", "ratio", all.quantile(0.99)/idle.quantile(0.99)).atMost(2).
		notef("over all %d edits; of single times %s to %s", len(all), number(ratios.quantile(0)), number(ratios.quantile(1)))
	b.out.add("edit while "+of, "ms", all).notef("p99 %s ms, idle p99 %s ms", number(all.quantile(0.99)), number(idle.quantile(0.99)))
	return nil
}

// passes returns how often the operator has looked at a device since its start, and how many wait.
func (b *bench) passes(ctx context.Context) (made, waiting float64, err error) {
	m, err := b.operatorMetrics(ctx)
	return m.sum("controller_runtime_reconcile_total", `controller="pnpdevice"`), m.sum("workqueue_depth", `name="pnpdevice"`), err
}

// editsUntilLooked edits device after device until the operator has made that many passes and no
// device waits, and returns the milliseconds that each edit took.
func (b *bench) editsUntilLooked(ctx context.Context, passes float64) (sample, error) {
	var took sample
	for began := time.Now(); time.Since(began) < patience; {
		one, err := b.timedEdit(ctx, b.present.name(len(took)*13%b.present.count))
		if err != nil {
			return nil, err
		}
		took = append(took, one)
		made, waiting, err := b.passes(ctx)
		if err != nil {
			return nil, err
		}
		if made >= passes && waiting == 0 {
			return took, nil
		}
	}
	return nil, fmt.Errorf("the operator did not look at %d devices within %s", b.present.count, patience)
}

// writesHeldBack edits every device of a suspended hub, resumes it with the usual request budget,
// and counts the writes that reach the hub.
func (b *bench) writesHeldBack(ctx context.Context) error {
	usual := v1alpha1.RequestBudget{TwinReadsPerSecond: 50, TwinWritesPerSecond: 25}
	budget, err := b.unlimited(ctx)
	if err != nil {
		return err
	}
	limited := map[string]any{"twinReadsPerSecond": usual.TwinReadsPerSecond, "twinWritesPerSecond": usual.TwinWritesPerSecond}
	if err := b.changeHub(ctx, map[string]any{"suspend": true, "requestBudget": limited}); err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	b.Out.Sayf("  %d devices are edited while the hub is suspended", b.present.count)
	err = each(ctx, b.present.count, clients, func(ctx context.Context, i int) error {
		_, err := b.editTo(ctx, b.present.name(i), b.serial+i)
		return err
	})
	if err != nil {
		return err
	}
	b.serial += b.present.count
	before, err := b.usage(ctx)
	if err != nil {
		return err
	}
	if err := b.changeHub(ctx, map[string]any{"suspend": nil}); err != nil {
		return err
	}
	if !pause(ctx, b.size.minute) {
		return context.Cause(ctx)
	}
	after, err := b.usage(ctx)
	if err != nil {
		return err
	}
	b.tellOfBudget(after.since(before), after.at.Sub(before.at), usual)
	if err := b.changeHub(ctx, map[string]any{"requestBudget": budget}); err != nil {
		return err
	}
	return b.awaitSettled(ctx)
}

func (b *bench) tellOfBudget(used usage, took time.Duration, allowed v1alpha1.RequestBudget) {
	of := fmt.Sprintf(" a second after %s devices with an edit each that was held back woke", thousands(b.present.count))
	for _, row := range []struct {
		what, operation string
		allowed         int32
	}{
		{"writes", simulator.OpPatchDigitalTwin, allowed.TwinWritesPerSecond},
		{"reads", simulator.OpGetTwin, allowed.TwinReadsPerSecond},
	} {
		// A budget that was not used may be used for a second more.
		most := float64(row.allowed) * (took.Seconds() + 1) / took.Seconds()
		b.out.one(row.what+" of the hub"+of+fmt.Sprintf(", %d are allowed", row.allowed), "calls", float64(used.calls[row.operation])/took.Seconds()).atMost(most)
	}
}
