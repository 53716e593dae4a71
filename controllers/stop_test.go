package controllers_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

var _ = Describe("An operator that is told to stop", func() {
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
		// Status waits for an answer a quarter of a second, which a busy machine may miss.
		isShown := func(value int) bool {
			p := property(s.get("d"), "", "targetTemperature")
			return p.State == "Applied" && string(p.Desired.Raw) == fmt.Sprint(value)
		}
		value := 21
		for ; ; value++ {
			Expect(value).To(BeNumerically("<", 40), "status never waited for an answer")
			s.edit("d", withProperties(fmt.Sprintf(`{"targetTemperature": %d}`, value)))
			Eventually(func() any { return s.desired("d")["targetTemperature"] }, "10s", "5ms").Should(BeNumerically("==", value))
			if !isShown(value) {
				break
			}
		}
		manager.stop()
		DeferCleanup(func() { manager = startOperator() })

		Expect(isShown(value)).To(BeTrue())
	})
})

// writeUnrecorded has the hub hold 45 while status says 44, and refuses status from then on.
func (s *site) writeUnrecorded() *meddlingRule {
	GinkgoHelper()
	s.announceSilent("d")
	s.create("d", onceApplied, speed("44"))
	s.eventually("d", beSettled(1))
	rule := meddler.begin(s.namespace, false)
	DeferCleanup(meddler.end)
	s.edit("d", speed("45"))
	s.eventuallyDesired("d", `{"speed": 45}`)
	return rule
}

// The last write is not in status, since the next edit was there first, and no pass gets as far as
// the device.
var _ = Describe("A write whose status an edit was faster than", func() {
	for name, edit := range map[string]func(*v1alpha1.PnPDevice){
		"moves the object to an IoTHub that is not ready": at("elsewhere"),
		"is refused":     withProperties(`{"speed": 45, "not.a.name": 1}`),
		"takes all back": speed(""),
	} {
		It("is known to the next operator as the object's: the edit "+name, func() {
			s := newSite()
			s.createElsewhere()
			rule := s.writeUnrecorded()
			s.sim.Faults().Add(simulator.Unavailable().On("*", "d").Times(simulator.Forever))
			s.edit("d", edit)
			Eventually(func() int64 { return meddler.refusedGeneration(rule, "d") }).Should(BeNumerically(">", 1))
			meddler.end()
			restartOperator()
			s.sim.Faults().Clear()
			s.edit("d", at("hub"), speed(""))
			s.eventuallyDesired("d", `{}`)
		})
	}

	It("is known at another IoTHub of the same host", func() {
		s := newSite()
		other := s.iotHub()
		other.Name = "other"
		Expect(admin.Create(ctx, other)).To(Succeed())
		rule := s.writeUnrecorded()
		s.edit("d", at("other"), speed(""))
		Eventually(func() int64 { return meddler.refusedGeneration(rule, "d") }).Should(Equal(s.get("d").Generation))
		meddler.end()
		s.eventuallyDesired("d", `{}`)
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
