package controllers_test

import (
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// What is wanted, or was tried, is never taken for what the hub holds. Each spec is a course of
// events that once ended wrong.

const anything = "dtmi:com:example:Anything;1"

// speed declares one property, or with "" none.
func speed(value string) func(*v1alpha1.PnPDevice) {
	if value == "" {
		return withProperties(`{}`)
	}
	return withProperties(`{"speed": ` + value + `}`)
}

// unheard holds back the events of the hub until the returned function is called, as if the
// IoTHub had no spec.events.
func (s *site) unheard() (heard func()) {
	s.sim.AMQP().Stall("")
	return s.sim.AMQP().Release
}

// announceSilent adds a virtual device that never answers.
func (s *site) announceSilent(id string) {
	GinkgoHelper()
	s.virtual(id, anything, simulator.Ignore())
}

// beSettled matches an object that is ready and shows no property but those of its declaration,
// all of them as its own.
func beSettled(properties int) gomegatypes.GomegaMatcher {
	all := And(beReady(), HaveField("Status.Properties", HaveLen(properties)))
	if properties == 0 {
		return all
	}
	return And(all, HaveField("Status.Properties", HaveEach(HaveField("Owned", true))))
}

func (s *site) suspendHub(on bool) {
	GinkgoHelper()
	s.editHub(hubSuspended(on))
	s.eventuallyHub(HaveField("Status.ObservedGeneration", s.hubObject().Generation))
}

// intention describes a course of events in both dialects, which begins with a device whose speed
// of 45 is at the hub.
func intention(text string, course func(s *site, api v1alpha1.TwinAPI)) {
	for _, api := range dialects {
		It(text+", through "+string(api), func() {
			s := newEventSite()
			s.announceSilent("d")
			s.create("d", through(api), onceApplied, speed("45"))
			s.eventually("d", beSettled(1))
			course(s, api)
		})
	}
}

// leftOf is what is left of another writer's twin once the declaration is taken back. On a slow
// machine the operator looks at the device before that, and writes over it what is still declared.
func (s *site) leftOf(theirs, declared string, since int) string {
	isOverwritten := func(body string) bool { return strings.Contains(body, declared) }
	if slices.ContainsFunc(s.patchBodies("d")[since:], isOverwritten) {
		GinkgoWriter.Println("the declared value went over the other writer's first")
		return "{}"
	}
	return theirs
}

var _ = Describe("A declaration that was never written", func() {
	const theirs = `{"mixed":{"high":55,"low":27},"thermostat1":{"__t":"c","t":7}}`
	refusing := func(status int) func(s *site) (end func()) {
		return func(s *site) func() {
			fault := s.sim.Faults().Add(simulator.Fault{Operation: "Patch*", Device: "d", Kind: simulator.FaultStatus, Status: status, Count: simulator.Forever})
			return func() { s.sim.Faults().Remove(fault) }
		}
	}
	for _, stop := range []struct {
		name  string
		begin func(s *site) (end func())
		shown gomegatypes.GomegaMatcher
	}{
		{"while the hub was suspended", func(s *site) func() {
			s.suspendHub(true)
			return func() { s.suspendHub(false) }
		}, beStalled(v1alpha1.ReasonHubSuspended)},
		{"while the hub answered 503", refusing(503), beWaiting(v1alpha1.ReasonHubUnavailable)},
		{"while the hub answered 429", refusing(429), beWaiting(v1alpha1.ReasonThrottled)},
	} {
		for _, api := range dialects {
			// intention/foreign.sh
			It(fmt.Sprintf("takes nothing of another writer with it when it is taken back, %s, through %s", stop.name, api), func() {
				s := newEventSite()
				s.virtual("d", anything, simulator.Acknowledge())
				s.foreign("d", theirs)
				end := stop.begin(s)
				s.create("d", through(api), withProperties(`{"mixed": 45}`), withComponent("thermostat1", `{"t": 9}`))
				s.eventually("d", stop.shown)
				s.edit("d", withProperties(`{}`), func(d *v1alpha1.PnPDevice) { d.Spec.Components = nil })
				s.eventually("d", beSettled(0))
				end()
				s.readNow("d")
				s.eventually("d", beSettled(0))
				s.expectDesired("d", theirs)
			})
		}
	}
})

var _ = Describe("A device that was created anew unheard, with the etag that is known,", func() {
	// another is provisioned by somebody else: its etag and its versions are those of the one
	// before.
	another := func(s *site) {
		GinkgoHelper()
		before := s.etagCounter("d")
		s.replaceDevice("d")
		s.announceSilent("d")
		s.foreign("d", `{"speed":7}`)
		Expect(s.etagCounter("d")).To(Equal(before))
	}

	// intention/recreated_same_etag.sh remove
	intention("keeps the other writer's value when the property leaves the declaration", func(s *site, _ v1alpha1.TwinAPI) {
		writes := len(s.patchBodies("d"))
		heard := s.unheard()
		another(s)
		s.edit("d", speed(""))
		s.eventually("d", beSettled(0))
		s.expectDesired("d", s.leftOf(`{"speed": 7}`, "45", writes))
		heard()
		s.readNow("d")
		s.expectDesired("d", s.leftOf(`{"speed": 7}`, "45", writes))
	})

	// intention/recreated_same_etag.sh edit: docs say that an edit may overwrite unseen.
	intention("gets the declared value by an edit", func(s *site, _ v1alpha1.TwinAPI) {
		heard := s.unheard()
		another(s)
		s.edit("d", speed("46"))
		s.eventuallyDesired("d", `{"speed": 46}`)
		heard()
		s.readNow("d")
		s.eventually("d", beSettled(1))
		s.expectDesired("d", `{"speed": 46}`)
		s.edit("d", speed(""))
		s.eventuallyDesired("d", `{}`)
	})
})

var _ = Describe("A hub that failed over unheard, and whose etag is the known one", func() {
	// intention/failed_over_same_etag.sh
	intention("keeps the other writer's value when the property leaves the declaration", func(s *site, _ v1alpha1.TwinAPI) {
		Expect(s.sim.Remember("d")).To(Succeed())
		s.edit("d", speed("46"))
		s.eventuallyDesired("d", `{"speed": 46}`)
		s.eventually("d", beSettled(1))
		counter := s.etagCounter("d")
		writes := len(s.patchBodies("d"))
		heard := s.unheard()
		Expect(s.sim.Rewind("d")).To(Succeed())
		s.foreign("d", `{"speed":7}`)
		Expect(s.etagCounter("d")).To(Equal(counter))
		s.edit("d", speed(""))
		s.eventually("d", beSettled(0))
		s.expectDesired("d", s.leftOf(`{"speed": 7}`, "46", writes))
		heard()
		s.readNow("d")
		s.expectDesired("d", s.leftOf(`{"speed": 7}`, "46", writes))
	})
})

var _ = Describe("A drifted value that was put back", func() {
	for _, lost := range []simulator.Fault{{Kind: simulator.FaultStatusAfter, Status: 503}, {Kind: simulator.FaultResetAfter}} {
		// intention/drift_then_lost_answer.sh
		intention(fmt.Sprintf("is removed with its declaration although the answer was lost (%s)", lost.Kind), func(s *site, _ v1alpha1.TwinAPI) {
			s.suspendHub(true)
			s.foreign("d", `{"speed":7}`)
			s.eventually("d", haveState("", "speed", "Drifted"))
			heard := s.unheard()
			s.sim.Faults().Add(lost.On("Patch*", "d"))
			s.suspendHub(false)
			s.eventuallyDesired("d", `{"speed": 45}`)
			s.edit("d", speed(""))
			s.eventuallyDesired("d", `{}`)
			s.eventually("d", beSettled(0))
			heard()
			s.readNow("d")
			s.expectDesired("d", `{}`)
			Expect(s.eventsOf("d", v1alpha1.ReasonReleased)).To(BeEmpty())
		})
	}
})

var _ = Describe("A hubRef that was edited to an IoTHub that is not ready, and back,", func() {
	// intention/moved_and_back.sh
	intention("leaves what the object owns its own", func(s *site, _ v1alpha1.TwinAPI) {
		s.createElsewhere()
		s.edit("d", withProperties(`{"speed": 45, "b": 2}`))
		s.eventually("d", beSettled(2))
		s.edit("d", at("elsewhere"))
		s.eventually("d", beWaiting(v1alpha1.ReasonHubNotReady))
		s.edit("d", at("hub"), speed("45"))
		s.eventuallyDesired("d", `{"speed": 45}`)
		s.eventually("d", beSettled(1))
	})
})

func at(hub string) func(*v1alpha1.PnPDevice) {
	return withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.HubRef.Name = hub })
}

