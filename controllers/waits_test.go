package controllers_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/simulator"
)

// How long an object may take to be right once the cause of its wait is gone, on a slow machine of tests:
// the aim is five seconds, and 35.
const (
	told  = 20 * time.Second // where an event tells
	asked = time.Minute      // where only asking does
)

// walk is one wait: a cause until the object says so, its removal, and what is right then.
type walk struct {
	cause  func() *site
	remove func(s *site)
	right  func(s *site, g Gomega)
	within time.Duration
}

// failing has the hub fail an operation with a status.
func (s *site) failing(operation, device string, status int) {
	s.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultStatus, Operation: operation, Device: device, Status: status, Count: -1})
}

func recoversAndReports(s *site) {
	recovers(s)
	s.report("d", `{"targetTemperature":{"value":20,"ac":200,"av":2,"ad":"here I am"}}`)
}

func recovers(s *site) { s.sim.Faults().Clear() }

// deviceIsReady is what is right of most.
func deviceIsReady(name string) func(s *site, g Gomega) {
	return func(s *site, g Gomega) { g.Expect(s.read(g, name)).To(beReady()) }
}

func hubIs(matchers ...any) func(s *site, g Gomega) {
	return func(s *site, g Gomega) {
		h := &v1alpha1.IoTHub{}
		g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, h)).To(Succeed())
		for _, m := range matchers {
			g.Expect(h).To(m.(OmegaMatcher))
		}
	}
}

func temperature(i int) func(*v1alpha1.PnPDevice) {
	return withProperties(fmt.Sprintf(`{"targetTemperature": %d}`, i))
}

// streaming is a site with a device that acknowledges, and events that are trusted.
func streaming() *site {
	GinkgoHelper()
	s := newEventSite()
	s.trusted()
	s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
	s.create("d", temperature(20))
	s.eventually("d", beReady())
	return s
}

// tenfold does something again and again, each time after one more try of the operator.
func tenfold(tries func() int, do func(i int)) {
	GinkgoHelper()
	for i := range 10 {
		before := tries()
		do(i)
		Eventually(tries).Should(BeNumerically(">", before))
	}
}

