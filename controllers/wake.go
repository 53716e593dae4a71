package controllers

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
	"github.com/pnp-operator/pnp-operator/controllers/cached"
)

// Wakes carries what happened outside the API server to the controllers.
type Wakes struct {
	devices  chan event.TypedGenericEvent[wake] // one PnPDevice has news at its hub
	hubs     chan event.GenericEvent            // an IoTHub has news for its own reconciler
	members  chan event.GenericEvent            // all PnPDevices of an IoTHub can go on
	callers  chan event.GenericEvent            // and so can all its DeviceCommands
	commands chan event.GenericEvent            // one DeviceCommand can go on
}

// NewWakes returns empty channels.
func NewWakes() *Wakes {
	const buffer = 1024
	return &Wakes{
		devices:  make(chan event.TypedGenericEvent[wake], buffer),
		hubs:     make(chan event.GenericEvent, buffer),
		members:  make(chan event.GenericEvent, buffer),
		callers:  make(chan event.GenericEvent, buffer),
		commands: make(chan event.GenericEvent, buffer),
	}
}

// Priorities in the queue of PnPDevices: an edit by a user is 0, the first list after a start is -100.
const (
	priorityEvent = -10
	prioritySweep = -50
)

// wake has one PnPDevice reconciled.
type wake struct {
	key      types.NamespacedName
	priority int
	after    time.Duration
}

func (w *Wakes) device(ctx context.Context, what wake) {
	send(ctx, w.devices, event.TypedGenericEvent[wake]{Object: what})
}

// enqueueMembers has the PnPDevices of an IoTHub reconciled: after what users edit, since there may be ten thousand of them, unless they were edited
// themselves.
func (r *PnPDeviceReconciler) enqueueMembers() handler.EventHandler {
	enqueue := func(ctx context.Context, hub client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		devices, err := cached.MembersOf(ctx, r, client.ObjectKeyFromObject(hub))
		if err != nil {
			return
		}
		for _, device := range devices {
			priority := handler.LowPriority
			if wasEdited(device) {
				priority = 0
			}
			add(q, wake{key: client.ObjectKeyFromObject(device), priority: priority})
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(ctx, e.Object, q)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(ctx, e.ObjectNew, q)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(ctx, e.Object, q)
		},
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(ctx, e.Object, q)
		},
	}
}

// enqueueBehind has what a change concerns reconciled, after what users edit: it may be ten
// thousand objects, also of other namespaces.
func enqueueBehind(find handler.MapFunc) handler.EventHandler {
	enqueue := func(ctx context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request], changed ...client.Object) {
		for _, o := range changed {
			for _, request := range find(ctx, o) {
				add(q, wake{key: request.NamespacedName, priority: handler.LowPriority})
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

// enqueueEdited has what was edited while no operator ran come before the rest of the first list.
func enqueueEdited() handler.EventHandler {
	return handler.Funcs{CreateFunc: func(_ context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if device, ok := e.Object.(*v1alpha1.PnPDevice); ok && e.IsInInitialList && wasEdited(device) {
			add(q, wake{key: client.ObjectKeyFromObject(device)})
		}
	}}
}

// wasEdited reports whether status is about an earlier declaration. An object without status is new: ten thousand of them are no edit.
func wasEdited(device *v1alpha1.PnPDevice) bool {
	return device.Status.ObservedGeneration > 0 && device.Status.ObservedGeneration != device.Generation
}

// enqueueWakes puts wakes into a controller's queue.
func enqueueWakes() handler.TypedEventHandler[wake, reconcile.Request] {
	return handler.TypedFuncs[wake, reconcile.Request]{
		GenericFunc: func(_ context.Context, e event.TypedGenericEvent[wake], q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(q, e.Object)
		},
	}
}

func add(to workqueue.TypedRateLimitingInterface[reconcile.Request], w wake) {
	request := reconcile.Request{NamespacedName: w.key}
	if queue, ok := to.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		queue.AddWithOpts(priorityqueue.AddOpts{Priority: &w.priority, After: w.after}, request)
		return
	}
	to.AddAfter(request, w.after)
}

func (w *Wakes) hub(ctx context.Context, key types.NamespacedName) {
	send(ctx, w.hubs, event.GenericEvent{Object: &v1alpha1.IoTHub{ObjectMeta: named(key)}})
}

func (w *Wakes) command(ctx context.Context, key types.NamespacedName) {
	send(ctx, w.commands, event.GenericEvent{Object: &v1alpha1.DeviceCommand{ObjectMeta: named(key)}})
}

func (w *Wakes) membersOf(ctx context.Context, key types.NamespacedName) {
	send(ctx, w.members, event.GenericEvent{Object: &v1alpha1.IoTHub{ObjectMeta: named(key)}})
	send(ctx, w.callers, event.GenericEvent{Object: &v1alpha1.IoTHub{ObjectMeta: named(key)}})
}

// modelChanged has all that may be checked against a model of a namespace reconciled, after what users edit.
func (w *Wakes) modelChanged(ctx context.Context, namespace string, devices []*v1alpha1.PnPDevice) {
	for _, device := range devices {
		// Those whose model is not known as well: it may be about to be written to their status.
		w.device(ctx, wake{key: types.NamespacedName{Namespace: namespace, Name: device.Name}, priority: prioritySweep})
	}
	send(ctx, w.callers, event.GenericEvent{Object: &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}})
}

func send[E any](ctx context.Context, to chan<- E, e E) {
	select {
	case to <- e:
	case <-ctx.Done():
	}
}

func named(key types.NamespacedName) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}
}
