package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

var _ = Describe("The main job", func() {
	for _, api := range []v1alpha1.TwinAPI{v1alpha1.TwinAPIDigitalTwin, v1alpha1.TwinAPIDeviceTwin} {
		It("converges a device of components through "+string(api), func() {
			s := newSite()
			s.virtual("line-3", simulator.TemperatureController, simulator.Acknowledge())
			Expect(s.sim.Hub().PatchDesired("line-3", `{"foreign":1,"thermostat1":{"__t":"c","other":7}}`, "")).To(Succeed())
			s.create("line-3", withComponent("thermostat1", `{"targetTemperature": 42}`), withComponent("thermostat2", `{"targetTemperature": 19.5}`),
				withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.TwinAPI = api; spec.ModelID = simulator.TemperatureController }))
			s.eventually("line-3", And(beReady(), haveState("thermostat1", "targetTemperature", "Acknowledged"),
				HaveField("Status.Summary", "2/2"), HaveField("Status.ConnectionState", "Connected")))
			Expect(s.desired("line-3")).To(BeEquivalentTo(map[string]any{
				"foreign":     1.0,
				"thermostat1": map[string]any{"__t": "c", "targetTemperature": 42.0, "other": 7.0},
				"thermostat2": map[string]any{"__t": "c", "targetTemperature": 19.5},
			}))
			Expect(s.writes("line-3")).To(Equal(1))
			Expect(s.reads("line-3")).To(BeNumerically("<=", 2))

			By("one write and no read for an edit")
			s.sim.Calls().Reset()
			s.edit("line-3", withComponent("thermostat1", `{"targetTemperature": 43}`))
			s.eventually("line-3", haveState("thermostat1", "targetTemperature", "Applied"))
			Expect(s.writes("line-3")).To(Equal(1))
			Expect(s.reads("line-3")).To(BeZero())
			s.eventually("line-3", beReady())

			By("removing a leaf that left the declaration, and nothing else")
			s.edit("line-3", withComponent("thermostat1", `{}`))
			s.eventually("line-3", And(beReady(), HaveField("Status.Summary", "1/1")))
			Expect(s.desired("line-3")).To(HaveKeyWithValue("thermostat1", map[string]any{"__t": "c", "other": 7.0}))
		})
	}
})

var _ = Describe("A request for a read", func() {
	It("ends when its annotation is taken away, and its echo stays", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20.5}`))
		s.eventually("d", beReady())
		s.readNow("d")
		reads, echo := s.reads("d"), s.get("d").Status.LastHandledReconcileAt
		s.edit("d", func(d *v1alpha1.PnPDevice) { d.Annotations = nil })
		s.edit("d", answeringWithin(77))
		s.eventually("d", And(beReady(), HaveField("Status.ObservedGeneration", s.get("d").Generation)))
		Expect(s.get("d").Status.LastHandledReconcileAt).To(Equal(echo))
		Expect(s.reads("d")).To(Equal(reads))
	})
})
