package controllers_test

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

var dialects = []v1alpha1.TwinAPI{v1alpha1.TwinAPIDigitalTwin, v1alpha1.TwinAPIDeviceTwin}

// drift has another service change the target temperature, and the operator look.
func (s *site) drift(to int) {
	GinkgoHelper()
	s.foreign("d", fmt.Sprintf(`{"targetTemperature": %d}`, to))
	s.readNow("d")
}

var _ = Describe("Adoption", func() {
	for _, api := range dialects {
		It("writes nothing where the hub holds equal values already, through "+string(api), func() {
			s := newSite()
			s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
			s.foreign("d", `{"mode":"eco","limits":{"low":1,"high":2},"thermostat1":{"__t":"c","targetTemperature":42,"other":7}}`)
			before := s.desiredVersion("d")
			s.create("d", through(api), withProperties(`{"mode": "eco", "limits": {"high": 2.0, "low": 1}}`), withComponent("thermostat1", `{"targetTemperature": 42.0}`))
			s.eventually("d", And(beReady(), HaveField("Status.Summary", "3/3")))
			Expect(s.writes("d")).To(BeZero())
			Expect(s.desiredVersion("d")).To(Equal(before))

			By("owning them from then on")
			s.edit("d", withComponent("thermostat1", `{}`))
			s.eventuallyDesired("d", `{"mode":"eco","limits":{"low":1,"high":2},"thermostat1":{"__t":"c","other":7}}`)
			s.eventually("d", beReady())
		})

		It("overwrites only what differs and leaves foreign leaves alone, through "+string(api), func() {
			s := newSite()
			s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
			s.foreign("d", `{"theirs":{"a":1},"same":1,"other":1,"thermostat1":{"__t":"c","targetTemperature":20,"foreign":7}}`)
			s.create("d", through(api), withProperties(`{"same": 1, "other": 2}`), withComponent("thermostat1", `{"targetTemperature": 42}`))
			s.eventually("d", beReady())
			s.expectDesired("d", `{"theirs":{"a":1},"same":1,"other":2,"thermostat1":{"__t":"c","targetTemperature":42,"foreign":7}}`)
			Expect(s.patchBodies("d")).To(ConsistOf(Not(Or(ContainSubstring("same"), ContainSubstring("theirs"), ContainSubstring("foreign")))))
			Expect(s.eventsOf("d", v1alpha1.ReasonDriftCorrected)).To(BeEmpty(), "adoption is no drift")
		})
	}
})

var _ = Describe("A leaf that left the declaration", func() {
	for _, api := range dialects {
		It("is removed while the hub holds our value, through "+string(api), func() {
			s := declaring(simulator.Acknowledge(), through(api))
			s.foreign("d", `{"foreign": 1}`)
			s.eventually("d", beReady())
			s.edit("d", withProperties(`{}`))
			s.eventuallyDesired("d", `{"foreign": 1}`)
			s.eventually("d", And(beReady(), HaveField("Status.Summary", "0/0"), HaveField("Status.Properties", BeEmpty())))
			Expect(s.eventsOf("d", v1alpha1.ReasonReleased)).To(BeEmpty())
		})

		It("is released with an Event where the hub holds someone else's value, through "+string(api), func() {
			s := declaring(simulator.Acknowledge(), through(api))
			s.eventually("d", beReady())
			s.foreign("d", `{"targetTemperature": 7}`)
			s.edit("d", withProperties(`{}`))
			s.eventually("d", And(beReady(), HaveField("Status.Properties", BeEmpty())))
			s.expectDesired("d", `{"targetTemperature": 7}`)
			Eventually(func() []string { return s.eventNotes("d", v1alpha1.ReasonReleased) }).Should(ConsistOf(And(ContainSubstring(target), ContainSubstring("7"))))

			By("not being ours any more, even if the old value comes back")
			s.foreign("d", `{"targetTemperature": 42}`)
			s.readNow("d")
			s.expectDesired("d", `{"targetTemperature": 42}`)
		})
	}

	for _, api := range dialects {
		// make chaos found it, with two edits in quick succession: the second one also kept status from being written.
		It("is removed although status never heard of its last value, through "+string(api), func() {
			s := declaring(simulator.Acknowledge(), through(api))
			s.eventually("d", beReady())
			s.sim.Faults().Add(simulator.Fault{Operation: "Patch*", Device: "d", Kind: simulator.FaultResetAfter})
			unreadable := s.sim.Faults().Add(simulator.Unavailable().On(simulator.OpGetTwin, "d").Times(simulator.Forever))
			s.edit("d", withProperties(`{"targetTemperature": 50}`))
			s.eventuallyDesired("d", `{"targetTemperature": 50}`)
			s.edit("d", withProperties(`{}`))
			before := s.reads("d")
			Eventually(func() int { return s.reads("d") }).Should(BeNumerically(">", before+2), "passes that know the second edit")
			s.sim.Faults().Remove(unreadable)
			s.eventuallyDesired("d", `{}`)
			s.eventually("d", And(beReady(), HaveField("Status.Properties", BeEmpty())))
			Expect(s.eventsOf("d", v1alpha1.ReasonReleased)).To(BeEmpty())
		})
	}

	It("is not written as null when it is gone at the hub already", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		s.foreign("d", `{"targetTemperature": null}`)
		s.sim.Calls().Reset()
		s.edit("d", withProperties(`{}`), annotate(v1alpha1.AnnotationReconcileRequestedAt, "look first"))
		s.eventually("d", And(beReady(), HaveField("Status.Properties", BeEmpty())))
		Expect(s.writes("d")).To(BeZero())
	})

	It("is the other writer's if the declaration drops it in the middle of a conflict", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		Expect(s.sim.Hub().PatchDesired("d", `{"targetTemperature": 7}`, "line-config")).To(Succeed())
		s.readNow("d")
		s.eventually("d", beStalled(v1alpha1.ReasonOwnershipConflict))
		s.edit("d", withProperties(`{}`))
		s.eventually("d", And(beReady(), HaveField("Status.Properties", BeEmpty())))
		s.expectDesired("d", `{"targetTemperature": 7}`)
	})
})

