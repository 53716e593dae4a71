package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pnp-operator/pnp-operator/hack/cluster"
	"github.com/pnp-operator/pnp-operator/test/harness"
	"github.com/pnp-operator/pnp-operator/test/harness/realcluster"
)

// clusterFolder is where clusterUp keeps what clusterDown stops.
func clusterFolder(c harness.Clone) string { return c.Path("bin/cluster") }

// clusterUp leaves a cluster running. The folder's making is what two of them compete for.
func clusterUp(ctx context.Context, c harness.Clone, out *harness.Report) error {
	if realcluster.Lacks(c, out) {
		return nil
	}
	s := realcluster.New(c, clusterFolder(c), 1, out)
	if _, err := os.Stat(s.Dir); err == nil {
		return clusterAlreadyUp(s)
	}
	if err := realcluster.Build(ctx, c, out); err != nil {
		return err
	}
	if err := os.Mkdir(s.Dir, 0o700); errors.Is(err, fs.ErrExist) {
		return clusterAlreadyUp(s)
	} else if err != nil {
		return fmt.Errorf("making the cluster's folder: %w", err)
	}
	if err := s.Start(ctx, false); err != nil {
		return s.Conclude(err)
	}
	return sayHowToEnter(s)
}

// clusterAlreadyUp says what is in the folder that is in the way.
func clusterAlreadyUp(s *realcluster.Cluster) error {
	if err := s.Machinery.Check(); err != nil || !s.Machinery.Started() {
		return fmt.Errorf("%q is there, but what it belongs to starts at this moment or does not run any more: run make cluster-down to remove it", s.Dir)
	}
	s.Out.Sayf("The cluster is up already")
	return sayHowToEnter(s)
}

// sayHowToEnter writes a script that runs a command within the cluster, and tells of it.
func sayHowToEnter(s *realcluster.Cluster) error {
	words, err := s.Machinery.Within(1, "/usr/bin/env", "KUBECONFIG="+s.Machinery.Kubeconfig(), "PATH="+s.Assets+":"+s.Path("bin/tools")+":/usr/sbin:/usr/bin:/sbin:/bin")
	if err != nil {
		return err
	}
	for i, word := range words {
		if strings.HasPrefix(word, "--wd=") {
			words[i] = `--wd="$PWD"`
			continue
		}
		words[i] = harness.CommandLine(word)
	}
	script := "#!/bin/sh\nexec " + strings.Join(words, " ") + " \"$@\"\n"
	path := s.File("in")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil { // a script
		return fmt.Errorf("writing how to get in: %w", err)
	}
	s.Out.Print(fmt.Sprintf(`
A cluster of one node runs in %[1]s; nothing leads into it from outside. Within:

  %[2]s kubectl get pods -A
  %[2]s helm install pnp charts/pnp-operator --namespace pnp-system --create-namespace --wait --set simulator.enabled=true \
    --set image.repository=%[3]s --set image.tag=%[4]s \
    --set simulator.image.repository=%[5]s

Logs: %[1]s/node-1/*.log
Stop it with: make cluster-down
`, s.Dir, quotedPath(path), realcluster.ImageRepository, realcluster.ImageTag, realcluster.SimulatorRepository))
	return nil
}

// clusterDown stops what clusterUp started, and removes what a cluster-test that was killed has
// left.
func clusterDown(_ context.Context, c harness.Clone, out *harness.Report) error {
	left, err := filepath.Glob(c.Path("bin/cluster-test-*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range left {
		unlock, err := realcluster.LockFolder(dir)
		if err != nil {
			out.Sayf("  left %s: a cluster-test runs there", dir)
			continue
		}
		errs = append(errs, realcluster.New(c, dir, cluster.MostNodes, out).Stop())
		unlock()
	}
	if _, err := os.Stat(clusterFolder(c)); errors.Is(err, fs.ErrNotExist) {
		out.Sayf("Nothing is up in %s", clusterFolder(c))
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, realcluster.New(c, clusterFolder(c), 1, out).Stop())...)
}
