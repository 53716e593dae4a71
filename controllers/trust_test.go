package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// tenantOf is a site of another tenant with a right credential for the same hub.
func (s *site) tenantOf(edits ...func(*v1alpha1.IoTHub)) *site {
	GinkgoHelper()
	return newTenant(s.sim, edits...)
}

// impostor is a site of another tenant, whose own hub bears the name of the site's.
func (s *site) impostor(edits ...func(*v1alpha1.IoTHub)) *site {
	GinkgoHelper()
	return newTenant(newImpostorOf(s.sim), edits...)
}

func newTenant(sim *simulator.Simulator, edits ...func(*v1alpha1.IoTHub)) *site {
	GinkgoHelper()
	s := &site{namespace: newNamespace(), sim: sim}
	s.createSecret(sim.ConnectionString("service"))
	hub := s.iotHub()
	for _, edit := range edits {
		edit(hub)
	}
	Expect(admin.Create(ctx, hub)).To(Succeed())
	s.eventuallyHub(beReady())
	return s
}

func rationed(edit func(*v1alpha1.RequestBudget)) func(*v1alpha1.IoTHub) {
	return func(h *v1alpha1.IoTHub) { h.Spec.RequestBudget = budget(edit) }
}

// readsPerSecond is what the budget of the site's hub allows, of all hubs that bear its name.
func (s *site) readsPerSecond() float64 {
	GinkgoHelper()
	return counted("pnp_hub_budget_requests_per_second", prometheus.Labels{
		"host": s.sim.HostName(), "via": iothub.ViaOf(s.hubObject().Status.Destination), "class": "TwinRead",
	})
}

var _ = Describe("A hub of one's own under the name of somebody else's", func() {
	It("does not ration the other one", func() {
		s := newRationedSite(plenty)
		s.fleet(1)
		s.allReady()
		mallory := s.impostor(rationed(func(b *v1alpha1.RequestBudget) { b.TwinReadsPerSecond, b.DailyMessages = 1, 10 }))
		Eventually(mallory.readsPerSecond).Should(Equal(1.0))
		Expect(s.readsPerSecond()).To(Equal(10_000.0))
		s.edit("d-0", withProperties(`{"targetTemperature": 30}`))
		s.allReady()
	})

	It("does not take its devices, whoever comes first", func() {
		s := newRationedSite(plenty)
		mallory := s.impostor()
		observe := withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.Management = v1alpha1.ManagementObserve })
		for _, one := range []*site{mallory, s} {
			one.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		}
		mallory.create("d", withProperties(`{"targetTemperature": 20}`), observe)
		mallory.eventually("d", HaveField("Status.Twin.Etag", Not(BeEmpty())))
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		Expect(s.get("d").Status.Twin.Hub).NotTo(Equal(mallory.get("d").Status.Twin.Hub))
	})

	It("does not count as the other one once it names that and no credential was accepted there", func() {
		s := newRationedSite(plenty)
		s.fleet(1)
		s.allReady()
		mallory := s.impostor(rationed(func(b *v1alpha1.RequestBudget) { b.TwinReadsPerSecond = 1 }))
		mallory.editHub(func(h *v1alpha1.IoTHub) {
			h.Spec.Endpoint, h.Spec.CABundle = s.hubObject().Spec.Endpoint, s.hubObject().Spec.CABundle
		})
		mallory.eventuallyHub(beStalled(v1alpha1.ReasonUnauthorized))
		Expect(mallory.hubObject().Status.Destination).NotTo(Equal(s.hubObject().Status.Destination))
		Expect(s.readsPerSecond()).To(Equal(10_000.0))
	})
})

var _ = Describe("An IoTHub whose endpoint changes", func() {
	It("has its devices read before anything is believed, and what they own stays theirs", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		before, writes := s.get("d").Status.Twin.Hub, s.writes("d")
		s.sim.Calls().Reset()
		other := newHub() // its certificates are trusted as well from now on
		s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.CABundle += string(other.CAPEM()) })
		Eventually(func() string { return s.get("d").Status.Twin.Hub }).ShouldNot(Equal(before))
		s.eventually("d", beReady())
		Expect(s.reads("d")).To(Equal(1))
		s.eventuallyHub(HaveField("Status.Destination", s.get("d").Status.Twin.Hub))
		s.edit("d", withProperties(`{}`))
		s.eventuallyDesired("d", `{}`)
		Expect(writes).To(Equal(1))
	})

	It("while an object leaves the declaration and is deleted leaves nothing behind", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", clearing, withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		manager.stop()
		other := newHub()
		s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.CABundle += string(other.CAPEM()) })
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		manager = startOperator()
		s.eventuallyDesired("d", `{}`)
	})
})

