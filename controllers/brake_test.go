package controllers_test

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

var _ = Describe("The brake on mass removals", func() {
	const (
		count = 30
		most  = 20 // of 30 owned leaves; a tenth would be fewer
	)
	name := func(i int) string { return fmt.Sprintf("device-%02d", i) }
	// fleet is a site with 30 converged devices of one leaf each.
	fleet := func(edits ...func(*v1alpha1.PnPDevice)) *site {
		GinkgoHelper()
		s := newSite()
		for i := range count {
			s.virtual(name(i), simulator.Thermostat, simulator.Acknowledge())
			s.create(name(i), append(edits, onceApplied, withProperties(`{"targetTemperature": 42}`))...)
		}
		for i := range count {
			s.eventually(name(i), beReady())
		}
		return s
	}
	remove := func(s *site) {
		GinkgoHelper()
		for i := range count {
			s.edit(name(i), withProperties(`{}`))
		}
	}
	removed := func(s *site) int {
		GinkgoHelper()
		n := 0
		for i := range count {
			if len(s.desired(name(i))) == 0 {
				n++
			}
		}
		return n
	}
	// settled waits until every device is either done or halted, and returns how many are halted.
	settled := func(s *site) (halted int) {
		GinkgoHelper()
		Eventually(func(g Gomega) {
			halted = 0
			var list v1alpha1.PnPDeviceList
			g.Expect(admin.List(ctx, &list, client.InNamespace(s.namespace))).To(Succeed())
			for _, d := range list.Items {
				g.Expect(d).To(Or(beReady(), beStalled(v1alpha1.ReasonMassRemoval)))
				if conditionOf(d, v1alpha1.ConditionReady).Status == metav1.ConditionFalse {
					halted++
				}
			}
		}).Should(Succeed())
		return halted
	}
	allGone := func(s *site) {
		GinkgoHelper()
		Eventually(func() int { return removed(s) }).Should(Equal(count))
	}
	lifted := func(s *site) {
		GinkgoHelper()
		Eventually(func(g Gomega) {
			h := &v1alpha1.IoTHub{}
			g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, h)).To(Succeed())
			g.Expect(h).To(haveCondition(v1alpha1.ConditionRemovalsHalted, "/"))
		}, 90*time.Second).Should(Succeed()) // the hub's own heartbeat is a minute
	}

	// having adds a device with so many properties, declared and held.
	having := func(s *site, device string, properties int, edits ...func(*v1alpha1.PnPDevice)) {
		GinkgoHelper()
		s.virtual(device, simulator.Thermostat, simulator.Ignore())
		s.create(device, append(edits, onceApplied, withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.TwinAPI = v1alpha1.TwinAPIDeviceTwin }), withProperties(leaves(properties)))...)
		s.eventually(device, beReady())
	}

	It("is on record, and takes a confirmation, while the proof of a new credential hangs", func() {
		hubTimeout = time.Minute // the proof ends first, and keeps the former session until then
		restartOperator()
		DeferCleanup(func() {
			hubTimeout = usualHubTimeout
			restartOperator()
		})
		s := fleet()
		s.eventuallyHub(beReady())
		s.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultHang, Operation: simulator.OpQuery, Count: simulator.Forever})
		s.sim.Calls().Reset()
		s.secretKey("connectionString", s.sim.ConnectionString("iothubowner"))
		Eventually(func() int { return s.sim.Calls().Count(simulator.OpQuery) }).Should(BeNumerically(">", 0), "the new credential is being proved")
		remove(s)
		const soon = 25 * time.Second // less than the proof may take
		Eventually(s.hubObject, soon).Should(haveCondition(v1alpha1.ConditionRemovalsHalted, "True/"+v1alpha1.ReasonMassRemoval))
		s.editHub(annotateHub(v1alpha1.AnnotationConfirmRemovals, "yes"))
		Eventually(s.hubObject, soon).Should(HaveField("Status.LastConfirmedRemovals", "yes"))
		s.sim.Faults().Clear()
		Eventually(func() int { return removed(s) }, time.Minute).Should(Equal(count))
	})

	It("halts a sync that would remove too much, and goes on when a person confirms", func() {
		s := fleet()
		remove(s)
		s.eventuallyHub(haveCondition(v1alpha1.ConditionRemovalsHalted, "True/"+v1alpha1.ReasonMassRemoval))
		halted := settled(s)
		Expect(removed(s)).To(And(BeNumerically("<=", most), Equal(count-halted)))
		s.eventuallyHub(And(beStalled(v1alpha1.ReasonMassRemoval), haveCondition(v1alpha1.ConditionAuthenticated, "True/"+v1alpha1.ReasonAuthenticated)))
		Expect(kstatusOf(s.hubObject())).To(Equal("Failed"), "for a tool that waits for it")
		s.eventually(name(count-1), haveMessage(v1alpha1.AnnotationConfirmRemovals, "Removals are halted: not removed: "+target))
		Expect(s.hubObject()).To(haveMessage("(device-", ") are halted"))
		Eventually(func() string { return s.lastEvent("hub") }).Should(Equal("Warning " + v1alpha1.ReasonMassRemoval))

		By("staying halted after a restart")
		left := removed(s)
		restartOperator()
		s.readNow(name(count - 1))
		Expect(s.get(name(count - 1))).To(beStalled(v1alpha1.ReasonMassRemoval))
		Expect(removed(s)).To(Equal(left))

		By("letting writes through that remove nothing")
		s.edit(name(count-1), withProperties(`{"mode": "eco"}`))
		s.eventuallyDesired(name(count-1), `{"targetTemperature": 42, "mode": "eco"}`)
		s.eventually(name(count-1), beStalled(v1alpha1.ReasonMassRemoval))
		s.edit(name(count-1), withProperties(`{}`))

		By("running commands")
		s.run("c", commandSpec(func(spec *v1alpha1.DeviceCommandSpec) {
			spec.DeviceRef.Name, spec.Component, spec.Command = name(0), "", "getMaxMinReport"
		}))
		s.eventuallyCommand("c", HaveField("Status.Outcome", v1alpha1.CommandSucceeded))

		By("being confirmed")
		s.editHub(annotateHub(v1alpha1.AnnotationConfirmRemovals, "yes, 2026-11-22"))
		s.eventuallyHub(HaveField("Status.LastConfirmedRemovals", "yes, 2026-11-22"))
		allGone(s)
		for i := range count {
			s.eventually(name(i), beReady())
		}

		By("guarding the next sync again, whatever was confirmed before")
		s.editHub(annotateHub(v1alpha1.AnnotationReconcileRequestedAt, "now")) // rather than wait for the hub's heartbeat
		lifted(s)
		for i := range count {
			s.edit(name(i), withProperties(`{"targetTemperature": 43}`))
			s.eventually(name(i), beReady())
		}
		remove(s)
		s.eventuallyHub(haveCondition(v1alpha1.ConditionRemovalsHalted, "True/"+v1alpha1.ReasonMassRemoval))
		settled(s)
		Expect(removed(s)).To(BeNumerically("<=", most))
	})

	It("is confirmed for what left Git, and not for the next commit", func() {
		s := fleet(clearing)
		for i := range count - 4 {
			having(s, fmt.Sprintf("next-%02d", i), 1, clearing)
		}
		for i := range count {
			Expect(admin.Delete(ctx, s.get(name(i)))).To(Succeed())
		}
		s.eventuallyHub(haveCondition(v1alpha1.ConditionRemovalsHalted, "True/"+v1alpha1.ReasonMassRemoval))
		s.editHub(annotateHub(v1alpha1.AnnotationConfirmRemovals, "yes"))
		s.eventuallyHub(HaveField("Status.LastConfirmedRemovals", "yes"))
		for i := range count - 4 {
			Expect(admin.Delete(ctx, s.get(fmt.Sprintf("next-%02d", i)))).To(Succeed())
		}
		for i := range count {
			s.eventuallyGone(name(i))
		}
		s.eventuallyHub(haveCondition(v1alpha1.ConditionRemovalsHalted, "True/"+v1alpha1.ReasonMassRemoval))
		var left v1alpha1.PnPDeviceList
		Expect(admin.List(ctx, &left, client.InNamespace(s.namespace))).To(Succeed())
		Expect(len(left.Items)).To(BeNumerically(">=", count-4-most))
	})

	It("lets objects go that are given Retain, and takes them back", func() {
		s := fleet(clearing)
		Expect(admin.DeleteAllOf(ctx, &v1alpha1.PnPDevice{}, client.InNamespace(s.namespace))).To(Succeed())
		s.eventuallyHub(haveCondition(v1alpha1.ConditionRemovalsHalted, "True/"+v1alpha1.ReasonMassRemoval))
		var left v1alpha1.PnPDeviceList
		Expect(admin.List(ctx, &left, client.InNamespace(s.namespace))).To(Succeed())
		for _, d := range left.Items {
			s.eventually(d.Name, haveMessage("deletionPolicy: Retain"))
			s.edit(d.Name, withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.DeletionPolicy = v1alpha1.DeletionRetain }))
		}
		for _, d := range left.Items {
			s.eventuallyGone(d.Name)
			Expect(s.desired(d.Name)).NotTo(BeEmpty())
			s.create(d.Name, onceApplied, withProperties(`{"targetTemperature": 42}`))
			s.eventually(d.Name, beReady())
		}
		lifted(s)
		s.eventuallyHub(beReady())
	})

	It("is lifted when the declarations are put back", func() {
		s := fleet()
		remove(s)
		s.eventuallyHub(haveCondition(v1alpha1.ConditionRemovalsHalted, "True/"+v1alpha1.ReasonMassRemoval))
		settled(s)
		for i := range count {
			s.edit(name(i), withProperties(`{"targetTemperature": 42}`))
		}
		for i := range count {
			s.eventually(name(i), beReady())
		}
		Expect(removed(s)).To(BeZero())
		lifted(s)
	})

	It("guards the leaves of one device as well", func() {
		s := newSite()
		properties := "{}"
		for i := range count {
			properties = fmt.Sprintf(`{"leaf%d": %d, %s`, i, i, properties[1:])
		}
		properties = properties[:len(properties)-3] + "}"
		s.virtual("one", simulator.Thermostat, simulator.Acknowledge())
		s.virtual("many", simulator.Thermostat, simulator.Acknowledge())
		s.create("one", onceApplied, withProperties(`{"targetTemperature": 42}`))
		s.create("many", onceApplied, withProperties(properties))
		s.eventually("one", beReady())
		s.eventually("many", beReady())
		s.edit("one", withProperties(`{}`)) // what was counted for this one is too old for the other
		s.eventuallyDesired("one", `{}`)
		s.edit("many", withProperties(`{}`))
		s.eventually("many", beStalled(v1alpha1.ReasonMassRemoval))
		Expect(s.desired("many")).To(HaveLen(count))
	})

	It("halts the clearing of deleted objects, and a person lets them go", func() {
		s := fleet(clearing)
		Expect(admin.DeleteAllOf(ctx, &v1alpha1.PnPDevice{}, client.InNamespace(s.namespace))).To(Succeed())
		s.eventuallyHub(haveCondition(v1alpha1.ConditionRemovalsHalted, "True/"+v1alpha1.ReasonMassRemoval))
		Eventually(func(g Gomega) {
			var list v1alpha1.PnPDeviceList
			g.Expect(admin.List(ctx, &list, client.InNamespace(s.namespace))).To(Succeed())
			g.Expect(len(list.Items)).To(BeNumerically(">=", count-most))
			for _, d := range list.Items {
				g.Expect(conditionOf(d, v1alpha1.ConditionStalled).Reason).To(Equal(v1alpha1.ReasonMassRemoval))
			}
		}).Should(Succeed())
		Expect(removed(s)).To(BeNumerically("<=", most))
		s.editHub(annotateHub(v1alpha1.AnnotationConfirmRemovals, "yes"))
		for i := range count {
			s.eventuallyGone(name(i))
		}
		Expect(removed(s)).To(Equal(count))
	})

	emptied := func(s *site, device string) {
		GinkgoHelper()
		s.edit(device, withProperties(`{}`))
	}
	gone := func(s *site, device string) {
		GinkgoHelper()
		Eventually(func() map[string]any { return s.desired(device) }).Should(BeEmpty())
	}
	// stays halts the removals of a device, all of which it holds.
	stays := func(s *site, device string, properties int) {
		GinkgoHelper()
		s.eventually(device, beStalled(v1alpha1.ReasonMassRemoval))
		Expect(s.desired(device)).To(HaveLen(properties))
		s.eventuallyHub(haveCondition(v1alpha1.ConditionRemovalsHalted, "True/"+v1alpha1.ReasonMassRemoval))
	}

	for how, lose := range map[string]func(*site){
		"whose answers came": func(*site) {},
		"whose answer was lost": func(s *site) {
			s.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultStatusAfter, Operation: "Patch*", Device: "a", Status: 503, Count: 1})
		},
	} {
		for then, next := range map[string]func(){"in one process": func() {}, "and over a restart": restartOperator} {
			It("counts removals "+how+" "+then, func() {
				s := newSite()
				having(s, "a", 15)
				having(s, "b", 15)
				lose(s)
				emptied(s, "a")
				s.eventually("a", beReady())
				gone(s, "a")
				next()
				emptied(s, "b")
				stays(s, "b", 15)
			})
		}
	}

	It("does not count what certainly did not happen", func() {
		s := newSite()
		having(s, "a", 15)
		having(s, "b", 15)
		refusal := s.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultStatus, Operation: "Patch*", Device: "a", Status: 429, Count: simulator.Forever})
		emptied(s, "a")
		Eventually(func() int { return s.writes("a") }).Should(BeNumerically(">", 1))
		s.edit("a", withProperties(leaves(15)))
		s.sim.Faults().Remove(refusal)
		s.eventually("a", beReady())
		emptied(s, "b")
		gone(s, "b")
	})

	It("notes small removals in one small patch of the IoTHub, and none of it in those of devices", func() {
		s := newSite()
		having(s, "a", 3)
		before := s.hubObject()
		s.edit("a", withProperties(leaves(2)))
		s.eventually("a", beReady())
		Expect(s.desired("a")).To(HaveLen(2))
		after := s.hubObject()
		Expect(after.Status.Removals.Recent.Count).To(BeEquivalentTo(1))
		Expect(after.Status.Conditions).To(Equal(before.Status.Conditions))
	})

	It("is confirmed for what is halted, and for nothing else", func() {
		s := newSite()
		having(s, "a", 25)
		having(s, "b", 1)
		having(s, "c", 30)
		s.edit("b", withProperties(`{}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.Suspend = true }))
		s.eventually("b", beStalled(v1alpha1.ReasonSuspended))
		emptied(s, "a")
		stays(s, "a", 25)
		s.eventuallyHub(haveRemovalsHalted("25 properties of 1 PnPDevice (a)"))

		By("the confirmation ending with it, although a suspended object has something to remove")
		s.editHub(annotateHub(v1alpha1.AnnotationConfirmRemovals, "a"))
		gone(s, "a")
		s.eventually("a", beReady())
		emptied(s, "c")
		stays(s, "c", 30)
		s.eventuallyHub(haveRemovalsHalted("30 properties of 1 PnPDevice (c)"))
		Expect(s.hubObject().Status.Removals.Confirmed).To(BeNil())

		By("the same confirmation, taken away and put back, being no new one")
		for _, annotations := range []map[string]string{nil, {v1alpha1.AnnotationConfirmRemovals: "a"}} {
			s.editHub(func(hub *v1alpha1.IoTHub) {
				hub.Annotations, hub.Spec.SweepIntervalSeconds = annotations, 1000+int32(len(annotations))
			})
			s.eventuallyHub(HaveField("Status.ObservedGeneration", s.hubObject().Generation))
		}
		stays(s, "c", 30)
		Expect(s.hubObject().Status.LastConfirmedRemovals).To(Equal("a"))
		Expect(s.desired("b")).To(HaveLen(1))
	})

	It("is confirmed over a restart, and while answers are lost, for what was halted before", func() {
		s := newSite()
		having(s, "a", 25)
		having(s, "c", 30)
		emptied(s, "a")
		stays(s, "a", 25)
		outage := s.sim.Faults().Add(simulator.Unavailable().On("Patch*", "a").Times(simulator.Forever))
		s.editHub(annotateHub(v1alpha1.AnnotationConfirmRemovals, "a"))
		s.eventuallyHub(haveCondition(v1alpha1.ConditionRemovalsHalted, "False/"+v1alpha1.ReasonConfirmed))
		writes := s.writes("a")
		Eventually(func() int { return s.writes("a") }).Should(BeNumerically(">", writes))

		By("the next commit being halted beside it")
		manager.stop()
		emptied(s, "c")
		manager = startOperator()
		stays(s, "c", 30)
		s.sim.Faults().Remove(outage)
		gone(s, "a")
		s.eventually("a", beReady())
		stays(s, "c", 30)
	})

	It("is not confirmed for a commit that came while no operator ran", func() {
		s := newSite()
		having(s, "a", 25)
		having(s, "c", 30)
		emptied(s, "a")
		stays(s, "a", 25)
		manager.stop()
		s.editHub(annotateHub(v1alpha1.AnnotationConfirmRemovals, "a"))
		emptied(s, "c")
		manager = startOperator()
		gone(s, "a")
		stays(s, "c", 30)
	})

	It("does not count what is let go without being removed", func() {
		s := fleet()
		Expect(admin.DeleteAllOf(ctx, &v1alpha1.PnPDevice{}, client.InNamespace(s.namespace))).To(Succeed())
		for i := range count {
			s.eventuallyGone(name(i))
		}
		Expect(removed(s)).To(BeZero())
		Expect(s.hubObject()).To(haveCondition(v1alpha1.ConditionRemovalsHalted, "/"))
	})
})

// leaves declares so many properties.
func leaves(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"leaf%d": %d`, i, i)
	}
	return "{" + strings.Join(all, ", ") + "}"
}

// haveRemovalsHalted matches an IoTHub that says how many removals are halted.
func haveRemovalsHalted(count string) gomegatypes.GomegaMatcher {
	return WithTransform(func(h *v1alpha1.IoTHub) string { return conditionOf(h, v1alpha1.ConditionRemovalsHalted).Message }, ContainSubstring("Removals of "+count+" are halted"))
}
