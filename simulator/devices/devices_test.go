package devices

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
)

// fixture is a hub with virtual devices that react at once.
type fixture struct {
	t       testing.TB
	hub     *hub.Hub
	devices *Devices
}

func newFixture(t testing.TB) fixture {
	t.Helper()
	h := hub.New(time.Now, 1)
	d := New(h, methods.New(), -1, nil, logr.Discard())
	t.Cleanup(d.Close)
	return fixture{t, h, d}
}

func (f fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f fixture) desire(patch string) {
	f.t.Helper()
	f.must(f.hub.PatchDesired("dev1", patch, ""))
}

// await waits for the reported value at a path and returns the state that holds it.
func (f fixture) await(want string, path ...string) *hub.Twin {
	f.t.Helper()
	return f.awaitState(func(t *hub.Twin) bool {
		v, ok := t.ReportedAt(path...)
		return ok && encode(v) == want
	}, strings.Join(path, ".")+" = "+want)
}

func (f fixture) awaitState(ok func(*hub.Twin) bool, what string) *hub.Twin {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	t, err := f.hub.Await(ctx, "dev1", ok)
	if err != nil {
		f.t.Fatalf("%s never came, the device reports %s", what, encode(t.Reported()))
	}
	return t
}

func encode(v any) string { return string(jsontree.Append(nil, v)) }

func TestThermostatStartsByTheConvention(t *testing.T) {
	f := newFixture(t)
	f.must(f.devices.Add("dev1", Spec{Model: Thermostat}))
	twin := f.await(`{"value":20.0,"ac":203,"av":0,"ad":"initialised with default value"}`, "targetTemperature")
	if v, _ := twin.ReportedAt("maxTempSinceLastReboot"); v != json.Number("25.3") {
		t.Errorf("maxTempSinceLastReboot %v", v)
	}
	if twin.ModelID != Thermostat || !twin.Identity.Connected {
		t.Errorf("model %q, %s", twin.ModelID, twin.Identity.ConnectionState())
	}
}

func TestTemperatureControllerStartsByTheConvention(t *testing.T) {
	f := newFixture(t)
	f.must(f.devices.Add("dev1", Spec{Model: TemperatureController}))
	twin := f.await(`"SR-123456"`, "serialNumber")
	for _, component := range []string{"thermostat1", "thermostat2", "deviceInformation"} {
		if v, _ := twin.ReportedAt(component, "__t"); v != "c" {
			t.Errorf("%s is marked %v", component, v)
		}
	}
	if v, _ := twin.ReportedAt("thermostat2", "targetTemperature", "ac"); v != json.Number("203") {
		t.Errorf("thermostat2 answers %v", v)
	}
	if twin.ReportedVersion() != 2 {
		t.Errorf("%d reports", twin.ReportedVersion()-1)
	}
}

func TestDesiredBeforeConnectingIsAcknowledgedInsteadOfTheDefault(t *testing.T) {
	f := newFixture(t)
	f.must(f.hub.CreateDevice("dev1", hub.WithDesired(`{"targetTemperature":30}`)))
	f.must(f.devices.Add("dev1", Spec{Model: Thermostat}))
	f.await(`{"value":30,"ac":200,"av":2,"ad":"completed"}`, "targetTemperature")
}