var _ = Describe("Whoever waits for a number of a budget", func() {
	for name, end := range map[string]func(other *site){
		"goes on when another IoTHub of the hub raises it": func(other *site) { other.ration(plenty) },
		"goes on when the other IoTHub is deleted":         func(other *site) { Expect(admin.Delete(ctx, other.hubObject())).To(Succeed()) },
		"goes on when the other one loses its Secret": func(other *site) {
			Expect(admin.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: other.namespace, Name: "hub"}})).To(Succeed())
		},
		"goes on when the other one moves to a hub of another's": func(other *site) { other.moveTo(newImpostorOf(other.sim)) },
	} {
		It(name, func() {
			s := newRationedSite(plenty)
			s.fleet(8)
			s.allReady()
			other := s.tenantOf(rationed(func(b *v1alpha1.RequestBudget) { b.DailyMessages = 10 }))
			s.edit("d-0", withProperties(`{"targetTemperature": 31}`))
			s.eventually("d-0", beWaiting(v1alpha1.ReasonDailyMessagesUsed))
			end(other)
			s.eventually("d-0", beReady())
			s.expectDesired("d-0", `{"targetTemperature": 31}`)
		})
	}
})

func wrongKey(sim *simulator.Simulator) string {
	return "HostName=" + sim.HostName() + ";SharedAccessKeyName=service;SharedAccessKey=c3RvbGVu"
}

func newImpostorOf(sim *simulator.Simulator) *simulator.Simulator {
	GinkgoHelper()
	other, err := simulator.Start(ctx, simulator.Options{HostName: sim.HostName(), Entra: authority.EntraAuthority})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(other.Close)
	return other
}

// moveTo has the IoTHub name a hub of the same name elsewhere.
func (s *site) moveTo(sim *simulator.Simulator) {
	GinkgoHelper()
	s.secretKey("connectionString", sim.ConnectionString("service"))
	s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.Endpoint, h.Spec.CABundle = sim.Endpoint(), string(sim.CAPEM()) })
}

var _ = Describe("Whoever waits for a device that another object declares", func() {
	for name, end := range map[string]func(holder *site){
		"gets it when the other IoTHub is refused": func(holder *site) { holder.secretKey("connectionString", wrongKey(holder.sim)) },
		"gets it when the other IoTHub is deleted": func(holder *site) { Expect(admin.Delete(ctx, holder.hubObject())).To(Succeed()) },
		"gets it when the other IoTHub moves away": func(holder *site) { holder.moveTo(newImpostorOf(holder.sim)) },
		"gets it when the other object is deleted": func(holder *site) { Expect(admin.Delete(ctx, holder.get("d"))).To(Succeed()) },
		"gets it when the other object's hubRef goes": func(holder *site) {
			holder.edit("d", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.HubRef.Name = "nowhere" }))
		},
	} {
		It(name, func() {
			holder := newSite()
			holder.virtual("d", simulator.Thermostat, simulator.Acknowledge())
			holder.create("d", withProperties(`{"targetTemperature": 20}`))
			holder.eventually("d", beReady())
			s := holder.tenantOf()
			s.create("d", withProperties(`{"targetTemperature": 21}`))
			s.eventually("d", beStalled(v1alpha1.ReasonDeviceAlreadyDeclared))
			end(holder)
			s.eventually("d", beReady())
			s.expectDesired("d", `{"targetTemperature": 21}`)
		})
	}
})

var _ = Describe("Two IoTHubs with one destination", func() {
	It("share it whatever the spelling of its certificates", func() {
		s := newRationedSite(plenty)
		other := s.tenantOf(rationed(func(b *v1alpha1.RequestBudget) { b.TwinReadsPerSecond = 7 }), func(h *v1alpha1.IoTHub) {
			h.Spec.CABundle = "# of the plant\n\n" + h.Spec.CABundle + "\n"
		})
		Expect(other.hubObject().Status.Destination).To(Equal(s.hubObject().Status.Destination))
		Eventually(s.readsPerSecond).Should(Equal(7.0))
		Expect(client.IgnoreNotFound(admin.Delete(ctx, other.hubObject()))).To(Succeed())
		Eventually(s.readsPerSecond).Should(Equal(10_000.0))
	})
})