// createElsewhere adds an IoTHub that never becomes ready.
func (s *site) createElsewhere() {
	GinkgoHelper()
	Expect(admin.Create(ctx, &v1alpha1.IoTHub{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "elsewhere"},
		Spec: v1alpha1.IoTHubSpec{HostName: "elsewhere.azure-devices.net", Authentication: v1alpha1.HubAuthentication{
			ConnectionStringSecretRef: &v1alpha1.SecretKeyReference{Name: "absent", Key: "connectionString"},
		}},
	})).To(Succeed())
	Eventually(func(g Gomega) {
		h := &v1alpha1.IoTHub{}
		g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "elsewhere"}, h)).To(Succeed())
		g.Expect(h).To(beWaiting(v1alpha1.ReasonSecretNotFound))
	}).Should(Succeed())
}

var _ = Describe("A suspended PnPDevice that is asked to resend", func() {
	// intention/suspended_resend.sh
	intention("is not written until it is resumed", func(s *site, _ v1alpha1.TwinAPI) {
		version := s.desiredVersion("d")
		s.edit("d", suspended)
		s.eventually("d", beReady())
		s.edit("d", annotate(v1alpha1.AnnotationResendRequestedAt, "now"), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.AcknowledgeWithinSeconds = 77 }))
		s.eventually("d", beReady()) // of the new generation: a pass knows of the request
		Expect(s.get("d").Status.LastHandledResendAt).To(BeEmpty())
		Expect(s.desiredVersion("d")).To(Equal(version))

		s.edit("d", resumed)
		s.eventually("d", And(beSettled(1), HaveField("Status.LastHandledResendAt", "now")))
		Expect(s.desiredVersion("d")).To(Equal(version + 1))
	})
})

