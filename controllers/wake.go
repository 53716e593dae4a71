package controllers

import (
	"context"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Wakes carries what happened outside the API server to the controllers.
type Wakes struct {
	devices chan event.GenericEvent // one PnPDevice has news at its hub
	hubs    chan event.GenericEvent // an IoTHub has news for its own reconciler
	members chan event.GenericEvent // all PnPDevices of an IoTHub can go on
}

// NewWakes returns empty channels.
func NewWakes() *Wakes {
	const buffer = 1024
	return &Wakes{
		devices: make(chan event.GenericEvent, buffer),
		hubs:    make(chan event.GenericEvent, buffer),
		members: make(chan event.GenericEvent, buffer),
	}
}

func (w *Wakes) device(ctx context.Context, key types.NamespacedName) {
	send(ctx, w.devices, event.GenericEvent{Object: &v1alpha1.PnPDevice{ObjectMeta: named(key)}})
}

func (w *Wakes) hub(ctx context.Context, key types.NamespacedName) {
	send(ctx, w.hubs, event.GenericEvent{Object: &v1alpha1.IoTHub{ObjectMeta: named(key)}})
}

func (w *Wakes) membersOf(ctx context.Context, key types.NamespacedName) {
	send(ctx, w.members, event.GenericEvent{Object: &v1alpha1.IoTHub{ObjectMeta: named(key)}})
}

func send(ctx context.Context, to chan<- event.GenericEvent, e event.GenericEvent) {
	select {
	case to <- e:
	case <-ctx.Done():
	}
}

func named(key types.NamespacedName) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}
}

// jittered spreads periodic work by a tenth to either side.
func jittered(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}
