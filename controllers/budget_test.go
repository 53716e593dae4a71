package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// budget is plenty but for what a spec is about.
func budget(edit func(*v1alpha1.RequestBudget)) v1alpha1.RequestBudget {
	b := plenty
	edit(&b)
	return b
}

// newRationedSite is a site whose hub may be asked only so much.
func newRationedSite(b v1alpha1.RequestBudget, edits ...func(*v1alpha1.IoTHub)) *site {
	GinkgoHelper()
	s := &site{namespace: newNamespace(), sim: newHub()}
	s.createSecret(s.sim.ConnectionString("service"))
	hub := s.iotHub()
	hub.Spec.RequestBudget = b
	for _, edit := range edits {
		edit(hub)
	}
	Expect(admin.Create(ctx, hub)).To(Succeed())
	s.eventuallyHub(beReady())
	return s
}

// fleet adds n virtual devices, declared as d-0 and so on.
func (s *site) fleet(n int, edits ...func(*v1alpha1.PnPDevice)) (names []string) {
	GinkgoHelper()
	for i := range n {
		names = append(names, fmt.Sprintf("d-%d", i))
		s.virtual(names[i], simulator.Thermostat, simulator.Acknowledge())
		s.create(names[i], append([]func(*v1alpha1.PnPDevice){withProperties(`{"targetTemperature": 20}`)}, edits...)...)
	}
	return names
}

// allReady waits until all PnPDevices of the site are.
func (s *site) allReady() {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		var list v1alpha1.PnPDeviceList
		g.Expect(admin.List(ctx, &list, client.InNamespace(s.namespace))).To(Succeed())
		for _, d := range list.Items {
			g.Expect(d).To(beReady(), d.Name+": "+ready(d))
		}
	}, "120s", "500ms").Should(Succeed())
}

func (s *site) ration(b v1alpha1.RequestBudget) {
	GinkgoHelper()
	s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.RequestBudget = b })
}

// rate is what the budget of the site's hub allows of a class now.
func (s *site) rate(class string) func() float64 {
	return func() float64 {
		return counted("pnp_hub_budget_requests_per_second", prometheus.Labels{"host": s.sim.HostName(), "class": class})
	}
}

// operations are the calls about a device, in order.
func (s *site) operations(id string) string {
	var names []string
	for _, call := range s.sim.Calls().List(simulator.CallFilter{DeviceID: id}) {
		names = append(names, call.Operation)
	}
	return strings.Join(names, " ")
}

func readyReasons(seen []*v1alpha1.PnPDevice) (all []string) {
	for _, d := range seen {
		all = append(all, conditionOf(d, v1alpha1.ConditionReady).Reason)
	}
	return all
}

