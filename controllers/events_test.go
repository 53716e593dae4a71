package controllers_test

import (
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

var _ = Describe("Events of a hub", func() {
	It("bring what a device does into status at once, without a read", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		s.sim.Calls().Reset()
		s.report("d", `{"targetTemperature":{"value":20,"ac":200,"av":2,"ad":"as before, and warm"}}`)
		s.eventually("d", WithTransform(func(d *v1alpha1.PnPDevice) string {
			return property(d, "", "targetTemperature").AckDescription
		}, Equal("as before, and warm")))
		Expect(s.gets()).To(BeZero())
	})

	It("have an edit cost one write, no read and at most two status patches after the claim", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		s.sim.Calls().Reset()
		patches := s.statusPatches()
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", And(beReady(), haveReported("targetTemperature", "21")))
		Expect(s.writes("d")).To(Equal(1))
		Expect(s.gets()).To(BeZero(), s.history("d"))
		Expect(patches()).To(BeNumerically("<=", 3), "the edit itself, the write, the answer")
	})

	It("show a write that the device does not answer, and the answer when it comes", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		Expect(s.sim.Devices().Behave("d", simulator.Ignore())).To(Succeed())
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", And(Not(beReady()), haveState("", "targetTemperature", "Applied")))
		s.report("d", `{"targetTemperature":{"value":21,"ac":200,"av":3}}`)
		s.eventually("d", And(beReady(), haveState("", "targetTemperature", "Acknowledged")))
	})

	It("do not make a drift of an edit that is taken back before the device answers", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		Expect(s.sim.Devices().Behave("d", simulator.Ignore())).To(Succeed())
		for range 4 { // more than make a fight
			s.edit("d", withProperties(`{"targetTemperature": 21}`))
			s.eventuallyDesired("d", `{"targetTemperature": 21}`)
			s.edit("d", withProperties(`{"targetTemperature": 20}`))
			s.eventuallyDesired("d", `{"targetTemperature": 20}`)
		}
		s.eventually("d", haveState("", "targetTemperature", "Applied"))
		Expect(property(s.get("d"), "", "targetTemperature").CorrectedAt).To(BeEmpty())
		Expect(s.eventNotes("d", v1alpha1.ReasonDriftCorrected)).To(BeEmpty())
	})

	It("have a foreign write of an owned property corrected at once, by one write and without a read", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		s.sim.Calls().Reset()
		s.foreign("d", `{"targetTemperature": 99}`)
		s.eventuallyDesired("d", `{"targetTemperature": 20}`)
		s.eventually("d", beReady())
		Expect(s.writes("d")).To(Equal(1))
		Expect(s.gets()).To(BeZero(), s.history("d"))
		Eventually(func() []string { return s.eventNotes("d", v1alpha1.ReasonDriftCorrected) }).Should(ConsistOf(ContainSubstring("99")))
	})

	It("cost nothing for devices and properties that nobody declares", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.virtual("stranger", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		s.sim.Calls().Reset()
		patches := s.statusPatches()
		for i := range 50 {
			s.report("stranger", `{"targetTemperature":%d}`, i)
			s.report("d", `{"maxTempSinceLastReboot":%d}`, i)
			s.foreign("stranger", fmt.Sprintf(`{"targetTemperature":%d}`, i))
		}
		s.report("first", `{"targetTemperature":{"value":1,"ac":200,"av":2,"ad":"behind them"}}`)
		s.eventually("first", WithTransform(func(d *v1alpha1.PnPDevice) string {
			return property(d, "", "targetTemperature").AckDescription
		}, Equal("behind them")))
		Eventually(patches).Should(Equal(1), "the watch that counts may lag")
		Consistently(patches, "1s").Should(Equal(1))
		Expect(s.calls()).To(BeZero())
	})

	It("say that a device went or came, and since when", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", And(beReady(), HaveField("Status.ConnectionState", "Connected")))
		s.sim.Calls().Reset()
		before := time.Now().Truncate(time.Second)
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.eventually("d", HaveField("Status.ConnectionState", "Disconnected"))
		Expect(s.get("d").Status.ConnectionStateSince.Time).To(BeTemporally(">=", before))
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", And(beWaiting(v1alpha1.ReasonDeviceOffline), haveMessage("since ")))
		Expect(s.sim.Devices().Online("d")).To(Succeed())
		s.eventually("d", And(beReady(), HaveField("Status.ConnectionState", "Connected")))
		Expect(s.gets()).To(BeZero(), s.history("d"))
	})

	It("wake an object whose device did not exist", func() {
		s := newEventSite()
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beStalled(v1alpha1.ReasonDeviceNotFound))
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.eventually("d", beReady())
	})

	It("tell of a device that is deleted, and of its next generation", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		Expect(s.sim.Devices().Remove("d")).To(Succeed())
		Expect(s.sim.Hub().DeleteDevice("d")).To(Succeed())
		s.eventually("d", beStalled(v1alpha1.ReasonDeviceNotFound))
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.eventually("d", beReady())
		s.expectDesired("d", `{"targetTemperature": 20}`)
	})

	It("leave an object alone that is being deleted", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		s.edit("d", func(d *v1alpha1.PnPDevice) { d.Finalizers = append(d.Finalizers, "example.com/somebody-else") })
		DeferCleanup(func() { s.edit("d", func(d *v1alpha1.PnPDevice) { d.Finalizers = nil }) })
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		s.readNow("first") // the operator has seen the deletion, which came before
		s.sim.Calls().Reset()
		s.foreign("d", `{"targetTemperature": 99}`)
		s.report("first", `{"targetTemperature":{"value":1,"ac":200,"av":2,"ad":"behind it"}}`)
		s.eventually("first", WithTransform(func(d *v1alpha1.PnPDevice) string {
			return property(d, "", "targetTemperature").AckDescription
		}, Equal("behind it")))
		Expect(s.calls()).To(BeZero())
	})

	It("keep the status of a suspended object true, without a call", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		s.edit("d", suspended)
		s.eventually("d", beReady())
		s.sim.Calls().Reset()
		s.foreign("d", `{"targetTemperature": 99}`)
		s.eventually("d", beStalled(v1alpha1.ReasonSuspended))
		Expect(s.calls()).To(BeZero())
		s.edit("d", resumed)
		s.eventuallyDesired("d", `{"targetTemperature": 20}`)
	})

	It("look at the model again before a write to a device that came back", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ModelID = simulator.Thermostat }))
		s.eventually("d", beReady())
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		Expect(s.sim.Hub().SetConnected("d", true, simulator.TemperatureController)).To(Succeed())
		s.eventually("d", HaveField("Status.ConnectionStateSince", Not(BeNil())))
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", beStalled(v1alpha1.ReasonModelMismatch))
		s.expectDesired("d", `{"targetTemperature": 20}`)
	})
})

