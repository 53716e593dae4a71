package simulator_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// BenchmarkFleetOf100000 runs a whole simulator with 100,000 virtual devices, has a service write
// one desired property of each and waits for all acknowledgements. It prints time, processor time
// and live heap per device.
func BenchmarkFleetOf100000(b *testing.B) {
	const fleet = 100_000
	for b.Loop() {
		heap, began, used := liveHeap(), time.Now(), processorTime(b)
		sim, err := simulator.Start(b.Context(), simulator.Options{Seed: 1, AckDelay: -1, MaxEvents: 10_000})
		if err != nil {
			b.Fatal(err)
		}
		if err := sim.AddDevices(simulator.DeviceRequest{Pattern: "line-3-ctrl-%05d", Count: fleet}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(liveHeap()-heap)/fleet, "bytes/idle-device")
		acknowledged := acknowledgements(sim.Hub(), fleet)
		for i := range fleet {
			if err := sim.Hub().PatchDesired(fmt.Sprintf("line-3-ctrl-%05d", i), `{"targetTemperature":42}`, ""); err != nil {
				b.Fatal(err)
			}
		}
		<-acknowledged
		b.ReportMetric(float64(time.Since(began).Microseconds())/fleet, "µs/device")
		b.ReportMetric(float64((processorTime(b)-used).Microseconds())/fleet, "cpu-µs/device")
		b.ReportMetric(float64(liveHeap()-heap)/fleet, "bytes/device")
		if err := sim.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// acknowledgements returns what is closed after n reports that acknowledge.
func acknowledgements(h *simulator.Hub, n int64) <-chan struct{} {
	var seen atomic.Int64
	all := make(chan struct{})
	h.Subscribe(func(c simulator.Change) {
		if code, ok := c.Reported.Object("targetTemperature").Get("ac"); ok && fmt.Sprint(code) == "200" && seen.Add(1) == n {
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

// processorTime is what this process has used, in user and system.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
