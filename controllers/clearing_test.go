package controllers_test

import (
	"fmt"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// notCleared is how many objects were let go with properties left at the hub.
func notCleared() float64 {
	GinkgoHelper()
	families, err := metrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	for _, family := range families {
		if family.GetName() == "pnp_device_not_cleared_total" {
			return family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return 0
}

// protect has config/protection guard IoTHubs, that of the site for one. The API server takes a
// moment to know.
func (s *site) protect() {
	GinkgoHelper()
	s.editHub(annotateHub(v1alpha1.AnnotationReconcileRequestedAt, "now")) // rather than wait for its heartbeat
	s.eventuallyHub(HaveField("Status.Devices.Total", BeNumerically(">", 0)))
	policy, binding := &admissionv1.ValidatingAdmissionPolicy{}, &admissionv1.ValidatingAdmissionPolicyBinding{}
	readDocuments(filepath.Join("..", "config", "protection", "hub-in-use.yaml"), policy, binding)
	Expect(admin.Create(ctx, policy)).To(Succeed())
	Expect(admin.Create(ctx, binding)).To(Succeed())
	DeferCleanup(func() {
		Expect(admin.Delete(ctx, binding)).To(Succeed())
		Expect(admin.Delete(ctx, policy)).To(Succeed())
	})
	Eventually(func() error { return admin.Delete(ctx, s.hubObject(), client.DryRunAll) }).Should(MatchError(ContainSubstring("PnPDevices: delete them first")))
}

// takeAway deletes what a tenant grants, and what an IoTHub of it is built from.
func (s *site) takeAway() {
	GinkgoHelper()
	Expect(admin.DeleteAllOf(ctx, &rbacv1.RoleBinding{}, client.InNamespace(s.namespace))).To(Succeed())
	Expect(admin.DeleteAllOf(ctx, &rbacv1.Role{}, client.InNamespace(s.namespace))).To(Succeed())
	s.deleteSecret()
}

func (s *site) deleteSecret() {
	GinkgoHelper()
	Expect(admin.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(s.namespace))).To(Succeed())
}

func (s *site) deleteHub() error {
	return admin.Delete(ctx, &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "hub"}})
}

func (s *site) eventuallyHubGone() {
	GinkgoHelper()
	Eventually(func() bool { return apierrors.IsNotFound(s.deleteHub()) }).Should(BeTrue())
}

