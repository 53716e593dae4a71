package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/bench"
	"github.com/pnp-operator/pnp-operator/hack/freeport"
	"github.com/pnp-operator/pnp-operator/hack/node"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// plant has package bench measure what a demonstration is made of.
type plant struct{ *harness.Testbed }

// measure runs the benchmark, or the parts of it that $PART names.
func measure(ctx context.Context, c harness.Clone, out *harness.Report) error {
	o := bench.Options{Quick: os.Getenv("QUICK") != "", Parts: strings.Fields(os.Getenv("PART")), Out: c.Path("bin/bench")}
	for number := range strings.FieldsSeq(os.Getenv("SIZES")) {
		n, err := strconv.Atoi(number)
		if err != nil {
			return fmt.Errorf("SIZES has %q, expected numbers of devices", number)
		}
		o.Devices = append(o.Devices, n)
	}
	if os.Getenv("ROUNDS") != "" {
		if err := harness.NumberFromEnvironment("ROUNDS", &o.Rounds, 0); err != nil {
			return err
		}
	}
	if err := o.Check(); err != nil {
		return err
	}
	if err := node.Missing(); err != nil {
		return err
	}
	if err := c.Build(ctx, out); err != nil {
		return err
	}
	if err := c.InstallPackages(ctx, out, harness.ServiceFolder); err != nil {
		return err
	}
	version := harness.NewCommand(ctx, "git", "-C", c.Root, "describe", "--tags", "--always", "--dirty")
	said, err := version.Output()
	if err != nil {
		return fmt.Errorf("finding the version: %w", err)
	}
	o.Version = strings.TrimSpace(string(said))
	dir, err := os.MkdirTemp(c.Path("bin"), "bench-run-")
	if err != nil {
		return fmt.Errorf("making the folder of the run: %w", err)
	}
	d := harness.NewTestbed(c, dir, out)
	d.AckDelay = 0
	return d.Conclude(ctx, measureParts(ctx, d, o))
}

func measureParts(ctx context.Context, d *harness.Testbed, o bench.Options) error {
	d.Out.Heading("Starting a control plane and a simulated hub")
	ctx, err := d.Prepare(ctx)
	if err != nil {
		return err
	}
	d.Out.Heading("Measuring")
	if err := bench.Run(ctx, plant{d}, o); err != nil {
		return err
	}
	d.Out.Passf("everything that was measured did its work")
	return nil
}

func (p plant) Sayf(format string, args ...any) { p.Out.Sayf(format, args...) }
func (p plant) Kubeconfig() string              { return p.Kubectl.Kubeconfig }
func (p plant) HubEnv() map[string]string       { return p.Testbed.HubEnv }
func (p plant) Hub() *simulator.DebugClient     { return p.Testbed.Hub }
func (p plant) Path(name string) string         { return p.Clone.Path(name) }

// Pid of a program, of the control plane or of the demonstration.
func (p plant) Pid(program string) int {
	if pid := p.Process(program).Pid(); pid != 0 {
		return pid
	}
	data, err := os.ReadFile(filepath.Join(p.File(harness.ControlPlaneFolder), program+".pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	return pid
}

// StartOperator starts the operator with its own rights and without a webhook.
func (p plant) StartOperator(ctx context.Context, flags ...string) error {
	probes, err := freeport.Addresses(1)
	if err != nil {
		return err
	}
	_, err = p.LaunchOperator(ctx, p.Manager(), probes[0], flags...)
	return err
}

// StopOperator ends the operator as Kubernetes does.
func (p plant) StopOperator() error {
	_, err := p.Manager().Stop(30 * time.Second)
	return err
}
