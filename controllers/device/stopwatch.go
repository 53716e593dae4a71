package device

import (
	"context"
	"sync"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/metrics"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Steps of a declaration, as the label of the metric.
const (
	// stepPatched is from the first sight of a generation to its first write at the hub.
	stepPatched = "patched"
	// stepAcknowledged is from there to the device's answer to all of it.
	stepAcknowledged = "acknowledged"
)

// stopwatches measure how long declarations take. What needs no write is not measured, nor what a restart comes between: only memory knows when a
// generation was seen. The zero value is ready to use.
type stopwatches struct {
	mu      sync.Mutex
	running map[types.UID]stopwatch
}

// stopwatch is one generation on its way.
type stopwatch struct {
	generation    int64
	seen, patched time.Time
}

// observer starts a stopwatch for a generation that no status is about, before the object waits in
// the queue.
func (s *stopwatches) observer() handler.Funcs {
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ triggers.Queue) { s.start(e.Object, time.Now()) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ triggers.Queue) { s.start(e.ObjectNew, time.Now()) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ triggers.Queue) { s.drop(e.Object.GetUID()) },
	}
}

func (s *stopwatches) start(o client.Object, now time.Time) {
	device, ok := o.(*v1alpha1.PnPDevice)
	if !ok || device.Generation == device.Status.ObservedGeneration {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		s.running = map[types.UID]stopwatch{}
	}
	if s.running[device.UID].generation < device.Generation {
		s.running[device.UID] = stopwatch{generation: device.Generation, seen: now}
	}
}

func (s *stopwatches) drop(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, uid)
}

// patched takes note of what the hub took. Drift that was put back is no step of a declaration.
func (s *stopwatches) patched(device *v1alpha1.PnPDevice, changes []twin.Change, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.running[device.UID]
	if !ok || w.generation != device.Generation || !w.patched.IsZero() || !declares(changes) {
		return
	}
	w.patched = now
	s.running[device.UID] = w
	metrics.TimeToConverge.WithLabelValues(stepPatched).Observe(now.Sub(w.seen).Seconds())
}

func declares(changes []twin.Change) bool {
	for _, c := range changes {
		if c.Cause != twin.Drifted {
			return true
		}
	}
	return false
}

// settled stops the stopwatch of a generation that the device has acknowledged.
func (s *stopwatches) settled(device *v1alpha1.PnPDevice, now time.Time) {
	if device.Status.ObservedGeneration != device.Generation || !apimeta.IsStatusConditionTrue(device.Status.Conditions, v1alpha1.ConditionAcknowledged) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.running[device.UID]
	if !ok || w.generation != device.Generation {
		return
	}
	delete(s.running, device.UID)
	if !w.patched.IsZero() {
		metrics.TimeToConverge.WithLabelValues(stepAcknowledged).Observe(now.Sub(w.patched).Seconds())
	}
}
