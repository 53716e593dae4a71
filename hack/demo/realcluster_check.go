package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/pnp-operator/pnp-operator/test/harness"
)

const (
	release            = "pnp"
	simulatorNamespace = "pnp-simulator"
)

// clusterTest installs the chart in a cluster of two nodes, sees what becomes of its pods, and cleans up, whatever happens.
func clusterTest(ctx context.Context, c harness.Clone, out *harness.Report) error {
	if lacks(c, out) {
		return nil
	}
	if err := buildCluster(ctx, c, out); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(c.Path("bin"), "cluster-test-")
	if err != nil {
		return fmt.Errorf("making the cluster's folder: %w", err)
	}
	unlock, err := lockFolder(dir)
	if err != nil {
		return err
	}
	defer unlock()
	s := newRealCluster(c, dir, 2, out)
	return s.conclude(s.check(ctx))
}

// lockFolder keeps a clusterDown elsewhere from taking a folder for one that a killed process has left.
func lockFolder(dir string) (unlock func(), err error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the cluster's folder: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("folder %q is another process's: %w", dir, err), file.Close())
	}
	return func() { _ = file.Close() }, nil
}

func (s *realCluster) check(ctx context.Context) error {
	s.Out.Heading("A cluster of two nodes")
	if err := s.start(ctx, true); err != nil {
		return err
	}
	for i, step := range []struct {
		title string
		play  func(*realCluster, context.Context) error
	}{
		{"The chart without the simulator, as docs/install.md has it", (*realCluster).withoutSimulator},
		{"With the simulator: two commands until a value is acknowledged", (*realCluster).withSimulator},
		{"What the pods may do on their node", (*realCluster).confinement},
		{"Wrong objects during rollouts", (*realCluster).rollouts},
		{"The leader is deleted, and killed", (*realCluster).failovers},
		{"A node is drained", (*realCluster).drain},
		{"The leader's node is cut off", (*realCluster).partition},
		{"Too little memory, and back", (*realCluster).outOfMemory},
		{"An upgrade, and back", (*realCluster).upgrade},
		{"Uninstalled with a device to clear, and installed again", (*realCluster).reinstall},
		{"NetworkPolicies", (*realCluster).policies},
	} {
		s.Out.Heading(fmt.Sprintf("(%d) %s", i+1, step.title))
		if err := step.play(s, ctx); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}
