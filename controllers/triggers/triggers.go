// Package triggers has objects reconciled for what happens outside the API server, and for changes
// of other objects, each with its priority.
package triggers

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Triggers carries what happened outside the API server to the controllers.
type Triggers struct {
	Devices  chan event.TypedGenericEvent[Device] // one PnPDevice has news at its hub
	Hubs     chan event.GenericEvent              // an IoTHub has news for its own reconciler
	Members  chan event.GenericEvent              // all PnPDevices of an IoTHub can go on
	Callers  chan event.GenericEvent              // and so can all its DeviceCommands
	Commands chan event.GenericEvent              // one DeviceCommand can go on
}

// New returns empty channels.
func New() *Triggers {
	const buffer = 1024
	return &Triggers{
		Devices:  make(chan event.TypedGenericEvent[Device], buffer),
		Hubs:     make(chan event.GenericEvent, buffer),
		Members:  make(chan event.GenericEvent, buffer),
		Callers:  make(chan event.GenericEvent, buffer),
		Commands: make(chan event.GenericEvent, buffer),
	}
}

// Priorities in the queue of PnPDevices: an edit by a user is 0, the first list after a start is
// -100.
const (
	PriorityEvent = -10
	PrioritySweep = -50
)

// Device has one PnPDevice reconciled.
type Device struct {
	Key      types.NamespacedName
	Priority int
	After    time.Duration
}

// Device has a PnPDevice reconciled.
func (w *Triggers) Device(ctx context.Context, what Device) {
	Send(ctx, w.Devices, event.TypedGenericEvent[Device]{Object: what})
}

// EnqueueBehind has what a change concerns reconciled, after what users edit: it may be ten
// thousand objects, also of other namespaces.
func EnqueueBehind(find handler.MapFunc) handler.EventHandler {
	enqueue := func(ctx context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request], changed ...client.Object) {
		for _, o := range changed {
			for _, request := range find(ctx, o) {
				Add(q, Device{Key: request.NamespacedName, Priority: handler.LowPriority})
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(ctx, q, e.Object)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(ctx, q, e.ObjectOld, e.ObjectNew)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(ctx, q, e.Object)
		},
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(ctx, q, e.Object)
		},
	}
}

// EnqueueEdited has what was edited while no operator ran come before the rest of the first list.
func EnqueueEdited() handler.EventHandler {
	return handler.Funcs{CreateFunc: func(_ context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if device, ok := e.Object.(*v1alpha1.PnPDevice); ok && e.IsInInitialList && WasEdited(device) {
			Add(q, Device{Key: client.ObjectKeyFromObject(device)})
		}
	}}
}

// WasEdited reports whether status is about an earlier declaration. An object without status is
// new: ten thousand of them are no edit.
func WasEdited(device *v1alpha1.PnPDevice) bool {
	return device.Status.ObservedGeneration > 0 && device.Status.ObservedGeneration != device.Generation
}

// EnqueueDevices puts wakes into a controller's queue.
func EnqueueDevices() handler.TypedEventHandler[Device, reconcile.Request] {
	return handler.TypedFuncs[Device, reconcile.Request]{
		GenericFunc: func(_ context.Context, e event.TypedGenericEvent[Device], q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			Add(q, e.Object)
		},
	}
}

// Add puts a PnPDevice into the queue of a controller, with its priority.
func Add(to workqueue.TypedRateLimitingInterface[reconcile.Request], w Device) {
	request := reconcile.Request{NamespacedName: w.Key}
	if queue, ok := to.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		queue.AddWithOpts(priorityqueue.AddOpts{Priority: &w.Priority, After: w.After}, request)
		return
	}
	to.AddAfter(request, w.After)
}

// Hub has an IoTHub reconciled.
func (w *Triggers) Hub(ctx context.Context, key types.NamespacedName) {
	Send(ctx, w.Hubs, event.GenericEvent{Object: &v1alpha1.IoTHub{ObjectMeta: Named(key)}})
}

// Command has a DeviceCommand reconciled.
func (w *Triggers) Command(ctx context.Context, key types.NamespacedName) {
	Send(ctx, w.Commands, event.GenericEvent{Object: &v1alpha1.DeviceCommand{ObjectMeta: Named(key)}})
}

// MembersOf has the PnPDevices and DeviceCommands of an IoTHub reconciled.
func (w *Triggers) MembersOf(ctx context.Context, key types.NamespacedName) {
	Send(ctx, w.Members, event.GenericEvent{Object: &v1alpha1.IoTHub{ObjectMeta: Named(key)}})
	Send(ctx, w.Callers, event.GenericEvent{Object: &v1alpha1.IoTHub{ObjectMeta: Named(key)}})
}

// ModelChanged has all that may be checked against a model of a namespace reconciled, after what
// users edit.
func (w *Triggers) ModelChanged(ctx context.Context, namespace string, devices []*v1alpha1.PnPDevice) {
	for _, device := range devices {
		// Those whose model is not known as well: it may be about to be written to their status.
		w.Device(ctx, Device{Key: types.NamespacedName{Namespace: namespace, Name: device.Name}, Priority: PrioritySweep})
	}
	Send(ctx, w.Callers, event.GenericEvent{Object: &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}})
}

// Send hands an event to a controller, unless the context ends first.
func Send[E any](ctx context.Context, to chan<- E, e E) {
	select {
	case to <- e:
	case <-ctx.Done():
	}
}

// Named returns the metadata of an object of which no more is known than its name.
func Named(key types.NamespacedName) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}
}
