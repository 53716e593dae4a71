package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pnp-operator/pnp-operator/hack/node"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

func main() { os.Exit(status()) }

// status runs the benchmark and returns the exit status of this process.
func status() int {
	ctx, stop := signal.NotifyContext(context.Background(), harness.EndSignals(false)...)
	defer stop()
	harness.SilenceClients()
	c, err := harness.FindClone()
	if err == nil {
		err = measure(ctx, c, harness.NewReport("bench", os.Stdout))
	}
	switch {
	case err == nil:
		return 0
	case !errors.Is(err, harness.ErrShown):
		_, _ = fmt.Fprintf(os.Stderr, "bench: %v\n", err)
	}
	return 1
}

// measure runs the benchmark, or the parts of it that $PART names.
func measure(ctx context.Context, c harness.Clone, out *harness.Report) error {
	o := Options{Quick: os.Getenv("QUICK") != "", Parts: strings.Fields(os.Getenv("PART")), Out: c.Path("bin/bench")}
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

func measureParts(ctx context.Context, d *harness.Testbed, o Options) error {
	d.Out.Heading("Starting a control plane and a simulated hub")
	ctx, err := d.Prepare(ctx)
	if err != nil {
		return err
	}
	d.Out.Heading("Measuring")
	if err := Run(ctx, d, o); err != nil {
		return err
	}
	d.Out.Passf("everything that was measured did its work")
	return nil
}

// pidOf returns the pid of a program of the testbed or of its control plane, 0 if it does not run.
func (b *bench) pidOf(program string) int {
	if pid := b.Process(program).Pid(); pid != 0 {
		return pid
	}
	data, err := os.ReadFile(filepath.Join(b.File(harness.ControlPlaneFolder), program+".pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	return pid
}
