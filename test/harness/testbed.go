// Package harness has what tests of the whole are made of: a control plane, a simulated hub,
// devices, and the operator as a process of its own, with no more rights than its ServiceAccount
// has. It builds what it needs, tells what it does in a report, and needs Linux's /proc.
package harness

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

// Files that a testbed keeps in its folder, beside logs and pid files.
const (
	ControlPlaneFolder = "controlplane"
	operatorKubeconfig = "operator.kubeconfig"
	hubEnvFile         = "hub.env"
	HubCAFile          = "hub-ca.pem"
	KeysFile           = "jwks.json"
	entraCAFile        = "entra-ca.pem"
)

// Testbed is one control plane with a simulated hub and an operator. Everything that it writes is
// in Dir.
type Testbed struct {
	Clone

	Dir     string
	Out     *Report
	Kubectl Kubectl // as administrator

	// To be set before anything is started.
	AckDelay time.Duration // of the virtual devices
	HubArgs  []string      // of the simulator, beside the usual ones
	Release  bool          // the operator is installed by the chart
	Replicas []Process     // of the operator, where there is more than the one

	// Set once it has been started.
	HubEnv  map[string]string // what the simulator wrote
	Hub     *simulator.DebugClient
	Metrics string                  // the address where a release's operator serves metrics
	Abort   context.CancelCauseFunc // ends the context that Prepare returned

	issuer string // of the cluster's tokens
	edits  []Edit // made to the samples so far
	probes string // where a release's operator answers probes
}

// NewTestbed returns a testbed that keeps everything in dir. Nothing is started yet.
func NewTestbed(c Clone, dir string, out *Report) *Testbed {
	d := &Testbed{Clone: c, Dir: dir, Out: out, AckDelay: ackDelay}
	d.Kubectl = Kubectl{Program: c.KubectlProgram(), Kubeconfig: d.File(ControlPlaneFolder + "/kubeconfig"), Out: out}
	return d
}

// File returns where a file of the testbed is, whose name has slashes.
func (d *Testbed) File(name string) string { return filepath.Join(d.Dir, filepath.FromSlash(name)) }

// Process returns the process of a program of the testbed.
func (d *Testbed) Process(name string) Process { return Process{Name: name, Dir: d.Dir} }

// Manager returns the process of the operator.
func (d *Testbed) Manager() Process { return d.Process("manager") }

// Simulator returns the process of the simulated hub.
func (d *Testbed) Simulator() Process { return d.Process("iothub-simulator") }

// SetUp starts everything, up to an operator that has nothing to do yet. The context that it
// returns ends when a process that it started ends.
func (d *Testbed) SetUp(ctx context.Context) (context.Context, error) {
	ctx, err := d.Prepare(ctx)
	if err != nil {
		return ctx, err
	}
	return ctx, d.startOperator(ctx)
}

// Prepare is setUp without the operator.
func (d *Testbed) Prepare(ctx context.Context) (context.Context, error) {
	ctx, d.Abort = context.WithCancelCause(ctx)
	for _, step := range []func(context.Context) error{
		d.StartControlPlane, d.PublishKeys, d.StartHub, d.Install, d.Identify, d.addHubSecret,
	} {
		if err := step(ctx); err != nil {
			return ctx, err
		}
	}
	return ctx, nil
}

// EndedEarly says that a process ended too early, and how.
func EndedEarly(p Process, how error) error {
	if how == nil {
		return fmt.Errorf("%s ended too early, without an error", p.Name)
	}
	return fmt.Errorf("%s ended too early: %w", p.Name, how)
}

// supervise ends the context of Prepare when a process ends before it does.
func (d *Testbed) supervise(p Process, ended <-chan error) {
	go func() { d.Abort(EndedEarly(p, <-ended)) }()
}

// TearDown stops every process and removes the folder. A process that does not stop does not keep
// the others from it.
func (d *Testbed) TearDown(ctx context.Context) error {
	if d.Abort != nil {
		d.Abort(context.Canceled) // so that nobody wonders about the ends below
	}
	var errs []error
	for _, p := range append([]Process{d.Manager(), d.keeper(), d.Simulator()}, d.Replicas...) {
		ran, err := p.Stop(10 * time.Second)
		errs = append(errs, err)
		if ran {
			d.Out.Sayf("  %-24s stopped", p.Name+p.Replica)
		}
	}
	errs = append(errs, d.stopControlPlane(ctx))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stopping: %w; folder %q stays", err, d.Dir)
	}
	if err := os.RemoveAll(d.Dir); err != nil {
		return fmt.Errorf("removing the folder of the run: %w", err)
	}
	d.Out.Sayf("  removed %s", d.Dir)
	return nil
}

func (d *Testbed) stopControlPlane(ctx context.Context) error {
	if _, err := os.Stat(d.File(ControlPlaneFolder)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	cmd := NewCommand(ctx, d.Path("bin/k8s/controlplane"), "down", "-grace=10s", d.File(ControlPlaneFolder))
	cmd.Stdout, cmd.Stderr = d.Out, d.Out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("stopping the control plane: %w", err)
	}
	return nil
}

// Conclude tells of the failure, if there is one, cleans up and sums up.
func (d *Testbed) Conclude(ctx context.Context, failure error) error {
	if failure != nil {
		log := ""
		if ctx.Err() == nil { // nobody asked for the end
			log = d.Manager().LogTail(25)
		}
		d.Out.Fail(failure, log)
	}
	d.Out.Heading("Cleaning up")
	if err := d.TearDown(context.WithoutCancel(ctx)); err != nil {
		d.Out.Fail(err, "")
	}
	return d.Out.Finish()
}

// APIServer is the one of the control plane, which keeps its pid file as this program does.
func (d *Testbed) APIServer() Process {
	return Process{Name: "kube-apiserver", Dir: d.File(ControlPlaneFolder)}
}