var walks = map[string]walk{
	"an outage of writes with ten edits in it": {
		cause: func() *site {
			s := streaming()
			s.failing(simulator.OpPatchDigitalTwin, "d", 503)
			tenfold(func() int { return s.writes("d") }, func(i int) { s.edit("d", temperature(21+i)) })
			s.eventually("d", beWaiting(v1alpha1.ReasonHubUnavailable))
			return s
		},
		remove: recovers, right: deviceIsReady("d"), within: asked,
	},
	"an outage of writes in which the device reports": {
		cause: func() *site {
			s := streaming()
			s.failing(simulator.OpPatchDigitalTwin, "d", 503)
			s.edit("d", temperature(21))
			tenfold(func() int { return s.writes("d") }, func(i int) {
				s.report("d", `{"targetTemperature":{"value":%d,"ac":200,"av":2}}`, 40+i)
			})
			s.eventually("d", beWaiting(v1alpha1.ReasonHubUnavailable))
			return s
		},
		remove: recovers, right: deviceIsReady("d"), within: asked,
	},
	"many that fail, and one beside them succeeds": {
		cause: func() *site {
			s := streaming()
			for i := range 6 {
				name := fmt.Sprintf("out-%d", i)
				s.virtual(name, simulator.Thermostat, simulator.Acknowledge())
				s.create(name, temperature(20))
				s.eventually(name, beReady())
			}
			s.failing(simulator.OpPatchDigitalTwin, "out-*", 503)
			for i := range 6 {
				s.edit(fmt.Sprintf("out-%d", i), temperature(21))
			}
			for i := range 6 {
				s.eventually(fmt.Sprintf("out-%d", i), beWaiting(v1alpha1.ReasonHubUnavailable))
			}
			return s
		},
		remove: func(s *site) {
			recovers(s)
			s.edit("d", temperature(21)) // its success tells
		},
		right: func(s *site, g Gomega) {
			for i := range 6 {
				g.Expect(s.read(g, fmt.Sprintf("out-%d", i))).To(beReady())
			}
		},
		within: told,
	},
	"a write that is refused for a while": {
		cause: func() *site {
			s := streaming()
			s.failing(simulator.OpPatchDigitalTwin, "d", 400)
			s.edit("d", temperature(21))
			s.eventually("d", beStalled(v1alpha1.ReasonHubRefused))
			return s
		},
		remove: recovers, right: deviceIsReady("d"), within: asked,
	},
	"a device that the hub denies and that reports": {
		cause: func() *site {
			s := streaming()
			s.failing(simulator.OpGetTwin, "d", 404)
			s.readNow("d")
			s.eventually("d", beStalled(v1alpha1.ReasonDeviceNotFound))
			reads := s.reads("d") // the next try is some time away
			Eventually(func() int { return s.reads("d") }, asked).Should(BeNumerically(">=", reads+2))
			return s
		},
		remove: recoversAndReports,
		right:  deviceIsReady("d"), within: told,
	},
	"a device whose read fails and that reports": {
		cause: func() *site {
			s := streaming()
			s.failing(simulator.OpGetTwin, "d", 503)
			s.edit("d", annotate(v1alpha1.AnnotationReconcileRequestedAt, "1"))
			s.eventually("d", beWaiting(v1alpha1.ReasonHubUnavailable))
			Eventually(func() int { return s.reads("d") }, asked).Should(BeNumerically(">=", 7))
			return s
		},
		remove: recoversAndReports,
		right:  deviceIsReady("d"), within: told,
	},
	"the IoTHub fails while it is connected": {
		cause: func() *site {
			s := newSite()
			s.failing(simulator.OpQuery, "", 503)
			s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.SweepIntervalSeconds++ })
			s.eventuallyHub(beWaiting(v1alpha1.ReasonHubUnavailable))
			tenfold(s.proofs, func(i int) { s.editHub(annotateHub(v1alpha1.AnnotationReconcileRequestedAt, fmt.Sprint(i))) })
			return s
		},
		remove: recovers, right: hubIs(beReady()), within: asked,
	},
	"one refusal of the call that proves a credential": {
		cause: func() *site {
			s := newSite()
			s.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultStatus, Operation: simulator.OpQuery, Status: 404, Count: 1})
			proofs := s.proofs()
			s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.SweepIntervalSeconds++ })
			Eventually(s.proofs).Should(BeNumerically(">", proofs))
			return s
		},
		remove: func(*site) {},
		right: func(s *site, g Gomega) {
			hubIs(beReady(), HaveField("Status.ObservedGeneration", int64(2)))(s, g)
			g.Expect(s.eventsOf("hub", v1alpha1.ReasonHubRefused)).To(BeEmpty())
		},
		within: told,
	},
	"sweeps that the day's messages stopped": {
		cause: func() *site {
			s := newRationedSite(budget(func(b *v1alpha1.RequestBudget) { b.DailyMessages = 10 }), func(h *v1alpha1.IoTHub) { h.Spec.SweepIntervalSeconds = 5 })
			s.fleet(1)
			s.allReady()
			for s.sim.Calls().Total() < 8 {
				s.readNow("d-0")
			}
			s.eventuallyHub(haveCondition(v1alpha1.ConditionThrottled, "True/"+v1alpha1.ReasonSweepsStopped))
			queries := s.proofs()
			Consistently(s.proofs, 7*time.Second).Should(BeNumerically("<=", queries+1), "a sweep waits for the next day")
			s.foreign("d-0", `{"targetTemperature": 99}`)
			return s
		},
		remove: func(s *site) { s.ration(plenty) },
		right: func(s *site, g Gomega) {
			g.Expect(s.desired("d-0")).To(HaveKeyWithValue("targetTemperature", BeEquivalentTo(20)))
		},
		within: told,
	},
	"the low number of another IoTHub that is deleted": {
		cause: waitingForTheLowNumber,
		remove: func(s *site) {
			Expect(admin.Delete(ctx, &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "other"}})).To(Succeed())
		},
		right: deviceIsReady("d"), within: told,
	},
	"the low number of another IoTHub that is refused": {
		cause: waitingForTheLowNumber,
		remove: func(s *site) {
			Expect(admin.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "other"}})).To(Succeed())
		},
		right: deviceIsReady("d"), within: told,
	},
	"removals that were halted and put back": {
		cause: func() *site { return halted(leaves(25)) },
		remove: func(s *site) {
			s.edit("d", withProperties(leaves(25)))
		},
		right:  hubIs(haveCondition(v1alpha1.ConditionRemovalsHalted, "/"), beReady()),
		within: told,
	},
	"removals that were halted and put back, but for one": {
		cause: func() *site { return halted(leaves(25)) },
		remove: func(s *site) {
			s.edit("d", withProperties(leaves(24)))
		},
		right: func(s *site, g Gomega) {
			hubIs(haveCondition(v1alpha1.ConditionRemovalsHalted, "/"), beReady())(s, g)
			g.Expect(s.read(g, "d")).To(beReady())
			g.Expect(s.desired("d")).To(HaveLen(24))
		},
		within: told,
	},
	"the stream dies after a write": {
		cause: func() *site {
			s := streaming()
			s.virtual("slow", simulator.Thermostat, simulator.Ignore())
			s.create("slow", temperature(20))
			s.eventually("slow", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
			s.sim.Events().RemoveGroup("pnp-operator")
			s.sim.AMQP().Cut()
			s.eventuallyHub(notStreaming(v1alpha1.ReasonConsumerGroupNotFound))
			return s
		},
		remove: func(s *site) { s.report("slow", `{"targetTemperature":{"value":20,"ac":200,"av":2}}`) },
		right:  deviceIsReady("slow"), within: asked,
	},
	"a consumer group of an IoTHub that cannot read": {
		cause: func() *site {
			holder := newEventSite()
			s := &site{namespace: newNamespace(), sim: holder.sim}
			Expect(admin.Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "hub"},
				StringData: map[string]string{"connectionString": s.sim.ConnectionString("service"), "events": s.sim.EventHubConnectionString("service")},
			})).To(Succeed())
			Expect(admin.Create(ctx, s.eventHub())).To(Succeed())
			s.eventuallyHub(notStreaming(v1alpha1.ReasonConsumerGroupShared))
			holder.secretKey("connectionString", "HostName="+s.sim.HostName()+";SharedAccessKeyName=service;SharedAccessKey=AAAA")
			holder.eventuallyHub(beStalled(v1alpha1.ReasonUnauthorized))
			return s
		},
		remove: func(*site) {}, right: hubIs(beStreaming()), within: told,
	},
}

