package simulator_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// awaitReported waits until the twin's reported section contains a text.
func (c *client) awaitReported(id, text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	twin, err := c.sim.Hub().Await(ctx, id, func(t *simulator.Twin) bool {
		if t == nil {
			return false
		}
		reported, _ := t.Reported().MarshalJSON()
		return strings.Contains(string(reported), text)
	})
	if err != nil {
		c.t.Fatalf("%s never reported %s: %s", id, text, twin.JSON())
	}
}

func TestDebugDevices(t *testing.T) {
	c := start(t)
	ctx, d := t.Context(), simulator.NewDebugClient(c.sim.DebugURL())

	t.Run("creates one and many", func(t *testing.T) {
		c.must(d.AddDevice(ctx, "one", simulator.Spec{Model: simulator.Thermostat}))
		c.must(d.AddDevices(ctx, "line-%03d", 20, simulator.Spec{Model: simulator.TemperatureController, Behaviour: simulator.Ignore()}))
		c.must(d.CreateDevices(ctx, simulator.DeviceRequest{ID: "bare", IdentityOnly: true}))
		info, err := d.Info(ctx)
		c.must(err)
		if info.Devices != 22 || info.VirtualDevices != 21 || info.Endpoint != c.sim.Endpoint() || info.HostName != c.sim.HostName() {
			t.Errorf("got %+v", info)
		}
		device, err := d.Device(ctx, "line-019")
		c.must(err)
		if !device.Online || device.Behaviour.Kind != simulator.Ignore().Kind {
			t.Errorf("got %+v", device)
		}
	})
	t.Run("drift is acknowledged as the behaviour says", func(t *testing.T) {
		c.must(d.Behave(ctx, "one", "", simulator.Reject(400, "no")))
		c.must(d.Behave(ctx, "one", "other", simulator.PlainValue()))
		c.must(d.PatchDesired(ctx, "one", `{"targetTemperature":1,"other":7}`, "night"))
		c.awaitReported("one", `"ad":"no"`)
		c.awaitReported("one", `"other":7`)
		twin, err := d.Twin(ctx, "one")
		c.must(err)
		if !strings.Contains(string(twin), `"$lastUpdatedBy":"night"`) {
			t.Errorf("got %s", twin)
		}
	})
	t.Run("reports, tags and etags", func(t *testing.T) {
		before, err := c.sim.Hub().Get("bare")
		c.must(err)
		c.must(d.PatchReported(ctx, "bare", `{"r":1}`))
		c.must(d.SetTags(ctx, "bare", `{"t":1}`))
		c.must(d.BumpDeviceETag(ctx, "bare"))
		after, err := c.sim.Hub().Get("bare")
		c.must(err)
		if after.Version() != before.Version()+2 || after.Identity.ETag == before.Identity.ETag {
			t.Errorf("got %s", after.JSON())
		}
		dt, err := d.DigitalTwin(ctx, "bare")
		c.must(err)
		if !strings.Contains(string(dt), `"r":1`) {
			t.Errorf("got %s", dt)
		}
	})
	t.Run("goes offline, online, disabled and away", func(t *testing.T) {
		c.must(d.Offline(ctx, "one"))
		c.must(d.Online(ctx, "one"))
		c.must(d.SetStatus(ctx, "one", false, "broken"))
		if d.Online(ctx, "one") == nil {
			t.Error("a disabled device connected")
		}
		c.must(d.DeleteDevice(ctx, "one"))
		if _, err := d.Twin(ctx, "one"); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("got %v", err)
		}
	})
}

func TestDebugFaults(t *testing.T) {
	c := start(t)
	ctx, d := t.Context(), simulator.NewDebugClient(c.sim.DebugURL())
	id, err := d.AddFault(ctx, simulator.Slow(time.Millisecond).On("GetTwin", "").Times(simulator.Forever))
	c.must(err)
	_, err = d.AddFault(ctx, simulator.Throttled())
	c.must(err)
	c.do("GET", "/twins/dev1", "").want(429)
	list, err := d.Faults(ctx)
	c.must(err)
	if len(list) != 2 || list[0].Fault.ID != id || list[0].Happened != 1 || list[0].Fault.Latency != time.Millisecond {
		t.Errorf("got %+v", list)
	}
	c.must(d.RemoveFault(ctx, id))
	if d.RemoveFault(ctx, id) == nil {
		t.Error("removed twice")
	}
	c.must(d.ClearFaults(ctx))
	if _, err := d.AddFault(ctx, simulator.Fault{Kind: "Explode"}); err == nil {
		t.Error("accepted")
	}
}

func TestDebugPoliciesCallsAndSettings(t *testing.T) {
	c := start(t)
	ctx, d := t.Context(), simulator.NewDebugClient(c.sim.DebugURL())
	c.policy = "service"
	c.must(d.DisablePolicy(ctx, "service"))
	c.do("GET", "/twins/dev1", "").want(401)
	c.must(d.EnablePolicy(ctx, "service"))
	c.do("GET", "/twins/dev1", "").want(404)
	before := c.key("service")
	c.must(d.RekeyPolicy(ctx, "service"))
	policies, err := d.ListPolicies(ctx)
	c.must(err)
	if len(policies) != 5 || policies[1].Key == before {
		t.Errorf("got %+v", policies)
	}
	if d.RekeyPolicy(ctx, "nobody") == nil {
		t.Error("an unknown policy was changed")
	}

	list, err := d.Calls(ctx, simulator.CallFilter{Operation: simulator.OpGetTwin, DeviceID: "dev1", Limit: 1})
	c.must(err)
	if len(list) != 1 || list[0].Status != 404 {
		t.Errorf("got %+v", list)
	}
	counts, err := d.CallCounts(ctx, "dev1")
	c.must(err)
	if counts["GetTwin"] != 2 {
		t.Errorf("got %v", counts)
	}
	c.must(d.ResetCalls(ctx))
	if counts, err := d.CallCounts(ctx, ""); err != nil || len(counts) != 0 {
		t.Errorf("%v, %v", counts, err)
	}

	c.must(d.SetIndexLag(ctx, 30*time.Second))
	c.must(d.SetLenientDigitalTwins(ctx, true))
	c.must(d.SetConfigurationInterval(ctx, 5*time.Second))
	if got := c.sim.Configurations().Interval(); got != 5*time.Second {
		t.Errorf("configurations rest for %v", got)
	}
	if c.sim.Hub().IndexLag() != 30*time.Second || !c.sim.Hub().LenientDigitalTwins() {
		t.Error("the settings did not arrive")
	}
}

