// Package realcluster is a testbed with real nodes, where pods run. A program that uses it gives
// cluster.Execute of hack/cluster its command line first, since the nodes are that program again.
package realcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pnp-operator/pnp-operator/hack/cluster"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// The images as docs/install.md names them, and the tag that they are upgraded to.
const (
	ImageRepository     = "registry.example.com/pnp-operator"
	SimulatorRepository = "registry.example.com/iothub-simulator"
	ImageTag            = "v0.1.0"
	NextTag             = "v0.2.0"
)

// Images are what the nodes are given: repositories by what hack/image calls them.
var Images = map[string]string{"operator": ImageRepository, "simulator": SimulatorRepository}

// layoutOf is the folder where buildImages puts an image; the archive beside it ends in .tar.
func layoutOf(c harness.Clone, image string) string { return c.Path("bin/cluster-" + image) }

// Cluster is a real cluster, where pods run, beside what a testbed has.
type Cluster struct {
	*harness.Testbed
	Machinery *cluster.Cluster
}

// New returns a cluster of some nodes that keeps everything in dir. Nothing is started yet.
func New(c harness.Clone, dir string, nodes int, out *harness.Report) *Cluster {
	c.Assets = c.Path("bin/k8s") // what runs pods is built beside a control plane of the same version
	s := &Cluster{Testbed: harness.NewTestbed(c, dir, out), Machinery: &cluster.Cluster{Site: dir, Programs: c.Assets, Nodes: nodes}}
	s.Kubectl.Kubeconfig = s.Machinery.Kubeconfig()
	return s
}

// Lacks tells what the machine lacks for a cluster, and reports whether it lacks anything.
func Lacks(c harness.Clone, out *harness.Report) bool {
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

// Build makes what a cluster is made of, and the images.
func Build(ctx context.Context, c harness.Clone, out *harness.Report) error {
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
	for image, repository := range Images {
		cmd := harness.NewCommand(ctx, "go", "run", ".", "-of="+image, "-root="+c.Root, "-programs="+c.Path("bin"), "-platforms=linux/"+runtime.GOARCH,
			"-tag="+repository+":"+ImageTag, "-out="+layoutOf(c, image))
		cmd.Dir = c.Path("hack/image")
		cmd.Env = append(os.Environ(), "GOWORK=off")
		if err := harness.RunWatched(ctx, out, cmd, "go run ./hack/image -of="+image); err != nil {
			return err
		}
	}
	return nil
}

// addImages gives the nodes the images that buildImages made.
func (s *Cluster) addImages() error {
	for image := range Images {
		if err := s.Machinery.AddImage(layoutOf(s.Clone, image) + ".tar"); err != nil {
			return err
		}
	}
	return nil
}

// Start starts the cluster and waits until pods can run. With attached it ends with this process.
func (s *Cluster) Start(ctx context.Context, attached bool) error {
	s.Out.Sayf("Starting a cluster in %s, nodes: %d", s.Dir, s.Machinery.Nodes)
	for _, step := range []func() error{
		s.Machinery.MakeKeys, s.Machinery.AddPause, s.addImages, func() error { return s.Machinery.Start(attached) },
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
	for number := 1; number <= s.Machinery.Nodes; number++ {
		if err := s.AwaitNode(ctx, cluster.NodeName(number)); err != nil {
			return err
		}
	}
	s.Out.Passf("the cluster is up, after %.1f s", time.Since(began).Seconds())
	return nil
}

// awaitParts waits until every part of every node was started.
func (s *Cluster) awaitParts(ctx context.Context) error {
	const within = 4 * time.Minute
	late := func() error {
		return fmt.Errorf("the cluster was not started within %s; the end of %s/node-1/node.log:\n%s\nof kube-apiserver.log:\n%s",
			within, s.Dir, s.Machinery.Tail(1, "node"), s.Machinery.Tail(1, "kube-apiserver"))
	}
	return harness.PollEvery(ctx, 100*time.Millisecond, within, late, func(context.Context) (bool, error) {
		return s.Machinery.Started(), s.Machinery.Check()
	})
}

// enter has kubectl and helm run within node 1: nothing leads into the cluster from outside.
func (s *Cluster) enter() error {
	under, err := s.Machinery.Within(1, "/usr/bin/env")
	s.Kubectl.Under = under
	return err
}

// AwaitNode waits until a node is ready.
func (s *Cluster) AwaitNode(ctx context.Context, name string) error {
	const within = 2 * time.Minute
	number := int(name[len(name)-1] - '0')
	late := func() error {
		return fmt.Errorf("%s is not ready after %s; the end of its kubelet.log:\n%s", name, within, s.Machinery.Tail(number, "kubelet"))
	}
	return harness.PollEvery(ctx, 300*time.Millisecond, within, late, func(ctx context.Context) (bool, error) {
		var node corev1.Node
		if err := s.Kubectl.Get(ctx, &node, "node", name); err != nil {
			return false, s.Machinery.Check()
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return true, nil
			}
		}
		return false, s.Machinery.Check()
	})
}

// Stop ends the nodes and removes the folder.
func (s *Cluster) Stop() error {
	if err := s.Machinery.Stop(); err != nil {
		return fmt.Errorf("stopping: %w; folder %q stays", err, s.Dir)
	}
	if err := os.RemoveAll(s.Dir); err != nil {
		return fmt.Errorf("removing the cluster's folder: %w", err)
	}
	s.Out.Sayf("  removed %s", s.Dir)
	return nil
}

// Conclude tells of the failure, if there is one, cleans up and sums up.
func (s *Cluster) Conclude(failure error) error {
	if failure != nil {
		s.Out.Fail(failure, "")
	}
	if err := s.Stop(); err != nil {
		s.Out.Fail(err, "")
	}
	return s.Out.Finish()
}

// LockFolder keeps a clusterDown elsewhere from taking a folder for one that a killed process has
// left.
func LockFolder(dir string) (unlock func(), err error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the cluster's folder: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("folder %q is another process's: %w", dir, err), file.Close())
	}
	return func() { _ = file.Close() }, nil
}