var _ = Describe("Many events", func() {
	It("of 300 devices that report once cost no read and at most 300 status patches", func() {
		const count = 300
		s := newEventSite()
		s.trusted()
		name := func(i int) string { return fmt.Sprintf("device-%04d", i) }
		s.converge(count, name)
		s.sim.Calls().Reset()
		patches := s.statusPatches()
		for i := range count {
			s.report(name(i), `{"targetTemperature":{"value":21.5,"ac":200,"av":2,"ad":"report %d"}}`, i)
		}
		Eventually(func() int {
			return s.countWith(func(d *v1alpha1.PnPDevice) bool {
				return property(d, "", "targetTemperature").AckDescription != "" && d.Name != "first" &&
					property(d, "", "targetTemperature").AckDescription[:6] == "report"
			})
		}, 2*time.Minute, time.Second).Should(Equal(count))
		Expect(s.gets()).To(BeZero())
		Expect(patches()).To(BeNumerically("<=", count))
		Expect(s.calls()).To(BeZero())
		AddReportEntry("300 reports", fmt.Sprintf("%d status patches, %d reads", patches(), s.gets()), ReportEntryVisibilityFailureOrVerbose)
	})

	// The reports part of make bench measures a minute of this against its target.
	It("of 30 devices that report 3 times a second cost each a status patch in five seconds", func() {
		const devices, seconds, perSecond = 30, 12, 3
		const quietTimes = seconds/5 + 2 // that a device has at most meanwhile: the first and the last one are cut
		s := newEventSite()
		s.trusted()
		name := func(i int) string { return fmt.Sprintf("chatty-%02d", i) }
		s.converge(devices, name)
		s.sim.Calls().Reset()
		patches := s.statusPatches()
		var all sync.WaitGroup
		for i := range devices {
			all.Go(func() {
				defer GinkgoRecover()
				tick := time.NewTicker(time.Second / perSecond)
				defer tick.Stop()
				for n := range seconds * perSecond {
					<-tick.C
					s.report(name(i), `{"targetTemperature":{"value":21.5,"ac":200,"av":2,"ad":"%d"}}`, n)
				}
			})
		}
		all.Wait()
		last := fmt.Sprint(seconds*perSecond - 1)
		Eventually(func() int {
			return s.countWith(func(d *v1alpha1.PnPDevice) bool {
				return property(d, "", "targetTemperature").AckDescription == last
			})
		}, 30*time.Second).Should(Equal(devices))
		Expect(patches()).To(BeNumerically("<=", devices*quietTimes))
		Expect(s.gets()).To(BeZero())
		AddReportEntry("30 devices x 3/s x 12 s", fmt.Sprintf("%d status patches, %d reads", patches(), s.gets()), ReportEntryVisibilityFailureOrVerbose)
	})
})

// converge declares devices and waits until all are Ready.
func (s *site) converge(count int, name func(int) string) {
	GinkgoHelper()
	yaml := ""
	for i := range count {
		s.virtual(name(i), simulator.Thermostat, simulator.Acknowledge())
		yaml += fmt.Sprintf("---\napiVersion: iot.pnp-operator.io/v1alpha1\nkind: PnPDevice\nmetadata: {name: %s, namespace: %s}\nspec: {hubRef: {name: hub}, properties: {targetTemperature: 21.5}}\n", name(i), s.namespace)
	}
	before := s.countWith(isReady)
	out, err := kubectl(yaml, "apply", "--server-side", "-f", "-")
	Expect(err).NotTo(HaveOccurred(), out)
	Eventually(func() int { return s.countWith(isReady) }, 3*time.Minute, time.Second).Should(Equal(before + count))
}

func isReady(d *v1alpha1.PnPDevice) bool {
	return conditionOf(d, v1alpha1.ConditionReady).Status == "True"
}

// countWith counts the PnPDevices of the namespace that a condition holds for.
func (s *site) countWith(is func(*v1alpha1.PnPDevice) bool) int {
	GinkgoHelper()
	n := 0
	for _, d := range s.all() {
		if is(d) {
			n++
		}
	}
	return n
}

func (s *site) all() []*v1alpha1.PnPDevice {
	GinkgoHelper()
	var list v1alpha1.PnPDeviceList
	Expect(admin.List(ctx, &list, client.InNamespace(s.namespace))).To(Succeed())
	return list.Items
}