var _ = Describe("An object-valued leaf", func() {
	for _, api := range dialects {
		It("ends as declared, inner keys of the hub removed, through "+string(api), func() {
			s := newSite()
			s.virtual("d", simulator.TemperatureController, simulator.Ignore())
			s.foreign("d", `{"limits":{"low":1,"high":2,"deep":{"x":1,"y":2}},"thermostat1":{"__t":"c","limits":{"old":1}}}`)
			s.create("d", through(api), onceApplied, withProperties(`{"limits": {"low": 1, "deep": {"x": 1}}}`), withComponent("thermostat1", `{"limits": {"new": 1}}`))
			s.eventually("d", beReady())
			s.expectDesired("d", `{"limits":{"low":1,"deep":{"x":1}},"thermostat1":{"__t":"c","limits":{"new":1}}}`)
			Expect(s.writes("d")).To(Equal(1))

			By("removing a key that leaves the declaration, without a read")
			s.sim.Calls().Reset()
			s.edit("d", withProperties(`{"limits": {"deep": {"x": 1}}}`))
			s.eventuallyDesired("d", `{"limits":{"deep":{"x":1}},"thermostat1":{"__t":"c","limits":{"new":1}}}`)
			s.eventually("d", beReady())
			Expect(s.reads("d")).To(BeZero())

			By("removing a key that someone else adds: the leaf is ours as a whole")
			s.foreign("d", `{"limits":{"theirs":1}}`)
			s.readNow("d")
			s.eventuallyDesired("d", `{"limits":{"deep":{"x":1}},"thermostat1":{"__t":"c","limits":{"new":1}}}`)
			s.eventually("d", beReady())
			Expect(s.writes("d")).To(Equal(2))
		})
	}
})

