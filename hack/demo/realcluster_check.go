package main

import (
	"context"
	"fmt"
	"os"
)

const (
	release            = "pnp"
	simulatorNamespace = "pnp-simulator"
)

// clusterTest installs the chart in a cluster of two nodes, sees what becomes of its pods, and cleans up, whatever happens.
func clusterTest(ctx context.Context, c clone, out *report) error {
	if lacks(c, out) {
		return nil
	}
	dir, err := os.MkdirTemp(c.path("bin"), "cluster-test-")
	if err != nil {
		return fmt.Errorf("making the cluster's folder: %w", err)
	}
	s := newRealCluster(c, dir, 2, out)
	return s.conclude(s.check(ctx))
}

func (s *realCluster) check(ctx context.Context) error {
	s.out.scenario("A cluster of two nodes")
	if err := s.buildCluster(ctx); err != nil {
		return err
	}
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
		s.out.scenario(fmt.Sprintf("(%d) %s", i+1, step.title))
		if err := step.play(s, ctx); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}
