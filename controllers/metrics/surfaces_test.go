package metrics

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/storable/storabletest"
)

func TestTextFromOutsideIsCleanInLabels(t *testing.T) {
	storabletest.Check(t, map[string]storabletest.Surface{
		"label of telemetry": {Limit: maxLabel, Show: func(t *testing.T, text string) string {
			NewMeter(types.NamespacedName{Namespace: t.Name(), Name: "hub"}).Telemetry(text)
			return labelIn(t, telemetryMessages, "component")
		}},
		"label of a measurement": {Limit: maxLabel, Show: func(t *testing.T, text string) string {
			NewMeter(types.NamespacedName{}).Measured(session.Measurement{Object: types.NamespacedName{Namespace: t.Name()}, Component: text, Field: text})
			return labelIn(t, deviceTelemetry, "field")
		}},
		"label of a partition": {Limit: maxLabel, Show: func(t *testing.T, text string) string {
			NewMeter(types.NamespacedName{Namespace: t.Name()}).Lag(text, 1)
			return labelIn(t, streamLag, "partition")
		}},
	})
}

// labelIn is a label of the series of the test's namespace, which it removes.
func labelIn(t *testing.T, of interface {
	prometheus.Collector
	DeletePartialMatch(labels prometheus.Labels) int
}, name string,
) string {
	t.Helper()
	defer of.DeletePartialMatch(prometheus.Labels{"namespace": t.Name()})
	registry := prometheus.NewRegistry()
	registry.MustRegister(of)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range families[0].GetMetric() {
		labels := map[string]string{}
		for _, l := range one.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["namespace"] == t.Name() {
			return labels[name]
		}
	}
	t.Fatal("there is no series")
	return ""
}
