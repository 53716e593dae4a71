// Package cluster installs the chart in a real cluster of two nodes, and sees what becomes of its
// pods.
package cluster

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/pnp-operator/pnp-operator/hack/cluster"
	"github.com/pnp-operator/pnp-operator/test/harness"
	"github.com/pnp-operator/pnp-operator/test/harness/realcluster"
)

const (
	release            = "pnp"
	simulatorNamespace = "pnp-simulator"
)

// realCluster is the cluster that the steps are made in.
type realCluster struct{ *realcluster.Cluster }

// TestMain is a part of a node instead where the cluster starts this program as one.
func TestMain(m *testing.M) {
	if status, ok := cluster.Execute(os.Args[1:], os.Stderr); ok {
		os.Exit(status)
	}
	os.Exit(m.Run())
}

// TestCluster installs the chart in a cluster of two nodes, sees what becomes of its pods, and
// cleans up, whatever happens. Its steps build on each other.
func TestCluster(t *testing.T) {
	ctx, c, out := harness.Begin(t, "cluster-test", false)
	if realcluster.Lacks(c, out) {
		t.Skip("no cluster can run on this machine")
	}
	if err := realcluster.Build(ctx, c, out); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(c.Path("bin"), "cluster-test-")
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := realcluster.LockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	s := &realCluster{realcluster.New(c, dir, 2, out)}
	harness.Settle(t, s.Conclude(s.check(ctx)))
}

func (s *realCluster) check(ctx context.Context) error {
	s.Out.Heading("A cluster of two nodes")
	if err := s.Start(ctx, true); err != nil {
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
