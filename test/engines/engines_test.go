// Package engines tests the operator under GitOps engines: Flux's own controllers and Argo CD, over
// the layout of config/recipes/gitops.
package engines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/hack/freeport"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// withinEngine is how long an engine may take over something on a machine that is busy with other
// things.
const withinEngine = 2 * time.Minute

// The GitOps engines.
const (
	flux   = "Flux"
	argoCD = "Argo CD"
)

// neverRun is what the engines that are built here do not show.
var neverRun = []string{
	"Flux's helm-controller (HelmReleases, their drift detection and remediation, a Kustomization that waits for one) " +
		"and notification-controller: the module proxy refuses them",
	"Argo CD's API server, UI and notifications; the programs flux and argocd; SOPS; pods, of which there are none",
}

// gitops is a demonstration with GitOps engines beside the operator.
type gitops struct {
	*harness.Testbed
	client   client.Client
	operator restartable
	engines  []*engine
	git      string // URL of the Git server
}

// engineOutcome is what a scenario shows, and what the engine says of it.
type engineOutcome struct {
	harness.Outcome
	says string
}

// TestEngines plays the scenarios with the engines that $ENGINES names, each as a test of its own,
// all of them even if one fails, and cleans up. $SCENARIOS is a pattern for their names; without
// it, the part of -run that is for them says which sites are made.
func TestEngines(t *testing.T) {
	ctx, c, out := harness.Begin(t, "e2e-gitops", false)
	wished := wishOf(os.Getenv)
	if wished.scenarios == "" {
		wished.scenarios = harness.SubtestPattern(t)
	}
	picked, err := pick(engineScenarios(), wished, onPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Build(ctx, out), buildEngines(ctx, c, out, picked.engines())); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(c.Path("bin"), "gitops-run-")
	if err != nil {
		t.Fatal(err)
	}
	g := &gitops{Testbed: harness.NewTestbed(c, dir, out)}
	harness.Settle(t, g.Conclude(ctx, g.test(ctx, t, picked)))
	picked.tell(out)
}

func wishOf(env func(string) string) wish {
	return wish{scenarios: env("SCENARIOS"), engines: env("ENGINES")}
}

func onPath(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// test starts everything and plays the scenarios.
func (g *gitops) test(ctx context.Context, t *testing.T, picked selection) (err error) {
	g.Out.Heading("Starting a control plane, a simulated hub, the operator and the GitOps engines")
	ctx, err = g.setUp(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stopEngines()) }()
	if err := g.startEngines(ctx, picked.engines()); err != nil {
		return err
	}
	g.Out.Heading("Sites in the layout of config/recipes/gitops, one for each scenario")
	sites, err := g.open(ctx, picked.played)
	if err != nil {
		return err
	}
	g.Out.Heading("Scenarios, with the time that something took, and what the engine says")
	return g.playAll(ctx, t, picked.played, sites)
}

// setUp is that of a demonstration, with an operator that scenarios may stop and start, and without
// a namespace.
func (g *gitops) setUp(ctx context.Context) (context.Context, error) {
	ctx, g.Abort = context.WithCancelCause(ctx)
	for _, step := range []func(context.Context) error{
		g.StartControlPlane, g.PublishKeys, g.StartHub, g.Install, g.Identify, g.connect, g.startOperator,
	} {
		if err := step(ctx); err != nil {
			return ctx, err
		}
	}
	return ctx, nil
}

// connect makes the client that scenarios look with.
func (g *gitops) connect(context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", g.Kubectl.Kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return err
	}
	g.client, err = client.New(config, client.Options{Scheme: scheme})
	return err
}

// startOperator starts the operator where it is found again after it was stopped.
func (g *gitops) startOperator(ctx context.Context) error {
	ports, err := freeport.Ports(2)
	if err != nil {
		return err
	}
	if err := g.LeadToWebhook(ctx, ports[0]); err != nil {
		return err
	}
	if err := g.Certify(ctx, "certificate"); err != nil {
		return err
	}
	g.operator = restartable{demo: g.Testbed, webhook: ports[0], probes: "127.0.0.1:" + ports[1]}
	if err := g.operator.start(ctx); err != nil {
		return err
	}
	g.Out.Passf("the operator runs, pid %d", g.Manager().Pid())
	return nil
}

// playAll goes on after a failure: scenarios have nothing in common.
func (g *gitops) playAll(ctx context.Context, t *testing.T, all []engineScenario, sites map[string]*site) error {
	failed := 0
	for _, one := range all {
		var ended error
		t.Run(one.name, func(t *testing.T) {
			err := g.playOne(ctx, one, sites[one.name])
			if ended = g.stillRun(); err != nil {
				failed++
				t.Error(err)
			}
		})
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case ended != nil:
			return ended
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d scenarios failed, see above", failed, len(all))
	}
	g.Out.Sayf("%d of %d scenarios passed", len(all), len(all))
	return nil
}

// playOne plays a scenario, and tells what came of it.
func (g *gitops) playOne(ctx context.Context, one engineScenario, s *site) error {
	began := time.Now()
	o, err := s.play(ctx, one)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		g.Out.Sayf("FAILED: %s: %v", one.label(), err)
		return fmt.Errorf("%s: %w", one.label(), err)
	}
	g.Out.Passf("%-96s %s -> %s %d ms  (in all %.1f s)", one.label(), o.From, o.To,
		o.Took.Milliseconds(), time.Since(began).Seconds())
	if o.says != "" {
		g.Out.Block("    "+one.engine+" says:", o.says)
	}
	return nil
}

// play plays a scenario, if its site is there.
func (s *site) play(ctx context.Context, one engineScenario) (engineOutcome, error) {
	if s.failed != nil {
		return engineOutcome{}, fmt.Errorf("its site did not come up: %w", s.failed)
	}
	return one.play(ctx, s)
}

// restartable is an operator that a scenario may stop and start again.
type restartable struct {
	demo            *harness.Testbed
	webhook, probes string
	// meant is whether the end of the process is meant; done has how it ended.
	meant *atomic.Bool
	done  chan error
}

// start starts the operator, whose end then ends the tests unless it is meant.
func (r *restartable) start(ctx context.Context) error {
	ended, err := r.demo.LaunchOperator(ctx, r.demo.Manager(), r.probes,
		"--webhook-port="+r.webhook, "--webhook-cert-dir="+r.demo.File(harness.CertificateFolder))
	if err != nil {
		return err
	}
	meant, done := &atomic.Bool{}, make(chan error, 1)
	r.meant, r.done = meant, done
	go func() {
		how := <-ended
		done <- how
		if !meant.Load() {
			r.demo.Abort(harness.EndedEarly(r.demo.Manager(), how))
		}
	}()
	return nil
}

func (r *restartable) stop() error {
	r.meant.Store(true)
	_, err := r.demo.Manager().Stop(20 * time.Second)
	return err
}

// pause stops the process without ending it.
func (r *restartable) pause() error {
	r.meant.Store(true)
	return syscall.Kill(r.demo.Manager().Pid(), syscall.SIGSTOP)
}

// resume lets it go on. One that lost its lease meanwhile ends by itself, and a Deployment would
// start it again.
func (r *restartable) resume(ctx context.Context) error {
	if err := syscall.Kill(r.demo.Manager().Pid(), syscall.SIGCONT); err != nil {
		return err
	}
	select {
	case <-r.done:
		return r.start(ctx)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(3 * time.Second):
		r.meant.Store(false)
		return nil
	}
}
