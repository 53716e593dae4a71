package controllers_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// proofs counts the queries of one device that ask whether the hub takes the credential. The sweep asks for more.
func (s *site) proofs() int { return s.sim.Calls().Count(simulator.OpQuery) }

// refuses has the hub refuse calls about a device.
func refuses(device string, count int, f simulator.Fault) simulator.Fault {
	f.Kind, f.Device, f.Count = simulator.FaultStatus, device, count
	return f
}

// neverStopped proves that the credential was accepted all the time.
func (s *site) neverStopped(since *v1alpha1.IoTHub) {
	GinkgoHelper()
	now := s.hubObject()
	for _, kind := range []string{v1alpha1.ConditionAuthenticated, v1alpha1.ConditionReady} {
		Expect(conditionOf(now, kind)).To(Equal(conditionOf(since, kind)))
	}
	Expect(s.eventsOf("hub", v1alpha1.ReasonUnauthorized)).To(BeEmpty())
}

var _ = Describe("One answer about one device", func() {
	withTwo := func() *site {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		Expect(s.sim.Calls().AwaitCount(ctx, simulator.OpQuery, 2)).To(Succeed(), "the proof, and the first sweep: the next one is an hour away")
		return s
	}

	for name, c := range map[string]struct {
		fault  simulator.Fault
		proofs int
	}{
		"401":                           {simulator.Fault{Operation: simulator.OpPatchDigitalTwin, Status: 401}, 1},
		"401 to a read":                 {simulator.Fault{Operation: simulator.OpGetTwin, Status: 401}, 1},
		"403 with a code nobody knows":  {simulator.Fault{Operation: simulator.OpPatchDigitalTwin, Status: 403, Number: 403999, Code: "SomethingPassing"}, 0},
		"403 and no messages of a day":  {simulator.Fault{Operation: simulator.OpPatchDigitalTwin, Status: 403}, 0},
		"403 of a tier without devices": {simulator.Fault{Operation: simulator.OpPatchDigitalTwin, Status: 403, Number: 403010, Code: "OperationNotAvailableInCurrentTier"}, 0},
	} {
		It("stops nobody else, and not that one for long: "+name, func() {
			s := withTwo()
			before, asked, heard := s.hubObject(), s.proofs(), len(s.sim.AMQP().Receivers())
			s.sim.Faults().Add(refuses("d", 1, c.fault))
			s.edit("d", withProperties(`{"targetTemperature": 21}`), annotate(v1alpha1.AnnotationReconcileRequestedAt, name))
			Eventually(func() bool { return s.refusedSince("d") }).Should(BeTrue())
			s.edit("first", withProperties(`{"targetTemperature": 2}`))
			s.eventually("first", beReady())
			s.eventually("d", beReady())
			s.expectDesired("d", `{"targetTemperature": 21}`)
			Eventually(s.proofs).Should(Equal(asked + c.proofs))
			Consistently(s.proofs, "500ms").Should(Equal(asked + c.proofs))
			s.neverStopped(before)
			s.eventuallyHub(beStreaming())
			Expect(s.sim.AMQP().Receivers()).To(HaveLen(heard))
		})
	}

	It("and the same one from many devices cost no more than a question now and then", func() {
		s := newSite()
		name := func(i int) string { return fmt.Sprintf("d-%d", i) }
		const many = 30
		s.converge(many, name)
		Eventually(s.proofs).Should(Equal(2))
		before := s.hubObject()
		s.sim.Faults().Add(simulator.Slow(3*time.Second).On(simulator.OpQuery, "")) // until most were refused
		s.sim.Faults().Add(refuses("d-*", many, simulator.Fault{Operation: simulator.OpPatchDigitalTwin, Status: 401}))
		for i := range many {
			s.edit(name(i), withProperties(`{"targetTemperature": 30}`))
		}
		for i := range many {
			s.eventually(name(i), beReady())
		}
		Expect(s.proofs()).To(BeNumerically("<=", 2+4), "one, and another one five seconds later if edits take that long")
		s.neverStopped(before)
	})

	It("that is repeated for one device is said of that one", func() {
		s := withTwo()
		before, asked := s.hubObject(), s.proofs()
		id := s.sim.Faults().Add(refuses("d", simulator.Forever, simulator.Fault{Operation: simulator.OpPatchDigitalTwin, Status: 401}))
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", And(beStalled(v1alpha1.ReasonHubRefused), haveMessage("takes the credential", "401")))
		s.edit("first", withProperties(`{"targetTemperature": 2}`))
		s.eventually("first", beReady())
		s.neverStopped(before)
		Expect(s.proofs()).To(BeNumerically("<=", asked+4), "it is asked less and less often")
		s.sim.Faults().Remove(id)
		s.eventually("d", beReady())
	})

	It("stops nobody while the hub does not say whether it takes the credential", func() {
		s := withTwo()
		before := s.hubObject()
		s.sim.Faults().Add(simulator.Unavailable().On(simulator.OpQuery, "").Times(simulator.Forever))
		s.sim.Faults().Add(refuses("d", 1, simulator.Fault{Operation: simulator.OpPatchDigitalTwin, Status: 401}))
		asked := s.proofs()
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", beReady())
		Eventually(s.proofs).Should(BeNumerically(">", asked))
		s.neverStopped(before)
	})

	It("does not leave values behind of an object that is being deleted", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", clearing, withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		s.sim.Faults().Add(refuses("d", 1, simulator.Fault{Operation: simulator.OpPatchDigitalTwin, Status: 403, Number: 403999, Code: "SomethingPassing"}))
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		s.eventuallyGone("d")
		s.expectDesired("d", `{}`)
		Expect(s.eventsOf("d", v1alpha1.ReasonNotCleared)).To(BeEmpty())
	})
})

// refusedSince reports whether the hub has refused a call about a device.
func (s *site) refusedSince(id string) bool {
	for _, call := range s.sim.Calls().List(simulator.CallFilter{DeviceID: id}) {
		if call.Status == 401 || call.Status == 403 {
			return true
		}
	}
	return false
}

var _ = Describe("A credential that the hub refuses", func() {
	It("stops the hub at once, and is tried again in a moment", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		Expect(s.sim.Policies().Disable("service")).To(Succeed())
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventuallyHub(beStalled(v1alpha1.ReasonUnauthorized))
		s.eventually("d", beStalled(v1alpha1.ReasonHubNotReady))
		Expect(s.sim.Policies().Enable("service")).To(Succeed())
		s.eventually("d", beReady())
		s.eventuallyHub(beReady())
	})

	It("is tried again in a moment if it was refused from the beginning", func() {
		s := &site{namespace: newNamespace(), sim: newHub()}
		s.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultStatus, Operation: simulator.OpQuery, Status: 401, Count: 1})
		s.createSecret(s.sim.ConnectionString("service"))
		Expect(admin.Create(ctx, s.iotHub())).To(Succeed())
		s.eventuallyHub(beStalled(v1alpha1.ReasonUnauthorized))
		s.eventuallyHub(beReady())
	})
})
