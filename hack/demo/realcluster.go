package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pnp-operator/pnp-operator/hack/cluster"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// The images as docs/install.md names them, and the tag that they are upgraded to.
const (
	imageRepository     = "registry.example.com/pnp-operator"
	simulatorRepository = "registry.example.com/iothub-simulator"
	imageTag            = "v0.1.0"
	nextTag             = "v0.2.0"
)

// clusterImages are what the nodes are given: repositories by what hack/image calls them.
var clusterImages = map[string]string{"operator": imageRepository, "simulator": simulatorRepository}

// layoutOf is the folder where buildImages puts an image; the archive beside it ends in .tar.
func layoutOf(c harness.Clone, image string) string { return c.Path("bin/cluster-" + image) }

// realCluster is a real cluster, where pods run, beside what a demonstration has.
type realCluster struct {
	*harness.Testbed
	cluster *cluster.Cluster
}

func newRealCluster(c harness.Clone, dir string, nodes int, out *harness.Report) *realCluster {
	c.Assets = c.Path("bin/k8s") // what runs pods is built beside a control plane of the same version
	s := &realCluster{Testbed: harness.NewTestbed(c, dir, out), cluster: &cluster.Cluster{Site: dir, Programs: c.Assets, Nodes: nodes}}
	s.Kubectl.Kubeconfig = s.cluster.Kubeconfig()
	return s
}

// lacks tells what the machine lacks for a cluster, and reports whether it lacks anything.
func lacks(c harness.Clone, out *harness.Report) bool {
	missing := cluster.Missing(c.Path("bin"))
	if len(missing) == 0 {
		return false
	}
	out.Sayf("skipped: no cluster can run on this machine, which lacks")
	for _, line := range missing {
		out.Sayf("  %s", line)
	}
	return true
}

