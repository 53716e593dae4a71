package controllers_test

import (
	"encoding/json"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

const target = "targetTemperature"

// declaring is a site with device "d" that reacts in some way and a PnPDevice that declares 42 degrees.
func declaring(b simulator.Behaviour, edits ...func(*v1alpha1.PnPDevice)) *site {
	GinkgoHelper()
	s := newSite()
	s.virtual("d", simulator.Thermostat, b)
	s.create("d", append(edits, withProperties(`{"targetTemperature": 42}`))...)
	return s
}

// answer has the device report a value for the target temperature with an acknowledgement.
func (s *site) answer(value string, code int, version int64) {
	GinkgoHelper()
	s.report("d", `{"targetTemperature":{"value":%s,"ac":%d,"av":%d,"ad":"by hand"}}`, value, code, version)
}

var _ = Describe("An answer of the device", func() {
	for _, api := range []v1alpha1.TwinAPI{v1alpha1.TwinAPIDigitalTwin, v1alpha1.TwinAPIDeviceTwin} {
		Context("to a value written through "+string(api), func() {
			It("that refuses it shows Rejected with the device's words, and the value is never sent again", func() {
				s := declaring(simulator.Reject(409, "too hot"), through(api))
				s.eventually("d", And(beStalled(v1alpha1.ReasonRejected), haveState("", target, "Rejected"), haveMessage(target, "409", "too hot")))
				Expect(property(s.get("d"), "", target)).To(And(HaveField("AckCode", BeEquivalentTo(409)), HaveField("AckDescription", "too hot")))
				Expect(s.get("d")).To(And(haveCondition(v1alpha1.ConditionSynced, "True/Applied"), haveCondition(v1alpha1.ConditionAcknowledged, "False/Rejected")))
				s.readNow("d")
				Expect(s.writes("d")).To(Equal(1))
				Expect(s.eventNotes("d", v1alpha1.ReasonRejected)).To(ConsistOf(ContainSubstring("too hot")))
			})

			It("that adjusts it shows Adjusted with both values", func() {
				s := declaring(simulator.Adjust("40"), through(api))
				s.eventually("d", And(beStalled(v1alpha1.ReasonAdjusted), haveState("", target, "Adjusted"), haveMessage("40", target, "42")))
				s.readNow("d")
				Expect(s.writes("d")).To(Equal(1))
			})
		})
	}

	It("without an envelope stays Applied, and the message names readyWhen", func() {
		s := declaring(simulator.PlainValue())
		s.eventually("d", And(beWaiting(v1alpha1.ReasonAwaitingAcknowledgement), haveState("", target, "Applied"), haveMessage(target, "readyWhen: Applied")))
		s.edit("d", onceApplied)
		s.eventually("d", And(beReady(), haveState("", target, "Applied"), HaveField("Status.Summary", "0/1")))
		Expect(s.get("d")).To(haveCondition(v1alpha1.ConditionAcknowledged, "False/"+v1alpha1.ReasonAwaitingAcknowledgement))
		Expect(s.writes("d")).To(Equal(1))
	})

	It("of 202 shows InProgress until the 200 that follows", func() {
		s := declaring(simulator.Delay(4 * time.Second))
		s.eventually("d", And(beWaiting(v1alpha1.ReasonAwaitingAcknowledgement), haveState("", target, "InProgress")))
		Expect(property(s.get("d"), "", target).AckCode).To(BeEquivalentTo(202))
		s.eventually("d", And(beReady(), haveState("", target, "Acknowledged")))
	})

	It("of 203 is the device's own default and never Acknowledged", func() {
		s := declaring(simulator.Ignore())
		s.eventually("d", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
		s.answer("42", 203, s.desiredVersion("d"))
		s.readNow("d")
		Expect(s.get("d")).To(And(beWaiting(v1alpha1.ReasonAwaitingAcknowledgement), haveState("", target, "Applied")))
		s.answer("42", 200, s.desiredVersion("d"))
		s.readNow("d")
		Expect(s.get("d")).To(And(beReady(), haveState("", target, "Acknowledged")))
	})

	DescribeTable("that cannot be one to this value is ignored", func(envelope func(version int64) string) {
		s := declaring(simulator.Ignore())
		s.eventually("d", haveState("", target, "Applied"))
		s.report("d", `{"targetTemperature":%s}`, envelope(s.desiredVersion("d")))
		s.readNow("d")
		Expect(s.get("d")).To(And(beWaiting(v1alpha1.ReasonAwaitingAcknowledgement), haveState("", target, "Applied")))
	},
		Entry("because it is to an older version", func(v int64) string { return acknowledgement("42", "200", v-1) }),
		Entry("because it is to a version that does not exist yet", func(v int64) string { return acknowledgement("42", "200", v+1) }),
		Entry("because its code is no integer", func(v int64) string { return acknowledgement("42", `"200"`, v) }),
		Entry("because its code is a fraction", func(v int64) string { return acknowledgement("42", "200.5", v) }),
		Entry("because its version is no integer", func(int64) string { return `{"value":42,"ac":200,"av":"2"}` }),
	)

	It("in single precision counts as equal", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Float32())
		s.create("d", withProperties(`{"targetTemperature": 21.1, "limits": {"low": 0.1, "high": 3.3}}`))
		s.eventually("d", And(beReady(), haveState("", target, "Acknowledged"), haveState("", "limits", "Acknowledged")))
		Expect(s.writes("d")).To(Equal(1))
	})

	It("to an object counts by the fields that the device returned", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Ignore())
		s.create("d", withProperties(`{"limits": {"low": 1, "high": 2}}`))
		s.eventually("d", haveState("", "limits", "Applied"))
		s.report("d", `{"limits":{"value":{"low":1},"ac":200,"av":%d}}`, s.desiredVersion("d"))
		s.readNow("d")
		Expect(s.get("d")).To(haveState("", "limits", "Acknowledged"))
		s.report("d", `{"limits":{"value":{"low":7}}}`)
		s.readNow("d")
		Expect(s.get("d")).To(And(haveState("", "limits", "Adjusted"), beStalled(v1alpha1.ReasonAdjusted)))
	})

	It("stays valid when someone else writes the same value again, and not when another value was seen in between", func() {
		s := declaring(simulator.Acknowledge(), observing)
		s.foreign("d", `{"targetTemperature": 42}`)
		s.readNow("d")
		s.eventually("d", beReady())
		Expect(s.sim.Devices().Behave("d", simulator.Ignore())).To(Succeed())
		s.foreign("d", `{"targetTemperature": 42}`)
		s.readNow("d")
		Expect(s.get("d")).To(And(beReady(), haveState("", target, "Acknowledged")))
		s.foreign("d", `{"targetTemperature": 43}`)
		s.readNow("d")
		Expect(s.get("d")).To(haveState("", target, "Drifted"))
		s.foreign("d", `{"targetTemperature": 42}`)
		s.readNow("d")
		Expect(s.get("d")).To(haveState("", target, "Applied"))
		Expect(s.writes("d")).To(BeZero())
	})

	It("is not waited for when the same value is reported but was never desired: it is written", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.report("d", `{"targetTemperature":{"value":42,"ac":200,"av":1}}`)
		s.create("d", withProperties(`{"targetTemperature": 42}`))
		s.eventually("d", beReady())
		s.expectDesired("d", `{"targetTemperature": 42}`)
	})
})

