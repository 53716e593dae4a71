package main

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/test/harness"
)

// reapply applies what is already there and watches for a while that nothing happens.
func (d *demo) reapply(ctx context.Context, table *tableWatch) error {
	table.tell(ctx, "nothing should have changed")
	versions, err := d.resourceVersions(ctx)
	if err != nil {
		return err
	}
	newest, err := d.NewestCall(ctx)
	if err != nil {
		return fmt.Errorf("reading the call log: %w", err)
	}
	if err := d.ApplySamples(ctx); err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // for something to happen that should not
	if err := d.checkOnlySweeps(ctx, newest); err != nil {
		return err
	}
	now, err := d.resourceVersions(ctx)
	if err != nil {
		return err
	}
	if err := d.Check("no object and no status was written", fmt.Sprintf("resourceVersions %v", versions), fmt.Sprintf("resourceVersions %v", now), maps.Equal(versions, now)); err != nil {
		return err
	}
	_, err = d.Kubectl.Show(ctx, "get", "hub,pnp", "-n", harness.Namespace)
	return err
}

// checkOnlySweeps checks that the hub was asked nothing else since a call.
func (d *demo) checkOnlySweeps(ctx context.Context, seq uint64) error {
	sweeps, others, err := d.CallsAfter(ctx, seq)
	if err != nil {
		return fmt.Errorf("reading the call log: %w", err)
	}
	got := fmt.Sprintf("queries of the sweep: %d, other calls: %d %s", sweeps, len(others), strings.Join(others, ", "))
	return d.Check("the hub was asked nothing but the sweep's questions", "no other call", strings.TrimSpace(got), len(others) == 0)
}

func (d *demo) resourceVersions(ctx context.Context) (map[string]string, error) {
	devices, err := d.Devices(ctx)
	if err != nil {
		return nil, err
	}
	versions := map[string]string{}
	for _, device := range devices {
		versions[device.Name] = device.ResourceVersion
	}
	return versions, nil
}
