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
})
