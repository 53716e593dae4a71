package controllers_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"maps"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	eventwatch "github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// newEventSite is a site whose hub's events are read.
func newEventSite() *site {
	GinkgoHelper()
	s := &site{namespace: newNamespace(), sim: newHub()}
	Expect(admin.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "hub"},
		StringData: map[string]string{
			"connectionString": s.sim.ConnectionString("service"), "events": s.sim.EventHubConnectionString("service"),
		},
	})).To(Succeed())
	Expect(admin.Create(ctx, s.eventHub())).To(Succeed())
	s.eventuallyHub(beReady())
	s.eventuallyHub(beStreaming())
	return s
}

func (s *site) eventHub() *v1alpha1.IoTHub {
	h := s.iotHub()
	h.Spec.Events = &v1alpha1.EventSource{
		ConnectionStringSecretRef: &v1alpha1.SecretKeyReference{Name: "hub", Key: "events"},
		Endpoint:                  s.sim.EventsAddress(), CABundle: string(s.sim.CAPEM()),
	}
	return h
}

func beStreaming() gomegatypes.GomegaMatcher {
	return haveCondition(v1alpha1.ConditionEventStreamReady, "True/"+v1alpha1.ReasonStreaming)
}

// notStreaming matches a hub whose event stream is not ready for a reason, with texts in the message.
func notStreaming(reason string, texts ...string) gomegatypes.GomegaMatcher {
	matchers := []gomegatypes.GomegaMatcher{haveCondition(v1alpha1.ConditionEventStreamReady, "False/"+reason)}
	for _, text := range texts {
		matchers = append(matchers, WithTransform(func(o client.Object) string {
			return conditionOf(o, v1alpha1.ConditionEventStreamReady).Message
		}, ContainSubstring(text)))
	}
	return And(matchers...)
}

// trusted has a first write of the operator come back as an event, so that reads after writes end.
func (s *site) trusted() {
	GinkgoHelper()
	s.virtual("first", simulator.Thermostat, simulator.Acknowledge())
	s.create("first", withProperties(`{"targetTemperature": 1}`))
	s.eventually("first", beReady())
	s.eventuallyHub(WithTransform(func(o client.Object) string {
		return conditionOf(o, v1alpha1.ConditionEventStreamReady).Message
	}, Equal("Device changes arrive as events")))
}

// statusPatches counts the writes to PnPDevices of the namespace from now on. A count is as new as what
// the API server holds when it is asked for.
func (s *site) statusPatches() func() int {
	GinkgoHelper()
	list := &v1alpha1.PnPDeviceList{}
	Expect(admin.List(ctx, list, client.InNamespace(s.namespace))).To(Succeed())
	c, err := client.NewWithWatch(environment.Config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	// It watches again where a watch broke off, as one that falls behind does.
	w, err := watchtools.NewRetryWatcherWithContext(ctx, list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return c.Watch(ctx, &v1alpha1.PnPDeviceList{}, client.InNamespace(s.namespace), &client.ListOptions{Raw: &o})
		},
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(w.Stop)
	var mu sync.Mutex
	writes, seen := 0, versionsOf(list)
	go func() {
		for e := range w.ResultChan() {
			d, ok := e.Object.(*v1alpha1.PnPDevice)
			if !ok {
				return // an error: the count is behind from now on
			}
			mu.Lock()
			seen[d.Name] = d.ResourceVersion
			switch e.Type {
			case watch.Modified:
				writes++
			case watch.Deleted:
				delete(seen, d.Name)
			}
			mu.Unlock()
		}
	}()
	return func() int {
		GinkgoHelper()
		Eventually(func(g Gomega) {
			g.Expect(admin.List(ctx, list, client.InNamespace(s.namespace))).To(Succeed())
			mu.Lock()
			defer mu.Unlock()
			g.Expect(maps.Equal(seen, versionsOf(list))).To(BeTrue(), "the watch is behind the API server")
		}, "30s").Should(Succeed())
		mu.Lock()
		defer mu.Unlock()
		return writes
	}
}

func versionsOf(list *v1alpha1.PnPDeviceList) map[string]string {
	versions := map[string]string{}
	for i := range list.Items {
		versions[list.Items[i].Name] = list.Items[i].ResourceVersion
	}
	return versions
}

// gets counts the twins read since the call log was reset.
func (s *site) gets() int { return s.sim.Calls().Count(simulator.OpGetTwin) }

// reportedValue is the reported value of a property of the default component in status.
func haveReported(name, want string) gomegatypes.GomegaMatcher {
	return WithTransform(func(d *v1alpha1.PnPDevice) string {
		if r := property(d, "", name).Reported; r != nil {
			return string(r.Raw)
		}
		return ""
	}, Equal(want))
}

func (s *site) secretKey(key, value string) {
	GinkgoHelper()
	Eventually(func() error {
		var secret corev1.Secret
		if err := admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, &secret); err != nil {
			return err
		}
		secret.Data[key] = []byte(value)
		return admin.Update(ctx, &secret)
	}).Should(Succeed())
}

// calls counts the calls since the log was reset, but for the sweep's queries.
func (s *site) calls() int { return s.sim.Calls().Total() - s.sim.Calls().Count(simulator.OpQuery) }

// checkpointIsAtTheEnd reports whether the checkpoint vouches for everything that the event hub holds.
func (s *site) checkpointIsAtTheEnd() bool {
	GinkgoHelper()
	var m corev1.ConfigMap
	Expect(admin.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: "checkpoint-" + string(s.hubObject().UID)}, &m)).To(Succeed())
	var c eventwatch.Checkpoint
	Expect(json.Unmarshal([]byte(m.Data["checkpoint.json"]), &c)).To(Succeed())
	for _, p := range s.sim.Events().Partitions() {
		if c.Partitions[p.ID()].SequenceNumber != p.Info().Last {
			return false
		}
	}
	return !c.Resync && len(c.Doubtful) == 0
}

func haveAnswer(words string) gomegatypes.GomegaMatcher {
	return WithTransform(func(d *v1alpha1.PnPDevice) string {
		return property(d, "", "targetTemperature").AckDescription
	}, Equal(words))
}

// rival reads the hub's events with an owner level. The returned function ends it.
func (s *site) rival(level int64) (leave func()) {
	GinkgoHelper()
	roots := x509.NewCertPool()
	Expect(roots.AppendCertsFromPEM(s.sim.CAPEM())).To(BeTrue())
	consumer, err := azeventhubs.NewConsumerClientFromConnectionString(s.sim.EventHubConnectionString("service"), "", "pnp-operator",
		&azeventhubs.ConsumerClientOptions{CustomEndpoint: s.sim.EventsAddress(), TLSConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}})
	Expect(err).NotTo(HaveOccurred())
	reading, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, p := range s.sim.Events().Partitions() {
		client, err := consumer.NewPartitionClient(p.ID(), &azeventhubs.PartitionClientOptions{OwnerLevel: &level})
		Expect(err).NotTo(HaveOccurred())
		all.Go(func() { _, _ = client.ReceiveEvents(reading, 1_000_000, nil) }) // until it leaves
	}
	return func() {
		stop()
		all.Wait()
		Expect(consumer.Close(ctx)).To(Succeed())
	}
}

// gauges are the values of a gauge in a namespace.
func gauges(name, namespace string) []float64 {
	GinkgoHelper()
	families, err := metrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	var values []float64
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if family.GetName() == name && l.GetName() == "namespace" && l.GetValue() == namespace {
					values = append(values, m.GetGauge().GetValue())
				}
			}
		}
	}
	return values
}
