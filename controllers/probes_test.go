package controllers_test

import (
	"net/http"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// probes are the statuses of liveness and readiness.
func (p *program) probes() []int {
	GinkgoHelper()
	return []int{p.probe("/healthz"), p.probe("/readyz")}
}

var _ = Describe("The probes of an operator", func() {
	fine := []int{http.StatusOK, http.StatusOK}

	DescribeTable("are fine while a hub is out, and at a start meanwhile: a restart would help nobody", func(begin func(*site)) {
		p := newProgram()
		p.start()
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		begin(s)
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.rotate("iothubowner")
		s.eventuallyHub(beWaiting(v1alpha1.ReasonHubUnavailable))
		Consistently(p.probes, 2*time.Second).Should(Equal(fine))

		p.kill()
		p.start()
		Consistently(p.probes, 2*time.Second).Should(Equal(fine))
		Expect(s.hub()).To(beWaiting(v1alpha1.ReasonHubUnavailable))
	},
		Entry("since it is gone", func(s *site) { Expect(s.sim.Close()).To(Succeed()) }),
		Entry("since it refuses everything", func(s *site) { s.sim.Faults().Add(simulator.Unavailable().On("*", "*").Times(simulator.Forever)) }),
	)

	It("say that it is alive, and not ready, until its caches are filled", func() {
		p := newProgram()
		rules := allRules()
		list := slices.IndexFunc(rules, func(r rule) bool { return strings.HasSuffix(r.text, " pnpdevices") })
		restore := rules[list].drop()
		p.launch()
		Eventually(p.probes).Should(Equal([]int{http.StatusOK, http.StatusInternalServerError}))
		Consistently(p.probes, time.Second).Should(Equal([]int{http.StatusOK, http.StatusInternalServerError}))
		restore()
		Eventually(p.probes, time.Minute).Should(Equal(fine))
	})
})
