package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// patiently has status wait long before it speaks of a failure, as it does outside of specs.
func patiently() {
	GinkgoHelper()
	manager.stop()
	manager = startOperatorWith(time.Minute)
	DeferCleanup(restartOperator)
}

// fails has the hub fail at calls about "d" from now on.
func (s *site) fails(operation string, status int) (end func()) {
	GinkgoHelper()
	fault := s.sim.Faults().Add(simulator.Fault{Operation: operation, Device: "d", Kind: simulator.FaultStatus, Status: status, Count: simulator.Forever})
	return func() { s.sim.Faults().Remove(fault) }
}

// beUnsettled matches an object whose details are False for the reason, and in the words, of Ready.
func beUnsettled(kinds ...string) gomegatypes.GomegaMatcher {
	return WithTransform(func(o client.Object) []string {
		is := conditionOf(o, v1alpha1.ConditionReady)
		var others []string
		for _, kind := range kinds {
			c := conditionOf(o, kind)
			if c.Status != "False" || c.Reason != is.Reason || c.Message != is.Message || c.ObservedGeneration != o.GetGeneration() {
				others = append(others, kind+": "+string(c.Status)+" "+c.Reason+" "+c.Message)
			}
		}
		return others
	}, BeEmpty())
}

// beHeldByHub matches an object whose IoTHub is not ready, and that is stalled if that is.
func (s *site) beHeldByHub() gomegatypes.GomegaMatcher {
	return WithTransform(func(o client.Object) bool {
		is := ready(o) == "False/"+v1alpha1.ReasonHubNotReady
		return is && (conditionOf(o, v1alpha1.ConditionStalled).Status == "True") == (conditionOf(s.hubObject(), v1alpha1.ConditionStalled).Status == "True")
	}, BeTrue())
}

// lastEvent is the kind and the reason of the newest Event about an object.
func (s *site) lastEvent(name string) string {
	GinkgoHelper()
	var list eventsv1.EventList
	Expect(admin.List(ctx, &list, client.InNamespace(s.namespace))).To(Succeed())
	var last *eventsv1.Event
	for i := range list.Items {
		e := &list.Items[i]
		if e.Regarding.Name == name && (last == nil || seenAt(e).After(seenAt(last))) {
			last = e
		}
	}
	if last == nil {
		return ""
	}
	return last.Type + " " + last.Reason
}

// seenAt is when an Event was seen last: what is told again is a series.
func seenAt(e *eventsv1.Event) time.Time {
	if e.Series != nil {
		return e.Series.LastObservedTime.Time
	}
	return e.EventTime.Time
}

