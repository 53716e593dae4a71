package controllers_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

var _ = Describe("A call that fails", func() {
	// The pipeline under the operator must not try again by itself: each failed pass is one request, and each failed
	// request is one failed pass.
	DescribeTable("leaves one request in each pass", func(operation string, fault simulator.Fault) {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		s.sim.Calls().Reset()
		before := failedPasses()
		id := s.sim.Faults().Add(fault.On(operation, "d").Times(simulator.Forever))
		s.edit("d", withProperties(`{"targetTemperature": 43}`), annotateIf(operation == simulator.OpGetTwin, v1alpha1.AnnotationReconcileRequestedAt))
		Eventually(func() int { return s.sim.Calls().CountFor(operation, "d") }).Should(BeNumerically(">=", 3))
		s.sim.Faults().Remove(id)
		s.eventually("d", beReady())
		failed := 0
		for _, c := range s.sim.Calls().List(simulator.CallFilter{Operation: operation, DeviceID: "d"}) {
			if c.Fault != "" {
				failed++
			}
		}
		Expect(failedPasses() - before).To(Equal(failed))
		Expect(s.desired("d")).To(HaveKeyWithValue(target, 43.0))
	},
		Entry("PATCH answered by 504101", simulator.OpPatchDigitalTwin, simulator.GatewayTimeout()),
		Entry("PATCH answered by 503", simulator.OpPatchDigitalTwin, simulator.Unavailable()),
		Entry("PATCH answered by 429", simulator.OpPatchDigitalTwin, simulator.Throttled()),
		Entry("PATCH cut by a reset", simulator.OpPatchDigitalTwin, simulator.Broken(simulator.FaultResetBefore)),
		Entry("GET answered by 504101", simulator.OpGetTwin, simulator.GatewayTimeout()),
		Entry("GET answered by 503", simulator.OpGetTwin, simulator.Unavailable()),
		Entry("GET cut by a reset", simulator.OpGetTwin, simulator.Broken(simulator.FaultResetBefore)),
		Entry("GET cut in the middle of the answer", simulator.OpGetTwin, simulator.Broken(simulator.FaultHalfBody)),
	)
})

func annotateIf(on bool, key string) func(*v1alpha1.PnPDevice) {
	if !on {
		return func(*v1alpha1.PnPDevice) {}
	}
	return annotate(key, "now")
}

var _ = Describe("A PATCH whose answer is lost", func() {
	for _, api := range dialects {
		It("is not written again through "+string(api), func() {
			s := declaring(simulator.Acknowledge(), through(api))
			s.eventually("d", beReady())
			version := s.desiredVersion("d")
			s.sim.Faults().Add(simulator.Broken(simulator.FaultResetAfter).On("Patch*Twin", "d"))
			s.edit("d", withProperties(`{"targetTemperature": 43}`))
			s.eventually("d", beReady())
			Expect(s.desiredVersion("d")).To(Equal(version + 1))

			By("nor is a first write")
			s.sim.Faults().Add(simulator.Broken(simulator.FaultResetAfter).On("Patch*Twin", "d"))
			s.edit("d", withProperties(`{"targetTemperature": 43, "mode": "eco"}`))
			s.eventually("d", beReady())
			Expect(s.desiredVersion("d")).To(Equal(version + 2))

			By("nor is a removal")
			s.sim.Faults().Add(simulator.Broken(simulator.FaultResetAfter).On("Patch*Twin", "d"))
			s.edit("d", withProperties(`{"targetTemperature": 43}`))
			s.eventually("d", And(beReady(), HaveField("Status.Properties", HaveLen(1))))
			s.expectDesired("d", `{"targetTemperature": 43}`)
			Expect(s.desiredVersion("d")).To(Equal(version + 3))
			Expect(s.eventsOf("d", v1alpha1.ReasonDriftCorrected)).To(BeEmpty())
		})
	}
})

var _ = Describe("Concurrent writers", func() {
	for _, api := range dialects {
		It("cost reads and new tries, and neither's write is lost, through "+string(api), func() {
			s := declaring(simulator.Acknowledge(), through(api))
			s.eventually("d", beReady())
			s.sim.Calls().Reset()
			operation := simulator.OpPatchDigitalTwin
			if api == v1alpha1.TwinAPIDeviceTwin {
				operation = simulator.OpPatchTwin
			}
			const conflicts = 4 // more than one pass tries
			s.sim.Faults().Add(simulator.Slow(300*time.Millisecond).On(operation, "d").Times(conflicts))
			s.edit("d", withProperties(`{"targetTemperature": 43}`))
			for i := range conflicts {
				Expect(s.sim.Calls().AwaitCount(ctx, operation, i+1)).To(Succeed())
				s.foreign("d", fmt.Sprintf(`{"theirs%d": %d}`, i, i))
			}
			s.eventually("d", beReady())
			s.expectDesired("d", `{"targetTemperature": 43, "theirs0": 0, "theirs1": 1, "theirs2": 2, "theirs3": 3}`)
			Expect(s.writes("d")).To(Equal(conflicts + 1))
			for _, c := range s.sim.Calls().List(simulator.CallFilter{Operation: operation, DeviceID: "d"}) {
				Expect(c.IfMatch).NotTo(Or(BeEmpty(), ContainSubstring("*")))
			}
		})
	}
})

