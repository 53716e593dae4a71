package controllers_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

var _ = Describe("Commands of one device that are created within a second", func() {
	It("run in the order of their creation, whatever their names, and without pauses", func() {
		s := newSite()
		s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		s.create("d", withComponent("thermostat1", `{"targetTemperature":20}`))
		s.eventually("d", beReady())
		s.sim.Faults().Add(simulator.Slow(500*time.Millisecond).On(simulator.OpInvokeCommand, "d").Times(simulator.Forever)) // the others come meanwhile
		Eventually(func() int { return time.Now().Nanosecond() }, "3s", "10ms").Should(BeNumerically("<", 200_000_000), "the beginning of a second")
		const count = 6
		var want []string
		for i := range count {
			payload := fmt.Sprintf(`"2026-11-22T10:00:0%dZ"`, i)
			want = append(want, payload)
			s.run(fmt.Sprint("c-", count-i), commandSpec(func(spec *v1alpha1.DeviceCommandSpec) { spec.Payload = object(payload) }))
		}
		for i := range count {
			s.eventuallyCommand(fmt.Sprint("c-", i+1), haveOutcome(v1alpha1.CommandSucceeded))
		}
		commands, err := s.sim.Devices().Commands("d")
		Expect(err).NotTo(HaveOccurred())
		var ran []string
		for i, c := range commands {
			ran = append(ran, string(c.Payload))
			if i > 0 {
				Expect(c.At.Sub(commands[i-1].At)).To(BeNumerically("<", 8*time.Second), "the timer for those whom nobody wakes has ten")
			}
		}
		Expect(ran).To(Equal(want))
	})
})