var _ = Describe("Clearing", func() {
	const count = 12
	name := func(i int) string { return fmt.Sprintf("device-%02d", i) }
	// fleet is a site with so many converged devices whose objects clear.
	fleet := func(count int) *site {
		GinkgoHelper()
		s := newSite()
		for i := range count {
			s.virtual(name(i), simulator.Thermostat, simulator.Acknowledge())
			s.create(name(i), clearing, onceApplied, withProperties(`{"targetTemperature": 42}`))
		}
		for i := range count {
			s.eventually(name(i), beReady())
		}
		return s
	}
	left := func(s *site, count int) (n int) {
		GinkgoHelper()
		for i := range count {
			if len(s.desired(name(i))) > 0 {
				n++
			}
		}
		return n
	}
	allGone := func(s *site) {
		GinkgoHelper()
		Eventually(func(g Gomega) {
			var list v1alpha1.PnPDeviceList
			g.Expect(admin.List(ctx, &list, client.InNamespace(s.namespace))).To(Succeed())
			g.Expect(list.Items).To(BeEmpty())
		}, time.Minute).Should(Succeed())
	}
	announced := func(s *site, count int) (n int) {
		GinkgoHelper()
		for i := range count {
			n += len(s.eventsOf(name(i), v1alpha1.ReasonNotCleared))
		}
		return n
	}
	patiently := func() {
		manager.stop()
		manager = startOperatorFor(grace, time.Minute)
		DeferCleanup(restartOperator)
	}
	deleteAll := func(s *site) {
		GinkgoHelper()
		Expect(admin.DeleteAllOf(ctx, &v1alpha1.PnPDevice{}, client.InNamespace(s.namespace))).To(Succeed())
	}

	for order, closing := range map[string]func(*site){
		"devices, hub, Secret and right": func(s *site) {
			deleteAll(s)
			_ = s.deleteHub() // with the protection it is refused
			s.deleteSecret()
			s.takeAway()
		},
		"right and Secret, hub, devices": func(s *site) {
			s.takeAway()
			_ = s.deleteHub()
			deleteAll(s)
		},
	} {
		for how, prepare := range map[string]func(*site){"without": func(*site) {}, "with": (*site).protect} {
			It("ends with nothing left when a site leaves Git, as "+order+", "+how+" the protection", func() {
				patiently()
				s := fleet(count)
				prepare(s)
				before := notCleared()
				s.sim.Faults().Add(simulator.Slow(400*time.Millisecond).On("*", "*").Times(simulator.Forever))
				closing(s)
				allGone(s)
				s.eventuallyHubGone()
				Expect(left(s, count)).To(BeZero())
				Expect(announced(s, count)).To(BeZero())
				Expect(notCleared()).To(Equal(before))
			})
		}
	}

	It("goes on without the Secret, and counts as use of the IoTHub meanwhile", func() {
		patiently()
		s := fleet(1)
		s.protect()
		outage := s.sim.Faults().Add(simulator.Unavailable().On("*", name(0)).Times(simulator.Forever))
		s.deleteSecret()
		s.eventuallyHub(beWaiting(v1alpha1.ReasonSecretNotFound))
		deleteAll(s)
		s.editHub(annotateHub(v1alpha1.AnnotationReconcileRequestedAt, "again"))
		s.eventuallyHub(HaveField("Status.Devices.Clearing", BeEquivalentTo(1)))
		Expect(s.deleteHub()).To(MatchError(ContainSubstring("IoTHub hub has 1 PnPDevices, 1 of them being cleared: delete them first")))
		s.sim.Faults().Remove(outage)
		s.eventuallyGone(name(0))
		Expect(left(s, 1)).To(BeZero())
		s.eventuallyHubGone()
	})

	It("goes on with an IoTHub that is made anew", func() {
		patiently()
		s := fleet(1)
		outage := s.sim.Faults().Add(simulator.Unavailable().On("*", name(0)).Times(simulator.Forever))
		deleteAll(s)
		s.eventuallyHubGone()
		Expect(admin.Create(ctx, s.iotHub())).To(Succeed())
		s.eventuallyHub(beReady())
		s.sim.Faults().Remove(outage)
		s.eventuallyGone(name(0))
		Expect(left(s, 1)).To(BeZero())
		Expect(announced(s, 1)).To(BeZero())
	})

	It("ends loudly at a hub that does not answer, and writes nothing after that", func() {
		s := fleet(1)
		before := notCleared()
		outage := s.sim.Faults().Add(simulator.Unavailable().On("*", "*").Times(simulator.Forever))
		deleteAll(s)
		s.eventuallyHubGone()
		s.takeAway()
		s.eventuallyGone(name(0))
		Eventually(func() int { return announced(s, 1) }).Should(Equal(1))
		Expect(notCleared()).To(Equal(before + 1))
		s.sim.Faults().Remove(outage)
		Expect(left(s, 1)).To(Equal(1))
	})

	It("ends loudly where the hub takes the credential, and refuses it for the write", func() {
		s := fleet(1)
		before := notCleared()
		refuses := simulator.Fault{Kind: simulator.FaultStatus, Status: 401, Code: "IotHubUnauthorizedAccess", Number: 401002}
		s.sim.Faults().Add(refuses.On("Patch*", name(0)).Times(simulator.Forever))
		deleteAll(s)
		s.eventuallyGone(name(0))
		Eventually(func() int { return announced(s, 1) }).Should(Equal(1))
		Expect(notCleared()).To(Equal(before + 1))
		s.eventuallyHub(beReady())
	})

	It("is not denied after the hub took it, whatever keeps the object", func() {
		s := fleet(2)
		meddler.hold(s.namespace)
		DeferCleanup(meddler.hold, "")
		s.sim.Faults().Add(simulator.Unavailable().On("*", name(1)).Times(simulator.Forever))
		deleteAll(s)
		s.eventuallyDesired(name(0), `{}`)
		s.eventuallyHubGone()
		s.takeAway()

		By("finding no hub in a later pass")
		Eventually(func() int { return announced(s, 2) }).Should(BeNumerically(">", 0))
		meddler.hold("")
		allGone(s)
		Expect(s.eventsOf(name(0), v1alpha1.ReasonNotCleared)).To(BeEmpty())
	})

	It("waits for the proof of a mended credential, whatever the one before was refused for", func() {
		s := fleet(1)
		Expect(s.sim.Policies().Disable("service")).To(Succeed())
		s.edit(name(0), withProperties(`{"targetTemperature": 43}`))
		s.eventuallyHub(beStalled(v1alpha1.ReasonUnauthorized))
		s.sim.Faults().Add(simulator.Slow(3*time.Second).On(simulator.OpQuery, "*").Times(1))
		s.rotate("iothubowner")
		By("deleting the object while the proof is under way")
		Eventually(s.sim.Faults().List).Should(ConsistOf(HaveField("Happened", 1)))
		deleteAll(s)
		s.eventuallyGone(name(0))
		Expect(left(s, 1)).To(BeZero())
		Expect(announced(s, 1)).To(BeZero())
	})

	It("never writes to a hub that was suspended, whatever leaves then", func() {
		patiently()
		s := fleet(2)
		s.editHub(hubSuspended(true))
		before := s.writes(name(0)) + s.writes(name(1))
		deleteAll(s)
		s.eventually(name(0), beStalled(v1alpha1.ReasonHubSuspended))
		s.eventuallyHubGone()
		s.takeAway()
		allGone(s)
		Expect(announced(s, 2)).To(Equal(2))
		Expect(s.writes(name(0)) + s.writes(name(1))).To(Equal(before))
	})

	It("halts a mass removal also if the IoTHub leaves with it", func() {
		const many, most = 30, 20
		s := fleet(many)
		s.sim.Faults().Add(simulator.Slow(200*time.Millisecond).On("*", "*").Times(simulator.Forever))
		deleteAll(s)
		s.eventuallyHubGone()
		s.takeAway()
		allGone(s)
		Expect(left(s, many)).To(BeNumerically(">=", many-most))
		Eventually(func() int { return announced(s, many) }).Should(Equal(left(s, many)))
	})
})
