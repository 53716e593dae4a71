package devices

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
)

// measurement is one message of telemetry.
type measurement struct{ Device, Component, Model, Body string }

// publisher keeps what it is given.
type publisher struct {
	mu   sync.Mutex
	sent []measurement
}

func (p *publisher) PublishTelemetry(deviceID, component, model string, body []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, measurement{deviceID, component, model, string(body)})
	return nil
}

func (p *publisher) list() []measurement {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sent)
}

func publishing(t *testing.T) (fixture, *publisher) {
	t.Helper()
	h, p := hub.New(time.Now, 1), &publisher{}
	d := New(h, methods.New(), -1, p, logr.Discard())
	t.Cleanup(d.Close)
	return fixture{t, h, d}, p
}

func TestTelemetryOfTheModels(t *testing.T) {
	tests := map[string]struct {
		model string
		want  []measurement
	}{
		"a thermostat measures itself": {
			Thermostat, []measurement{
				{"dev1", "", Thermostat, `{"temperature":20.1}`},
				{"dev1", "", Thermostat, `{"temperature":20.2}`},
			},
		},
		"a controller's thermostats measure": {
			TemperatureController, []measurement{
				{"dev1", "thermostat1", TemperatureController, `{"temperature":20.1}`},
				{"dev1", "thermostat2", TemperatureController, `{"temperature":21.1}`},
				{"dev1", "thermostat1", TemperatureController, `{"temperature":20.2}`},
				{"dev1", "thermostat2", TemperatureController, `{"temperature":21.2}`},
			},
		},
		"a device without a model measures all the same": {
			"", []measurement{{"dev1", "", "", `{"temperature":20.1}`}, {"dev1", "", "", `{"temperature":20.2}`}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, p := publishing(t)
				f.must(f.devices.Add("dev1", Spec{Model: test.model, Telemetry: Telemetry{Interval: time.Minute}}))
				time.Sleep(2*time.Minute - 1) // of the bubble: nobody waits
				synctest.Wait()
				if diff := cmp.Diff(test.want, p.list()); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}

func TestTelemetryIsOfConnectedDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, p := publishing(t)
		f.must(f.devices.Add("dev1", Spec{Telemetry: Telemetry{Interval: time.Second}, Offline: true}))
		f.must(f.devices.Add("quiet", Spec{}))
		time.Sleep(time.Minute)
		f.must(f.devices.Online("dev1"))
		time.Sleep(10 * time.Second)
		f.must(f.devices.Offline("dev1"))
		synctest.Wait()
		sent := len(p.list())
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(p.list()); n != sent || n != 10 {
			t.Errorf("%d messages, %d of them online", n, sent)
		}
	})
}

func TestSendTelemetry(t *testing.T) {
	f, p := publishing(t)
	f.must(f.devices.Add("dev1", Spec{Model: Thermostat}))
	f.must(f.devices.SendTelemetry("dev1", "c", []byte(`{"alarm":true}`)))
	f.must(f.devices.Offline("dev1"))
	if f.devices.SendTelemetry("dev1", "", nil) == nil || f.devices.SendTelemetry("nobody", "", nil) == nil {
		t.Error("sent without a connection")
	}
	if diff := cmp.Diff([]measurement{{"dev1", "c", Thermostat, `{"alarm":true}`}}, p.list()); diff != "" {
		t.Error(diff)
	}
	silent := newFixture(t)
	silent.must(silent.devices.Add("dev1", Spec{}))
	silent.must(silent.devices.SendTelemetry("dev1", "", nil))
}

func TestTelemetryInJSON(t *testing.T) {
	for name, test := range map[string]struct {
		spec Spec
		want string
	}{
		"on":  {Spec{Telemetry: Telemetry{5 * time.Second}}, `{"behaviour":{},"telemetry":{"interval":"5s"}}`},
		"off": {Spec{}, `{"behaviour":{}}`},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := json.Marshal(test.spec)
			if err != nil || string(data) != test.want {
				t.Fatalf("%s, %v", data, err)
			}
			var got Spec
			if err := json.Unmarshal(data, &got); err != nil || !cmp.Equal(test.spec, got) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	for _, bad := range []string{`{"typo":1}`, `{"interval":"soon"}`} {
		var got Telemetry
		if json.Unmarshal([]byte(bad), &got) == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
	f := newFixture(t)
	if f.devices.Add("dev1", Spec{Telemetry: Telemetry{time.Microsecond}}) == nil {
		t.Error("accepted too short an interval")
	}
}
