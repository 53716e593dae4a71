package main

import (
	"context"
	"fmt"
	"os"

	"github.com/pnp-operator/pnp-operator/hack/node"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// run shows the scenarios and cleans up, whatever happens.
func run(ctx context.Context, c harness.Clone, out *harness.Report) error {
	if err := c.BuildQuickly(ctx, out); err != nil {
		return err
	}
	if node.Missing() == nil {
		if err := c.BuildDevices(ctx, out); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp(c.Path("bin"), "demo-run-")
	if err != nil {
		return fmt.Errorf("making the demonstration's folder: %w", err)
	}
	d := newDemo(c, dir, out)
	return d.Conclude(ctx, d.show(ctx))
}

func (d *demo) show(ctx context.Context) error {
	d.Out.Heading("Starting a control plane, a simulated hub and the operator")
	ctx, err := d.SetUp(ctx)
	if err != nil {
		return err
	}
	if err := d.ConnectDevices(ctx); err != nil {
		return err
	}
	return d.play(ctx)
}

// play shows all scenarios, or those up to the first that fails.
func (d *demo) play(ctx context.Context) error {
	table, err := d.watchTable(ctx)
	if err != nil {
		return err
	}
	defer table.stop()
	for i, s := range []struct {
		title string
		play  func(*demo, context.Context, *tableWatch) error
	}{
		{"The devices take what the samples declare", (*demo).converge},
		{"A value that someone else changed is put back at once", (*demo).drift},
		{"What a device does is in the table at once, and costs the hub nothing", (*demo).latency},
		{"What leaves the declaration leaves the hub, and nothing else does", (*demo).removal},
		{"A device refuses a value, and says why", (*demo).rejection},
		{"A wrong value fails before it is applied", (*demo).wrongValue},
		{"The same declaration once more costs nothing", (*demo).reapply},
		{"A hub without any key: a ServiceAccount is a workload identity", (*demo).workloadIdentity},
		{"A device on Microsoft's own device SDK", (*demo).realDevice},
	} {
		d.Out.Heading(fmt.Sprintf("(%d) %s", i+1, s.title))
		if err := s.play(d, ctx, table); err != nil {
			return fmt.Errorf("scenario %d: %w", i+1, err)
		}
		table.look(ctx)
	}
	return nil
}
