package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// eventWrites counts the writes of Events in the namespace from now on.
func (s *site) eventWrites() func() int {
	GinkgoHelper()
	c, err := client.NewWithWatch(environment.Config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	w, err := c.Watch(ctx, &eventsv1.EventList{}, client.InNamespace(s.namespace))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(w.Stop)
	n := 0
	return func() int {
		for {
			select {
			case <-w.ResultChan():
				n++
			default:
				return n
			}
		}
	}
}

var _ = Describe("A cause that comes and goes", func() {
	It("is told of at first, and then no more often than Events are gathered", func() {
		s := streaming()
		s.behaves(simulator.Ignore())
		version := s.desiredVersion("d")
		writes, began := s.eventWrites(), time.Now()
		for range 10 {
			s.answer("20", 400, version)
			s.eventually("d", beStalled(v1alpha1.ReasonRejected))
			s.answer("20", 200, version)
			s.eventually("d", beReady())
		}
		most := 5 + int(time.Since(began).Minutes()) + 1 // at once, and one a minute
		Expect(len(s.eventsOf("d", v1alpha1.ReasonRejected))).To(BeNumerically("<=", most))
		Expect(len(s.eventsOf("d", v1alpha1.ReasonDeviceAcknowledged))).To(BeNumerically("<=", most))
		Consistently(writes, 2*time.Second).Should(BeNumerically("<=", 2*most+4), "each once, and the last ones once more as a series")
	})
})

var _ = Describe("A wait in which the leader changes", func() {
	It("ends with its cause, and says so", func() {
		s := acknowledged()
		lease := holdLease()
		replica, watched := startReplica()
		Eventually(watched).Should(ContainElement("pnpdevices"))
		s.failing("*", "d", 503)
		s.edit("d", hotter)
		s.eventually("d", beWaiting(v1alpha1.ReasonHubUnavailable))
		manager.stop()
		DeferCleanup(func() {
			replica.stop()
			manager = startOperator()
		})
		reads := s.calls()
		Expect(admin.Delete(ctx, lease)).To(Succeed())
		Eventually(s.calls).Should(BeNumerically(">", reads), "the new leader asks")
		s.recovers()
		Eventually(func(g Gomega) { g.Expect(s.read(g, "d")).To(beReady()) }, asked).Should(Succeed())
		Eventually(func() string { return s.lastEvent("d") }).Should(Equal("Normal " + v1alpha1.ReasonDeviceAcknowledged))
	})
})