// waitingForTheLowNumber is a site whose device waits for the daily messages that another IoTHub of the
// hub states.
func waitingForTheLowNumber() *site {
	GinkgoHelper()
	s := newSite()
	Expect(admin.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "other"},
		StringData: map[string]string{"connectionString": s.sim.ConnectionString("service")},
	})).To(Succeed())
	other := s.iotHub()
	other.Name, other.Spec.Authentication.ConnectionStringSecretRef.Name = "other", "other"
	other.Spec.RequestBudget = budget(func(b *v1alpha1.RequestBudget) { b.DailyMessages = 10 })
	Expect(admin.Create(ctx, other)).To(Succeed())
	s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
	s.create("d", onceApplied, temperature(0))
	for i := range 12 {
		s.edit("d", temperature(20+i))
		s.eventually("d", Or(beReady(), beWaiting(v1alpha1.ReasonDailyMessagesUsed)))
	}
	s.eventually("d", beWaiting(v1alpha1.ReasonDailyMessagesUsed))
	return s
}

// halted is a site whose removals are halted: all that its device declares left the declaration.
func halted(declared string) *site {
	GinkgoHelper()
	s := newSite()
	s.virtual("d", simulator.Thermostat, simulator.Ignore())
	s.create("d", onceApplied, withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.TwinAPI = v1alpha1.TwinAPIDeviceTwin }), withProperties(declared))
	s.eventually("d", beReady())
	s.edit("d", withProperties(`{}`))
	s.eventually("d", beStalled(v1alpha1.ReasonMassRemoval))
	s.eventuallyHub(haveCondition(v1alpha1.ConditionRemovalsHalted, "True/"+v1alpha1.ReasonMassRemoval))
	return s
}

var _ = Describe("A wait ends with its cause:", func() {
	for name, w := range walks {
		It(name, func() {
			s := w.cause()
			w.remove(s)
			began := time.Now()
			Eventually(func(g Gomega) { w.right(s, g) }, w.within, 50*time.Millisecond).Should(Succeed())
			AddReportEntry(fmt.Sprintf("right after %.1f s, at most %.0f", time.Since(began).Seconds(), w.within.Seconds()))
		})
	}
})
