package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

var _ = Describe("A device that the hub always calls disconnected", func() {
	It("has its time to answer from the first report after a write, also after a restart", func() {
		s := newEventSite()
		s.virtual("d", simulator.Thermostat, simulator.Ignore())
		s.create("d", answeringWithin(2), withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", HaveField("Status.ConnectionState", "Connected"))
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.eventually("d", And(beWaiting(v1alpha1.ReasonDeviceOffline), HaveField("Status.ConnectionStateSince", Not(BeNil()))))
		Consistently(func() *v1alpha1.PnPDevice { return s.get("d") }, "3s").Should(beWaiting(v1alpha1.ReasonDeviceOffline))

		s.report("d", `{"maxTempSinceLastReboot":1}`)
		s.eventually("d", And(beStalled(v1alpha1.ReasonAcknowledgementTimeout), haveMessage("2 s", "though the hub calls it disconnected"),
			HaveField("Status.ConnectionState", "Disconnected")))
		restartOperator()
		s.readNow("d")
		Expect(s.get("d")).To(beStalled(v1alpha1.ReasonAcknowledgementTimeout))

		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", beWaiting(v1alpha1.ReasonDeviceOffline))
		s.report("d", `{"targetTemperature":{"value":21,"ac":200,"av":%d}}`, s.desiredVersion("d"))
		s.eventually("d", beReady())
	})
})