var _ = Describe("A suspended PnPDevice", func() {
	It("that is asked to resend writes nothing, and says what is not sent again (T1)", func() {
		s := declaring(simulator.Ignore())
		s.eventually("d", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
		s.edit("d", suspended)
		s.eventually("d", And(beWaiting(v1alpha1.ReasonAwaitingAcknowledgement), haveMessage("suspended, as of ")))
		s.edit("d", annotate(v1alpha1.AnnotationResendRequestedAt, "now"))
		s.eventually("d", And(beStalled(v1alpha1.ReasonSuspended), haveMessage("Suspended since ", "not sent again: "+target)))
		Expect(s.writes("d")).To(Equal(1), s.history("d"))
		Expect(s.get("d").Status.LastHandledResendAt).To(BeEmpty())
		s.edit("d", resumed)
		s.eventually("d", HaveField("Status.LastHandledResendAt", "now"))
		Expect(s.writes("d")).To(Equal(2), s.history("d"))
	})

	It("does not call its device silent: the clock stands still (T3)", func() {
		s := declaring(simulator.Ignore(), answeringWithin(3))
		s.eventually("d", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
		s.edit("d", suspended)
		s.eventually("d", haveMessage("suspended"))
		s.answer("42", 200, s.desiredVersion("d"))
		Consistently(func() string { return ready(s.get("d")) }, "5s").Should(Equal("False/" + v1alpha1.ReasonAwaitingAcknowledgement))
		s.edit("d", resumed)
		s.eventually("d", beReady())
		Expect(s.eventsOf("d", v1alpha1.ReasonAcknowledgementTimeout)).To(BeEmpty())
	})

	It("that was in sync says as of when, and reads when it is resumed (T9)", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		s.edit("d", suspended)
		s.eventually("d", And(beReady(), haveMessage("suspended, as of "), haveCondition(v1alpha1.ConditionSuspended, "True/"+v1alpha1.ReasonSuspended)))
		at := conditionOf(s.get("d"), v1alpha1.ConditionSuspended).LastTransitionTime.UTC().Format(time.RFC3339)
		Expect(s.get("d")).To(haveMessage("(suspended, as of " + at + ")"))

		By("saying what becomes of a read that is asked for")
		s.foreign("d", `{"targetTemperature": 7}`)
		s.edit("d", annotate(v1alpha1.AnnotationReconcileRequestedAt, "in vain"))
		s.eventually("d", haveMessage("(suspended, as of "+at+"; not read again, as was asked for"))
		Expect(s.get("d").Status.LastHandledReconcileAt).To(BeEmpty())

		By("claiming nothing when it is resumed")
		s.edit("d", resumed, func(d *v1alpha1.PnPDevice) { delete(d.Annotations, v1alpha1.AnnotationReconcileRequestedAt) })
		s.eventuallyDesired("d", `{"targetTemperature": 42}`)
		s.eventually("d", And(beReady(), haveCondition(v1alpha1.ConditionSuspended, "/"), Not(haveMessage("suspended"))))
	})

	It("names what it does not write and does not remove", func() {
		s := declaring(simulator.Acknowledge())
		s.edit("d", withProperties(`{"targetTemperature": 42, "mode": "eco"}`))
		s.eventually("d", beReady())
		s.edit("d", suspended, withProperties(`{"targetTemperature": 43}`))
		s.eventually("d", And(beStalled(v1alpha1.ReasonSuspended), haveMessage("not written: "+target, "not removed: mode"), beUnsettled(v1alpha1.ConditionSynced)))
	})
})

var _ = Describe("A PnPDevice that is being deleted with Clear", func() {
	for _, status := range []int{503, 429} {
		It("says at once what is still to be removed while the hub fails (T4)", func() {
			s := declaring(simulator.Acknowledge(), clearing)
			s.eventually("d", beReady())
			patiently()
			end := s.fails("*", status)
			Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
			s.eventually("d", And(beWaiting(v1alpha1.ReasonProgressing), haveMessage("Being deleted: "+target+" is still to be removed; the hub has been failing"),
				beUnsettled(v1alpha1.ConditionSynced, v1alpha1.ConditionAcknowledged)))
			s.eventuallyHub(HaveField("Status.Devices", HaveValue(And(HaveField("Ready", BeZero()), HaveField("Clearing", BeEquivalentTo(1))))))
			end()
			s.eventuallyGone("d")
		})
	}

	It("says who holds it once it is cleared, and nothing of the device", func() {
		s := declaring(simulator.Acknowledge(), clearing)
		s.eventually("d", beReady())
		hold := func(finalizers ...string) { s.edit("d", func(d *v1alpha1.PnPDevice) { d.Finalizers = finalizers }) }
		hold("example.com/a", "example.com/b", v1alpha1.FinalizerClear)
		DeferCleanup(hold)
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		s.eventually("d", And(beWaiting(v1alpha1.ReasonProgressing), Not(haveMessage("to be removed")), haveMessage("held by finalizers of others: example.com/a, example.com/b"),
			beUnsettled(v1alpha1.ConditionSynced, v1alpha1.ConditionAcknowledged), HaveField("Status.ConnectionState", BeEmpty()), HaveField("Status.Properties", BeEmpty())))
		s.expectDesired("d", `{}`)
		s.eventuallyHub(HaveField("Status.Devices", HaveValue(And(HaveField("Ready", BeZero()), HaveField("Clearing", BeZero())))))
		hold("example.com/b")
		s.eventually("d", haveMessage("held by finalizers of others: example.com/b"))
	})

	It("says what a suspended IoTHub holds it for, and an edit what is not removed (T11)", func() {
		s := declaring(simulator.Acknowledge())
		s.virtual("e", simulator.Thermostat, simulator.Acknowledge())
		s.create("e", clearing, withProperties(`{"targetTemperature": 42}`))
		s.eventually("d", beReady())
		s.eventually("e", beReady())
		s.suspendHub(true)
		s.edit("d", withProperties(`{}`))
		s.eventually("d", And(beStalled(v1alpha1.ReasonHubSuspended), haveMessage("not removed: "+target), Not(haveMessage("not written"))))
		Expect(admin.Delete(ctx, s.get("e"))).To(Succeed())
		s.eventually("e", And(beStalled(v1alpha1.ReasonHubSuspended),
			haveMessage("Being deleted: "+target+" is still to be removed; ", `IoTHub "hub" is suspended`, "resume it, or set deletionPolicy: Retain")))
	})
})

var _ = Describe("An edit of a PnPDevice", func() {
	for _, operation := range []string{"Patch*", "*"} {
		It("ends what was said of the value before, while the hub fails at "+operation+" (T5)", func() {
			s := declaring(simulator.Acknowledge())
			s.eventually("d", beReady())
			patiently()
			end := s.fails(operation, 503)
			patches := s.statusPatches()
			s.edit("d", withProperties(`{"targetTemperature": 43}`))
			s.eventually("d", And(beWaiting(v1alpha1.ReasonProgressing), beUnsettled(v1alpha1.ConditionSynced, v1alpha1.ConditionAcknowledged),
				HaveField("Status.Summary", "0/1"), haveState("", target, "Pending")))
			Eventually(patches).Should(Equal(2), "the edit, and what came of it")
			Consistently(patches, "3s").Should(Equal(2))
			end()
			s.eventually("d", And(beReady(), HaveField("Status.Summary", "1/1")))
		})
	}

	It("that does not get as far as the device ends it as well, and follows the cause (T6)", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		s.secretKey("connectionString", "nonsense")
		s.eventually("d", And(beStalled(v1alpha1.ReasonHubNotReady), haveCondition(v1alpha1.ConditionSynced, "True/"+v1alpha1.ReasonApplied)))

		By("being stalled like its IoTHub (T25)")
		s.eventuallyHub(beStalled(v1alpha1.ReasonInvalidConnectionString))
		Expect(s.get("d")).To(haveMessage(v1alpha1.ReasonInvalidConnectionString))
		s.edit("d", withProperties(`{"targetTemperature": 43}`))
		s.eventually("d", And(beStalled(v1alpha1.ReasonHubNotReady), beUnsettled(v1alpha1.ConditionSynced, v1alpha1.ConditionAcknowledged), HaveField("Status.Summary", "0/1")))

		s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.Authentication.ConnectionStringSecretRef.Name = "absent" })
		s.eventually("d", And(beWaiting(v1alpha1.ReasonHubNotReady), haveMessage(`"absent"`), beUnsettled(v1alpha1.ConditionSynced, v1alpha1.ConditionAcknowledged)))
		s.edit("d", withProperties(`{"targetTemperature": 42}`))
		s.eventually("d", And(beWaiting(v1alpha1.ReasonHubNotReady), haveCondition(v1alpha1.ConditionSynced, "True/"+v1alpha1.ReasonApplied), HaveField("Status.Summary", "1/1")))
		s.edit("d", at("nowhere"))
		s.eventually("d", beWaiting(v1alpha1.ReasonHubNotFound))
	})

	It("that is invalid claims nothing (T6)", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		s.edit("d", withProperties(`{"targetTemperature": null}`))
		s.eventually("d", And(beStalled(v1alpha1.ReasonInvalidDeclaration), beUnsettled(v1alpha1.ConditionSynced, v1alpha1.ConditionAcknowledged), HaveField("Status.Summary", "0/1")))
	})

	It("that ends a trouble of which a Warning told has a Normal Event, by whatever way (T12)", func() {
		s := declaring(simulator.Reject(400, "too hot"))
		s.eventually("d", beStalled(v1alpha1.ReasonRejected))
		Eventually(func() string { return s.lastEvent("d") }).Should(Equal("Warning " + v1alpha1.ReasonRejected))
		Expect(s.get("d").Status.LastWarning).To(Equal(v1alpha1.ReasonRejected))
		Expect(s.sim.Devices().Behave("d", simulator.Ignore())).To(Succeed())
		s.edit("d", withProperties(`{"targetTemperature": 41}`))
		s.eventually("d", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
		restartOperator()
		s.answer("41", 200, s.desiredVersion("d"))
		s.readNow("d")
		s.eventually("d", And(beReady(), HaveField("Status.LastWarning", "")))
		Eventually(func() string { return s.lastEvent("d") }).Should(Equal("Normal " + v1alpha1.ReasonDeviceAcknowledged))
	})
})