var _ = Describe("A PnPDevice that is to show all that the device reports", func() {
	// intention/reported_all_unread.sh
	intention("does so once its IoTHub is ready again, if it was not when that was asked for", func(s *site, _ v1alpha1.TwinAPI) {
		s.report("d", `{"serial":"A-1","uptime":7}`)
		s.secretKey("connectionString", "nonsense")
		s.eventuallyHub(Not(beReady()))
		s.edit("d", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.Reported = v1alpha1.ReportedAll }))
		s.eventually("d", beStalled(v1alpha1.ReasonHubNotReady))
		s.secretKey("connectionString", s.sim.ConnectionString("service"))
		s.eventually("d", And(beReady(), HaveField("Status.Properties", ConsistOf(HaveField("Name", "serial"), HaveField("Name", "speed"), HaveField("Name", "uptime")))))
	})
})

var _ = Describe("An acknowledgement of a value that somebody wrote once more", func() {
	for _, api := range dialects {
		// intention/rewritten_then_key_rotated.sh
		It("outlives an edit of the device's identity, through "+string(api), func() {
			s := newEventSite()
			s.virtual("d", anything, simulator.Acknowledge())
			s.create("d", through(api), speed("45"))
			s.eventually("d", And(beReady(), haveState("", "speed", "Acknowledged")))
			Expect(s.sim.Devices().Behave("d", simulator.Ignore())).To(Succeed())
			s.foreign("d", `{"speed":45}`)
			s.eventually("d", HaveField("Status.Twin.DesiredVersion", s.desiredVersion("d")))
			Expect(s.sim.Hub().BumpDeviceETag("d")).To(Succeed())
			s.readNow("d")
			Expect(s.get("d")).To(And(beReady(), haveState("", "speed", "Acknowledged")))
		})
	}
})

