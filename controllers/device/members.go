package device

import (
	"context"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
)

// enqueueMembers has the PnPDevices of an IoTHub reconciled: after what users edit, since there may
// be ten thousand of them, unless they were edited themselves.
func (r *PnPDeviceReconciler) enqueueMembers() handler.EventHandler {
	enqueue := func(ctx context.Context, hub client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		devices, err := cached.MembersOf(ctx, r, client.ObjectKeyFromObject(hub))
		if err != nil {
			return
		}
		for _, device := range devices {
			priority := handler.LowPriority
			if triggers.WasEdited(device) {
				priority = 0
			}
			triggers.Add(q, triggers.Device{Key: client.ObjectKeyFromObject(device), Priority: priority})
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