var _ = Describe("The table of IoTHubs", func() {
	table := func(s *site) string {
		GinkgoHelper()
		out, err := kubectl("", "get", "hub", "hub", "-n", s.namespace, "--no-headers")
		Expect(err).NotTo(HaveOccurred(), out)
		return out
	}

	It("shows that one is suspended, and Events tell (T8)", func() {
		s := newSite()
		s.editHub(hubSuspended(true))
		s.eventuallyHub(haveCondition(v1alpha1.ConditionSuspended, "True/"+v1alpha1.ReasonSuspended))
		Expect(table(s)).To(MatchRegexp(`\sTrue\s+True\s+The hub accepted`))
		Eventually(func() []string { return s.eventNotes("hub", v1alpha1.ReasonSuspended) }).Should(ConsistOf(ContainSubstring("Nothing is written")))
		s.editHub(hubSuspended(false))
		s.eventuallyHub(haveCondition(v1alpha1.ConditionSuspended, "/"))
		Eventually(func() []string { return s.eventNotes("hub", v1alpha1.ReasonResumed) }).Should(HaveLen(1))
	})

	It("shows that there are no messages, and Events tell (T13)", func() {
		s := newRationedSite(plenty)
		s.fleet(1)
		s.allReady()
		s.sim.SetLimits(simulator.Limits{DailyMessages: 1})
		s.edit("d-0", annotate(v1alpha1.AnnotationReconcileRequestedAt, "the only one"))
		s.edit("d-0", withProperties(`{"targetTemperature": 30}`))
		s.eventually("d-0", beWaiting(v1alpha1.ReasonQuotaExceeded))
		s.eventuallyHub(haveCondition(v1alpha1.ConditionThrottled, "True/"+v1alpha1.ReasonQuotaExceeded))
		Expect(table(s)).To(ContainSubstring(v1alpha1.ReasonQuotaExceeded))
		for _, name := range []string{"d-0", "hub"} {
			Eventually(func() string { return s.lastEvent(name) }).Should(Equal("Warning " + v1alpha1.ReasonQuotaExceeded))
		}
		s.sim.SetLimits(simulator.Limits{})
		s.ration(budget(func(b *v1alpha1.RequestBudget) { b.DailyMessages++ }))
		s.allReady()
		Eventually(func() string { return s.lastEvent("hub") }).Should(Equal("Normal " + v1alpha1.ReasonMessagesLeft))
		Eventually(func() string { return s.lastEvent("d-0") }).Should(Equal("Normal " + v1alpha1.ReasonDeviceAcknowledged))
	})

	It("names the IoTHub whose number of messages counts (T2)", func() {
		s := newRationedSite(plenty)
		s.fleet(1)
		s.allReady()
		other := s.hubObject()
		other.ObjectMeta = s.iotHub().ObjectMeta
		other.Name = "other"
		other.Spec.RequestBudget = budget(func(b *v1alpha1.RequestBudget) { b.DailyMessages = 10 })
		Expect(admin.Create(ctx, other)).To(Succeed())
		Eventually(func(g Gomega) {
			h := &v1alpha1.IoTHub{}
			g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(other), h)).To(Succeed())
			g.Expect(h).To(beReady())
		}).Should(Succeed())
		for range 10 {
			s.edit("d-0", annotate(v1alpha1.AnnotationReconcileRequestedAt, time.Now().String()))
		}
		s.edit("d-0", withProperties(`{"targetTemperature": 30}`))
		s.eventually("d-0", And(beWaiting(v1alpha1.ReasonDailyMessagesUsed), haveMessage(`spec.requestBudget.dailyMessages: 10 of IoTHub "other" are used`)))
		s.eventuallyHub(And(haveCondition(v1alpha1.ConditionThrottled, "True/"+v1alpha1.ReasonDailyMessagesUsed), WithTransform(func(o client.Object) string {
			return conditionOf(o, v1alpha1.ConditionThrottled).Message
		}, ContainSubstring(`IoTHub "other"`))))
		Expect(admin.Delete(ctx, other)).To(Succeed())
		s.eventually("d-0", beReady())
	})

	It("counts anew seconds after Ready changed (T21)", func() {
		s := newSite()
		s.fleet(3)
		s.allReady()
		counted := func(total, ready int) {
			GinkgoHelper()
			Eventually(func(g Gomega) {
				g.Expect(s.hubObject().Status.Devices).To(HaveValue(And(HaveField("Total", BeEquivalentTo(total)), HaveField("Ready", BeEquivalentTo(ready)))))
			}, "10s").Should(Succeed())
		}
		counted(3, 3)
		Expect(s.sim.Devices().Behave("d-0", simulator.Ignore())).To(Succeed())
		s.edit("d-0", withProperties(`{"targetTemperature": 30}`))
		counted(3, 2)
		Expect(admin.Delete(ctx, s.get("d-1"))).To(Succeed())
		counted(2, 1)
	})
})

var _ = Describe("A PnPDevice that nobody looked at", func() {
	It("has acknowledged nothing, and says so (T26)", func() {
		s := newSite()
		manager.stop()
		DeferCleanup(func() { manager = startOperator() })
		s.create("d", withProperties(`{"targetTemperature": 42}`))
		out, err := kubectl("", "get", "pnp", "d", "-n", s.namespace, "-o", "jsonpath={.status.acknowledged} {.status.declared}")
		Expect(err).NotTo(HaveOccurred(), out)
		Expect(out).To(Equal("0 0"))
	})

	It("goes on saying so once somebody did", func() {
		s := declaring(simulator.Ignore())
		s.eventually("d", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
		out, err := kubectl("", "get", "pnp", "d", "-n", s.namespace, "-o", "jsonpath={.status.acknowledged}")
		Expect(err).NotTo(HaveOccurred(), out)
		Expect(out).To(Equal("0"))
	})
})
