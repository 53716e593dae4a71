package routing

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
	"github.com/pnp-operator/pnp-operator/simulator/hub"
)

const (
	device               = "my-pnp-device"
	thermostatReported   = "2020-10-21T14:10:42.4171263Z"
	controllerReported   = "2020-10-21T14:13:39.36491Z"
	thermostatEnqueued   = 1603288810715
	thermostat1Enqueued  = 1603289127844
	thermostat2Enqueued  = 1603289133017
	thermostatGeneration = 637388855582764406
	controllerGeneration = 637388858939631652
)

// TestEventsAreThoseOfARealHub replays what devices did to a real hub when it sent the events in testdata/vectors. The
// events must be equal but for: what the event hub adds (x-opt-...), iothub-enqueuedtime of notifications, which a real hub
// sets some 100 ms later, the value of correlation ids, and four bytes of no meaning that follow the hub's name in user-id
// of two events.
func TestEventsAreThoseOfARealHub(t *testing.T) {
	thermostat := func(f fixture) {
		f.must(f.hub.CreateDevice(device))
		f.at(thermostatReported)
		f.must(f.hub.PatchReported(device, `{"maxTempSinceLastReboot":10.96}`))
	}
	controller := func(f fixture) {
		f.must(f.hub.CreateDevice(device, hub.WithReported(`{"serialNumber":"SR-123456"}`)))
		f.at(controllerReported)
		f.must(f.hub.PatchReported(device, `{"thermostat1":{"maxTempSinceLastReboot":98.34,"__t":"c"}}`))
	}
	tests := map[string]func(fixture){
		"twin-change-default-component":         thermostat,
		"digital-twin-change-default-component": thermostat,
		"twin-change-thermostat1":               controller,
		"digital-twin-change-thermostat1":       controller,
		"telemetry-default-component": func(f fixture) {
			f.announce(thermostatGeneration, "dtmi:com:example:Thermostat;1")
			f.clock.SetTime(time.UnixMilli(thermostatEnqueued))
			f.must(f.router.PublishTelemetry(device, "", "", []byte(`{"temperature":12}`)))
		},
		"telemetry-thermostat1": func(f fixture) {
			f.announce(controllerGeneration, "dtmi:com:example:TemperatureController;1")
			f.clock.SetTime(time.UnixMilli(thermostat1Enqueued))
			f.must(f.router.PublishTelemetry(device, "thermostat1", "", []byte(`{"temperature":45}`)))
		},
		"telemetry-thermostat2": func(f fixture) {
			f.announce(controllerGeneration, "dtmi:com:example:TemperatureController;1")
			f.clock.SetTime(time.UnixMilli(thermostat2Enqueued))
			f.must(f.router.PublishTelemetry(device, "thermostat2", "", []byte(`{"temperature":49}`)))
		},
	}
	for name, act := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, allRoutes)
			act(f)
			want := readVector(t, name)
			got := f.last(want["source"].(string))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-real hub +simulator)\n%s", diff)
			}
		})
	}
}

func (f fixture) at(s string) {
	f.t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	f.must(err)
	f.clock.SetTime(at)
}

// announce creates the device at the instant that its generation id names, in ticks.
func (f fixture) announce(generation int64, model string) {
	f.t.Helper()
	f.clock.SetTime(time.Unix(0, (generation-ticksAtUnixEpoch)*100))
	f.must(f.hub.CreateDevice(device, hub.WithModel(model)))
}

// last is the last event of a source, in the form of readVector.
func (f fixture) last(source string) map[string]any {
	f.t.Helper()
	var last eventhub.Message
	for _, m := range f.events(device) {
		if m.Annotations["iothub-message-source"] == source {
			last = m
		}
	}
	system := map[string]any{"content-type": last.Properties.ContentType, "content-encoding": last.Properties.ContentEncoding}
	maps.Copy(system, last.Annotations)
	if at, ok := system["iothub-enqueuedtime"].(time.Time); ok {
		system["iothub-enqueuedtime"] = float64(at.UnixMilli())
	}
	if len(last.Properties.UserID) > 0 {
		system["user-id"] = string(last.Properties.UserID)
	}
	if last.Properties.CorrelationID != "" {
		system["correlation-id"] = last.Properties.CorrelationID
	}
	return essence(parse(f.t, string(last.Body)), last.Application, system)
}

// readVector reads a captured event.
func readVector(t *testing.T, name string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "vectors", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Body                                    any
		ApplicationProperties, SystemProperties map[string]any
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if id, ok := v.SystemProperties["user-id"].(string); ok {
		v.SystemProperties["user-id"] = strings.TrimSuffix(id, "\u0081\u000e\u00a4\u007f")
	}
	return essence(v.Body, v.ApplicationProperties, v.SystemProperties)
}

var correlationID = regexp.MustCompile(`^[0-9a-f]{12}$`)

// essence leaves out what TestEventsAreThoseOfARealHub says.
func essence(body any, application, system map[string]any) map[string]any {
	for name := range system {
		if strings.HasPrefix(name, "x-opt-") {
			delete(system, name)
		}
	}
	source := system["iothub-message-source"]
	if source != string(Telemetry) {
		delete(system, "iothub-enqueuedtime")
	}
	if id, ok := system["correlation-id"].(string); ok && correlationID.MatchString(id) {
		system["correlation-id"] = "12 hex digits"
	}
	return map[string]any{"body": body, "application": application, "system": system, "source": source}
}

func TestNotificationsOfOneChangeShareACorrelationID(t *testing.T) {
	f := newFixture(t, allRoutes)
	f.must(f.hub.CreateDevice(device))
	f.must(f.hub.PatchReported(device, `{"a":1}`))
	f.must(f.hub.PatchReported(device, `{"a":2}`))
	events := f.events(device)
	var sources, ids []string
	for _, m := range events {
		sources = append(sources, m.Annotations["iothub-message-source"].(string))
		ids = append(ids, m.Properties.CorrelationID)
	}
	wantSources := []string{"deviceLifecycleEvents", "twinChangeEvents", "digitalTwinChangeEvents", "twinChangeEvents", "digitalTwinChangeEvents"}
	if diff := cmp.Diff(wantSources, sources); diff != "" {
		t.Fatal(diff)
	}
	if ids[1] != ids[2] || ids[3] != ids[4] || ids[0] == ids[1] || ids[1] == ids[3] {
		t.Errorf("correlation ids %v", ids)
	}
}
