package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/test/harness"
)

// wrongValue shows what a pipeline sees of a value that the device's model does not allow: with a cluster and without one.
func (d *demo) wrongValue(ctx context.Context, table *tableWatch) error {
	table.tell(ctx, "nothing of this reaches the cluster")
	const words = `spec.properties.targetTemperature is "hot"`
	raw, err := os.ReadFile(d.Path("config/samples/thermostat.yaml"))
	if err != nil {
		return err
	}
	wrong := strings.Replace(string(raw), "targetTemperature: 21.5", "targetTemperature: hot", 1)
	var refusal error
	late := func() error {
		return harness.Missed("kubectl apply --dry-run=server of a wrong value", words, fmt.Sprint(refusal))
	}
	err = harness.Poll(ctx, 20*time.Second, late, func(ctx context.Context) (bool, error) {
		_, refusal = d.Kubectl.Output(ctx, wrong, "apply", "--server-side", "--dry-run=server", "-n", harness.Namespace, "-f", "-")
		return refusal != nil && strings.Contains(refusal.Error(), words), nil
	})
	if err != nil {
		return err
	}
	d.Out.Block("$ kubectl apply --server-side --dry-run=server -n "+harness.Namespace+" -f -", lastLine(refusal.Error()))
	d.Out.Passf("the API server refuses a wrong value")

	dir := d.File("pull-request")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "thermostat.yaml"), []byte(wrong), 0o600)); err != nil {
		return err
	}
	model := d.Path("config/samples/thermostat-model.yaml")
	cmd := harness.NewCommand(ctx, d.Path("bin/manager"), "validate", "-f", dir, "-f", model)
	out, err := cmd.Output()
	d.Out.Block("$ pnp-operator validate -f "+dir+" -f "+model, string(out))
	return d.Check("validate refuses it without a cluster", "exit status 1, and "+words, fmt.Sprint(err), cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 1 && strings.Contains(string(out), words))
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
