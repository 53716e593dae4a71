package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
)

var (
	devicesDescription = prometheus.NewDesc("pnp_devices",
		"PnPDevices by IoTHub, Ready and its reason.", []string{"namespace", "hub", "ready", "reason"}, nil)
	hubConditionDescription = prometheus.NewDesc("pnp_hub_condition",
		"Conditions of IoTHubs: 1 if True, 0 if not, with the reason.", []string{"namespace", "hub", "type", "reason"}, nil)
)

// states counts objects by what their status says, from the cache of the replica that leads, when
// Prometheus asks: two replicas that count the same would double every sum.
type states struct{ leading[client.Reader] }

// Objects are those in the cache of the operator that leads.
var Objects = &states{}

func init() { metrics.Registry.MustRegister(Objects) }

// Describe lists what is collected.
func (s *states) Describe(to chan<- *prometheus.Desc) {
	to <- devicesDescription
	to <- hubConditionDescription
}

// Collect counts. Without a cache that is filled there is nothing to tell.
func (s *states) Collect(to chan<- prometheus.Metric) {
	objects := s.latest()
	if objects == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var hubs v1alpha1.IoTHubList
	var devices v1alpha1.PnPDeviceList
	if (*objects).List(ctx, &hubs, client.UnsafeDisableDeepCopy) != nil || (*objects).List(ctx, &devices, client.UnsafeDisableDeepCopy) != nil {
		return
	}
	for i := range hubs.Items {
		hub := &hubs.Items[i]
		for _, c := range hub.Status.Conditions {
			to <- prometheus.MustNewConstMetric(hubConditionDescription, prometheus.GaugeValue, oneIf(c.Status == metav1.ConditionTrue), hub.Namespace, hub.Name, c.Type, c.Reason)
		}
	}
	counts := map[[4]string]float64{}
	for _, device := range devices.Items {
		ready := conditions.ReadyOf(device)
		counts[[4]string{device.Namespace, device.Spec.HubRef.Name, string(ready.Status), ready.Reason}]++
	}
	for labels, n := range counts {
		to <- prometheus.MustNewConstMetric(devicesDescription, prometheus.GaugeValue, n, labels[:]...)
	}
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
