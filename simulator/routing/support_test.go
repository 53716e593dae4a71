package routing

import (
	"encoding/json"
	"hash/fnv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
	"github.com/pnp-operator/pnp-operator/simulator/hub"
	clocktesting "k8s.io/utils/clock/testing"
)

// sink is an event hub of four partitions that keeps what it is given.
type sink struct {
	mu       sync.Mutex
	messages [4][]eventhub.Message
}

func (*sink) PartitionFor(key string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return int(h.Sum32() % 4)
}

func (s *sink) Append(partition int, m eventhub.Message) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages[partition] = append(s.messages[partition], m)
	return int64(len(s.messages[partition]) - 1)
}

// of returns the messages of a device.
func (s *sink) of(device string) []eventhub.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []eventhub.Message
	for _, m := range s.messages[s.PartitionFor(device)] {
		if m.Annotations["iothub-connection-device-id"] == device {
			out = append(out, m)
		}
	}
	return out
}

// fixture is a hub whose changes are routed.
type fixture struct {
	t      testing.TB
	clock  *clocktesting.FakeClock
	hub    *hub.Hub
	sink   *sink
	router *Router
}

var allRoutes = Routes{Telemetry: true, TwinChanges: true, DigitalTwinChanges: true, Lifecycle: true, ConnectionState: true}

func newFixture(t testing.TB, routes Routes) fixture {
	t.Helper()
	c := clocktesting.NewFakeClock(time.Date(2026, 1, 2, 4, 1, 0, 123456700, time.UTC))
	h, s := hub.New(c.Now, 1), &sink{}
	r := New(h, s, Options{HostName: "my-pnp-hub.azure-devices.net", Clock: c.Now, Routes: routes})
	t.Cleanup(r.Close)
	return fixture{t, c, h, s, r}
}

func (f fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// events returns those of a device once everything that happened is appended.
func (f fixture) events(device string) []eventhub.Message {
	f.t.Helper()
	f.must(f.router.Flush(f.t.Context()))
	return f.sink.of(device)
}

// bodies are those of the events of a device.
func (f fixture) bodies(device string) []string {
	f.t.Helper()
	var out []string
	for _, m := range f.events(device) {
		out = append(out, string(m.Body))
	}
	return out
}

// changes returns the written keys and values of the twin changes of dev1, without metadata and versions.
func (f fixture) changes() []string {
	f.t.Helper()
	var out []string
	for _, body := range f.bodies("dev1") {
		var n struct {
			Tags       json.RawMessage
			Properties struct{ Desired, Reported map[string]any }
		}
		f.must(json.Unmarshal([]byte(body), &n))
		written := map[string]any{}
		for name, section := range map[string]map[string]any{"desired": n.Properties.Desired, "reported": n.Properties.Reported} {
			delete(section, "$metadata")
			delete(section, "$version")
			if section != nil {
				written[name] = section
			}
		}
		if n.Tags != nil {
			written["tags"] = n.Tags
		}
		text, err := json.Marshal(written)
		f.must(err)
		out = append(out, string(text))
	}
	return out
}

func wantJSON(t testing.TB, want, got string) {
	t.Helper()
	if diff := cmp.Diff(parse(t, want), parse(t, got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func parse(t testing.TB, s string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	return v
}
