package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// sweptDevices are converged devices of a hub that has been swept since. Sweeps take seconds: tests share them.
func sweptDevices(edits map[string]func(*v1alpha1.PnPDevice)) *site {
	GinkgoHelper()
	s := newSweptSite()
	for name, edit := range edits {
		s.virtual(name, simulator.Thermostat, simulator.Acknowledge())
		s.create(name, edit, withProperties(`{"targetTemperature": 42}`))
	}
	for name := range edits {
		s.eventually(name, beReady())
	}
	s.sweeps(1)
	s.sim.Calls().Reset()
	return s
}

func unchanged(*v1alpha1.PnPDevice) {}

var _ = Describe("The sweep", Ordered, func() {
	var (
		s      *site
		before map[string]string
	)
	eventually := func(name string, matcher OmegaMatcher) {
		GinkgoHelper()
		Eventually(func(g Gomega) { g.Expect(s.read(g, name)).To(matcher) }, "30s").Should(Succeed())
	}

	BeforeAll(func() {
		s = sweptDevices(map[string]func(*v1alpha1.PnPDevice){
			"still": unchanged, "answering": unchanged, "chatting": unchanged, "drifting": unchanged, "shared": unchanged,
			"leaving": unchanged, "dying": unchanged, "suspended": unchanged,
			"mirrored": func(d *v1alpha1.PnPDevice) { d.Spec.Reported = v1alpha1.ReportedAll },
		})
		s.edit("suspended", suspended)
		s.eventually("suspended", beReady())
		before = s.resourceVersions()
		s.report("answering", `{"targetTemperature":{"value":40,"ac":200,"av":%d,"ad":"on its own"}}`, s.desiredVersion("answering"))
		s.report("chatting", `{"telemetryLike": 1}`)
		s.report("mirrored", `{"serial": "SR-1"}`)
		s.foreign("drifting", `{"targetTemperature": 7}`)
		s.foreign("shared", `{"foreign": 7}`)
		s.foreign("suspended", `{"targetTemperature": 7}`)
		Expect(s.sim.Devices().Offline("leaving")).To(Succeed())
		Expect(s.sim.Devices().Remove("dying")).To(Succeed())
		Expect(s.sim.Hub().DeleteDevice("dying")).To(Succeed())
		s.sweeps(2)
	})

	It("finds nothing where nothing changed, and asks no device", func() {
		Expect(s.resourceVersions()).To(HaveKeyWithValue("still", before["still"]))
		Expect(s.reads("still") + s.writes("still")).To(BeZero())
	})

	It("notices a reported change of a declared property", func() {
		eventually("answering", And(beStalled(v1alpha1.ReasonAdjusted), haveState("", target, "Adjusted")))
		Expect(s.reads("answering")).To(Equal(1))
		Expect(s.writes("answering")).To(BeZero())
	})

	It("costs one read and no status patch when a device reports what is not declared", func() {
		Eventually(func() int { return s.reads("chatting") }).Should(Equal(1))
		s.sweeps(1)
		Expect(s.reads("chatting")).To(Equal(1))
		Expect(s.writes("chatting")).To(BeZero())
		Expect(s.resourceVersions()).To(HaveKeyWithValue("chatting", before["chatting"]))
	})

	It("mirrors what is not declared where the object asks for all", func() {
		eventually("mirrored", haveState("", "serial", "Reported"))
	})

	It("notices a foreign write of a declared property and puts it back", func() {
		Eventually(func() int { return len(s.eventNotes("drifting", v1alpha1.ReasonDriftCorrected)) }, "30s").Should(Equal(1))
		s.expectDesired("drifting", `{"targetTemperature": 42}`)
		Expect(s.writes("drifting")).To(Equal(1))
	})

	It("notices a foreign write beside the declaration, and leaves it", func() {
		Eventually(func() int { return s.reads("shared") }).Should(Equal(1))
		Expect(s.writes("shared")).To(BeZero())
		Expect(s.get("shared")).To(beReady())
	})

	It("notices a device that goes offline, and one that comes back", func() {
		eventually("leaving", HaveField("Status.ConnectionState", "Disconnected"))
		Expect(s.get("leaving")).To(beReady(), "it has acknowledged")
		Expect(s.sim.Devices().Online("leaving")).To(Succeed())
		eventually("leaving", HaveField("Status.ConnectionState", "Connected"))
		Expect(s.writes("leaving")).To(BeZero())
	})

	It("notices a device that is deleted at the hub, and one that appears", func() {
		eventually("dying", beStalled(v1alpha1.ReasonDeviceNotFound))
		s.virtual("dying", simulator.Thermostat, simulator.Acknowledge())
		eventually("dying", beReady())
		s.expectDesired("dying", `{"targetTemperature": 42}`)
	})

	It("leaves a suspended device alone until it is resumed", func() {
		Expect(s.reads("suspended") + s.writes("suspended")).To(BeZero())
		s.edit("suspended", resumed)
		Eventually(func() map[string]any { return s.desired("suspended") }, "30s").Should(HaveKeyWithValue(target, 42.0))
	})

	It("does not believe an index that lags behind what was read or written since", func() {
		s.sim.Hub().SetIndexLag(time.Hour)
		s.edit("still", withProperties(`{"targetTemperature": 43}`))
		s.eventually("still", beReady())
		reads, version := s.reads("still"), s.get("still").ResourceVersion
		s.sweeps(2)
		Expect(s.reads("still")).To(Equal(reads))
		Expect(s.writes("still")).To(Equal(1))
		Expect(s.get("still").ResourceVersion).To(Equal(version))
		s.sim.Hub().SetIndexLag(0)
	})

	It("notices, soon after a start, what happened while the operator was down", func() {
		manager.stop()
		s.foreign("still", `{"targetTemperature": 7}`)
		s.report("answering", `{"targetTemperature":{"value":42}}`)
		manager = startOperator()
		Eventually(func() map[string]any { return s.desired("still") }, "30s").Should(HaveKeyWithValue(target, 43.0))
		eventually("answering", beReady())
	})
})
