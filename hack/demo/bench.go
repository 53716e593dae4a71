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
)

// plant has package bench measure what a demonstration is made of.
type plant struct{ *demo }

// measure runs the benchmark, or the parts of it that $PART names.
func measure(ctx context.Context, c clone, out *report) error {
	o := bench.Options{Quick: os.Getenv("QUICK") != "", Parts: strings.Fields(os.Getenv("PART")), Out: c.path("bin/bench")}
	for number := range strings.FieldsSeq(os.Getenv("SIZES")) {
		n, err := strconv.Atoi(number)
		if err != nil {
			return fmt.Errorf("SIZES has %q, expected numbers of devices", number)
		}
		o.Devices = append(o.Devices, n)
	}
	if os.Getenv("ROUNDS") != "" {
		if err := fromEnvironment("ROUNDS", &o.Rounds, 0); err != nil {
			return err
		}
	}
	if err := o.Check(); err != nil {
		return err
	}
	if err := node.Missing(); err != nil {
		return err
	}
	if err := c.build(ctx, out); err != nil {
		return err
	}
	if err := c.npm(ctx, out, serviceFolder); err != nil {
		return err
	}
	version := newCommand(ctx, "git", "-C", c.root, "describe", "--tags", "--always", "--dirty")
	said, err := version.Output()
	if err != nil {
		return fmt.Errorf("finding the version: %w", err)
	}
	o.Version = strings.TrimSpace(string(said))
	dir, err := os.MkdirTemp(c.path("bin"), "bench-run-")
	if err != nil {
		return fmt.Errorf("making the folder of the run: %w", err)
	}
	d := newDemo(c, dir, out)
	d.ackDelay = 0
	return d.conclude(ctx, d.measure(ctx, o))
}

func (d *demo) measure(ctx context.Context, o bench.Options) error {
	d.out.scenario("Starting a control plane and a simulated hub")
	ctx, err := d.prepare(ctx)
	if err != nil {
		return err
	}
	d.out.scenario("Measuring")
	if err := bench.Run(ctx, plant{d}, o); err != nil {
		return err
	}
	d.out.passf("everything that was measured did its work")
	return nil
}

func (p plant) Sayf(format string, args ...any) { p.out.sayf(format, args...) }
func (p plant) Kubeconfig() string              { return p.kubectl.kubeconfig }
func (p plant) HubEnv() map[string]string       { return p.hubEnv }
func (p plant) Hub() *simulator.DebugClient     { return p.hub }
func (p plant) Path(name string) string         { return p.path(name) }

// Pid of a program, of the control plane or of the demonstration.
func (p plant) Pid(program string) int {
	if pid := p.process(program).pid(); pid != 0 {
		return pid
	}
	data, err := os.ReadFile(filepath.Join(p.file(controlPlaneFolder), program+".pid"))
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
	_, err = p.launchOperator(ctx, p.manager(), probes[0], flags...)
	return err
}

// StopOperator ends the operator as Kubernetes does.
func (p plant) StopOperator() error {
	_, err := p.manager().stop(30 * time.Second)
	return err
}
