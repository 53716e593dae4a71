package devices

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
)

// BenchmarkVirtualFleet connects 20,000 virtual devices, writes one desired property of each and waits for all their
// acknowledgements.
func BenchmarkVirtualFleet(b *testing.B) {
	const fleet = 20_000
	for b.Loop() {
		before := liveHeap()
		start := time.Now()
		h := hub.New(time.Now, 1)
		d := New(h, methods.New(), -1, nil, logr.Discard())
		acknowledged := expectAcknowledgements(h, fleet)
		for i := range fleet {
			id := fmt.Sprintf("device-%05d", i)
			if err := d.Add(id, Spec{Model: TemperatureController}); err != nil {
				b.Fatal(err)
			}
			if err := h.PatchDesired(id, `{"thermostat1":{"__t":"c","targetTemperature":42}}`, ""); err != nil {
				b.Fatal(err)
			}
		}
		<-acknowledged
		b.ReportMetric(float64(time.Since(start).Microseconds())/fleet, "µs/device")
		b.ReportMetric(float64(liveHeap()-before)/fleet, "bytes/device")
		d.Close()
	}
}

// expectAcknowledgements returns what is closed after n reports of a value of 42.
func expectAcknowledgements(h *hub.Hub, n int64) <-chan struct{} {
	var seen atomic.Int64
	all := make(chan struct{})
	h.Subscribe(func(c hub.Change) {
		v, _ := c.Reported.Object("thermostat1").Object("targetTemperature").Get("value")
		if v != nil && encode(v) == "42" && seen.Add(1) == n {
			close(all)
		}
	})
	return all
}

func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