var _ = Describe("A device whose identity was written", func() {
	for _, api := range dialects {
		It("is read once and keeps its claims, through "+string(api), func() {
			s := newSweptSite()
			s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
			s.create("d", through(api), withProperties(`{"targetTemperature": 42, "mode": "eco"}`))
			s.eventually("d", beReady())
			s.sweeps(1)
			s.sim.Calls().Reset()
			before := s.get("d").Status.Twin.DeviceEtag
			Expect(s.sim.Hub().BumpDeviceETag("d")).To(Succeed())
			s.eventually("d", HaveField("Status.Twin.DeviceEtag", Not(Equal(before))))
			s.sweeps(1)
			Expect(s.reads("d")).To(Equal(1))
			Expect(s.writes("d")).To(BeZero())
			Expect(s.get("d")).To(And(beReady(), HaveField("Status.Properties", HaveEach(HaveField("Owned", true)))))

			By("removing what is ours as before")
			s.edit("d", withProperties(`{"targetTemperature": 42}`))
			s.eventuallyDesired("d", `{"targetTemperature": 42}`)
		})
	}

	It("keeps the claim of a leaf that leaves the declaration at the same time, and it is removed", func() {
		s := declaring(simulator.Acknowledge())
		s.edit("d", withProperties(`{"targetTemperature": 42, "mode": "eco"}`))
		s.eventually("d", beReady())
		Expect(s.sim.Hub().Rekey("d")).To(Succeed())
		s.edit("d", withProperties(`{"targetTemperature": 42}`), annotate(v1alpha1.AnnotationReconcileRequestedAt, "look"))
		s.eventually("d", And(beReady(), HaveField("Status.Properties", HaveLen(1))))
		s.expectDesired("d", `{"targetTemperature": 42}`)
	})

	It("is noticed in the answer to a PATCH of the device twin, and keeps its claims", func() {
		s := declaring(simulator.Acknowledge(), through(v1alpha1.TwinAPIDeviceTwin))
		s.eventually("d", beReady())
		s.edit("d", withProperties(`{"targetTemperature": 42, "mode": "eco"}`))
		s.eventually("d", beReady())
		before := s.get("d").Status.Twin.DeviceEtag
		s.sim.Calls().Reset()
		Expect(s.sim.Hub().Rekey("d")).To(Succeed())
		s.edit("d", withProperties(`{"targetTemperature": 43, "mode": "eco"}`))
		s.eventually("d", And(beReady(), HaveField("Status.Twin.DeviceEtag", Not(Equal(before)))))
		Expect(s.writes("d")).To(Equal(1))
		s.edit("d", withProperties(`{"targetTemperature": 43}`))
		s.eventuallyDesired("d", `{"targetTemperature": 43}`)
	})
})

