package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/freeport"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// Devices of the samples.
const (
	ThermostatDevice = "my-thermostat"
	ControllerDevice = "my-pnp-device"
)

// ackDelay is how long the virtual devices take to react, so that waiting for them can be seen.
const ackDelay = 700 * time.Millisecond

// StartHub starts the simulated hub.
func (d *Testbed) StartHub(ctx context.Context) error {
	p := d.Simulator()
	d.Out.Sayf("$ iothub-simulator --ack-delay=%s    log: %s", d.AckDelay, p.LogFile())
	at, err := freeport.Addresses(5)
	if err != nil {
		return err
	}
	args := append([]string{
		"--listen=" + at[0], "--mqtt-listen=" + at[1], "--debug-listen=" + at[2], "--events-listen=" + at[3], "--entra-listen=" + at[4],
		"--env-file=" + d.File(hubEnvFile), "--ca-file=" + d.File(HubCAFile), "--ack-delay=" + d.AckDelay.String(),
		"--entra-ca-file=" + d.File(entraCAFile), "--entra-keys=" + d.File(KeysFile), "--entra-application=" + d.application(),
	}, d.HubArgs...)
	ended, err := p.Start(d.Path("bin/iothub-simulator"), args...)
	if err != nil {
		return err
	}
	if err := p.Await(ctx, ended, 20*time.Second, d.readHubEnv); err != nil {
		return err
	}
	d.supervise(p, ended)
	d.Hub = simulator.NewDebugClient(d.HubEnv["SIMULATOR_DEBUG_URL"])
	return nil
}

// ConnectDevices connects virtual devices for the samples.
func (d *Testbed) ConnectDevices(ctx context.Context) error {
	for id, model := range map[string]string{
		ThermostatDevice: simulator.Thermostat, ControllerDevice: simulator.TemperatureController,
	} {
		if err := d.Hub.AddDevice(ctx, id, simulator.Spec{Model: model}); err != nil {
			return fmt.Errorf("connecting device %q: %w", id, err)
		}
		d.Out.Sayf("  device %-14s connected, model %s", id, model)
	}
	return nil
}

func (d *Testbed) readHubEnv() error {
	data, err := os.ReadFile(d.File(hubEnvFile))
	if err != nil {
		return err
	}
	d.HubEnv = parseEnv(string(data))
	return nil
}

// parseEnv reads lines KEY=VALUE.
func parseEnv(text string) map[string]string {
	env := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "="); ok {
			env[key] = value
		}
	}
	return env
}

// Desired returns the value at a path of the desired section, and whether there is one.
func (d *Testbed) Desired(ctx context.Context, device string, path ...string) (any, bool, error) {
	raw, err := d.Hub.Twin(ctx, device)
	if err != nil {
		return nil, false, err
	}
	var twin struct {
		Properties struct{ Desired map[string]any }
	}
	if err := json.Unmarshal(raw, &twin); err != nil {
		return nil, false, fmt.Errorf("decoding the twin of %q: %w", device, err)
	}
	value, ok := ValueAt(twin.Properties.Desired, path...)
	return value, ok, nil
}

// ValueAt returns the value at a path of nested objects, and whether there is one.
func ValueAt(object map[string]any, path ...string) (any, bool) {
	var value any = object
	for _, name := range path {
		inner, _ := value.(map[string]any)
		var ok bool
		if value, ok = inner[name]; !ok {
			return nil, false
		}
	}
	return value, true
}

// ExpectAtHub waits until the hub holds the value at a path of the desired section. A nil value
// means nothing.
func (d *Testbed) ExpectAtHub(ctx context.Context, within time.Duration, want any, device string, path ...string) error {
	expected := "nothing"
	if want != nil {
		expected = AsJSON(want)
	}
	name := strings.Join(path, "/")
	return d.Expect(ctx, Expectation{
		What:     fmt.Sprintf("%s of %s at the hub", name, device),
		Expected: expected,
		Within:   within,
		Look: func(ctx context.Context) (string, bool, error) {
			value, found, err := d.Desired(ctx, device, path...)
			if err != nil || !found {
				return "nothing", want == nil, err
			}
			return AsJSON(value), reflect.DeepEqual(value, want), nil
		},
	})
}

// AsJSON returns a value as JSON, for people.
func AsJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

// PatchesOf counts the writes to a device's twin, in either dialect.
func (d *Testbed) PatchesOf(ctx context.Context, device string) (int, error) {
	counts, err := d.Hub.CallCounts(ctx, device)
	return counts[simulator.OpPatchDigitalTwin] + counts[simulator.OpPatchTwin] + counts[simulator.OpReplaceTwin], err
}

// NewestCall returns the number of the newest call in the hub's log, 0 if there is none.
func (d *Testbed) NewestCall(ctx context.Context) (uint64, error) {
	newest, err := d.Hub.Calls(ctx, simulator.CallFilter{Limit: 1})
	if err != nil || len(newest) == 0 {
		return 0, err
	}
	return newest[0].Seq, nil
}

// CallsAfter returns how many queries of the sweep followed a call, and what else the hub was
// asked.
func (d *Testbed) CallsAfter(ctx context.Context, seq uint64) (sweeps int, others []string, err error) {
	calls, err := d.Hub.Calls(ctx, simulator.CallFilter{AfterSeq: seq})
	for _, c := range calls {
		if isSweep(c) {
			sweeps++
			continue
		}
		others = append(others, c.Operation+" "+c.Path)
	}
	return sweeps, others, err
}

// isSweep tells the sweep's query, which names devices, from the one that tries a credential.
func isSweep(c simulator.Call) bool {
	return c.Operation == simulator.OpQuery && strings.Contains(c.Body, "WHERE deviceId IN")
}
