package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// stateFolder is where up keeps what down stops.
func (c clone) stateFolder() string { return c.path("bin/demo") }

// up leaves a demonstration running. The folder's making is what two of them compete for.
func up(ctx context.Context, c clone, out *report) error {
	dir := c.stateFolder()
	if _, err := os.Stat(dir); err == nil {
		return newDemo(c, dir, out).alreadyUp()
	}
	if err := c.buildQuickly(ctx, out); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return newDemo(c, dir, out).alreadyUp()
	} else if err != nil {
		return fmt.Errorf("making the demonstration's folder: %w", err)
	}
	d := newDemo(c, dir, out)
	if err := d.bringUp(ctx); err != nil {
		return d.conclude(ctx, err)
	}
	d.sayHow()
	return nil
}

// bringUp starts everything, waits until the samples are converged and writes how to connect.
func (d *demo) bringUp(ctx context.Context) error {
	ctx, err := d.setUp(ctx)
	if err != nil {
		return err
	}
	if err := d.connectDevices(ctx); err != nil {
		return err
	}
	if err := d.applySamples(ctx); err != nil {
		return err
	}
	if err := d.waitReady(ctx); err != nil {
		return err
	}
	if _, err := d.kubectl.show(ctx, "get", "hub,pnp", "-n", namespace); err != nil {
		return err
	}
	env := maps.Clone(d.hubEnv)
	env["KUBECONFIG"] = d.kubectl.kubeconfig
	if err := os.WriteFile(d.file(envFile), []byte(shellEnv(env)), 0o600); err != nil {
		return fmt.Errorf("writing how to connect: %w", err)
	}
	return nil
}

// shellEnv renders variables as a shell reads them, sorted.
func shellEnv(env map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(env)) {
		b.WriteString(key + "=" + quoted(env[key]) + "\n")
	}
	return b.String()
}

// alreadyUp says what runs in the folder that is in the way.
func (d *demo) alreadyUp() error {
	_, err := os.Stat(d.file(envFile))
	if err != nil || d.manager().pid() == 0 || d.simulator().pid() == 0 {
		return fmt.Errorf("%q is there, but what it belongs to starts at this moment or does not run any more: run demo down to remove it", d.dir)
	}
	d.out.sayf("The demonstration is up already")
	d.sayHow()
	return nil
}

func (d *demo) sayHow() {
	d.out.write(fmt.Sprintf(`
A hub with two devices, a control plane and the operator run in %[1]s. To use them from bash:

  source <(sed 's/^/export /' %[2]s)
  %[3]s get hub,pnp -n %[4]s
  %[3]s edit pnpdevice %[5]s -n %[4]s
  curl -s "$SIMULATOR_DEBUG_URL/devices/%[6]s/twin"

Logs: %[1]s/manager.log and %[1]s/iothub-simulator.log
Stop it with: make demo-down
`, d.dir, quotedPath(d.file(envFile)), quotedPath(d.clone.kubectl()), namespace, thermostat, thermostatDevice))
}

func quotedPath(path string) string { return commandLine(filepath.Clean(path)) }

// down stops what up started.
func down(ctx context.Context, c clone, out *report) error {
	dir := c.stateFolder()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		out.sayf("Nothing is up in %s", dir)
		return nil
	}
	return newDemo(c, dir, out).tearDown(ctx)
}
