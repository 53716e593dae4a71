package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/node"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// stage is what a scenario plays on.
type stage struct{ harness.Stage }

// scenario is one end-to-end test. It has devices of its own, named after it.
type scenario struct {
	name, title string
	play        func(ctx context.Context, s stage, id string) (harness.Outcome, error)
}

// e2e plays the scenarios with devices on Microsoft's SDK, all of them even if one fails, and cleans up.
func e2e(ctx context.Context, c harness.Clone, out *harness.Report) error {
	if err := node.Missing(); err != nil {
		return err
	}
	if err := c.Build(ctx, out); err != nil {
		return err
	}
	if err := errors.Join(c.BuildHelm(ctx, out), c.BuildDevices(ctx, out)); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(c.Path("bin"), "e2e-run-")
	if err != nil {
		return fmt.Errorf("making the folder of the tests: %w", err)
	}
	d := harness.NewTestbed(c, dir, out)
	d.Release = true
	return d.Conclude(ctx, playEndToEnd(ctx, d))
}

func playEndToEnd(ctx context.Context, d *harness.Testbed) (err error) {
	d.Out.Heading("Starting a control plane, a simulated hub, the operator and devices on Microsoft's SDK for Node")
	ctx, err = d.SetUp(ctx)
	if err != nil {
		return err
	}
	stop, err := record(ctx, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := d.ApplyHub(ctx); err != nil {
		return err
	}
	f, err := d.StartFleet(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	o, err := d.Observe(ctx)
	if err != nil {
		return err
	}
	d.Out.Heading("Scenarios, with the time that something took to show in status")
	return stage{harness.Stage{Testbed: d, Fleet: f, Observer: o}}.playAll(ctx)
}

// playAll goes on after a failure: scenarios have nothing in common.
func (s stage) playAll(ctx context.Context) error {
	var failed []error
	for _, one := range scenarios {
		began := time.Now()
		o, err := one.play(ctx, s, one.name)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			s.Out.Sayf("FAILED: %s: %v", one.title, err)
			failed = append(failed, fmt.Errorf("%s: %w", one.title, err))
			continue
		}
		s.Out.Passf("%-62s %s -> %s %d ms  (in all %.1f s)", one.title, o.From, o.To, o.Took.Milliseconds(), time.Since(began).Seconds())
	}
	for _, kind := range []string{harness.DevicesResource, "dcmd"} {
		if _, err := s.Kubectl.Show(ctx, "get", kind, "-n", harness.Namespace); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// reported returns what the hub holds as reported by a device.
func (s stage) reported(ctx context.Context, id string, path ...string) (any, error) {
	raw, err := s.Testbed.Hub.Twin(ctx, id)
	if err != nil {
		return nil, err
	}
	var twin struct {
		Properties struct{ Reported map[string]any }
	}
	if err := json.Unmarshal(raw, &twin); err != nil {
		return nil, err
	}
	value, _ := harness.ValueAt(twin.Properties.Reported, path...)
	return value, nil
}
