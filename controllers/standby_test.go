package controllers_test

import (
	"context"
	"net/http"
	"path"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/pnp-operator/pnp-operator/controllers"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// holdLease makes the lease of replicas, held by nobody that runs, for the length of a spec.
func holdLease() *coordinationv1.Lease {
	GinkgoHelper()
	holder, now := "another", metav1.NowMicro()
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "standby"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: new(int32(3600)), AcquireTime: &now, RenewTime: &now},
	}
	DeferCleanup(func() { // the replica that leads makes it anew
		Expect(client.IgnoreNotFound(admin.Delete(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "standby"}}))).To(Succeed())
	})
	Expect(admin.Create(ctx, lease)).To(Succeed())
	return lease
}

// startReplica starts an operator that waits for the lease, and returns the resources that it watches.
func startReplica() (o *operator, watched func() []string) {
	GinkgoHelper()
	var mu sync.Mutex
	var resources []string
	cfg := rest.CopyConfig(environment.Config)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Get("watch") == "true" {
				mu.Lock()
				defer mu.Unlock()
				resources = append(resources, path.Base(r.URL.Path))
			}
			return next.RoundTrip(r)
		})
	})
	second := time.Second
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0", Controller: config.Controller{SkipNameValidation: new(true)},
		LeaderElection: true, LeaderElectionID: "standby", LeaderElectionNamespace: operatorNamespace, RetryPeriod: &second, LeaderElectionReleaseOnCancel: true,
	})
	Expect(err).NotTo(HaveOccurred())
	lifetime, cancel := context.WithCancel(ctx)
	library := models.NewLibrary(cached.Models{Reader: mgr.GetClient(), API: mgr.GetAPIReader()}, models.NewRepositories(nil, nil))
	Expect(controllers.Setup(lifetime, mgr, controllers.Options{
		Models: library, AllowedHubSuffixes: []string{".azure-devices.net", "localhost"}, Concurrency: 1, Namespace: operatorNamespace,
	})).To(Succeed())
	o = &operator{cancel: cancel, done: make(chan error, 1)}
	go func() { o.done <- mgr.Start(lifetime) }()
	return o, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return resources
	}
}

var _ = Describe("A replica that waits for the lease", func() {
	It("has all objects in its caches, and neither writes nor counts anything before it leads", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		manager.stop()
		devices := func() float64 {
			total := 0.0
			for _, ready := range []string{"True", "False", ""} {
				total += counted("pnp_devices", prometheus.Labels{"namespace": s.namespace, "ready": ready})
			}
			return total
		}
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		lease := holdLease()
		replica, watched := startReplica()
		leads := true
		DeferCleanup(func() {
			if leads {
				replica.stop()
			}
			manager = startOperator()
		})
		Eventually(watched).Should(ContainElements("iothubs", "pnpdevices", "devicecommands", "devicemodels"))
		Consistently(devices, time.Second).Should(BeZero())
		Expect(s.get("d").Status.Conditions).To(BeEmpty())
		Expect(admin.Delete(ctx, lease)).To(Succeed())
		s.eventually("d", beReady())
		Eventually(devices).Should(Equal(1.0))
		replica.stop()
		leads = false
		Expect(devices()).To(BeZero())
	})
})
