// Package e2e tests the operator end to end: a release of the chart, with devices on Microsoft's
// device SDK for Node, which are in the folder devices.
package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
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

// TestEndToEnd plays the scenarios with devices on Microsoft's SDK, each as a test of its own, all
// of them even if one fails, and cleans up.
func TestEndToEnd(t *testing.T) {
	ctx, c, out := harness.Begin(t, "e2e", false)
	if err := node.Missing(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Build(ctx, out), c.BuildHelm(ctx, out), c.BuildDevices(ctx, out)); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(c.Path("bin"), "e2e-run-")
	if err != nil {
		t.Fatal(err)
	}
	d := harness.NewTestbed(c, dir, out)
	d.Release = true
	harness.Settle(t, d.Conclude(ctx, playEndToEnd(ctx, t, d)))
}

func playEndToEnd(ctx context.Context, t *testing.T, d *harness.Testbed) (err error) {
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
	return stage{harness.Stage{Testbed: d, Fleet: f, Observer: o}}.playAll(ctx, t)
}

// playAll plays the scenarios that -run names. It goes on after a failure: they have nothing in
// common.
func (s stage) playAll(ctx context.Context, t *testing.T) error {
	played, failed := 0, 0
	for _, one := range scenarios {
		t.Run(one.name, func(t *testing.T) {
			played++
			if err := s.playOne(ctx, one); err != nil {
				failed++
				t.Error(err)
			}
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d of %d scenarios failed, see above", failed, played)
	case played == 0:
		return errors.New("no scenario has a name that -run asks for")
	}
	for _, kind := range []string{harness.DevicesResource, "dcmd"} {
		if _, err := s.Kubectl.Show(ctx, "get", kind, "-n", harness.Namespace); err != nil {
			return err
		}
	}
	return nil
}

// playOne plays a scenario, and tells what came of it.
func (s stage) playOne(ctx context.Context, one scenario) error {
	began := time.Now()
	o, err := one.play(ctx, s, one.name)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		s.Out.Sayf("FAILED: %s: %v", one.title, err)
		return fmt.Errorf("%s: %w", one.title, err)
	}
	s.Out.Passf("%-62s %s -> %s %d ms  (in all %.1f s)", one.title, o.From, o.To, o.Took.Milliseconds(), time.Since(began).Seconds())
	return nil
}

// reported returns what the hub holds as reported by a device.
func (s stage) reported(ctx context.Context, id string, path ...string) (any, error) {
	raw, err := s.Hub.Twin(ctx, id)
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
