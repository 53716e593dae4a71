package main

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
	thermostatDevice = "my-thermostat"
	controllerDevice = "my-pnp-device"
)

// ackDelay is how long the virtual devices take to react, so that waiting for them can be seen.
const ackDelay = 700 * time.Millisecond

// startHub starts the simulated hub.
func (d *demo) startHub(ctx context.Context) error {
	p := d.simulator()
	d.out.sayf("$ iothub-simulator --ack-delay=%s    log: %s", d.ackDelay, p.logFile())
	at, err := freeport.Addresses(5)
	if err != nil {
		return err
	}
	args := append([]string{
		"--listen=" + at[0], "--mqtt-listen=" + at[1], "--debug-listen=" + at[2], "--events-listen=" + at[3], "--entra-listen=" + at[4],
		"--env-file=" + d.file(hubEnvFile), "--ca-file=" + d.file(hubCAFile), "--ack-delay=" + d.ackDelay.String(),
		"--entra-ca-file=" + d.file(entraCAFile), "--entra-keys=" + d.file(keysFile), "--entra-application=" + d.application(),
	}, d.hubArgs...)
	ended, err := p.start(d.path("bin/iothub-simulator"), args...)
	if err != nil {
		return err
	}
	if err := p.await(ctx, ended, 20*time.Second, d.readHubEnv); err != nil {
		return err
	}
	d.supervise(p, ended)
	d.hub = simulator.NewDebugClient(d.hubEnv["SIMULATOR_DEBUG_URL"])
	return nil
}

// connectDevices connects virtual devices for the samples.
func (d *demo) connectDevices(ctx context.Context) error {
	for id, model := range map[string]string{
		thermostatDevice: simulator.Thermostat, controllerDevice: simulator.TemperatureController,
	} {
		if err := d.hub.AddDevice(ctx, id, simulator.Spec{Model: model}); err != nil {
			return fmt.Errorf("connecting device %q: %w", id, err)
		}
		d.out.sayf("  device %-14s connected, model %s", id, model)
	}
	return nil
}

func (d *demo) readHubEnv() error {
	data, err := os.ReadFile(d.file(hubEnvFile))
	if err != nil {
		return err
	}
	d.hubEnv = parseEnv(string(data))
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

// desired returns the value at a path of the desired section, and whether there is one.
func (d *demo) desired(ctx context.Context, device string, path ...string) (any, bool, error) {
	raw, err := d.hub.Twin(ctx, device)
	if err != nil {
		return nil, false, err
	}
	var twin struct {
		Properties struct{ Desired map[string]any }
	}
	if err := json.Unmarshal(raw, &twin); err != nil {
		return nil, false, fmt.Errorf("decoding the twin of %q: %w", device, err)
	}
	value, ok := at(twin.Properties.Desired, path...)
	return value, ok, nil
}

// at returns the value at a path of nested objects, and whether there is one.
func at(object map[string]any, path ...string) (any, bool) {
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

// expectAtHub waits until the hub holds the value at a path of the desired section. A nil value means nothing.
func (d *demo) expectAtHub(ctx context.Context, within time.Duration, want any, device string, path ...string) error {
	expected := "nothing"
	if want != nil {
		expected = shown(want)
	}
	name := strings.Join(path, "/")
	return d.expect(ctx, expectation{
		what:     fmt.Sprintf("%s of %s at the hub", name, device),
		expected: expected,
		within:   within,
		look: func(ctx context.Context) (string, bool, error) {
			value, found, err := d.desired(ctx, device, path...)
			if err != nil || !found {
				return "nothing", want == nil, err
			}
			return shown(value), reflect.DeepEqual(value, want), nil
		},
	})
}

func shown(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

// patchesOf counts the writes to a device's twin, in either dialect.
func (d *demo) patchesOf(ctx context.Context, device string) (int, error) {
	counts, err := d.hub.CallCounts(ctx, device)
	return counts[simulator.OpPatchDigitalTwin] + counts[simulator.OpPatchTwin] + counts[simulator.OpReplaceTwin], err
}

// newestCall returns the number of the newest call in the hub's log, 0 if there is none.
func (d *demo) newestCall(ctx context.Context) (uint64, error) {
	newest, err := d.hub.Calls(ctx, simulator.CallFilter{Limit: 1})
	if err != nil || len(newest) == 0 {
		return 0, err
	}
	return newest[0].Seq, nil
}

// callsAfter returns how many queries of the sweep followed a call, and what else the hub was asked.
func (d *demo) callsAfter(ctx context.Context, seq uint64) (sweeps int, others []string, err error) {
	calls, err := d.hub.Calls(ctx, simulator.CallFilter{AfterSeq: seq})
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
