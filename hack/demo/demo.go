package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// What a demonstration keeps in its folder, beside logs and pid files.
const (
	controlPlaneFolder = "controlplane"
	operatorKubeconfig = "operator.kubeconfig"
	hubEnvFile         = "hub.env"
	hubCAFile          = "hub-ca.pem"
	keysFile           = "jwks.json"
	entraCAFile        = "entra-ca.pem"
	envFile            = "env"
)

// demo is one demonstration. Everything that it writes is in dir.
type demo struct {
	clone
	dir     string
	out     *report
	kubectl kubectl // as administrator

	issuer   string            // of the cluster's tokens
	ackDelay time.Duration     // of the virtual devices
	hubEnv   map[string]string // what the simulator wrote
	hub      *simulator.DebugClient
	hubArgs  []string  // of the simulator, beside the usual ones
	edits    []edit    // made to the samples so far
	release  bool      // the operator is installed by the chart
	probes   string    // where a release's operator answers probes
	metrics  string    // where a release's operator serves metrics
	replicas []process // of the operator, where there is more than the one
	stopped  context.CancelCauseFunc
}

func newDemo(c clone, dir string, out *report) *demo {
	d := &demo{clone: c, dir: dir, out: out, ackDelay: ackDelay}
	d.kubectl = kubectl{program: c.kubectl(), kubeconfig: d.file(controlPlaneFolder + "/kubeconfig"), out: out}
	return d
}

func (d *demo) file(name string) string     { return filepath.Join(d.dir, filepath.FromSlash(name)) }
func (d *demo) process(name string) process { return process{name: name, dir: d.dir} }
func (d *demo) manager() process            { return d.process("manager") }
func (d *demo) simulator() process          { return d.process("iothub-simulator") }

// setUp starts everything, up to an operator that has nothing to do yet. The context that it returns ends when a process
// that it started ends.
func (d *demo) setUp(ctx context.Context) (context.Context, error) {
	ctx, err := d.prepare(ctx)
	if err != nil {
		return ctx, err
	}
	return ctx, d.startOperator(ctx)
}

// prepare is setUp without the operator.
func (d *demo) prepare(ctx context.Context) (context.Context, error) {
	ctx, d.stopped = context.WithCancelCause(ctx)
	for _, step := range []func(context.Context) error{
		d.startControlPlane, d.publishKeys, d.startHub, d.install, d.identify, d.addHubSecret,
	} {
		if err := step(ctx); err != nil {
			return ctx, err
		}
	}
	return ctx, nil
}

// ending says that a process ended too early, and how.
func ending(p process, how error) error {
	if how == nil {
		return fmt.Errorf("%s ended too early, without an error", p.name)
	}
	return fmt.Errorf("%s ended too early: %w", p.name, how)
}

// supervise ends the demonstration when a process ends before it does.
func (d *demo) supervise(p process, ended <-chan error) {
	go func() { d.stopped(ending(p, <-ended)) }()
}

// tearDown stops every process and removes the folder. What does not stop does not keep the others from it.
func (d *demo) tearDown(ctx context.Context) error {
	if d.stopped != nil {
		d.stopped(context.Canceled) // so that nobody wonders about the ends below
	}
	var errs []error
	for _, p := range append([]process{d.manager(), d.keeper(), d.simulator()}, d.replicas...) {
		ran, err := p.stop(10 * time.Second)
		errs = append(errs, err)
		if ran {
			d.out.sayf("  %-24s stopped", p.name+p.replica)
		}
	}
	errs = append(errs, d.stopControlPlane(ctx))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stopping: %w; folder %q stays", err, d.dir)
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("removing the demonstration's folder: %w", err)
	}
	d.out.sayf("  removed %s", d.dir)
	return nil
}

func (d *demo) stopControlPlane(ctx context.Context) error {
	if _, err := os.Stat(d.file(controlPlaneFolder)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	cmd := newCommand(ctx, d.path("bin/k8s/controlplane"), "down", "-grace=10s", d.file(controlPlaneFolder))
	cmd.Stdout, cmd.Stderr = d.out, d.out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("stopping the control plane: %w", err)
	}
	return nil
}
