package engines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/freeport"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// enginesFolder is where the engines are built. They are large, and needed for nothing else.
const enginesFolder = "bin/gitops-tools"

// modulesOf are the tools of hack/tools that an engine consists of.
var modulesOf = map[string][]string{
	flux:   {"source-controller", "kustomize-controller"},
	argoCD: {"argocd"},
}

// buildEngines makes the engines that are missing or out of date: minutes each, once.
func buildEngines(ctx context.Context, c harness.Clone, to *harness.Report, engines []string) error {
	for _, name := range engines {
		for _, tool := range modulesOf[name] {
			cmd := harness.NewCommand(ctx, c.Path("hack/tools/build.sh"), tool, c.Path(enginesFolder))
			if err := harness.RunWatched(ctx, to, cmd, "hack/tools/build.sh "+tool+" "+enginesFolder); err != nil {
				return err
			}
		}
	}
	return nil
}

// moduleFolder is the source of a module, at the version that a tool of hack/tools pins.
func moduleFolder(ctx context.Context, c harness.Clone, tool, module string) (string, error) {
	cmd := harness.NewCommand(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module)
	cmd.Dir, cmd.Env = c.Path("hack/tools/"+tool), append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	dir := strings.TrimSpace(string(out))
	if err == nil && dir == "" {
		err = errors.New("go has not downloaded it")
	}
	if err != nil {
		return "", fmt.Errorf("finding module %s: %w", module, harness.CauseOf(ctx, err))
	}
	return dir, nil
}

// finding is the variable of an environment by which a program finds those of a folder first.
func finding(folder string) string { return "PATH=" + folder + ":" + os.Getenv("PATH") }

// engine is a program of an engine. It ends with us.
type engine struct {
	name, log string
	cmd       *exec.Cmd
	ended     chan struct{} // closed once it ended
	how       error         // it ended
}

// launchEngine starts a program. extra are variables of its environment.
func (g *gitops) launchEngine(name, program string, extra []string, args ...string) error {
	e := &engine{name: name, log: g.File(name + ".log"), ended: make(chan struct{})}
	log, err := os.Create(e.log)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	e.cmd = exec.Command(program, args...)
	e.cmd.Dir, e.cmd.Stdout, e.cmd.Stderr = g.Dir, log, log
	e.cmd.Env = append(os.Environ(), append([]string{"KUBECONFIG=" + g.Kubectl.Kubeconfig}, extra...)...)
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	g.Out.Sayf("$ %s    log: %s", harness.CommandLine(append([]string{filepath.Base(program)}, args...)...), e.log)
	if err := e.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	g.engines = append(g.engines, e)
	go func() {
		e.how = e.cmd.Wait()
		close(e.ended)
	}()
	return nil
}

// stopEngines ends all of them, the last one first.
func (g *gitops) stopEngines() error {
	var errs []error
	for _, e := range slices.Backward(g.engines) {
		errs = append(errs, e.stop())
	}
	g.engines = nil
	return errors.Join(errs...)
}

// stillRun is an error if a program ended.
func (g *gitops) stillRun() error {
	for _, e := range g.engines {
		if err := e.endedEarly(); err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) endedEarly() error {
	select {
	case <-e.ended:
		return fmt.Errorf("%s ended too early: %w; the end of its log:\n%s", e.name, errOrNone(e.how), e.tail(20))
	default:
		return nil
	}
}

// stop ends the program. One that ended before was not meant to.
func (e *engine) stop() error {
	if err := e.endedEarly(); err != nil {
		return err
	}
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, 10 * time.Second}, {syscall.SIGKILL, 5 * time.Second}} {
		_ = syscall.Kill(-e.cmd.Process.Pid, step.signal) // it may have ended by now
		select {
		case <-e.ended:
			return nil
		case <-time.After(step.wait):
		}
	}
	return fmt.Errorf("%s, pid %d, does not end even when killed", e.name, e.cmd.Process.Pid)
}

func errOrNone(err error) error {
	if err == nil {
		return errors.New("without an error")
	}
	return err
}

// tail returns the last n lines of the program's log.
func (e *engine) tail(n int) string {
	data, err := os.ReadFile(e.log)
	if err != nil {
		return ""
	}
	lines := bytes.Split(bytes.TrimRight(data, "\n"), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}

// startEngines starts the Git server and the engines.
func (g *gitops) startEngines(ctx context.Context, engines []string) error {
	if err := g.serveGit(ctx); err != nil {
		return err
	}
	start := map[string]func(context.Context) error{flux: g.startFlux, argoCD: g.startArgoCD}
	for _, name := range engines {
		if err := start[name](ctx); err != nil {
			return fmt.Errorf("starting %s: %w", name, err)
		}
	}
	return nil
}

// loopback returns free addresses that no client is given as its own.
func loopback(n int) ([]string, error) { return freeport.Addresses(n) }
