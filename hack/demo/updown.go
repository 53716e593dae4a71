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

	"github.com/pnp-operator/pnp-operator/test/harness"
)

// envFile says in the folder how to connect.
const envFile = "env"

// stateFolder is where up keeps what down stops.
func stateFolder(c harness.Clone) string { return c.Path("bin/demo") }

// buildStanding builds what a demonstration in the state folder runs, and makes the folder: two
// demonstrations compete for that.
func buildStanding(ctx context.Context, c harness.Clone, out *harness.Report) (*demo, error) {
	dir := stateFolder(c)
	d := newDemo(c, dir, out)
	if _, err := os.Stat(dir); err == nil {
		return nil, d.alreadyUp()
	}
	if err := c.BuildQuickly(ctx, out); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return nil, d.alreadyUp()
	} else if err != nil {
		return nil, fmt.Errorf("making the demonstration's folder: %w", err)
	}
	return d, nil
}

// up leaves a demonstration running.
func up(ctx context.Context, c harness.Clone, out *harness.Report) error {
	d, err := buildStanding(ctx, c, out)
	if err != nil {
		return err
	}
	if err := d.bringUp(ctx); err != nil {
		return d.Conclude(ctx, err)
	}
	d.sayHow()
	return nil
}

// bringUp starts everything, waits until the samples are converged and writes how to connect.
func (d *demo) bringUp(ctx context.Context) error {
	ctx, err := d.SetUp(ctx)
	if err != nil {
		return err
	}
	return d.declareSamples(ctx)
}

// declareSamples connects devices, applies the samples, waits until they are Ready, and writes the
// addresses of all parts.
func (d *demo) declareSamples(ctx context.Context) error {
	if err := d.ConnectDevices(ctx); err != nil {
		return err
	}
	if err := d.ApplySamples(ctx); err != nil {
		return err
	}
	if err := d.waitReady(ctx); err != nil {
		return err
	}
	if _, err := d.Kubectl.Show(ctx, "get", "hub,pnp", "-n", harness.Namespace); err != nil {
		return err
	}
	env := maps.Clone(d.HubEnv)
	env["KUBECONFIG"] = d.Kubectl.Kubeconfig
	if err := os.WriteFile(d.File(envFile), []byte(shellEnv(env)), 0o600); err != nil {
		return fmt.Errorf("writing how to connect: %w", err)
	}
	return nil
}

// shellEnv renders variables as a shell reads them, sorted.
func shellEnv(env map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(env)) {
		b.WriteString(key + "=" + harness.ShellQuoted(env[key]) + "\n")
	}
	return b.String()
}

// alreadyUp says what runs in the folder that is in the way.
func (d *demo) alreadyUp() error {
	_, err := os.Stat(d.File(envFile))
	if err != nil || d.Manager().Pid() == 0 || d.Simulator().Pid() == 0 {
		return fmt.Errorf("%q is there, but what it belongs to starts at this moment or does not run any more: run demo down to remove it", d.Dir)
	}
	d.Out.Sayf("The demonstration is up already")
	d.sayHow()
	return nil
}

func (d *demo) sayHow() {
	d.Out.Print(fmt.Sprintf(`
A hub with two devices, a control plane and the operator run in %[1]s. To use them from bash:

  source <(sed 's/^/export /' %[2]s)
  %[3]s get hub,pnp -n %[4]s
  %[3]s edit pnpdevice %[5]s -n %[4]s
  curl -s "$SIMULATOR_DEBUG_URL/devices/%[6]s/twin"

Logs: %[1]s/manager.log and %[1]s/iothub-simulator.log
Stop it with: make demo-down
`, d.Dir, quotedPath(d.File(envFile)), quotedPath(d.KubectlProgram()), harness.Namespace, harness.ThermostatObject, harness.ThermostatDevice))
}

func quotedPath(path string) string { return harness.CommandLine(filepath.Clean(path)) }

// down stops what up started.
func down(ctx context.Context, c harness.Clone, out *harness.Report) error {
	dir := stateFolder(c)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		out.Sayf("Nothing is up in %s", dir)
		return nil
	}
	return newDemo(c, dir, out).TearDown(ctx)
}
