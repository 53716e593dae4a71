package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

var _ = Describe("A partition that goes silent", func() {
	It("is opened anew, and tells what it held back", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		s.sim.AMQP().Silence("")
		s.foreign("d", `{"targetTemperature": 99}`)
		s.eventuallyDesired("d", `{"targetTemperature": 20}`) // the sweep is an hour away
		s.eventuallyHub(beStreaming())
		s.eventually("d", beReady())
		s.report("d", `{"targetTemperature":{"value":20,"ac":200,"av":%d,"ad":"heard"}}`, s.desiredVersion("d"))
		s.eventually("d", haveAnswer("heard"))
	})
})

var _ = Describe("A device that was written before events were not trusted any more", func() {
	for name, c := range map[string]struct {
		breakIt func(*site) (mend func())
		reason  string
		queries int // before, at least: proofs, and the sweep of the session that there is then; the next one is an hour away
	}{
		"because a partition is silent": {
			func(s *site) func() {
				s.sim.AMQP().Stall("")
				s.report("first", `{"other": 1}`)
				return s.sim.AMQP().Release
			},
			v1alpha1.ReasonLagging, 2,
		},
		"because another reader took the group": {
			func(s *site) func() { return s.rival(time.Now().Unix() + 1_000_000) }, v1alpha1.ReasonConsumerGroupTaken, 2,
		},
		"because the key was replaced by a wrong one": {
			func(s *site) func() {
				s.secretKey("events", s.sim.EventHubConnectionString("device"))
				return func() {}
			}, v1alpha1.ReasonUnauthorized, 3,
		},
	} {
		It("is read as after a write, whatever the hub says of its connection: "+name, func() {
			s := newEventSite()
			s.trusted()
			s.virtual("d", simulator.Thermostat, simulator.Ignore())
			Expect(s.sim.Devices().Offline("d")).To(Succeed())
			s.create("d", withProperties(`{"targetTemperature": 20}`))
			s.eventually("d", beWaiting(v1alpha1.ReasonDeviceOffline))

			DeferCleanup(c.breakIt(s))
			s.eventuallyHub(notStreaming(c.reason))
			Eventually(s.proofs, "40s").Should(BeNumerically(">=", c.queries))
			s.report("d", `{"targetTemperature":{"value":20,"ac":200,"av":%d}}`, s.desiredVersion("d"))
			Eventually(func(g Gomega) { g.Expect(s.read(g, "d")).To(beReady()) }, "90s").Should(Succeed())
		})
	}
})