func TestDebugRefusals(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("bare"))
	tests := map[string]struct {
		method, path, body string
		want               int
	}{
		"no id and no pattern":     {"POST", "/devices", `{}`, 400},
		"both":                     {"POST", "/devices", `{"id":"a","pattern":"b%d","count":1}`, 400},
		"a pattern without a verb": {"POST", "/devices", `{"pattern":"b","count":2}`, 400},
		"a pattern for text":       {"POST", "/devices", `{"pattern":"b%s","count":2}`, 400},
		"an unknown member":        {"POST", "/devices", `{"id":"a","colour":"red"}`, 400},
		"an unknown behaviour":     {"POST", "/devices", `{"id":"a","behaviour":{"kind":"Dance"}}`, 409},
		"a device that exists":     {"POST", "/devices", `{"id":"bare","identityOnly":true}`, 409},
		"no virtual device":        {"GET", "/devices/bare", ``, 404},
		"nor its behaviour":        {"PUT", "/devices/bare/behaviour", `{"kind":"Ignore"}`, 404},
		"no JSON":                  {"POST", "/devices/bare/reported", `{`, 400},
		"a bad key":                {"POST", "/devices/bare/desired", `{"a.b":1}`, 400},
		"a bad duration":           {"PUT", "/settings", `{"indexLag":"soon"}`, 400},
		"pages without rows":       {"PUT", "/settings", `{"queryRows":0}`, 400},
		"no interval":              {"PUT", "/settings", `{"configurationInterval":"0s"}`, 400},
		"a bad interval":           {"PUT", "/settings", `{"configurationInterval":"soon"}`, 400},
		"a bad number":             {"GET", "/calls?limit=x", ``, 400},
		"an unknown path":          {"GET", "/nothing", ``, 404},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), test.method, c.sim.DebugURL()+test.path, strings.NewReader(test.body))
			c.must(err)
			resp, err := http.DefaultClient.Do(r)
			c.must(err)
			defer func() { _ = resp.Body.Close() }()
			if resp.StatusCode != test.want {
				t.Errorf("status %d, want %d", resp.StatusCode, test.want)
			}
		})
	}
}

func TestDebugAPICanBeOff(t *testing.T) {
	sim, err := simulator.Start(t.Context(), simulator.Options{CAFile: t.TempDir() + "/ca.pem"})
	if err != nil {
		t.Fatal(err)
	}
	if sim.DebugURL() != "" {
		t.Errorf("got %q", sim.DebugURL())
	}
	if err := sim.Close(); err != nil {
		t.Error(err)
	}
	if err := sim.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

// A device and a service meet through the hub alone.
func TestServiceAndDeviceConverge(t *testing.T) {
	c := start(t)
	c.must(c.sim.Devices().Add("dev1", simulator.Spec{Model: simulator.TemperatureController}))
	c.awaitReported("dev1", "SR-123456")
	c.do("PATCH", "/digitaltwins/dev1", `[{"op":"add","path":"/thermostat1/targetTemperature","value":42}]`).want(202)
	c.awaitReported("dev1", `"value":42,"ac":200,"av":2`)
	var dt struct {
		Thermostat1 struct {
			TargetTemperature json.Number
			Metadata          map[string]map[string]any `json:"$metadata"`
		}
		Metadata map[string]any `json:"$metadata"`
	}
	c.do("GET", "/digitaltwins/dev1", "").want(200).decode(&dt)
	ack := dt.Thermostat1.Metadata["targetTemperature"]
	if dt.Thermostat1.TargetTemperature != "42" || ack["ackCode"] != 200.0 || ack["ackVersion"] != 2.0 || ack["desiredVersion"] != 2.0 {
		t.Errorf("got %+v", dt)
	}
	if dt.Metadata["$model"] != simulator.TemperatureController {
		t.Errorf("model %v", dt.Metadata["$model"])
	}
}

func TestManyDevicesGetTagsAndNumbers(t *testing.T) {
	c := start(t)
	debug := simulator.NewDebugClient(c.sim.DebugURL())
	c.must(debug.CreateDevices(t.Context(), simulator.DeviceRequest{Pattern: "line-%02d", First: 7, Count: 2, Tags: []byte(`{"location":{"line":3}}`)}))
	c.must(debug.CreateDevices(t.Context(), simulator.DeviceRequest{ID: "bare", IdentityOnly: true, Tags: []byte(`{"location":{"line":4}}`)}))
	c.query("SELECT deviceId, tags.location.line, connectionState FROM devices").want(200).wantJSON(`[
		{"deviceId":"bare","line":4,"connectionState":"Disconnected"},
		{"deviceId":"line-07","line":3,"connectionState":"Connected"},
		{"deviceId":"line-08","line":3,"connectionState":"Connected"}]`)
	if err := debug.CreateDevices(t.Context(), simulator.DeviceRequest{ID: "wrong", Tags: []byte(`{"a.b":1}`)}); err == nil {
		t.Error("tags that the hub refuses are taken")
	}
}
