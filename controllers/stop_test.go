package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/internal/simulator"
)

var _ = Describe("An operator that is told to stop", Serial, func() {
	It("finishes a write that is under way, and records it", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		before := s.sim.Calls().Count(simulator.OpPatchDigitalTwin)
		s.sim.Faults().Add(simulator.Fault{Operation: simulator.OpPatchDigitalTwin, Kind: simulator.FaultLatency, Latency: 500 * time.Millisecond})
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		Expect(s.sim.Calls().AwaitCount(ctx, simulator.OpPatchDigitalTwin, before+1)).To(Succeed())
		manager.stop()
		DeferCleanup(func() { manager = startOperator() })

		Expect(s.desired("d")).To(HaveKeyWithValue("targetTemperature", BeNumerically("==", 21)))
		stopped := s.get("d")
		Expect(stopped.Status.ObservedGeneration).To(Equal(stopped.Generation))
		Expect(string(property(stopped, "", "targetTemperature").Desired.Raw)).To(Equal("21"))
	})

	It("shows a write whose answer it is waiting for", func() {
		s := newEventSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		Expect(s.sim.Devices().Behave("d", simulator.Ignore())).To(Succeed())
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		Eventually(func() any { return s.desired("d")["targetTemperature"] }, "10s", "5ms").Should(BeNumerically("==", 21))
		manager.stop()
		DeferCleanup(func() { manager = startOperator() })

		Expect(s.get("d")).To(haveState("", "targetTemperature", "Applied"))
	})
})

var _ = Describe("An operator that may have lost its lease", func() {
	It("sends no write, the removal of a stale declaration least of all, and goes on once it has it", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20, "other": 1}`))
		s.eventuallyDesired("d", `{"targetTemperature": 20, "other": 1}`)
		s.eventually("d", haveState("", "targetTemperature", "Acknowledged"))
		paused.Store(true)
		DeferCleanup(func() { paused.Store(false) })
		writes := s.writes("d")
		s.edit("d", withProperties(`{"targetTemperature": 20}`))
		Consistently(func() int { return s.writes("d") }, "2s").Should(Equal(writes))
		s.expectDesired("d", `{"targetTemperature": 20, "other": 1}`)
		paused.Store(false)
		s.eventuallyDesired("d", `{"targetTemperature": 20}`)
		Expect(s.writes("d")).To(Equal(writes + 1))
	})
})
