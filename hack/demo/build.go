package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"
)

// build makes the programs that are missing or out of date.
func (c clone) build(ctx context.Context, to *report) error { return c.buildPrograms(ctx, to) }

// buildQuickly is build for what does without a controller manager: the programs that envtest publishes will do where there are no
// others yet.
func (c clone) buildQuickly(ctx context.Context, to *report) error {
	return c.buildPrograms(ctx, to, "--quick")
}

func (c clone) buildPrograms(ctx context.Context, to *report, how ...string) error {
	for _, words := range [][]string{
		append([]string{c.path("hack/controlplane/build.sh")}, how...),
		{c.path("hack/tools/build.sh"), "kustomize"},
		{"go", "build", "-o", "bin/manager", "."},
		{"go", "build", "-o", "bin/iothub-simulator", "./simulator/cmd/iothub-simulator"},
	} {
		cmd := newCommand(ctx, words[0], words[1:]...)
		cmd.Dir = c.root
		if err := watched(ctx, to, cmd, commandLine(words...)); err != nil {
			return err
		}
	}
	return nil
}

// buildHelm makes the tool that installs the chart.
func (c clone) buildHelm(ctx context.Context, to *report) error {
	return watched(ctx, to, newCommand(ctx, c.path("hack/tools/build.sh"), "helm"), "hack/tools/build.sh helm")
}

// watched runs a command, shows what it prints and says every ten seconds that it still runs.
func watched(ctx context.Context, to *report, cmd *exec.Cmd, name string) error {
	to.sayf("$ %s", name)
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
				to.sayf("  still at it: %s", name)
			}
		}
	}()
	if err := because(ctx, cmd.Run()); err != nil {
		return fmt.Errorf("running %s: %w", name, err)
	}
	return nil
}
