package routing

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

func object(t testing.TB, s string) jsontree.Object {
	t.Helper()
	o, err := jsontree.ParseObject([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestWhatIsAnnounced(t *testing.T) {
	tests := map[string]struct {
		act  func(*hub.Hub) error
		want []string // source opType
	}{
		"a device is created":             {func(h *hub.Hub) error { return h.CreateDevice("dev2") }, []string{"deviceLifecycleEvents createDeviceIdentity"}},
		"a device is deleted":             {func(h *hub.Hub) error { return h.DeleteDevice("dev1") }, []string{"deviceLifecycleEvents deleteDeviceIdentity"}},
		"a service writes tags":           {func(h *hub.Hub) error { return h.SetTags("dev1", `{"a":1}`) }, []string{"twinChangeEvents updateTwin"}},
		"a service writes desired":        {func(h *hub.Hub) error { return h.PatchDesired("dev1", `{"a":1}`, "") }, []string{"twinChangeEvents updateTwin", "digitalTwinChangeEvents updateTwin"}},
		"a service replaces the twin":     {func(h *hub.Hub) error { _, err := h.ReplaceTwin("dev1", object(t, `{"tags":{"a":1}}`), ""); return err }, []string{"twinChangeEvents replaceTwin"}},
		"a device connects":               {func(h *hub.Hub) error { return h.SetConnected("dev1", true, "") }, []string{"deviceConnectionStateEvents deviceConnected"}},
		"a device announces a model":      {func(h *hub.Hub) error { return h.SetConnected("dev1", true, "dtmi:a;1") }, []string{"deviceConnectionStateEvents deviceConnected", "digitalTwinChangeEvents updateTwin"}},
		"a device is not connected still": {func(h *hub.Hub) error { return h.SetConnected("dev1", false, "") }, nil},
		"a key is renewed":                {func(h *hub.Hub) error { return h.Rekey("dev1") }, nil},
		"a device is disabled":            {func(h *hub.Hub) error { return h.SetStatus("dev1", false, "") }, nil},
		"a hub fails over": {func(h *hub.Hub) error {
			t, err := h.Get("dev1")
			if err != nil {
				return err
			}
			return h.Rewind("dev1", &hub.Twin{Identity: t.Identity, ModelID: "dtmi:b;1"})
		}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, Routes{})
			f.must(f.hub.CreateDevice("dev1"))
			f.router.SetRoutes(allRoutes)
			f.must(test.act(f.hub))
			var got []string
			for _, device := range []string{"dev1", "dev2"} {
				for _, m := range f.events(device) {
					got = append(got, fmt.Sprintf("%s %s", m.Annotations["iothub-message-source"], m.Application["opType"]))
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestADeviceThatIsDisabledLosesItsConnection(t *testing.T) {
	f := newFixture(t, Routes{ConnectionState: true})
	f.must(f.hub.CreateDevice("dev1"))
	f.must(f.hub.SetConnected("dev1", true, ""))
	f.must(f.hub.SetStatus("dev1", false, ""))
	var got []string
	last := ""
	for _, m := range f.events("dev1") {
		var body struct{ SequenceNumber string }
		f.must(json.Unmarshal(m.Body, &body))
		if len(body.SequenceNumber) != 64 || body.SequenceNumber <= last {
			t.Errorf("sequence number %q after %q", body.SequenceNumber, last)
		}
		last = body.SequenceNumber
		got = append(got, m.Application["opType"].(string))
	}
	if diff := cmp.Diff([]string{"deviceConnected", "deviceDisconnected"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRoutesDecideBySource(t *testing.T) {
	everything := func(f fixture) {
		f.must(f.hub.CreateDevice("dev1"))
		f.must(f.hub.SetConnected("dev1", true, ""))
		f.must(f.hub.PatchReported("dev1", `{"a":1}`))
		f.must(f.router.PublishTelemetry("dev1", "", "", []byte(`{}`)))
	}
	tests := map[string]struct {
		routes Routes
		want   map[Source]int
	}{
		"a new hub in Azure":    {FallbackRoute(), map[Source]int{Telemetry: 1}},
		"a new simulator":       {DefaultRoutes(), map[Source]int{Telemetry: 1, TwinChanges: 1, Lifecycle: 1, ConnectionState: 1}},
		"everything":            {allRoutes, map[Source]int{Telemetry: 1, TwinChanges: 1, DigitalTwinChanges: 1, Lifecycle: 1, ConnectionState: 1}},
		"digital twins only":    {Routes{DigitalTwinChanges: true}, map[Source]int{DigitalTwinChanges: 1}},
		"nothing":               {Routes{}, map[Source]int{}},
		"lifecycle events only": {Routes{Lifecycle: true}, map[Source]int{Lifecycle: 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, test.routes)
			everything(f)
			f.events("dev1")
			if diff := cmp.Diff(test.want, f.router.Counts()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestRoutesThatCountAreThoseOfTheMoment(t *testing.T) {
	f := newFixture(t, Routes{TwinChanges: true})
	f.must(f.hub.CreateDevice("dev1"))
	for i := range 100 {
		f.router.SetRoutes(Routes{TwinChanges: i%2 == 0})
		f.must(f.hub.PatchReported("dev1", fmt.Sprintf(`{"a":%d}`, i)))
	}
	if got := f.changes(); len(got) != 50 || got[49] != `{"reported":{"a":98}}` {
		t.Errorf("got %q", got)
	}
}

func TestBodiesOfLifecycleAndReplacement(t *testing.T) {
	f := newFixture(t, Routes{Lifecycle: true, TwinChanges: true})
	f.must(f.hub.CreateDevice("dev1"))
	_, err := f.hub.ReplaceTwin("dev1", object(t, `{"tags":{"a":1},"properties":{"desired":{"b":2}}}`), "")
	f.must(err)
	f.must(f.hub.DeleteDevice("dev1"))
	bodies := f.bodies("dev1")
	at := `"$lastUpdated":"2026-01-02T04:01:00.1234567Z"`
	wantJSON(t, `{"deviceId":"dev1","etag":"AAAAAAAAAAE=","version":2,"properties":{
		"desired":{"$metadata":{`+at+`},"$version":1},"reported":{"$metadata":{`+at+`},"$version":1}}}`, bodies[0])
	replaced := `{"deviceId":"dev1","etag":"AAAAAAAAAAI=","version":3,"tags":{"a":1},"properties":{
		"desired":{"b":2,"$metadata":{` + at + `,"$lastUpdatedVersion":2,"b":{` + at + `,"$lastUpdatedVersion":2}},"$version":2},
		"reported":{"$metadata":{` + at + `},"$version":1}}}`
	wantJSON(t, replaced, bodies[1])
	wantJSON(t, replaced, bodies[2])
}

func TestDigitalTwinPatches(t *testing.T) {
	const later = `"2026-01-02T04:02:00Z"`
	tests := map[string]struct {
		before, act func(*hub.Hub) error
		want        string
	}{
		"a reported property is new": {
			nil, func(h *hub.Hub) error { return h.PatchReported("dev1", `{"p":42.1}`) },
			`[{"op":"add","path":"/$metadata/p","value":{"lastUpdateTime":` + later + `}},{"op":"add","path":"/p","value":42.1}]`,
		},
		"a reported property is reported again": {
			func(h *hub.Hub) error { return h.PatchReported("dev1", `{"p":42.1}`) },
			func(h *hub.Hub) error { return h.PatchReported("dev1", `{"p":16.9}`) },
			`[{"op":"replace","path":"/$metadata/p/lastUpdateTime","value":` + later + `},{"op":"replace","path":"/p","value":16.9}]`,
		},
		"a component is reported for the first time": {
			nil, func(h *hub.Hub) error { return h.PatchReported("dev1", `{"c":{"__t":"c","p":3.55}}`) },
			`[{"op":"add","path":"/c","value":{"$metadata":{"p":{"lastUpdateTime":` + later + `}},"p":3.55}}]`,
		},
		"a service sets a desired property": {
			func(h *hub.Hub) error { return h.PatchReported("dev1", `{"c":{"__t":"c","q":1}}`) },
			func(h *hub.Hub) error { return h.PatchDesired("dev1", `{"c":{"__t":"c","p":21.8}}`, "") },
			`[{"op":"add","path":"/c/$metadata/p","value":{"desiredValue":21.8,"desiredVersion":2}}]`,
		},
		"a device acknowledges": {
			func(h *hub.Hub) error { return h.PatchDesired("dev1", `{"c":{"__t":"c","p":21.8}}`, "") },
			func(h *hub.Hub) error {
				return h.PatchReported("dev1", `{"c":{"__t":"c","p":{"value":21.8,"ac":200,"av":2,"ad":"Successfully executed patch"}}}`)
			},
			`[{"op":"add","path":"/c/$metadata/p/ackCode","value":200},
			 {"op":"add","path":"/c/$metadata/p/ackDescription","value":"Successfully executed patch"},
			 {"op":"add","path":"/c/$metadata/p/ackVersion","value":2},
			 {"op":"add","path":"/c/$metadata/p/lastUpdateTime","value":` + later + `},
			 {"op":"add","path":"/c/p","value":21.8}]`,
		},
		"a value that is an object is replaced whole": {
			func(h *hub.Hub) error { return h.PatchReported("dev1", `{"p":{"a":1,"b":2}}`) },
			func(h *hub.Hub) error { return h.PatchReported("dev1", `{"p":{"a":3}}`) },
			`[{"op":"replace","path":"/$metadata/p/lastUpdateTime","value":` + later + `},{"op":"replace","path":"/p","value":{"a":3,"b":2}}]`,
		},
		"a property goes": {
			func(h *hub.Hub) error { return h.PatchReported("dev1", `{"p/1~":1}`) },
			func(h *hub.Hub) error { return h.PatchReported("dev1", `{"p/1~":null}`) },
			`[{"op":"remove","path":"/$metadata/p~11~0"},{"op":"remove","path":"/p~11~0"}]`,
		},
		"a first model is announced": {
			nil, func(h *hub.Hub) error { return h.SetConnected("dev1", true, "dtmi:com:example:Thermostat;1") },
			`[{"op":"add","path":"/$metadata/$model","value":"dtmi:com:example:Thermostat;1"}]`,
		},
		"another model is announced": {
			func(h *hub.Hub) error { return h.SetConnected("dev1", true, "dtmi:a;1") },
			func(h *hub.Hub) error { return h.SetConnected("dev1", true, "dtmi:a;2") },
			`[{"op":"replace","path":"/$metadata/$model","value":"dtmi:a;2"}]`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, Routes{})
			f.must(f.hub.CreateDevice("dev1"))
			if test.before != nil {
				f.must(test.before(f.hub))
			}
			f.router.SetRoutes(Routes{DigitalTwinChanges: true})
			f.at("2026-01-02T04:02:00Z")
			f.must(test.act(f.hub))
			bodies := f.bodies("dev1")
			if len(bodies) != 1 {
				t.Fatalf("%d events: %s", len(bodies), bodies)
			}
			wantJSON(t, test.want, bodies[0])
		})
	}
}

func TestTelemetryOfADeviceThatTheHubDoesNotKnowIsRefused(t *testing.T) {
	f := newFixture(t, allRoutes)
	if f.router.PublishTelemetry("nobody", "", "", []byte(`{}`)) == nil {
		t.Error("accepted")
	}
}

func TestRecentEventsAreBounded(t *testing.T) {
	f := newFixture(t, allRoutes)
	f.must(f.hub.CreateDevice("dev1"))
	for i := range keptEvents + 10 {
		f.must(f.router.PublishTelemetry("dev1", "c", "dtmi:a;1", fmt.Appendf(nil, `{"n":%d}`, i)))
	}
	f.events("dev1")
	all, two := f.router.Recent(0), f.router.Recent(2)
	if len(all) != keptEvents || all[0].Body != `{"n":10}` {
		t.Errorf("%d kept, the oldest %+v", len(all), all[0])
	}
	want := []Event{
		{Body: fmt.Sprintf(`{"n":%d}`, keptEvents+8), SequenceNumber: keptEvents + 9},
		{Body: fmt.Sprintf(`{"n":%d}`, keptEvents+9), SequenceNumber: keptEvents + 10},
	}
	for i := range want {
		want[i].At, want[i].DeviceID, want[i].Source, want[i].Component = f.clock.Now(), "dev1", Telemetry, "c"
		want[i].Partition = f.sink.PartitionFor("dev1")
	}
	if diff := cmp.Diff(want, two); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAClosedRouterAnnouncesNothing(t *testing.T) {
	f := newFixture(t, allRoutes)
	f.router.Close()
	f.router.Close()
	f.must(f.hub.CreateDevice("dev1"))
	if f.router.Flush(t.Context()) == nil || len(f.sink.of("dev1")) > 0 {
		t.Error("it is still at work")
	}
}

// TestOrderPerDevice lets many devices change at once under every fault that keeps all events, and reads the versions.
func TestOrderPerDevice(t *testing.T) {
	const devices, writes = 300, 40
	f := newFixture(t, Routes{TwinChanges: true})
	f.router.Faults().Add(Fault{Kind: Delay, Delay: 2 * time.Millisecond, Probability: 0.2, Count: Forever, Seed: 1})
	f.router.Faults().Add(Fault{Kind: Delay, Delay: time.Millisecond, Device: "dev1*", Probability: 0.2, Count: Forever, Seed: 2})
	var all sync.WaitGroup
	for i := range devices {
		id := fmt.Sprintf("dev%d", i)
		f.must(f.hub.CreateDevice(id))
		for range 2 {
			all.Go(func() {
				for range writes / 2 {
					f.must(f.hub.PatchReported(id, `{"a":1}`))
				}
			})
		}
	}
	all.Wait()
	f.must(f.router.Flush(t.Context()))
	for i := range devices {
		id := fmt.Sprintf("dev%d", i)
		var versions []int
		for _, m := range f.sink.of(id) {
			var body struct{ Version int }
			f.must(json.Unmarshal(m.Body, &body))
			versions = append(versions, body.Version)
		}
		for n, v := range versions {
			if v != n+3 {
				t.Fatalf("%s: versions %v", id, versions)
			}
		}
		if len(versions) != writes {
			t.Fatalf("%s: %d events", id, len(versions))
		}
	}
}

func BenchmarkTelemetry(b *testing.B) {
	f := newFixture(b, DefaultRoutes())
	const devices = 1000
	for i := range devices {
		f.must(f.hub.CreateDevice(fmt.Sprintf("dev%d", i)))
	}
	body := []byte(`{"temperature":21.5}`)
	n := 0
	for b.Loop() {
		f.must(f.router.PublishTelemetry(fmt.Sprintf("dev%d", n%devices), "thermostat1", "", body))
		n++
	}
	f.must(f.router.Flush(b.Context()))
}
