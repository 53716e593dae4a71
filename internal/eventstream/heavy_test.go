package eventstream_test

import (
	"fmt"
	"net"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

// sendHeavy appends telemetry of devices to both partitions that has many small application
// properties.
func (s *site) sendHeavy(each, properties int) {
	var application wire.Map
	for n := range properties {
		application = append(application, fmt.Sprint(n), true)
	}
	head := wire.AppendSection(nil, wire.SectionApplication, application)
	for i := range each {
		encoded := wire.AppendSection(slices.Clip(head), wire.SectionData, fmt.Append(nil, i))
		for partition := range 2 {
			s.log.Append(partition, eventhub.Message{
				Annotations: map[string]any{"iothub-connection-device-id": "d", "iothub-message-source": "Telemetry"}, Encoded: encoded,
			})
		}
	}
}

// relay hands connections on to an address, and counts those that the near side ended.
func relay(t *testing.T, inner string) (address string, ended *atomic.Int32) {
	t.Helper()
	ended = &atomic.Int32{}
	return accepting(t, func(near net.Conn) { handOn(near, inner, func() { ended.Add(1) }) }), ended
}

// screened is a stream that reads behind TLS, where what comes is counted, and how many of its
// connections have ended.
func (s *site) screened(t *testing.T, k *sink, edits ...func(*eventstream.Stream)) (w *stream, ended *atomic.Int32) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	address, ended := relay(t, s.address)
	policy, _ := s.policies.Get("service")
	text := fmt.Sprintf("Endpoint=sb://example.com;SharedAccessKeyName=%s;SharedAccessKey=%s;EntityPath=%s", policy.Name, policy.Key, hubName)
	edits = append([]func(*eventstream.Stream){leadsTo(t, server, behindTLS(t, server.TLS, address)), func(w *eventstream.Stream) {
		config, err := eventstream.ParseConnectionString(text)
		if err != nil {
			t.Fatal(err)
		}
		w.Config.ConnectionString, w.Sink, w.Report = config.ConnectionString, k, k.report
	}}, edits...)
	w = s.stream(t, &store{}, edits...)
	w.sink = k
	return w, ended
}

// live is how many bytes of the heap are reachable.
func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Events of thousands of small properties take many times their bytes once they are decoded. That
// is counted, too.
func TestEventsOfManyPropertiesAreBounded(t *testing.T) {
	s := newSite(t)
	k := &sink{block: make(chan struct{})}
	w, ended := s.screened(t, k)
	w.reaches(t, eventstream.Reading)
	before := live()
	s.sendHeavy(100, 30_000)
	most := int64(0)
	eventually(t, "a connection that is broken off", func() bool {
		most = max(most, live()-before)
		return ended.Load() > 0
	})
	most = max(most, live()-before)
	close(k.block)
	w.stop()
	if most > 72<<20 {
		t.Errorf("%d MiB are held, want at most 72", most>>20)
	}
}

// A stream that was broken off for what its events take goes on with fewer ahead: each is handled,
// once, in its place.
func TestAStreamOfEventsOfManyPropertiesIsReadToItsEnd(t *testing.T) {
	s := newSite(t)
	k := &sink{block: make(chan struct{})} // until more has come than there is room for
	w, ended := s.screened(t, k, func(w *eventstream.Stream) { w.Timing.Grow = 3 * time.Second })
	w.reaches(t, eventstream.Reading)
	const each = 60
	s.sendHeavy(each, 30_000)
	eventually(t, "more than there is room for", func() bool { return ended.Load() > 0 })
	close(k.block)
	eventually(t, "all events", func() bool { return k.handled() >= 2*each })
	w.reaches(t, eventstream.Reading)
	w.stop()
	if !k.has(eventstream.Unavailable) {
		t.Error("the stream was not broken off")
	}
	times := map[string]int{}
	k.set(func() {
		for _, body := range k.bodies {
			times[body]++
		}
	})
	for i := range each {
		if n := times[fmt.Sprint(i)]; n != 2 {
			t.Errorf("event %d of each of two partitions was handled %d times", i, n)
		}
	}
}
