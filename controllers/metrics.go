package controllers

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	hubRequests = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pnp_hub_request_duration_seconds", Help: "Calls to IoT hubs by operation and HTTP status, 0 if no answer arrived.",
		Buckets: []float64{.01, .05, .1, .5, 1, 5, 15, 60},
	}, []string{"operation", "code"})
	driftCorrected = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "pnp_device_drift_corrected_total", Help: "Foreign changes of declared properties that were put back.",
	})
	devicesNotCleared = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "pnp_device_not_cleared_total", Help: "PnPDevices with deletionPolicy Clear that were let go with properties left at the hub.",
	})
	statusPatches = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pnp_status_patches_total", Help: "Status patches by kind.",
	}, []string{"kind"})
)

func init() {
	metrics.Registry.MustRegister(hubRequests, driftCorrected, devicesNotCleared, statusPatches)
}

func observeRequest(op string, statusCode int, _ string, d time.Duration) {
	hubRequests.WithLabelValues(op, strconv.Itoa(statusCode)).Observe(d.Seconds())
}