var _ = Describe("The request budget", func() {
	It("has defaults for one unit of S1", func() {
		s := newRationedSite(v1alpha1.RequestBudget{})
		Expect(s.hubObject().Spec.RequestBudget).To(Equal(v1alpha1.RequestBudget{
			TwinReadsPerSecond: 50, TwinWritesPerSecond: 25, QueriesPerMinute: 10, CommandsPerSecond: 20, DailyMessages: 40_000,
		}))
		Eventually(s.rate("TwinRead")).Should(Equal(50.0))
		Eventually(s.rate("Query")).Should(BeNumerically("~", 10./60))
	})

	It("counts every try of a call, the one that proves the credential too", func() {
		s := newRationedSite(plenty)
		taken := func(class, priority string) func() int {
			return func() int {
				return int(counted("pnp_hub_budget_taken_total", prometheus.Labels{"host": s.sim.HostName(), "class": class, "priority": priority}))
			}
		}
		Eventually(taken("Query", "Edit")).Should(Equal(1))
		s.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultStatus, Operation: simulator.OpGetTwin, Status: 503, Count: 2})
		s.fleet(1)
		s.allReady()
		s.edit("d-0", withProperties(`{"targetTemperature": 21}`))
		s.allReady()
		Expect(taken("TwinRead", "Edit")()+taken("TwinRead", "FollowUp")()).To(Equal(s.sim.Calls().Count(simulator.OpGetTwin)), "each read, with those that failed")
		Expect(taken("TwinWrite", "Edit")()).To(Equal(s.writes("d-0")))
	})

	It("is shared by the IoTHubs of a host: the lowest number of each holds, and with the last one it is gone", func() {
		s := newRationedSite(plenty)
		Eventually(s.rate("TwinRead")).Should(Equal(10_000.0))
		second := s.iotHub()
		second.Name = "second"
		second.Spec.RequestBudget = budget(func(b *v1alpha1.RequestBudget) { b.TwinReadsPerSecond = 7 })
		Expect(admin.Create(ctx, second)).To(Succeed())
		Eventually(s.rate("TwinRead")).Should(Equal(7.0))
		Expect(s.rate("TwinWrite")()).To(Equal(10_000.0))
		Expect(admin.Delete(ctx, second)).To(Succeed())
		Eventually(s.rate("TwinRead")).Should(Equal(10_000.0))
		Expect(admin.Delete(ctx, s.hubObject())).To(Succeed())
		Eventually(s.rate("TwinRead")).Should(BeZero(), "the series went with the last IoTHub")
	})

	It("takes no word from an IoTHub that only names the host and has no credential for it", func() {
		s := newRationedSite(plenty)
		Eventually(s.rate("TwinRead")).Should(Equal(10_000.0))
		stranger := &site{namespace: newNamespace(), sim: s.sim}
		stranger.createSecret("HostName=" + s.sim.HostName() + ";SharedAccessKeyName=service;SharedAccessKey=c3RvbGVu")
		hub := stranger.iotHub()
		hub.Spec.RequestBudget = budget(func(b *v1alpha1.RequestBudget) { b.TwinReadsPerSecond = 1 })
		Expect(admin.Create(ctx, hub)).To(Succeed())
		stranger.eventuallyHub(beStalled(v1alpha1.ReasonUnauthorized))
		s.fleet(1)
		s.allReady()
		Expect(s.rate("TwinRead")()).To(Equal(10_000.0))
	})

	It("has all converge after a storm of 429, with few calls", func() {
		s := newRationedSite(plenty)
		names := s.fleet(40)
		s.allReady()
		s.sim.Calls().Reset()
		s.sim.SetLimits(simulator.Limits{TwinWritesPerSecond: 5, HoldSeconds: 0.2})
		for _, name := range names {
			s.edit(name, withProperties(`{"targetTemperature": 30}`))
		}
		Eventually(s.rate("TwinWrite")).Should(BeNumerically("<", 10_000.0), "the hub's refusals slow the operator down")
		s.allReady()
		writes := 0
		for _, name := range names {
			s.expectDesired(name, `{"targetTemperature": 30}`)
			writes += s.writes(name)
		}
		Expect(writes).To(BeNumerically("<", 5*len(names)), "writes with those that were refused")
		Expect(counter("pnp_hub_budget_throttled_total", "host", s.sim.HostName())).To(Equal(writes - len(names)))
	})

	It("tells on the IoTHub that the hub throttles", func() {
		s := newRationedSite(plenty)
		s.fleet(1)
		s.allReady()
		fault := s.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultStatus, Operation: simulator.OpPatchDigitalTwin, Status: 429, Count: simulator.Forever})
		s.edit("d-0", withProperties(`{"targetTemperature": 30}`))
		s.eventuallyHub(haveCondition(v1alpha1.ConditionThrottled, "True/"+v1alpha1.ReasonHubThrottles))
		Expect(conditionOf(s.hubObject(), v1alpha1.ConditionThrottled).Message).To(ContainSubstring("twin writes"))
		Expect(kstatusOf(s.hubObject())).To(Equal("Current"))
		s.sim.Faults().Remove(fault)
		s.allReady()
	})

	It("lets the edit of a user go before the cold start of many devices", func() {
		slow := budget(func(b *v1alpha1.RequestBudget) { b.TwinReadsPerSecond, b.TwinWritesPerSecond = 4, 4 })
		s := newRationedSite(slow)
		manager.stop()
		s.fleet(200)
		manager = startOperator()
		Eventually(s.gets, "60s").Should(BeNumerically(">=", 4))
		s.edit("d-150", withProperties(`{"targetTemperature": 33}`))
		Eventually(func() map[string]any { return s.desired("d-150") }, "30s", "20ms").Should(HaveKeyWithValue(target, 33.0))
		Expect(s.gets()).To(BeNumerically("<", 100), "the cold start is far from its end")
		s.eventually("d-150", beReady())
	})

	Context("with waits that are short", func() {
		BeforeEach(func() { // so that no wait counts as long, on however slow a machine
			manager.stop()
			manager = startOperatorWith(time.Minute)
			DeferCleanup(restartOperator)
		})

		It("reads a twin once if its write has to wait", func() {
			s := newRationedSite(budget(func(b *v1alpha1.RequestBudget) { b.TwinWritesPerSecond = 1 }))
			names := s.fleet(5)
			s.allReady()
			for _, name := range names {
				Expect(s.operations(name)).To(HavePrefix("GetTwin PatchDigitalTwin"))
			}
			s.sim.Calls().Reset()
			for _, name := range names {
				s.edit(name, withProperties(`{"targetTemperature": 30}`), annotate(v1alpha1.AnnotationReconcileRequestedAt, "now"))
			}
			s.allReady()
			for _, name := range names {
				Expect(s.operations(name)).To(HavePrefix("GetTwin PatchDigitalTwin"))
				s.eventually(name, HaveField("Status.LastHandledReconcileAt", "now"))
				Expect(s.writes(name)).To(Equal(1))
			}
		})

		It("does not patch status for them", func() {
			s := newRationedSite(plenty)
			names := s.fleet(12)
			s.allReady()
			s.ration(budget(func(b *v1alpha1.RequestBudget) { b.TwinWritesPerSecond = 1 })) // fewer than a slow machine edits
			Eventually(s.rate("TwinWrite")).Should(Equal(1.0))
			seen := map[string]func() []*v1alpha1.PnPDevice{}
			for _, name := range names {
				seen[name] = s.versions(name)
				s.edit(name, withProperties(`{"targetTemperature": 30}`))
			}
			s.allReady()
			Expect(counter("pnp_hub_budget_waits_total", "host", s.sim.HostName())).NotTo(BeZero(), "some had to wait")
			for _, name := range names {
				Expect(readyReasons(seen[name]())).NotTo(ContainElement(v1alpha1.ReasonWaitingForBudget))
				Expect(s.writes(name)).To(Equal(2), "one at the beginning, one for the edit")
			}
		})

		It("has on record what was written before a wait in the same pass", func() {
			s := newRationedSite(budget(func(b *v1alpha1.RequestBudget) { b.TwinWritesPerSecond = 1 }))
			s.virtual("d", "", simulator.Ignore()) // what it reported would be in the way, too
			s.create("d", withProperties(`{"limits": 5}`), onceApplied)
			s.eventually("d", beReady())
			seen := s.versions("d")
			s.edit("d", func(d *v1alpha1.PnPDevice) { d.Spec.Properties = nil }, withComponent("limits", `{"max": 7}`)) // the removal has to come first, in a write of its own
			s.eventually("d", beReady())
			recorded := func(d *v1alpha1.PnPDevice) bool {
				return property(d, "", "limits").Name == "" && property(d, "limits", "max").State == "Pending"
			}
			Expect(slices.ContainsFunc(seen(), recorded)).To(BeTrue(), "the removal is in status before the second write")
			Expect(s.writes("d")).To(Equal(3))
		})
	})

	It("says what an edit waits for that waits for long, and does it in its turn", func() {
		s := newRationedSite(plenty)
		names := s.fleet(8)
		s.allReady()
		s.ration(budget(func(b *v1alpha1.RequestBudget) { b.TwinWritesPerSecond = 1 }))
		Eventually(s.rate("TwinWrite")).Should(Equal(1.0))
		var seen []func() []*v1alpha1.PnPDevice
		for _, name := range names {
			seen = append(seen, s.versions(name))
			s.edit(name, withProperties(`{"targetTemperature": 30}`))
		}
		s.allReady()
		var all []string
		for _, one := range seen {
			all = append(all, readyReasons(one())...)
		}
		Expect(all).To(ContainElement(v1alpha1.ReasonWaitingForBudget))
		for _, name := range names {
			Expect(s.writes(name)).To(Equal(2), "waiting costs no call")
		}
	})

	It("stops the sweep first when the messages of the day run out, and edits last", func() {
		s := newRationedSite(budget(func(b *v1alpha1.RequestBudget) { b.DailyMessages = 60 }), func(h *v1alpha1.IoTHub) { h.Spec.SweepIntervalSeconds = 5 })
		s.fleet(1)
		s.allReady()
		used := func() int {
			return int(counted("pnp_hub_budget_daily_messages", prometheus.Labels{"host": s.sim.HostName()}))
		}
		for used() < 48 {
			s.readNow("d-0")
		}
		queries := s.sim.Calls().Count(simulator.OpQuery)
		Consistently(func() int { return s.sim.Calls().Count(simulator.OpQuery) }, "7s").Should(BeNumerically("<=", queries+1), "one may have been under way")
		s.eventuallyHub(haveCondition(v1alpha1.ConditionThrottled, "True/"+v1alpha1.ReasonSweepsStopped))
		s.edit("d-0", withProperties(`{"targetTemperature": 30}`))
		s.eventually("d-0", beReady())

		for used() < 60 {
			s.readNow("d-0")
		}
		s.edit("d-0", withProperties(`{"targetTemperature": 31}`))
		s.eventually("d-0", beWaiting(v1alpha1.ReasonDailyMessagesUsed))
		s.expectDesired("d-0", `{"targetTemperature": 30}`)
		s.eventuallyHub(haveCondition(v1alpha1.ConditionThrottled, "True/"+v1alpha1.ReasonDailyMessagesUsed))
		s.ration(plenty)
		s.eventually("d-0", beReady())
		s.expectDesired("d-0", `{"targetTemperature": 31}`)
		s.eventuallyHub(haveCondition(v1alpha1.ConditionThrottled, "/"))
	})

	It("asks nothing more of a hub whose messages of the day are used up, until somebody says that it has more", func() {
		s := newRationedSite(plenty)
		names := s.fleet(5)
		s.allReady()
		s.sim.SetLimits(simulator.Limits{DailyMessages: 1})
		for _, name := range names {
			s.edit(name, withProperties(`{"targetTemperature": 30}`))
		}
		for _, name := range names {
			s.eventually(name, beWaiting(v1alpha1.ReasonQuotaExceeded))
		}
		s.eventuallyHub(haveCondition(v1alpha1.ConditionThrottled, "True/"+v1alpha1.ReasonQuotaExceeded))
		Expect(kstatusOf(s.hubObject())).To(Equal("Current"))
		asked := s.sim.Calls().Total()
		before := s.get("d-0").ResourceVersion
		s.edit("d-0", annotate(v1alpha1.AnnotationReconcileRequestedAt, "now"))
		Consistently(s.sim.Calls().Total, time.Second).Should(Equal(asked))
		Expect(s.get("d-0").Status.LastHandledReconcileAt).NotTo(Equal("now"))
		Expect(s.get("d-0").ResourceVersion).NotTo(Equal(before), "of the annotation")

		s.run("early", commandSpec(func(spec *v1alpha1.DeviceCommandSpec) { spec.DeviceRef.Name, spec.Component = "d-0", "" }))
		s.eventuallyCommand("early", haveCondition(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonQuotaExceeded))
		Expect(s.getCommand("early").Annotations).NotTo(HaveKey(v1alpha1.AnnotationAttempt), "what waits for its token is not claimed")

		s.sim.SetLimits(simulator.Limits{})
		s.ration(budget(func(b *v1alpha1.RequestBudget) { b.DailyMessages++ }))
		s.allReady()
		s.eventuallyCommand("early", haveCondition(v1alpha1.ConditionReady, "True/"+v1alpha1.ReasonSucceeded))
		Expect(s.getCommand("early").Status.Attempts).To(Equal(int32(1)))
	})

	It("lets commands wait for their token before they are claimed", func() {
		s := newRationedSite(budget(func(b *v1alpha1.RequestBudget) { b.CommandsPerSecond = 1 }))
		names := s.fleet(6)
		s.allReady()
		for _, name := range names {
			s.run(name, commandSpec(func(spec *v1alpha1.DeviceCommandSpec) { spec.DeviceRef.Name, spec.Component = name, "" }))
		}
		for _, name := range names {
			s.eventuallyCommand(name, haveCondition(v1alpha1.ConditionReady, "True/"+v1alpha1.ReasonSucceeded))
			Expect(s.getCommand(name).Status.Attempts).To(Equal(int32(1)))
		}
		waits := counted("pnp_hub_budget_taken_total", prometheus.Labels{"host": s.sim.HostName(), "class": "Command", "priority": "Command"})
		Expect(waits).To(Equal(6.0))
		Expect(s.sim.Calls().Count(simulator.OpInvokeCommand)).To(Equal(6))
	})

	It("survives the session: a renewed key does not fill it up again", func() {
		s := newRationedSite(plenty)
		s.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultStatus, Operation: simulator.OpGetTwin, Status: 429, Count: 1})
		s.fleet(1)
		Eventually(s.rate("TwinRead")).Should(BeNumerically("<=", 5_500.0))
		s.allReady()
		reduced := s.rate("TwinRead")()
		Expect(s.sim.Policies().Rekey("service")).To(Succeed())
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "hub"}}
		Expect(admin.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(Succeed())
		secret.Data["connectionString"] = []byte(s.sim.ConnectionString("service"))
		Expect(admin.Update(ctx, secret)).To(Succeed())
		asked := s.sim.Calls().Count(simulator.OpQuery)
		Eventually(func() int { return s.sim.Calls().Count(simulator.OpQuery) }).Should(BeNumerically(">", asked), "the new key is proved")
		s.eventuallyHub(beReady())
		Expect(s.rate("TwinRead")()).To(BeNumerically("~", reduced, 2_000))
		Expect(slices.Contains([]float64{10_000}, s.rate("TwinRead")())).To(BeFalse())
	})
})
