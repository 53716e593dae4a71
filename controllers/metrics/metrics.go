// Package metrics has the metrics of the controllers.
package metrics

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/storable"
)

var (
	hubRequests = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pnp_hub_request_duration_seconds", Help: "Calls to IoT hubs by operation and HTTP status, 0 if no answer arrived.",
		Buckets: []float64{.01, .05, .1, .5, 1, 5, 15, 60},
	}, []string{"operation", "code"})
	// TimeToConverge is the time that a step of a declaration took.
	TimeToConverge = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pnp_device_convergence_seconds", Help: "Time that declarations took: from a generation seen to its write at the hub (patched), and from there to the device's answer (acknowledged).",
		Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
	}, []string{"step"})
	// DriftCorrected counts foreign changes that were put back.
	DriftCorrected = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "pnp_device_drift_corrected_total", Help: "Foreign changes of declared properties that were put back.",
	})
	// DevicesNotCleared counts PnPDevices that were let go with properties left at the hub.
	DevicesNotCleared = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "pnp_device_not_cleared_total", Help: "PnPDevices with deletionPolicy Clear that were let go with properties left at the hub.",
	})
	// StatusPatches counts the patches of status by kind.
	StatusPatches = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pnp_status_patches_total", Help: "Status patches by kind.",
	}, []string{"kind"})
	// CommandOutcomes counts the DeviceCommands that ended.
	CommandOutcomes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pnp_device_commands_total", Help: "DeviceCommands that ended, by outcome.",
	}, []string{"outcome"})
	streamEvents = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pnp_stream_events_total", Help: "Events read from event streams by what they are; Poison cannot be decoded.",
	}, []string{"namespace", "hub", "kind"})
	streamLag = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "pnp_stream_lag_events", Help: "Events that the hub holds and that were not handled, by partition, looked at once a minute.",
	}, []string{"namespace", "hub", "partition"})
	telemetryMessages = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pnp_telemetry_messages_total", Help: "Telemetry messages by hub and component; components beyond the first hundred of a hub count as other.",
	}, []string{"namespace", "hub", "component"})
	sweeps = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pnp_hub_sweeps_total", Help: "Sweeps by result: Complete, Incomplete if devices were set aside whose twins cannot be read by query, Failed.",
	}, []string{"result"})
	devicesSetAside = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "pnp_hub_sweep_devices_set_aside_total", Help: "Devices that sweeps could not read, counted by each sweep.",
	})
	deviceTelemetry = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "pnp_device_telemetry", Help: "Last value of the telemetry that spec.telemetry of a PnPDevice names.",
	}, []string{"namespace", "name", "component", "field"})
)

// outcomes are all that a DeviceCommand can have.
var outcomes = []v1alpha1.CommandOutcome{v1alpha1.CommandSucceeded, v1alpha1.CommandFailed, v1alpha1.CommandUnknown, v1alpha1.CommandExpired}

// Meter counts what the event stream of one IoTHub brings.
type Meter struct {
	hub        types.NamespacedName
	components *sync.Map // those that have a series of their own
}

const (
	maxComponents = 100
	// maxLabel of what a device or a tenant names, in bytes.
	maxLabel = 256
)

// NewMeter returns the meter of an IoTHub.
func NewMeter(hub types.NamespacedName) Meter { return Meter{hub: hub, components: &sync.Map{}} }

// Event counts an event.
func (m Meter) Event(kind eventstream.Kind) {
	streamEvents.WithLabelValues(m.hub.Namespace, m.hub.Name, string(kind)).Inc()
}

// Poison counts an event that cannot be decoded.
func (m Meter) Poison() { m.Event("Poison") }

// Lag shows how far a partition is behind.
func (m Meter) Lag(partition string, events int64) {
	streamLag.WithLabelValues(m.hub.Namespace, m.hub.Name, storable.Text(partition, maxLabel)).Set(float64(events))
}

// Telemetry counts a message. Devices choose the names of components: they must not fill the memory.
func (m Meter) Telemetry(component string) {
	component = storable.Text(component, maxLabel)
	if _, known := m.components.Load(component); !known {
		n := 0
		m.components.Range(func(any, any) bool { n++; return n < maxComponents })
		if n >= maxComponents {
			component = "other"
		} else {
			m.components.Store(component, nil)
		}
	}
	telemetryMessages.WithLabelValues(m.hub.Namespace, m.hub.Name, component).Inc()
}

// Measured shows a number that an object asked for.
func (m Meter) Measured(x session.Measurement) {
	deviceTelemetry.WithLabelValues(x.Object.Namespace, x.Object.Name, storable.Text(x.Component, maxLabel), storable.Text(x.Field, maxLabel)).Set(x.Value)
}

// DropTelemetry removes the series of an object.
func DropTelemetry(object types.NamespacedName) {
	deviceTelemetry.DeletePartialMatch(prometheus.Labels{"namespace": object.Namespace, "name": object.Name})
}

// DropStream removes the series of an IoTHub.
func DropStream(hub types.NamespacedName) {
	labels := prometheus.Labels{"namespace": hub.Namespace, "hub": hub.Name}
	streamEvents.DeletePartialMatch(labels)
	streamLag.DeletePartialMatch(labels)
	telemetryMessages.DeletePartialMatch(labels)
}

// CountSweep counts what became of a sweep.
func CountSweep(outcome session.Swept) {
	result := "Complete"
	switch {
	case outcome.Err != nil:
		result = "Failed"
	case len(outcome.Coverage.Aside) > 0:
		result = "Incomplete"
	}
	sweeps.WithLabelValues(result).Inc()
	devicesSetAside.Add(float64(len(outcome.Coverage.Aside)))
}

func init() {
	metrics.Registry.MustRegister(hubRequests, TimeToConverge, DriftCorrected, DevicesNotCleared, StatusPatches, CommandOutcomes, streamEvents, streamLag, telemetryMessages, deviceTelemetry, sweeps, devicesSetAside)
	// A counter that begins at one has no increase: the first Unknown has to be seen as well.
	for _, outcome := range outcomes {
		CommandOutcomes.WithLabelValues(string(outcome))
	}
}

// ObserveRequest counts a call to a hub.
func ObserveRequest(op iothub.Operation, statusCode int, _ string, d time.Duration) {
	hubRequests.WithLabelValues(op.String(), strconv.Itoa(statusCode)).Observe(d.Seconds())
}
