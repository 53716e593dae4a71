package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

func (s *site) disable(id, reason string) {
	GinkgoHelper()
	Expect(s.sim.Hub().SetStatus(id, false, reason)).To(Succeed())
}

func (s *site) enable(id string) {
	GinkgoHelper()
	Expect(s.sim.Hub().SetStatus(id, true, "")).To(Succeed())
}

var _ = Describe("A device that is disabled", func() {
	for _, api := range dialects {
		It("is called so while its answer is waited for, without a deadline, until it is back, through "+string(api), func() {
			s := newEventSite()
			s.trusted()
			s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
			s.create("d", through(api), answeringWithin(1), withProperties(`{"targetTemperature": 42}`))
			s.eventually("d", beReady())
			s.disable("d", "maintenance")
			s.edit("d", withProperties(`{"targetTemperature": 43}`))
			s.eventually("d", And(beWaiting(v1alpha1.ReasonDeviceDisabled), haveMessage("Disabled at the hub since 20", "(maintenance)", target)))
			Expect(kstatusOf(s.get("d"))).To(Equal("InProgress"))
			Expect(s.get("d").Status).To(And(HaveField("DeviceStatus", "Disabled"), HaveField("DeviceStatusReason", "maintenance"), HaveField("DeviceStatusSince", Not(BeNil()))))
			out, err := kubectl("", "get", "pnp", "d", "-n", s.namespace, "--no-headers")
			Expect(err).NotTo(HaveOccurred(), out)
			Expect(out).To(MatchRegexp(`^d\s+hub\s+d\s+Disabled\s+0/1\s+False\s`))
			Consistently(func() string { return ready(s.get("d")) }, 3*time.Second).Should(Equal("False/" + v1alpha1.ReasonDeviceDisabled))

			By("being the same to the next operator")
			before := s.get("d").ResourceVersion
			restartOperator()
			s.eventuallyHub(beStreaming())
			Consistently(func() string { return s.get("d").ResourceVersion }, time.Second).Should(Equal(before))

			By("being enabled, and back")
			s.enable("d")
			Expect(s.sim.Devices().Online("d")).To(Succeed())
			s.eventually("d", And(beReady(), HaveField("Status.DeviceStatus", ""), HaveField("Status.DeviceStatusReason", ""), HaveField("Status.DeviceStatusSince", BeNil())))
		})
	}

	It("is told from one that is offline, and one that was offline before", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 42}`))
		s.eventually("d", beReady())
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.edit("d", withProperties(`{"targetTemperature": 43}`))
		s.eventually("d", And(beWaiting(v1alpha1.ReasonDeviceOffline), haveMessage("Offline since ")))
		s.disable("d", "")
		s.edit("d", withProperties(`{"targetTemperature": 44}`))
		s.eventually("d", And(beWaiting(v1alpha1.ReasonDeviceDisabled), haveMessage("Disabled at the hub since ")))

		By("being enabled, and not back")
		s.enable("d")
		s.readNow("d")
		s.eventually("d", And(beWaiting(v1alpha1.ReasonDeviceOffline), haveMessage("Offline since "), HaveField("Status.DeviceStatus", "")))
	})

	It("does not hold up what takes offline devices as they are", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.disable("d", "stolen\n")
		s.create("d", withProperties(`{"targetTemperature": 42}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ReadyWhen = v1alpha1.ReadyWhenReachable }))
		s.eventually("d", And(beReady(), haveCondition(v1alpha1.ConditionReady, "True/"+v1alpha1.ReasonDeviceDisabled),
			haveMessage("The hub holds every declared value. Disabled at the hub", "(stolen", target)))
	})

	It("is as Ready as it was if nothing is waited for", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		s.disable("d", "maintenance")
		s.readNow("d")
		Expect(s.get("d")).To(And(beReady(), haveCondition(v1alpha1.ConditionReady, "True/"+v1alpha1.ReasonDeviceAcknowledged), HaveField("Status.DeviceStatus", "Disabled")))
	})
})