// buildCluster makes what a cluster is made of, and the images.
func buildCluster(ctx context.Context, c harness.Clone, out *harness.Report) error {
	for name, value := range map[string]string{"KUBEBUILDER_ASSETS": "", "CGO_ENABLED": "0"} { // an image has no C library
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	for _, build := range []func(context.Context, *harness.Report) error{c.Build, c.BuildHelm} {
		if err := build(ctx, out); err != nil {
			return err
		}
	}
	if err := buildNode(ctx, c, out); err != nil {
		return err
	}
	return buildImages(ctx, c, out)
}

// buildNode makes what runs pods.
func buildNode(ctx context.Context, c harness.Clone, out *harness.Report) error {
	return harness.RunWatched(ctx, out, harness.NewCommand(ctx, c.Path("hack/controlplane/build.sh"), "--node"), "hack/controlplane/build.sh --node")
}

// buildImages makes the images of programs that are built: they are what make image and make
// simulator-image make, but not reproducible.
func buildImages(ctx context.Context, c harness.Clone, out *harness.Report) error {
	for image, repository := range clusterImages {
		cmd := harness.NewCommand(ctx, "go", "run", ".", "-of="+image, "-root="+c.Root, "-programs="+c.Path("bin"), "-platforms=linux/"+runtime.GOARCH,
			"-tag="+repository+":"+imageTag, "-out="+layoutOf(c, image))
		cmd.Dir = c.Path("hack/image")
		cmd.Env = append(os.Environ(), "GOWORK=off")
		if err := harness.RunWatched(ctx, out, cmd, "go run ./hack/image -of="+image); err != nil {
			return err
		}
	}
	return nil
}

// addImages gives the nodes the images that buildImages made.
func (s *realCluster) addImages() error {
	for image := range clusterImages {
		if err := s.cluster.AddImage(layoutOf(s.Clone, image) + ".tar"); err != nil {
			return err
		}
	}
	return nil
}

// start starts the cluster and waits until pods can run. With attached it ends with this process.
func (s *realCluster) start(ctx context.Context, attached bool) error {
	s.Out.Sayf("Starting a cluster in %s, nodes: %d", s.Dir, s.cluster.Nodes)
	for _, step := range []func() error{
		s.cluster.MakeKeys, s.cluster.AddPause, s.addImages, func() error { return s.cluster.Start(attached) },
	} {
		if err := harness.CauseOf(ctx, step()); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := s.awaitParts(ctx); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	if _, err := s.Kubectl.Output(ctx, cluster.DNSObjects, "apply", "-f", "-"); err != nil {
		return err
	}
	for number := 1; number <= s.cluster.Nodes; number++ {
		if err := s.awaitNode(ctx, cluster.NodeName(number)); err != nil {
			return err
		}
	}
	s.Out.Passf("the cluster is up, after %.1f s", time.Since(began).Seconds())
	return nil
}

// awaitParts waits until every part of every node was started.
func (s *realCluster) awaitParts(ctx context.Context) error {
	const within = 4 * time.Minute
	late := func() error {
		return fmt.Errorf("the cluster was not started within %s; the end of %s/node-1/node.log:\n%s\nof kube-apiserver.log:\n%s",
			within, s.Dir, s.cluster.Tail(1, "node"), s.cluster.Tail(1, "kube-apiserver"))
	}
	return harness.PollEvery(ctx, 100*time.Millisecond, within, late, func(context.Context) (bool, error) {
		return s.cluster.Started(), s.cluster.Check()
	})
}

// enter has kubectl and helm run within node 1: nothing leads into the cluster from outside.
func (s *realCluster) enter() error {
	under, err := s.cluster.Within(1, "/usr/bin/env")
	s.Kubectl.Under = under
	return err
}

func (s *realCluster) awaitNode(ctx context.Context, name string) error {
	const within = 2 * time.Minute
	number := int(name[len(name)-1] - '0')
	late := func() error {
		return fmt.Errorf("%s is not ready after %s; the end of its kubelet.log:\n%s", name, within, s.cluster.Tail(number, "kubelet"))
	}
	return harness.PollEvery(ctx, 300*time.Millisecond, within, late, func(ctx context.Context) (bool, error) {
		var node corev1.Node
		if err := s.Kubectl.Get(ctx, &node, "node", name); err != nil {
			return false, s.cluster.Check()
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return true, nil
			}
		}
		return false, s.cluster.Check()
	})
}

// stop ends the nodes and removes the folder.
func (s *realCluster) stop() error {
	if err := s.cluster.Stop(); err != nil {
		return fmt.Errorf("stopping: %w; folder %q stays", err, s.Dir)
	}
	if err := os.RemoveAll(s.Dir); err != nil {
		return fmt.Errorf("removing the cluster's folder: %w", err)
	}
	s.Out.Sayf("  removed %s", s.Dir)
	return nil
}

// conclude tells of the failure, if there is one, cleans up and sums up.
func (s *realCluster) conclude(failure error) error {
	if failure != nil {
		s.Out.Fail(failure, "")
	}
	if err := s.stop(); err != nil {
		s.Out.Fail(err, "")
	}
	return s.Out.Finish()
}

// clusterFolder is where clusterUp keeps what clusterDown stops.
func clusterFolder(c harness.Clone) string { return c.Path("bin/cluster") }

// clusterUp leaves a cluster running. The folder's making is what two of them compete for.
func clusterUp(ctx context.Context, c harness.Clone, out *harness.Report) error {
	if lacks(c, out) {
		return nil
	}
	s := newRealCluster(c, clusterFolder(c), 1, out)
	if _, err := os.Stat(s.Dir); err == nil {
		return s.alreadyUp()
	}
	if err := buildCluster(ctx, c, out); err != nil {
		return err
	}
	if err := os.Mkdir(s.Dir, 0o700); errors.Is(err, fs.ErrExist) {
		return s.alreadyUp()
	} else if err != nil {
		return fmt.Errorf("making the cluster's folder: %w", err)
	}
	if err := s.start(ctx, false); err != nil {
		return s.conclude(err)
	}
	return s.sayHow()
}

// alreadyUp says what is in the folder that is in the way.
func (s *realCluster) alreadyUp() error {
	if err := s.cluster.Check(); err != nil || !s.cluster.Started() {
		return fmt.Errorf("%q is there, but what it belongs to starts at this moment or does not run any more: run make cluster-down to remove it", s.Dir)
	}
	s.Out.Sayf("The cluster is up already")
	return s.sayHow()
}

// sayHow writes a script that runs a command within the cluster, and tells of it.
func (s *realCluster) sayHow() error {
	words, err := s.cluster.Within(1, "/usr/bin/env", "KUBECONFIG="+s.cluster.Kubeconfig(), "PATH="+s.Assets+":"+s.Path("bin/tools")+":/usr/sbin:/usr/bin:/sbin:/bin")
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
`, s.Dir, quotedPath(path), imageRepository, imageTag, simulatorRepository))
	return nil
}

// clusterDown stops what clusterUp started, and removes what a cluster-test that was killed has left.
func clusterDown(_ context.Context, c harness.Clone, out *harness.Report) error {
	left, err := filepath.Glob(c.Path("bin/cluster-test-*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range left {
		unlock, err := lockFolder(dir)
		if err != nil {
			out.Sayf("  left %s: a cluster-test runs there", dir)
			continue
		}
		errs = append(errs, newRealCluster(c, dir, cluster.MostNodes, out).stop())
		unlock()
	}
	if _, err := os.Stat(clusterFolder(c)); errors.Is(err, fs.ErrNotExist) {
		out.Sayf("Nothing is up in %s", clusterFolder(c))
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, newRealCluster(c, clusterFolder(c), 1, out).stop())...)
}