// The matrix found these.

var _ = Describe("A value that was not edited while the object only observed", func() {
	intention("is removed when the object enforces again and declares it no more", func(s *site, _ v1alpha1.TwinAPI) {
		s.edit("d", observing, speed("46"))
		s.eventually("d", And(beStalled(v1alpha1.ReasonDrifted), haveState("", "speed", "Drifted")))
		s.edit("d", enforcing, speed(""))
		s.eventually("d", beSettled(0))
		s.expectDesired("d", `{}`)
		Expect(s.eventsOf("d", v1alpha1.ReasonReleased)).To(BeEmpty())
	})

	intention("is edited when the object enforces again, and that is no drift", func(s *site, _ v1alpha1.TwinAPI) {
		s.edit("d", observing, speed("46"))
		s.eventually("d", beStalled(v1alpha1.ReasonDrifted))
		s.edit("d", enforcing, speed("47"))
		s.eventuallyDesired("d", `{"speed": 47}`)
		s.eventually("d", beSettled(1))
		Expect(property(s.get("d"), "", "speed").CorrectedAt).To(BeEmpty())
		Expect(s.eventsOf("d", v1alpha1.ReasonDriftCorrected)).To(BeEmpty())
	})
})

var _ = Describe("A property that left the declaration while the hub was suspended, and no events are read,", func() {
	for _, api := range dialects {
		// begun is a device that holds the last one of two values that the object wrote, and an
		// object that declares none.
		begun := func() *site {
			GinkgoHelper()
			s := newSite()
			s.announceSilent("d")
			s.create("d", through(api), onceApplied, speed("45"))
			s.eventually("d", beSettled(1))
			Expect(s.sim.Remember("d")).To(Succeed())
			s.edit("d", speed("46"))
			s.eventuallyDesired("d", `{"speed": 46}`)
			s.eventually("d", beSettled(1))
			s.suspendHub(true)
			s.edit("d", speed(""))
			s.eventually("d", beStalled(v1alpha1.ReasonHubSuspended))
			return s
		}
		resumed := func(s *site) {
			GinkgoHelper()
			s.suspendHub(false)
			s.eventually("d", beSettled(0))
			s.expectDesired("d", `{"speed": 46}`)
		}

		It("stays at a device that was created anew, whose other writer wrote the same value with the same version, through "+string(api), func() {
			s := begun()
			s.replaceDevice("d")
			s.foreign("d", `{"speed":1}`)
			s.foreign("d", `{"speed":46}`)
			resumed(s)
		})

		It("stays at a hub that failed over, where another writer wrote the same value with the same version, through "+string(api), func() {
			s := begun()
			Expect(s.sim.Rewind("d")).To(Succeed())
			s.foreign("d", `{"speed":46}`)
			resumed(s)
		})
	}
})

var _ = Describe("What was written to a device that was created anew", func() {
	for _, api := range dialects {
		It("is removed with its declaration although status could not be written in between, through "+string(api), func() {
			s := newSite()
			s.announceSilent("d")
			s.create("d", through(api), onceApplied, speed("45"))
			s.eventually("d", beSettled(1))
			s.replaceDevice("d")
			s.announceSilent("d")
			s.foreign("d", `{"theirs":1}`) // as many writes as the device before had
			rule := meddler.begin(s.namespace, false)
			DeferCleanup(meddler.end)
			s.edit("d", annotate(v1alpha1.AnnotationReconcileRequestedAt, "look"))
			s.eventuallyDesired("d", `{"speed": 45, "theirs": 1}`)
			s.edit("d", speed(""))
			Eventually(func() int64 { return meddler.refusedGeneration(rule, "d") }).Should(Equal(s.get("d").Generation))
			meddler.end()
			s.eventually("d", beSettled(0))
			s.expectDesired("d", `{"theirs": 1}`)
		})
	}
})
