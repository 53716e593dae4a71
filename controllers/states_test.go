package controllers_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

func file(path ...string) string {
	GinkgoHelper()
	raw, err := os.ReadFile(filepath.Join(append([]string{".."}, path...)...))
	Expect(err).NotTo(HaveOccurred())
	return string(raw)
}

// counted is the value of a metric whose labels include the given ones; 0 if there is none.
func counted(name string, labels prometheus.Labels) float64 {
	GinkgoHelper()
	families, err := metrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			has := prometheus.Labels{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			fits := true
			for k, v := range labels {
				fits = fits && has[k] == v
			}
			if fits {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue() // it is one of them
			}
		}
	}
	return 0
}

var _ = Describe("Metrics", func() {
	It("count devices by what Ready says, and hubs by their conditions", func() {
		s := newSite()
		s.virtual("good", simulator.Thermostat, simulator.Acknowledge())
		s.create("good", withProperties(`{"targetTemperature": 20}`))
		s.create("absent", withProperties(`{"targetTemperature": 20}`))
		s.eventually("good", beReady())
		s.eventually("absent", beStalled(v1alpha1.ReasonDeviceNotFound))
		count := func(ready, reason string) func() float64 {
			return func() float64 {
				return counted("pnp_devices", prometheus.Labels{"namespace": s.namespace, "hub": "hub", "ready": ready, "reason": reason})
			}
		}
		Eventually(count("True", v1alpha1.ReasonDeviceAcknowledged)).Should(Equal(1.0))
		Eventually(count("False", v1alpha1.ReasonDeviceNotFound)).Should(Equal(1.0))
		Expect(counted("pnp_hub_condition", prometheus.Labels{"namespace": s.namespace, "type": "Ready", "reason": v1alpha1.ReasonAuthenticated})).To(Equal(1.0))
		Expect(admin.Delete(ctx, &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "absent"}})).To(Succeed())
		Eventually(count("False", v1alpha1.ReasonDeviceNotFound)).Should(BeZero())
		Expect(client.IgnoreNotFound(admin.Delete(ctx, s.hubObject()))).To(Succeed())
		Eventually(func() float64 {
			return counted("pnp_hub_condition", prometheus.Labels{"namespace": s.namespace, "type": "Ready"})
		}).Should(BeZero())
	})

	It("are those that the alerts and docs/operations.md speak of", func() {
		own := regexp.MustCompile(`\bpnp_[a-z_]+`)
		source := file("controllers", "metrics", "metrics.go") + file("controllers", "metrics", "states.go") + file("controllers", "metrics", "budgets.go")
		inSource := regexp.MustCompile(`"(pnp_[a-z_]+)"`).FindAllStringSubmatch(source, -1)
		Expect(len(inSource)).To(BeNumerically(">=", 10))
		documented := file("docs", "operations.md")
		var names []string
		for _, m := range inSource {
			names = append(names, m[1])
			Expect(documented).To(ContainSubstring("| `"+m[1]+"` |"), "docs/operations.md lacks it")
		}
		for _, name := range own.FindAllString(file("config", "prometheus", "alerts.yaml")+documented+file("config", "grafana", "dashboard.json"), -1) {
			base := strings.TrimSuffix(strings.TrimSuffix(name, "_count"), "_bucket")
			Expect(slices.Contains(names, base)).To(BeTrue(), name+" is no metric of ours")
		}
		alerts := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(file("config", "prometheus", "alerts.yaml"), -1)
		Expect(alerts).NotTo(BeEmpty())
		for _, a := range alerts {
			Expect(documented).To(ContainSubstring("\n### "+a[1]+"\n"), "docs/operations.md does not say what to do")
			Expect(file("config", "prometheus", "alerts.yaml")).To(ContainSubstring("docs/operations.md#" + strings.ToLower(a[1])))
			Expect(strings.Count(file("config", "prometheus", "alerts_test.yaml"), "alertname: "+a[1])).To(BeNumerically(">=", 2), "it is tested when it fires and when not")
		}
	})
})