var _ = Describe("A device that was created anew", func() {
	It("is adopted anew, and another writer's value for a leaf that was ours is not nulled", func() {
		s := declaring(simulator.Acknowledge())
		s.edit("d", withProperties(`{"targetTemperature": 42, "mode": "eco"}`))
		s.eventually("d", beReady())
		counter := s.etagCounter("d")
		s.replaceDevice("d", simulator.WithDesired(`{"mode":"theirs"}`))
		s.tagUntil("d", counter)
		s.edit("d", withProperties(`{"targetTemperature": 42}`), annotate(v1alpha1.AnnotationReconcileRequestedAt, "look"))
		s.eventuallyDesired("d", `{"mode": "theirs", "targetTemperature": 42}`)
		s.eventually("d", And(HaveField("Status.Properties", HaveLen(1)), haveState("", target, "Applied")))
	})

	It("is adopted anew although the other writer's value equals ours", func() {
		s := declaring(simulator.Acknowledge())
		s.edit("d", withProperties(`{"targetTemperature": 42, "mode": "eco"}`))
		s.eventually("d", beReady())
		s.replaceDevice("d", simulator.WithDesired(`{"mode":"eco"}`))
		s.edit("d", withProperties(`{"targetTemperature": 42}`), annotate(v1alpha1.AnnotationReconcileRequestedAt, "look"))
		s.eventuallyDesired("d", `{"mode": "eco", "targetTemperature": 42}`)
	})

	It("with the etag that we know is noticed in the answer to a PATCH of the device twin, and gets what it lacks", func() {
		s := declaring(simulator.Acknowledge(), through(v1alpha1.TwinAPIDeviceTwin))
		s.edit("d", withProperties(`{"targetTemperature": 42, "mode": "eco"}`))
		s.eventually("d", beReady())
		counter := s.etagCounter("d")
		s.replaceDevice("d", simulator.WithDesired(`{"theirs":1}`))
		s.tagUntil("d", counter)
		s.sim.Calls().Reset()
		s.edit("d", withProperties(`{"targetTemperature": 43, "mode": "eco"}`))
		s.eventuallyDesired("d", `{"theirs": 1, "mode": "eco", "targetTemperature": 43}`)
		s.eventually("d", And(haveState("", target, "Applied"), haveState("", "mode", "Applied")))
		Expect(s.eventsOf("d", v1alpha1.ReasonDriftCorrected)).To(BeEmpty())
	})

	It("without the component that we know of is read once, and the patch rendered anew", func() {
		s := newSite()
		s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		s.create("d", through(v1alpha1.TwinAPIDigitalTwin), withComponent("thermostat1", `{"targetTemperature": 42}`))
		s.eventually("d", beReady())
		counter := s.etagCounter("d")
		s.replaceDevice("d")
		s.tagUntil("d", counter)
		s.sim.Calls().Reset()
		s.edit("d", withComponent("thermostat1", `{"targetTemperature": 43}`))
		s.eventuallyDesired("d", `{"thermostat1": {"__t": "c", "targetTemperature": 43}}`)
		s.eventually("d", haveState("thermostat1", target, "Applied"))
		Expect(s.patchBodies("d")).To(HaveExactElements(Not(ContainSubstring("$metadata")), ContainSubstring("$metadata")))
		Expect(s.reads("d")).To(Equal(1))
	})

	It("is found by the sweep", func() {
		s := newSweptSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 42}`))
		s.eventually("d", beReady())
		s.sweeps(1)
		s.replaceDevice("d")
		Eventually(func() map[string]any { return s.desired("d") }, "30s").Should(HaveKeyWithValue(target, 42.0))
	})
})

func (s *site) etagCounter(id string) int64 {
	GinkgoHelper()
	t, err := s.sim.Hub().Get(id)
	Expect(err).NotTo(HaveOccurred())
	return t.ETagCounter()
}

var _ = Describe("A twin that went back in time", func() {
	It("is a new baseline: lost values are written again, and that is no drift", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		s.foreign("d", `{"foreign": 1}`)
		old, err := s.sim.Hub().Get("d")
		Expect(err).NotTo(HaveOccurred())
		s.edit("d", withProperties(`{"targetTemperature": 43, "mode": "eco"}`))
		s.eventually("d", beReady())
		Expect(s.sim.Hub().Rewind("d", old)).To(Succeed())
		s.readNow("d")
		s.eventuallyDesired("d", `{"targetTemperature": 43, "mode": "eco", "foreign": 1}`)
		s.eventually("d", beReady())
		Expect(s.eventsOf("d", v1alpha1.ReasonDriftCorrected)).To(BeEmpty())
	})
})

var _ = Describe("A digital-twin patch that the hub finds invalid", func() {
	invalid := simulator.Fault{Kind: simulator.FaultStatus, Status: 400, Code: "InvalidDigitalTwinPatch", Number: 400507}

	It("is rendered anew once, from a fresh read", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		s.sim.Calls().Reset()
		s.sim.Faults().Add(invalid.On(simulator.OpPatchDigitalTwin, "d"))
		s.edit("d", withProperties(`{"targetTemperature": 43}`))
		s.eventually("d", haveState("", target, "Applied"))
		Expect(s.writes("d")).To(Equal(2))
		Expect(s.reads("d")).To(Equal(1))
	})

	It("is terminal when it happens again", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		s.sim.Calls().Reset()
		s.sim.Faults().Add(invalid.On(simulator.OpPatchDigitalTwin, "d").Times(simulator.Forever))
		s.edit("d", withProperties(`{"targetTemperature": 43}`))
		s.eventually("d", And(beStalled(v1alpha1.ReasonHubRefused), haveMessage("400507")))
		Consistently(func() int { return s.writes("d") }, "1500ms").Should(Equal(2))
	})
})

var _ = Describe("The cost of a change", func() {
	It("is one write and two status patches for an edit, and a third for a leaf that is new", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		seen := s.versions("d")
		s.edit("d", withProperties(`{"targetTemperature": 43}`))
		s.eventually("d", beReady())
		Expect(seen()).To(HaveExactElements(
			haveState("", target, "Acknowledged"), // the edit itself
			haveState("", target, "Applied"), haveState("", target, "Acknowledged")))

		seen = s.versions("d")
		s.edit("d", withProperties(`{"targetTemperature": 43, "mode": "eco"}`))
		s.eventually("d", beReady())
		Expect(seen()).To(HaveExactElements(
			haveState("", "mode", ""),
			haveState("", "mode", "Pending"), haveState("", "mode", "Applied"), haveState("", "mode", "Acknowledged")))
	})

	It("is at most one status patch for each pass", func() {
		passes, patches := counter("controller_runtime_reconcile_total", "controller", "pnpdevice"), counter("pnp_status_patches_total", "kind", "PnPDevice")
		s := newSite()
		for i := range 5 {
			name := fmt.Sprintf("d%d", i)
			s.virtual(name, simulator.Thermostat, simulator.Acknowledge())
			s.create(name, withProperties(`{"targetTemperature": 42}`))
			s.eventually(name, beReady())
		}
		patched := counter("pnp_status_patches_total", "kind", "PnPDevice") - patches
		Expect(patched).To(And(BeNumerically(">=", 5), BeNumerically("<=", 15)))
		Expect(patched).To(BeNumerically("<=", counter("controller_runtime_reconcile_total", "controller", "pnpdevice")-passes))
	})

	It("is one read for an edit that asks for all that the device reports", func() {
		s := newSite()
		s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 42}`))
		s.eventually("d", beReady())
		all := withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.Reported = v1alpha1.ReportedAll })
		s.edit("d", all)
		serial := func() v1alpha1.PropertyState { return property(s.get("d"), "", "serialNumber").State }
		Eventually(serial).Should(BeEquivalentTo("Reported"))

		By("not being read again for the next one")
		before := s.reads("d")
		s.edit("d", all, withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.AcknowledgeWithinSeconds = 77 }))
		s.eventually("d", HaveField("Status.ObservedGeneration", int64(3)))
		Expect(s.reads("d")).To(Equal(before))
	})

	It("is nothing for a restart over devices that are as they should be", func() {
		s := newSweptSite()
		s.virtual("plain", simulator.TemperatureController, simulator.Acknowledge())
		s.virtual("whole", simulator.TemperatureController, simulator.Float32())
		s.virtual("quiet", simulator.Thermostat, simulator.Acknowledge())
		s.virtual("rejecting", simulator.Thermostat, simulator.Reject(400, "no"))
		s.virtual("observed", simulator.Thermostat, simulator.Acknowledge())
		Expect(s.sim.Devices().Add("offline", simulator.Spec{Model: simulator.Thermostat, Offline: true})).To(Succeed())
		s.create("plain", withComponent("thermostat1", `{"targetTemperature": 42}`), withProperties(`{"limits": {"a": {"b": 1.50}}}`))
		s.create("whole", through(v1alpha1.TwinAPIDeviceTwin), withComponent("thermostat1", `{"targetTemperature": 21.1}`),
			withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.Reported = v1alpha1.ReportedAll }))
		s.create("quiet", withProperties(`{"targetTemperature": 42}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.Reported = v1alpha1.ReportedNone }))
		s.create("rejecting", withProperties(`{"targetTemperature": 42}`))
		s.create("observed", observing, withProperties(`{"targetTemperature": 42}`))
		s.create("offline", withProperties(`{"targetTemperature": 42}`))
		s.eventually("plain", beReady())
		s.eventually("whole", beReady())
		s.eventually("quiet", beReady())
		s.eventually("rejecting", beStalled(v1alpha1.ReasonRejected))
		s.eventually("observed", beStalled(v1alpha1.ReasonDrifted))
		s.eventually("offline", beWaiting(v1alpha1.ReasonDeviceOffline))
		s.sweeps(1)
		before := s.resourceVersions()

		restartOperator()
		s.sim.Calls().Reset()
		s.sweeps(3) // the credential's probe, one by value, one by version
		Expect(s.resourceVersions()).To(Equal(before))
		for name := range before {
			Expect(s.writes(name)).To(BeZero(), name)
			if name != "offline" && name != "observed" { // one owes an answer, the other one's value is in other hands
				Expect(s.reads(name)).To(BeZero(), name)
			}
		}
	})
})

// resourceVersions of all PnPDevices of the site by name.
func (s *site) resourceVersions() map[string]string {
	GinkgoHelper()
	var list v1alpha1.PnPDeviceList
	Expect(admin.List(ctx, &list, client.InNamespace(s.namespace))).To(Succeed())
	versions := map[string]string{}
	for _, d := range list.Items {
		versions[d.Name] = d.ResourceVersion
	}
	return versions
}