var _ = Describe("Drift", func() {
	for _, api := range dialects {
		It("is corrected, with Events that name path, old and new value, through "+string(api), func() {
			s := newSite()
			s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
			s.create("d", through(api), withProperties(`{"mode": "eco"}`), withComponent("thermostat1", `{"targetTemperature": 42}`))
			s.eventually("d", beReady())
			s.foreign("d", `{"mode":"turbo","thermostat1":{"targetTemperature":99}}`)
			s.readNow("d")
			s.eventually("d", beReady())
			s.expectDesired("d", `{"mode":"eco","thermostat1":{"__t":"c","targetTemperature":42}}`)
			Expect(s.writes("d")).To(Equal(2))
			Eventually(func() []string { return s.eventNotes("d", v1alpha1.ReasonDriftCorrected) }).Should(ConsistOf(
				And(ContainSubstring("thermostat1/targetTemperature"), ContainSubstring("99"), ContainSubstring("42")),
				And(ContainSubstring("mode"), ContainSubstring("turbo"), ContainSubstring("eco"))))
			Expect(property(s.get("d"), "", "mode").CorrectedAt).To(HaveLen(1))
		})
	}

	It("that removes a value is corrected too", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		s.foreign("d", `{"targetTemperature": null}`)
		s.readNow("d")
		s.eventually("d", beReady())
		s.expectDesired("d", `{"targetTemperature": 42}`)
	})

	It("becomes an OwnershipConflict with the fourth change of a leaf in an hour, also after a restart", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		for i := range 3 {
			s.drift(50 + i)
			s.eventuallyDesired("d", `{"targetTemperature": 42}`)
			s.eventually("d", HaveField("Status.Properties", ConsistOf(HaveField("CorrectedAt", HaveLen(i+1)))))
		}
		s.eventually("d", beReady())
		written := s.writes("d")
		s.drift(60)
		s.eventually("d", And(beStalled(v1alpha1.ReasonOwnershipConflict), haveState("", target, "Drifted"), haveMessage(target, "another writer")))
		Expect(kstatusOf(s.get("d"))).To(Equal("Failed"))
		restartOperator()
		s.drift(61)
		Expect(s.get("d")).To(beStalled(v1alpha1.ReasonOwnershipConflict))
		s.expectDesired("d", `{"targetTemperature": 61}`)
		Expect(s.writes("d")).To(Equal(written))

		By("writing the rest of the declaration all the same")
		s.edit("d", withProperties(`{"targetTemperature": 42, "mode": "eco"}`))
		s.eventuallyDesired("d", `{"targetTemperature": 61, "mode": "eco"}`)
		s.eventually("d", And(beStalled(v1alpha1.ReasonOwnershipConflict), haveState("", "mode", "Acknowledged")))

		By("healing when the other writer gives in")
		s.drift(42)
		s.eventually("d", beReady())
	})

	It("stays a conflict for the declared value, and ends when the user declares another one", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		for i := range 3 {
			s.drift(50 + i)
			s.eventually("d", And(beReady(), HaveField("Status.Properties", ConsistOf(HaveField("CorrectedAt", HaveLen(i+1))))))
		}
		s.drift(60)
		s.eventually("d", beStalled(v1alpha1.ReasonOwnershipConflict))
		s.edit("d", withProperties(`{"targetTemperature": 60}`))
		s.eventually("d", beReady())
	})

	It("by a configuration of the hub is an OwnershipConflict that names it, and nothing is written", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		Expect(s.sim.Hub().PatchDesired("d", `{"targetTemperature": 7}`, "line-config")).To(Succeed())
		s.readNow("d")
		Expect(s.get("d")).To(And(beStalled(v1alpha1.ReasonOwnershipConflict), haveMessage(target, `"line-config"`)))
		Expect(s.writes("d")).To(Equal(1))
		s.expectDesired("d", `{"targetTemperature": 7}`)
	})

	It("from the beginning, by a configuration, is not overwritten by adoption", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		Expect(s.sim.Hub().PatchDesired("d", `{"targetTemperature": 7}`, "line-config")).To(Succeed())
		s.create("d", withProperties(`{"targetTemperature": 42, "mode": "eco"}`))
		s.eventually("d", And(beStalled(v1alpha1.ReasonOwnershipConflict), haveMessage(target, `"line-config"`), haveState("", "mode", "Acknowledged")))
		s.expectDesired("d", `{"targetTemperature": 7, "mode": "eco"}`)
	})
})

var _ = Describe("Management Observe", func() {
	It("reports drift and writes nothing, and Enforce then converges", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.foreign("d", `{"targetTemperature": 20}`)
		s.create("d", observing, withProperties(`{"targetTemperature": 42, "mode": "eco"}`))
		s.eventually("d", And(beStalled(v1alpha1.ReasonDrifted), haveState("", target, "Drifted"), haveState("", "mode", "Drifted"), haveMessage("mode", "eco", "nothing", target)))
		Expect(s.get("d")).To(haveCondition(v1alpha1.ConditionSynced, "False/"+v1alpha1.ReasonDrifted))
		s.drift(21)
		s.eventually("d", WithTransform(func(d *v1alpha1.PnPDevice) string { return string(property(d, "", target).Desired.Raw) }, Equal("21")))
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", beReady())
		s.edit("d", withProperties(`{}`))
		s.eventually("d", And(beReady(), HaveField("Status.Properties", BeEmpty())))
		s.edit("d", withProperties(`{"targetTemperature": 42}`))
		s.eventually("d", beStalled(v1alpha1.ReasonDrifted))
		Expect(s.writes("d")).To(BeZero())
		s.expectDesired("d", `{"targetTemperature": 21}`)

		s.edit("d", enforcing)
		s.eventually("d", beReady())
		s.expectDesired("d", `{"targetTemperature": 42}`)
	})

	It("stops the corrections of an object that was enforced", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		s.edit("d", observing)
		s.drift(7)
		Expect(s.get("d")).To(beStalled(v1alpha1.ReasonDrifted))
		Expect(s.writes("d")).To(Equal(1))
		s.edit("d", enforcing)
		s.eventually("d", beReady())
		s.expectDesired("d", `{"targetTemperature": 42}`)
	})
})