// acknowledgement is an envelope for 42 degrees.
func acknowledgement(value, code string, version int64) string {
	raw, err := json.Marshal(map[string]any{"value": json.RawMessage(value), "ac": json.RawMessage(code), "av": version})
	Expect(err).NotTo(HaveOccurred())
	return string(raw)
}

var _ = Describe("A device that does not answer", func() {
	It("is Ready with readyWhen Applied, whatever it says, and stays Applied in its properties", func() {
		s := declaring(simulator.Ignore(), onceApplied)
		s.eventually("d", And(beReady(), haveState("", target, "Applied"), HaveField("Status.Summary", "0/1")))
		Expect(ready(s.get("d"))).To(Equal("True/" + v1alpha1.ReasonApplied))
	})

	It("is Stalled after acknowledgeWithinSeconds, and healed by a late answer", func() {
		s := declaring(simulator.Ignore(), answeringWithin(1))
		s.eventually("d", And(beStalled(v1alpha1.ReasonAcknowledgementTimeout), haveState("", target, "Applied"), haveMessage(target, "1 s")))
		Expect(kstatusOf(s.get("d"))).To(Equal("Failed"))
		s.answer("42", 200, s.desiredVersion("d"))
		s.eventually("d", And(beReady(), haveState("", target, "Acknowledged")))
		Expect(s.writes("d")).To(Equal(1))
	})

	It("is not timed while it is offline, and the message says that it is", func() {
		s := newSite()
		Expect(s.sim.Devices().Add("d", simulator.Spec{Model: simulator.Thermostat, Behaviour: simulator.Ignore(), Offline: true})).To(Succeed())
		s.create("d", withProperties(`{"targetTemperature": 42}`), answeringWithin(1))
		s.eventually("d", And(beWaiting(v1alpha1.ReasonDeviceOffline), haveMessage("Offline", target), HaveField("Status.ConnectionState", "Disconnected")))
		Consistently(func() *v1alpha1.PnPDevice { return s.get("d") }, "2500ms").Should(beWaiting(v1alpha1.ReasonDeviceOffline))

		By("timing it from when it was seen online again")
		Expect(s.sim.Devices().Online("d")).To(Succeed())
		s.readNow("d")
		s.eventually("d", And(beStalled(v1alpha1.ReasonAcknowledgementTimeout), HaveField("Status.ConnectionState", "Connected")))

		By("not timing it any more when it goes offline")
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.readNow("d")
		s.eventually("d", beWaiting(v1alpha1.ReasonDeviceOffline))
		Expect(s.sim.Devices().Behave("d", simulator.Acknowledge())).To(Succeed())
		Expect(s.sim.Devices().Online("d")).To(Succeed())
		Eventually(func(g Gomega) { s.readNow("d"); g.Expect(s.read(g, "d")).To(beReady()) }).Should(Succeed())
		Expect(s.writes("d")).To(Equal(1))
	})

	It("is Ready while it is offline if it has to be reachable to answer, and says which", func() {
		s := newSite()
		reachable := withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ReadyWhen = v1alpha1.ReadyWhenReachable })
		Expect(s.sim.Devices().Add("d", simulator.Spec{Model: simulator.Thermostat, Behaviour: simulator.Ignore(), Offline: true})).To(Succeed())
		s.create("d", reachable, withProperties(`{"targetTemperature": 42}`))
		s.eventually("d", And(beReady(), haveMessage("The hub holds every declared value", "Offline", target), haveState("", target, "Applied")))
		Expect(ready(s.get("d"))).To(Equal("True/" + v1alpha1.ReasonDeviceOffline))
		Expect(kstatusOf(s.get("d"))).To(Equal("Current"))
		Expect(s.desired("d")).To(Equal(map[string]any{target: 42.0}))

		By("waiting for it once it is online")
		Expect(s.sim.Devices().Online("d")).To(Succeed())
		s.readNow("d")
		s.eventually("d", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))

		By("being content with an acknowledgement")
		s.answer("42", 200, s.desiredVersion("d"))
		s.readNow("d")
		s.eventually("d", And(beReady(), haveMessage("acknowledged every declared value")))

		By("taking a refusal for one, also of a device that left after it")
		Expect(s.sim.Devices().Behave("d", simulator.Reject(400, "too hot"))).To(Succeed())
		s.edit("d", withProperties(`{"targetTemperature": 90}`))
		s.eventually("d", beStalled(v1alpha1.ReasonRejected))
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.readNow("d")
		s.eventually("d", And(beStalled(v1alpha1.ReasonRejected), HaveField("Status.ConnectionState", "Disconnected")))
	})

	It("is timed like any other if it has to be reachable, while it is online", func() {
		s := declaring(simulator.Ignore(), answeringWithin(1), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ReadyWhen = v1alpha1.ReadyWhenReachable }))
		s.eventually("d", beStalled(v1alpha1.ReasonAcknowledgementTimeout))
	})

	It("gets its unanswered and refused values once more on request, the others not", func() {
		s := newSite()
		s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		Expect(s.sim.Devices().BehaveProperty("d", "thermostat1.targetTemperature", simulator.Reject(400, "busy"))).To(Succeed())
		Expect(s.sim.Devices().BehaveProperty("d", "thermostat2.targetTemperature", simulator.Ignore())).To(Succeed())
		s.create("d", withProperties(`{"fine": 1}`), withComponent("thermostat1", `{"targetTemperature": 42}`), withComponent("thermostat2", `{"targetTemperature": 43}`))
		s.eventually("d", And(beStalled(v1alpha1.ReasonRejected), haveState("", "fine", "Acknowledged"),
			haveState("thermostat1", target, "Rejected"), haveState("thermostat2", target, "Applied")))
		Expect(s.sim.Devices().BehaveProperty("d", "thermostat1.targetTemperature", simulator.Acknowledge())).To(Succeed())
		before, fine := s.desiredVersion("d"), property(s.get("d"), "", "fine")
		s.sim.Calls().Reset()

		s.edit("d", annotate(v1alpha1.AnnotationResendRequestedAt, "now"))
		s.eventually("d", And(HaveField("Status.LastHandledResendAt", "now"), haveState("thermostat1", target, "Acknowledged"), haveState("thermostat2", target, "Applied")))
		Expect(property(s.get("d"), "", "fine")).To(Equal(fine))
		Expect(s.desiredVersion("d")).To(Equal(before + 1))
		Expect(s.patchBodies("d")).To(ConsistOf(And(ContainSubstring("thermostat1"), ContainSubstring("thermostat2"), Not(ContainSubstring("fine")))))

		By("not again for the same request, not even after a restart")
		s.readNow("d")
		restartOperator()
		s.readNow("d")
		Expect(s.writes("d")).To(Equal(1))
	})

	It("gets them once on request, even if the answer of the hub is lost", func() {
		s := declaring(simulator.Ignore())
		s.eventually("d", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
		before := s.desiredVersion("d")
		s.sim.Faults().Add(simulator.Broken(simulator.FaultResetAfter).On("Patch*Twin", "d"))
		s.edit("d", annotate(v1alpha1.AnnotationResendRequestedAt, "now"))
		s.eventually("d", HaveField("Status.LastHandledResendAt", "now"))
		Expect(s.desiredVersion("d")).To(Equal(before + 1))
		Expect(property(s.get("d"), "", "targetTemperature").DesiredVersion).To(Equal(before + 1))
	})

	It("gets them once on request, even if the answer of the hub is lost and more is declared before the twin can be read", func() {
		s := declaring(simulator.Ignore())
		s.eventually("d", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
		before := s.desiredVersion("d")
		s.sim.Faults().Add(simulator.Broken(simulator.FaultResetAfter).On("Patch*Twin", "d"))
		outage := s.sim.Faults().Add(simulator.Unavailable().On("GetTwin", "d").Times(simulator.Forever))
		s.edit("d", annotate(v1alpha1.AnnotationResendRequestedAt, "now"))
		Eventually(func() int64 { return s.desiredVersion("d") }).Should(Equal(before + 1))
		s.edit("d", withProperties(`{"targetTemperature": 42, "mode": "eco"}`))
		s.sim.Faults().Remove(outage)
		s.eventually("d", And(haveState("", "mode", "Applied"), HaveField("Status.LastHandledResendAt", "now")))
		Expect(s.desiredVersion("d")).To(Equal(before + 2))
		Expect(property(s.get("d"), "", "targetTemperature").DesiredVersion).To(Equal(before + 1))
	})

	It("echoes a request to resend although there is nothing to resend", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		s.edit("d", annotate(v1alpha1.AnnotationResendRequestedAt, "now"))
		s.eventually("d", And(beReady(), HaveField("Status.LastHandledResendAt", "now")))
		Expect(s.writes("d")).To(Equal(1))
	})
})
