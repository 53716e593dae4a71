package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

var bothAPIs = []v1alpha1.TwinAPI{v1alpha1.TwinAPIDigitalTwin, v1alpha1.TwinAPIDeviceTwin}

// reportedAt is what the hub holds of a property, leftovers included.
func (s *site) reportedAt(id string, path ...string) string {
	GinkgoHelper()
	t, err := s.sim.Hub().Get(id)
	Expect(err).NotTo(HaveOccurred())
	v, _ := t.ReportedAt(path...)
	return string(jsontree.Append(nil, v))
}

func readyMessage(d *v1alpha1.PnPDevice) string {
	return conditionOf(d, v1alpha1.ConditionReady).Message
}

var _ = Describe("A hub that merges what a device answers", func() {
	for _, api := range bothAPIs {
		Context("to what was written through "+string(api), func() {
			It("has an inner key that left the declaration end with the device's answer, without a read", func() {
				s := newEventSite()
				s.trusted()
				s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
				s.create("d", through(api), withProperties(`{"o":{"a":1,"in":{"b":2,"c":3},"d":5}}`))
				s.eventually("d", beReady())
				s.sim.Calls().Reset()
				s.edit("d", withProperties(`{"o":{"a":1,"in":{"b":2}}}`))
				s.eventually("d", And(beReady(), haveState("", "o", "Acknowledged"), haveReported("o", `{"a":1,"in":{"b":2}}`)))
				Expect(s.reportedAt("d", "o", "value", "d")).To(Equal("5"), "the hub holds what the device does not answer any more")
				Expect(s.gets()).To(BeZero(), s.history("d"))
				s.readNow("d")
				Expect(s.get("d")).To(And(beReady(), haveReported("o", `{"a":1,"in":{"b":2}}`)))
			})

			It("has a foreign inner key put back, and the object Acknowledged again", func() {
				s := newEventSite()
				s.trusted()
				s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
				s.create("d", through(api), withProperties(`{"o":{"a":1}}`))
				s.eventually("d", beReady())
				s.foreign("d", `{"o":{"x":9}}`)
				s.eventuallyDesired("d", `{"o":{"a":1}}`)
				s.eventually("d", And(beReady(), haveState("", "o", "Acknowledged"), haveReported("o", `{"a":1}`)))
			})

			It("says Adjusted of a device that answers with another inner key, until it does not", func() {
				s := newSite()
				s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
				s.create("d", through(api), withProperties(`{"o":{"a":1,"d":5}}`))
				s.eventually("d", beReady())
				for _, answer := range []string{`{"a":1,"x":9}`, `{"a":1,"d":6}`} {
					s.report("d", `{"o":{"value":%s,"ac":200,"av":%d}}`, answer, s.desiredVersion("d"))
					s.readNow("d")
					s.eventually("d", And(beStalled(v1alpha1.ReasonAdjusted), haveReported("o", answer)))
				}
				s.report("d", `{"o":{"value":{"a":1},"ac":200,"av":%d}}`, s.desiredVersion("d"))
				s.readNow("d")
				s.eventually("d", And(beReady(), haveReported("o", `{"a":1}`)))
				s.report("d", `{"o":{"value":{"x":9}}}`) // part of a value, later: it is the device's
				s.readNow("d")
				s.eventually("d", beStalled(v1alpha1.ReasonAdjusted))
			})
		})
	}

	It("is understood by an operator that has started since", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"o":{"a":1,"d":5}}`))
		s.eventually("d", beReady())
		Expect(s.sim.Devices().Behave("d", simulator.Ignore())).To(Succeed())
		s.edit("d", withProperties(`{"o":{"a":1}}`))
		s.eventually("d", haveState("", "o", "Applied"))
		restartOperator()
		s.report("d", `{"o":{"value":{"a":1},"ac":200,"av":%d}}`, s.desiredVersion("d"))
		s.eventually("d", And(beReady(), haveReported("o", `{"a":1}`)))
		s.report("d", `{"o":{"value":{"a":1,"d":5},"ac":200,"av":%d}}`, s.desiredVersion("d"))
		s.eventually("d", beStalled(v1alpha1.ReasonAdjusted))
		s.report("d", `{"o":{"value":{"a":1},"ac":200,"av":%d}}`, s.desiredVersion("d"))
		s.eventually("d", beReady())
	})

	It("keeps values apart that become another kind", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", through(v1alpha1.TwinAPIDeviceTwin), withProperties(`{"o":{"a":1}}`))
		s.eventually("d", beReady())
		for _, value := range []string{`7`, `{"b":1}`, `{"b":{"c":[1,2]}}`, `{"b":1}`, `[{"a":1}]`, `{}`, `{"a":{}}`} {
			s.edit("d", withProperties(`{"o":`+value+`}`))
			s.eventually("d", And(beReady(), haveReported("o", value)))
		}
	})

	It("does not put an earlier text beside a later answer", func() {
		s := declaring(simulator.Ignore())
		s.eventually("d", haveState("", target, "Applied"))
		s.answer("42", 200, s.desiredVersion("d"))
		s.readNow("d")
		Expect(property(s.get("d"), "", target).AckDescription).To(Equal("by hand"))
		s.report("d", `{"targetTemperature":{"value":42,"ac":409,"av":%d}}`, s.desiredVersion("d"))
		s.readNow("d")
		s.eventually("d", And(beStalled(v1alpha1.ReasonRejected), WithTransform(readyMessage, HaveSuffix("with code 409"))))
		Expect(property(s.get("d"), "", target).AckDescription).To(BeEmpty())
	})
})

var _ = Describe("The marker of a component", func() {
	const unmarked, marked = `{"thermostat1":{"targetTemperature":42}}`, `{"thermostat1":{"__t":"c","targetTemperature":42}}`
	corrections := func(d *v1alpha1.PnPDevice) int { return len(property(d, "thermostat1", target).CorrectedAt) }
	thermostat := withComponent("thermostat1", `{"targetTemperature":42}`)

	for _, api := range bothAPIs {
		Context("through "+string(api), func() {
			It("is written where an equal value lacks it, and the device answers", func() {
				s := newSite()
				s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
				Eventually(func() string { return s.reportedAt("d", "thermostat1", target, "av") }).Should(Equal("0"), "its own default")
				s.foreign("d", unmarked)
				s.create("d", through(api), thermostat)
				s.eventually("d", And(beReady(), haveState("thermostat1", target, "Acknowledged")))
				s.expectDesired("d", marked)
				Expect(s.writes("d")).To(Equal(1))
				Expect(s.eventNotes("d", v1alpha1.ReasonDriftCorrected)).To(BeEmpty())
				Expect(s.get("d").Status.Components).To(ConsistOf(And(HaveField("Exists", true), HaveField("Unmarked", false))))
			})

			It("is put back when somebody takes it away, with an Event that names it", func() {
				s := newEventSite()
				s.trusted()
				s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
				s.create("d", through(api), thermostat)
				s.eventually("d", beReady())
				s.foreign("d", `{"thermostat1":{"__t":null}}`)
				s.eventuallyDesired("d", marked)
				notes := func() []string { return s.eventNotes("d", v1alpha1.ReasonDriftCorrected) }
				Eventually(notes).Should(ConsistOf(And(ContainSubstring("thermostat1/targetTemperature"), ContainSubstring("marker"))))
				s.eventually("d", And(beReady(), WithTransform(corrections, Equal(1))))
			})

			It("is put back after a replacement of the twin that lacks it", func() {
				s := newEventSite()
				s.trusted()
				s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
				s.create("d", through(api), thermostat)
				s.eventually("d", beReady())
				body, err := jsontree.ParseObject([]byte(`{"properties":{"desired":` + unmarked + `}}`))
				Expect(err).NotTo(HaveOccurred())
				_, err = s.sim.Hub().ReplaceTwin("d", body, "")
				Expect(err).NotTo(HaveOccurred())
				s.eventuallyDesired("d", marked)
				s.eventually("d", beReady())
			})

			It("stays or goes with the last property as before", func() {
				s := newSite()
				s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
				s.create("d", through(api), thermostat)
				s.eventually("d", beReady())
				s.foreign("d", `{"thermostat1":{"__t":null}}`)
				s.edit("d", func(d *v1alpha1.PnPDevice) { d.Spec.Components = nil })
				if api == v1alpha1.TwinAPIDigitalTwin {
					s.eventuallyDesired("d", `{}`)
				} else {
					s.eventuallyDesired("d", `{"thermostat1":{"__t":"c"}}`)
				}
				s.eventually("d", beReady())
			})
		})
	}

	It("is missed in words by an object that only observes", func() {
		s := newSite()
		s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		Eventually(func() string { return s.reportedAt("d", "thermostat1", "__t") }).Should(Equal(`"c"`), "the device has said that it has the component")
		s.foreign("d", unmarked)
		s.create("d", observing, thermostat)
		drifted := And(beStalled(v1alpha1.ReasonDrifted), haveState("thermostat1", target, "Drifted"), haveMessage("42", "marker", "thermostat1"))
		s.eventually("d", drifted)
		Expect(s.get("d").Status.Components).To(ConsistOf(HaveField("Unmarked", true)))
		s.edit("d", answeringWithin(17)) // a pass that believes status
		s.eventually("d", And(drifted, HaveField("Status.ObservedGeneration", BeEquivalentTo(2))))
		s.foreign("d", marked)
		s.readNow("d")
		s.eventually("d", beReady())
		Expect(s.writes("d")).To(BeZero())
	})

	It("is written to a device that has never connected, and foreign properties beside it stay", func() {
		s := newSite()
		Expect(s.sim.Hub().CreateDevice("d", simulator.WithDesired(`{"thermostat1":{"targetTemperature":42,"theirs":{"x":1}}}`))).To(Succeed())
		s.create("d", through(v1alpha1.TwinAPIDeviceTwin), thermostat, onceApplied)
		s.eventually("d", beReady())
		s.expectDesired("d", `{"thermostat1":{"__t":"c","targetTemperature":42,"theirs":{"x":1}}}`)
		s.foreign("d", `{"thermostat1":{"__t":null}}`)
		s.readNow("d")
		s.eventuallyDesired("d", `{"thermostat1":{"__t":"c","targetTemperature":42,"theirs":{"x":1}}}`)
		Expect(s.eventNotes("d", v1alpha1.ReasonDriftCorrected)).To(ConsistOf(ContainSubstring("marker")))
	})

	It("is missed in words by a digital twin that cannot get it, until the device reports the component", func() {
		s := newEventSite()
		s.trusted()
		Expect(s.sim.Hub().CreateDevice("d", simulator.WithDesired(unmarked))).To(Succeed())
		s.create("d", thermostat, onceApplied)
		s.eventually("d", And(beStalled(v1alpha1.ReasonTwinNotConformant), haveMessage("thermostat1", "marker", "twinAPI: DeviceTwin")))
		s.expectDesired("d", unmarked)
		s.report("d", `{"thermostat1":{"__t":"c","maxTempSinceLastReboot":1}}`)
		s.eventually("d", beReady())
		s.expectDesired("d", marked)
	})

	It("ends in OwnershipConflict if somebody takes it away over and over", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		s.create("d", thermostat)
		s.eventually("d", beReady())
		for i := range 3 {
			s.foreign("d", `{"thermostat1":{"__t":null}}`)
			s.eventuallyDesired("d", marked)
			s.eventually("d", WithTransform(corrections, Equal(i+1)))
		}
		s.foreign("d", `{"thermostat1":{"__t":null}}`)
		s.eventually("d", And(beStalled(v1alpha1.ReasonOwnershipConflict), haveState("thermostat1", target, "Drifted")))
		s.expectDesired("d", unmarked)
	})
})