var _ = Describe("Suspend", func() {
	It("of a PnPDevice stops its reads and writes and says so until it is resumed", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		s.sim.Calls().Reset()
		s.edit("d", suspended)
		s.eventually("d", beReady()) // nothing is outstanding
		s.edit("d", withProperties(`{"targetTemperature": 43}`))
		s.eventually("d", beStalled(v1alpha1.ReasonSuspended))
		s.foreign("d", `{"targetTemperature": 7}`)
		s.edit("d", withProperties(`{"targetTemperature": 44}`), annotate(v1alpha1.AnnotationReconcileRequestedAt, "in vain"))
		s.eventually("d", beStalled(v1alpha1.ReasonSuspended))
		Expect(s.writes("d") + s.reads("d")).To(BeZero())
		s.edit("d", resumed)
		s.eventually("d", And(beReady(), HaveField("Status.LastHandledReconcileAt", "in vain")))
		s.expectDesired("d", `{"targetTemperature": 44}`)
	})

	It("of a PnPDevice that was never written says that it is suspended", func() {
		s := declaring(simulator.Acknowledge(), suspended)
		s.eventually("d", beStalled(v1alpha1.ReasonSuspended))
		Expect(s.writes("d") + s.reads("d")).To(BeZero())
		s.edit("d", resumed)
		s.eventually("d", beReady())
	})

	It("of an IoTHub stops the writes of all its devices, removals and clearing included, and says so", func() {
		s := declaring(simulator.Acknowledge())
		s.virtual("e", simulator.Thermostat, simulator.Acknowledge())
		s.create("e", withProperties(`{"targetTemperature": 42}`), clearing)
		s.eventually("d", beReady())
		s.eventually("e", beReady())
		s.editHub(hubSuspended(true))
		s.eventuallyHub(HaveField("Status.ObservedGeneration", s.hubObject().Generation))
		s.sim.Calls().Reset()

		s.edit("d", withProperties(`{"targetTemperature": 43}`))
		s.eventually("d", And(beStalled(v1alpha1.ReasonHubSuspended), haveMessage(`"hub"`, target)))
		s.edit("d", withProperties(`{}`))
		s.eventually("d", beStalled(v1alpha1.ReasonHubSuspended))
		Expect(admin.Delete(ctx, s.get("e"))).To(Succeed())
		s.eventually("e", beStalled(v1alpha1.ReasonHubSuspended))
		Expect(s.writes("d") + s.writes("e")).To(BeZero())

		s.editHub(hubSuspended(false))
		s.eventually("d", beReady())
		s.eventuallyGone("e")
		s.expectDesired("d", `{}`)
		s.expectDesired("e", `{}`)
	})
})

// Others write all the time: each write finds another etag than the one that was read.
var _ = Describe("A removal that every write is too late for", func() {
	contended := simulator.Fault{Operation: "Patch*", Device: "d", Kind: simulator.FaultStatus, Status: 412, Count: simulator.Forever}
	for _, api := range dialects {
		It("is made once they pause, through "+string(api), func() {
			s := newSite()
			s.announceSilent("d")
			s.create("d", through(api), onceApplied, speed("45"))
			s.eventually("d", beSettled(1))
			id := s.sim.Faults().Add(contended)
			s.edit("d", speed(""))
			Eventually(func() int { return s.sim.Calls().Count(simulator.OpGetTwin) }).Should(BeNumerically(">=", 4))
			s.sim.Faults().Remove(id)
			s.eventuallyDesired("d", `{}`)
			s.eventually("d", beSettled(0))
		})

		It("is waited for by the deletion of the object, through "+string(api), func() {
			s := newSite()
			s.announceSilent("d")
			s.create("d", through(api), onceApplied, speed("45"), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.DeletionPolicy = v1alpha1.DeletionClear }))
			s.eventually("d", beSettled(1))
			id := s.sim.Faults().Add(contended)
			Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
			reads := s.sim.Calls().Count(simulator.OpGetTwin)
			Eventually(func() int { return s.sim.Calls().Count(simulator.OpGetTwin) }).Should(BeNumerically(">=", reads+4))
			s.expectDesired("d", `{"speed": 45}`)
			Expect(s.get("d").DeletionTimestamp).NotTo(BeNil())
			s.sim.Faults().Remove(id)
			s.eventuallyDesired("d", `{}`)
			s.eventuallyGone("d")
		})
	}
})
