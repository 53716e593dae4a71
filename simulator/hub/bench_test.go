package hub

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

const fleet = 20_000

// BenchmarkFleet creates 20,000 devices, writes desired and reported properties of each, and prints what they cost.
func BenchmarkFleet(b *testing.B) {
	for b.Loop() {
		before := heap()
		start := time.Now()
		h := New(time.Now, 1)
		fillFleet(b, h)
		b.ReportMetric(float64(time.Since(start).Microseconds())/fleet, "µs/device")
		b.ReportMetric(float64(heap()-before)/fleet, "bytes/device")
		runtime.KeepAlive(h)
	}
}

func fillFleet(t testing.TB, h *Hub) {
	t.Helper()
	for i := range fleet {
		id := fmt.Sprintf("device-%05d", i)
		must(t, h.CreateDevice(id))
		must(t, h.PatchDesired(id, `{"thermostat1":{"__t":"c","targetTemperature":21.5},"interval":30}`, ""))
		must(t, h.PatchReported(id, `{"thermostat1":{"__t":"c","targetTemperature":{"value":21.5,"ac":200,"av":2,"ad":"completed"}}}`))
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestFleetIsQuick is generous: the race detector and a busy machine are slow.
func TestFleetIsQuick(t *testing.T) {
	h, _ := newHub(t)
	start := time.Now()
	fillFleet(t, h)
	if took := time.Since(start); took > time.Minute {
		t.Errorf("20,000 devices took %s", took)
	}
	if h.Len() != fleet {
		t.Errorf("%d devices", h.Len())
	}
}