func TestBehaviours(t *testing.T) {
	tests := map[string]struct {
		behaviour Behaviour
		desired   string
		want      string
	}{
		"acknowledges":                      {Behaviour{}, `42`, `{"value":42,"ac":200,"av":2,"ad":"completed"}`},
		"acknowledges objects whole":        {Acknowledge(), `{"a":1,"b":{"c":true}}`, `{"value":{"a":1,"b":{"c":true}},"ac":200,"av":2,"ad":"completed"}`},
		"rejects":                           {Reject(400, "out of range"), `42`, `{"value":42,"ac":400,"av":2,"ad":"out of range"}`},
		"adjusts":                           {Adjust(`30`), `42`, `{"value":30,"ac":200,"av":2,"ad":"adjusted"}`},
		"reports a plain value":             {PlainValue(), `42`, `42`},
		"holds single precision":            {Float32(), `20.1`, `{"value":20.100000381469727,"ac":200,"av":2,"ad":"completed"}`},
		"holds single precision in objects": {Float32(), `{"a":[0.1],"b":"x"}`, `{"value":{"a":[0.10000000149011612],"b":"x"},"ac":200,"av":2,"ad":"completed"}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.must(f.devices.Add("dev1", Spec{Behaviour: test.behaviour}))
			f.desire(`{"p":` + test.desired + `}`)
			f.await(test.want, "p")
		})
	}
}

func TestRejectedValueIsNotApplied(t *testing.T) {
	f := newFixture(t)
	f.must(f.devices.Add("dev1", Spec{}))
	f.desire(`{"p":1}`)
	f.await(`{"value":1,"ac":200,"av":2,"ad":"completed"}`, "p")
	f.must(f.devices.Behave("dev1", Reject(500, "broken")))
	f.desire(`{"p":2}`)
	f.await(`{"value":1,"ac":500,"av":3,"ad":"broken"}`, "p")
}

func TestDelayAnswers202First(t *testing.T) {
	f := newFixture(t)
	f.must(f.devices.Add("dev1", Spec{Behaviour: Delay(time.Millisecond)}))
	var codes []string
	defer f.hub.Subscribe(func(c hub.Change) {
		if p := c.Reported.Object("p"); p != nil {
			code, _ := p.Get("ac")
			codes = append(codes, encode(code))
		}
	})()
	f.desire(`{"p":1}`)
	f.await(`{"value":1,"ac":200,"av":2,"ad":"completed"}`, "p")
	if diff := cmp.Diff([]string{"202", "200"}, codes); diff != "" {
		t.Error(diff)
	}
}

func TestDelayedCompletionGivesWayToANewerValue(t *testing.T) {
	f := newFixture(t)
	f.must(f.devices.Add("dev1", Spec{Behaviour: Delay(time.Hour)}))
	f.desire(`{"p":1}`)
	f.await(`{"value":1,"ac":202,"av":2,"ad":"in progress"}`, "p")
	f.must(f.devices.Behave("dev1", Delay(time.Millisecond)))
	f.desire(`{"p":2}`)
	f.await(`{"value":2,"ac":200,"av":3,"ad":"completed"}`, "p")
}

func TestIgnoredPropertyIsNotReported(t *testing.T) {
	f := newFixture(t)
	f.must(f.devices.Add("dev1", Spec{Properties: map[string]Behaviour{"c.p": Ignore()}}))
	f.desire(`{"c":{"__t":"c","p":1,"q":2}}`)
	twin := f.await(`{"value":2,"ac":200,"av":2,"ad":"completed"}`, "c", "q")
	if v, ok := twin.ReportedAt("c", "p"); ok {
		t.Errorf("p is %v", v)
	}
}

func TestPropertiesAreOverriddenLive(t *testing.T) {
	f := newFixture(t)
	f.must(f.devices.Add("dev1", Spec{Model: TemperatureController}))
	f.must(f.devices.BehaveProperty("dev1", "thermostat1.targetTemperature", Reject(400, "no")))
	f.desire(`{"thermostat1":{"__t":"c","targetTemperature":99},"thermostat2":{"__t":"c","targetTemperature":98}}`)
	twin := f.await(`{"value":98,"ac":200,"av":2,"ad":"completed"}`, "thermostat2", "targetTemperature")
	if v, _ := twin.ReportedAt("thermostat1", "targetTemperature", "ac"); v != json.Number("400") {
		t.Errorf("thermostat1 answers %v", v)
	}
	if v, _ := twin.ReportedAt("thermostat1", "__t"); v != "c" {
		t.Error("the marker is gone")
	}
}

func TestUnmarkedComponentIsNotHandled(t *testing.T) {
	f := newFixture(t)
	f.must(f.devices.Add("dev1", Spec{Model: TemperatureController}))
	f.desire(`{"thermostat1":{"targetTemperature":1},"barrier":1}`)
	twin := f.await(`{"value":1,"ac":200,"av":2,"ad":"completed"}`, "barrier")
	if v, _ := twin.ReportedAt("thermostat1", "value"); v != nil {
		t.Errorf("thermostat1 was taken for a property: %v", v)
	}
}

func TestNullLeavesTheReportedValue(t *testing.T) {
	f := newFixture(t)
	f.must(f.devices.Add("dev1", Spec{}))
	f.desire(`{"p":1}`)
	f.await(`{"value":1,"ac":200,"av":2,"ad":"completed"}`, "p")
	f.desire(`{"p":null,"barrier":1}`)
	twin := f.await(`{"value":1,"ac":200,"av":3,"ad":"completed"}`, "barrier")
	if _, ok := twin.ReportedAt("p"); !ok {
		t.Error("p is no longer reported")
	}
}

func TestEveryNotificationIsAcknowledgedWithItsOwnVersion(t *testing.T) {
	f := newFixture(t)
	f.must(f.devices.Add("dev1", Spec{}))
	f.desire(`{"p":1}`)
	f.desire(`{"q":2}`)
	f.await(`{"value":2,"ac":200,"av":3,"ad":"completed"}`, "q")
	f.await(`{"value":1,"ac":200,"av":2,"ad":"completed"}`, "p")
}

func TestOfflineDeviceCatchesUp(t *testing.T) {
	f := newFixture(t)
	f.must(f.devices.Add("dev1", Spec{Model: Thermostat}))
	f.await(`25.3`, "maxTempSinceLastReboot")
	f.must(f.devices.Behave("dev1", GoOffline()))
	before := f.awaitState(func(t *hub.Twin) bool { return !t.Identity.Connected }, "disconnected")
	f.desire(`{"targetTemperature":40}`)
	f.desire(`{"targetTemperature":41}`)
	f.must(f.devices.Behave("dev1", GoOnline()))
	after := f.await(`{"value":41,"ac":200,"av":3,"ad":"completed"}`, "targetTemperature")
	if after.ReportedVersion() != before.ReportedVersion()+1 {
		t.Errorf("%d reports for one reconnect", after.ReportedVersion()-before.ReportedVersion())
	}
}

func TestWhatIsDueIsLostWithTheConnection(t *testing.T) {
	f := newFixture(t)
	f.must(f.devices.Add("dev1", Spec{}))
	dev := f.devices.get("dev1")
	session := dev.session.Load()
	f.must(f.devices.Offline("dev1"))
	dev.later(session, 0, func() { t.Error("it ran in another session") })
	f.must(f.devices.Online("dev1"))
	dev.later(session, 0, func() { t.Error("it ran in another session") })
	passed := make(chan struct{})
	dev.worker.after(0, func() { close(passed) })
	<-passed
}

func TestNotificationNoNewerThanTheFetchedTwinIsIgnored(t *testing.T) {
	f := newFixture(t)
	f.must(f.devices.Add("dev1", Spec{Offline: true}))
	var late hub.Change
	cancel := f.hub.Subscribe(func(c hub.Change) { late = c })
	f.desire(`{"p":1}`)
	cancel()
	f.must(f.devices.Online("dev1"))
	before := f.await(`{"value":1,"ac":200,"av":2,"ad":"completed"}`, "p")
	dev := f.devices.get("dev1")
	dev.desired(dev.session.Load(), late)
	if after, _ := f.hub.Get("dev1"); after != before {
		t.Errorf("it reported %s", encode(after.Reported()))
	}
}

func TestReconnectingWithNothingNewReportsNothing(t *testing.T) {
	f := newFixture(t)
	f.must(f.hub.CreateDevice("dev1", hub.WithDesired(`{"targetTemperature":30}`)))
	f.must(f.devices.Add("dev1", Spec{Model: Thermostat}))
	before := f.await(`{"value":30,"ac":200,"av":2,"ad":"completed"}`, "targetTemperature")
	f.must(f.devices.Offline("dev1"))
	f.must(f.devices.Online("dev1"))
	dev := f.devices.get("dev1")
	started := make(chan struct{})
	dev.later(dev.session.Load(), 0, func() { close(started) }) // behind the start-up
	<-started
	f.desire(`{"barrier":1}`)
	after := f.await(`{"value":1,"ac":200,"av":3,"ad":"completed"}`, "barrier")
	if after.ReportedVersion() != before.ReportedVersion()+1 {
		t.Errorf("%d reports", after.ReportedVersion()-before.ReportedVersion())
	}
}

func TestDeviceLosesItsConnectionWithItsIdentity(t *testing.T) {
	tests := map[string]func(*hub.Hub) error{
		"disabled": func(h *hub.Hub) error { return h.SetStatus("dev1", false, "") },
		"deleted":  func(h *hub.Hub) error { return h.DeleteDevice("dev1") },
		"cut off":  func(h *hub.Hub) error { return h.SetConnected("dev1", false, "") },
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.must(f.devices.Add("dev1", Spec{}))
			f.must(do(f.hub))
			if info, _ := f.devices.Get("dev1"); info.Online {
				t.Error("still online")
			}
			if err := f.devices.Online("dev1"); (err == nil) != (name == "cut off") {
				t.Errorf("online again: %v", err)
			}
		})
	}
}

func TestManageDevices(t *testing.T) {
	f := newFixture(t)
	f.must(f.devices.Add("dev1", Spec{Model: Thermostat, Offline: true}))
	if err := f.devices.Add("dev1", Spec{}); err == nil {
		t.Error("added twice")
	}
	info, ok := f.devices.Get("dev1")
	if !ok || info.Online || info.Model != Thermostat || f.devices.Len() != 1 {
		t.Errorf("got %+v", info)
	}
	f.must(f.devices.Remove("dev1"))
	if _, err := f.hub.Get("dev1"); err != nil || f.devices.Len() != 0 {
		t.Error("the identity must stay")
	}
	for name, err := range map[string]error{
		"unknown device":    f.devices.Online("nobody"),
		"unknown behaviour": f.devices.Behave("dev1", Behaviour{Kind: "Dance"}),
		"no JSON":           f.devices.Behave("dev1", Adjust("{")),
		"bad override":      f.devices.Add("x", Spec{Properties: map[string]Behaviour{"p": {Kind: "Dance"}}}),
		"bad id":            f.devices.Add("a b", Spec{}),
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestIdleDevicesCostNoGoroutines(t *testing.T) {
	f := newFixture(t)
	before := runtime.NumGoroutine()
	for i := range 2000 {
		f.must(f.devices.Add(fmt.Sprintf("dev%d", i), Spec{Model: Thermostat}))
	}
	f.await(`25.3`, "maxTempSinceLastReboot")
	if after := runtime.NumGoroutine(); after > before+2 {
		t.Errorf("%d goroutines, were %d", after, before)
	}
}

func TestBehaviourInJSON(t *testing.T) {
	want := Behaviour{Kind: KindDelay, Delay: 2 * time.Second}
	data, err := json.Marshal(want)
	if err != nil || string(data) != `{"kind":"Delay","delay":"2s"}` {
		t.Fatalf("%s, %v", data, err)
	}
	var got Behaviour
	if err := json.Unmarshal(data, &got); err != nil || !cmp.Equal(want, got) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{`{"typo":1}`, `{"delay":"soon"}`} {
		if json.Unmarshal([]byte(bad), &got) == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestWorkerRunsTasksInOrder(t *testing.T) {
	w := startWorker()
	defer w.close()
	done := make(chan int, 3)
	w.after(2*time.Millisecond, func() { done <- 3 })
	w.after(0, func() { done <- 1 })
	w.after(0, func() { done <- 2 })
	for want := 1; want <= 3; want++ {
		if got := <-done; got != want {
			t.Errorf("task %d came in place of %d", got, want)
		}
	}
}
