package simulator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// flush waits until everything that happened is announced.
func (c *client) flush() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	c.must(c.sim.Router().Flush(ctx))
}

// announced returns source and operation of the newest events of a device.
func (c *client) announced(d *simulator.DebugClient, id string, limit int) []string {
	c.t.Helper()
	c.flush()
	events, err := d.Events(c.t.Context(), id, limit)
	c.must(err)
	out := []string{}
	for _, e := range events {
		out = append(out, fmt.Sprintf("%s %s", e.Source, e.OpType))
	}
	return out
}

func TestDebugEvents(t *testing.T) {
	c := start(t)
	ctx, d := t.Context(), simulator.NewDebugClient(c.sim.DebugURL())
	c.must(d.AddDevice(ctx, "one", simulator.Spec{Model: simulator.Thermostat}))
	c.awaitReported("one", "maxTempSinceLastReboot")
	c.must(d.CreateDevices(ctx, simulator.DeviceRequest{ID: "other", IdentityOnly: true}))

	t.Run("what happened is shown", func(t *testing.T) {
		want := []string{"deviceLifecycleEvents createDeviceIdentity", "deviceConnectionStateEvents deviceConnected", "twinChangeEvents updateTwin"}
		if diff := cmp.Diff(want, c.announced(d, "one", 0)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff(want[2:], c.announced(d, "one", 1)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		counts, err := d.EventCounts(ctx)
		c.must(err)
		if counts[simulator.SourceLifecycle] != 2 || counts[simulator.SourceTwinChanges] != 1 {
			t.Errorf("got %v", counts)
		}
	})
	t.Run("routes are switched", func(t *testing.T) {
		routes, err := d.Routes(ctx)
		c.must(err)
		if routes != simulator.DefaultRoutes() {
			t.Errorf("got %+v", routes)
		}
		routes.TwinChanges, routes.DigitalTwinChanges = false, true
		c.must(d.SetRoutes(ctx, routes))
		c.must(d.PatchReported(ctx, "other", `{"a":1}`))
		want := []string{"digitalTwinChangeEvents updateTwin"}
		if diff := cmp.Diff(want, c.announced(d, "other", 1)); diff != "" {
			t.Error(diff)
		}
		c.must(d.SetRoutes(ctx, simulator.DefaultRoutes()))
	})
	t.Run("telemetry is sent", func(t *testing.T) {
		c.must(d.SendTelemetry(ctx, "one", "probe", `{"x":[1]}`))
		c.flush()
		events, err := d.Events(ctx, "", 1)
		c.must(err)
		if len(events) != 1 || events[0].Body != `{"x":[1]}` || events[0].Component != "probe" || events[0].Source != simulator.SourceTelemetry {
			t.Errorf("got %+v", events)
		}
		if d.SendTelemetry(ctx, "other", "", `{}`) == nil {
			t.Error("sent without a virtual device")
		}
	})
}

func TestDebugEventFaults(t *testing.T) {
	c := start(t)
	ctx, d := t.Context(), simulator.NewDebugClient(c.sim.DebugURL())
	id, err := d.AddEventFault(ctx, simulator.EventFault{Kind: simulator.EventLose, Source: simulator.SourceTwinChanges})
	c.must(err)
	_, err = d.AddEventFault(ctx, simulator.EventFault{Kind: simulator.EventDelay, Delay: time.Nanosecond, Device: "nobody"})
	c.must(err)
	c.must(c.sim.Hub().CreateDevice("dev1", simulator.WithReported(`{"a":1}`)))
	if diff := cmp.Diff([]string{"deviceLifecycleEvents createDeviceIdentity"}, c.announced(d, "dev1", 0)); diff != "" {
		t.Error(diff)
	}
	list, err := d.EventFaults(ctx)
	c.must(err)
	if len(list) != 2 || list[0].Fault.ID != id || list[0].Happened != 1 || list[1].Fault.Delay != time.Nanosecond {
		t.Errorf("got %+v", list)
	}
	c.must(d.RemoveEventFault(ctx, id))
	if d.RemoveEventFault(ctx, id) == nil {
		t.Error("removed twice")
	}
	c.must(d.ClearEventFaults(ctx))
	if _, err := d.AddEventFault(ctx, simulator.EventFault{Kind: "Explode"}); err == nil {
		t.Error("accepted")
	}
}

func TestDebugRewind(t *testing.T) {
	c := start(t)
	ctx, d := t.Context(), simulator.NewDebugClient(c.sim.DebugURL())
	c.must(c.sim.Hub().CreateDevice("dev1", simulator.WithDesired(`{"a":1}`)))
	if d.Rewind(ctx, "dev1") == nil {
		t.Error("went back to nothing")
	}
	c.must(d.Remember(ctx, "dev1"))
	before, err := d.Twin(ctx, "dev1")
	c.must(err)
	c.must(d.PatchDesired(ctx, "dev1", `{"a":2}`, ""))
	c.must(d.Rewind(ctx, "dev1"))
	after, err := d.Twin(ctx, "dev1")
	c.must(err)
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Error(diff)
	}
	if got := c.announced(d, "dev1", 0); len(got) != 3 {
		t.Errorf("announced %q", got)
	}
	if d.Remember(ctx, "nobody") == nil {
		t.Error("remembered nothing")
	}
}

func TestVirtualDevicesMeasure(t *testing.T) {
	c := start(t)
	ctx, d := t.Context(), simulator.NewDebugClient(c.sim.DebugURL())
	spec := simulator.Spec{Model: simulator.TemperatureController, Telemetry: simulator.Telemetry{Interval: 10 * time.Millisecond}}
	c.must(d.AddDevices(ctx, "line-%d", 3, spec))
	info, err := d.Device(ctx, "line-1")
	c.must(err)
	if info.Telemetry != spec.Telemetry {
		t.Errorf("got %+v", info)
	}
	for c.sim.Router().Counts()[simulator.SourceTelemetry] < 12 {
		select {
		case <-ctx.Done():
			t.Fatal("no telemetry came")
		case <-time.After(time.Millisecond):
		}
	}
	for _, e := range c.sim.Router().Recent(0) {
		if e.Source == simulator.SourceTelemetry && (e.Component == "" || !json.Valid([]byte(e.Body))) {
			t.Errorf("got %+v", e)
		}
	}
}
