package harness

import (
	"context"
	"fmt"
	"os/exec"
	"time"
)

// Build makes the programs that are missing or out of date.
func (c Clone) Build(ctx context.Context, to *Report) error { return c.buildPrograms(ctx, to) }

// BuildQuickly is build for what does without a controller manager: the programs that envtest
// publishes will do where there are no others yet.
func (c Clone) BuildQuickly(ctx context.Context, to *Report) error {
	return c.buildPrograms(ctx, to, "--quick")
}

func (c Clone) buildPrograms(ctx context.Context, to *Report, how ...string) error {
	for _, words := range [][]string{
		append([]string{c.Path("hack/controlplane/build.sh")}, how...),
		{c.Path("hack/tools/build.sh"), "kustomize"},
		{"go", "build", "-o", "bin/manager", "."},
		{"go", "build", "-o", "bin/iothub-simulator", "./simulator/cmd/iothub-simulator"},
	} {
		cmd := NewCommand(ctx, words[0], words[1:]...)
		cmd.Dir = c.Root
		if err := RunWatched(ctx, to, cmd, CommandLine(words...)); err != nil {
			return err
		}
	}
	return nil
}

// BuildHelm makes the tool that installs the chart.
func (c Clone) BuildHelm(ctx context.Context, to *Report) error {
	return RunWatched(ctx, to, NewCommand(ctx, c.Path("hack/tools/build.sh"), "helm"), "hack/tools/build.sh helm")
}

// RunWatched runs a command, shows what it prints and says every ten seconds that it still runs.
func RunWatched(ctx context.Context, to *Report, cmd *exec.Cmd, name string) error {
	to.Sayf("$ %s", name)
	cmd.Stdout, cmd.Stderr = to, to
	done := make(chan struct{})
	defer close(done)
	go func() {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				to.Sayf("  still at it: %s", name)
			}
		}
	}()
	if err := CauseOf(ctx, cmd.Run()); err != nil {
		return fmt.Errorf("running %s: %w", name, err)
	}
	return nil
}
