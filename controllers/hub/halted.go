package hub

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/removals"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// brake keeps what is halted and what is confirmed in status. Objects that wait for removals which
// no condition told of are told once those go on.
func (r *IoTHubReconciler) brake(ctx context.Context, hub *v1alpha1.IoTHub) error {
	hasEnded, err := r.Brake.Describe(ctx, r, hub)
	if hasEnded {
		r.Wakes.MembersOf(ctx, client.ObjectKeyFromObject(hub))
	}
	return err
}

// enqueueHalted has an IoTHub whose removals are halted look at what is left of them soon after one
// of its PnPDevices is edited or goes.
func (r *IoTHubReconciler) enqueueHalted() handler.EventHandler {
	look := func(ctx context.Context, o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		device, ok := o.(*v1alpha1.PnPDevice)
		if ok && r.isHalted(ctx, cached.HubKey(device)) {
			q.AddAfter(reconcile.Request{NamespacedName: cached.HubKey(device)}, waits.Census.Most)
		}
	}
	return handler.Funcs{
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() {
				look(ctx, e.ObjectOld, q)
				look(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			look(ctx, e.Object, q)
		},
	}
}

func (r *IoTHubReconciler) isHalted(ctx context.Context, key types.NamespacedName) bool {
	if _, pulled := r.Brake.Halted(key); pulled {
		return true
	}
	hub := &v1alpha1.IoTHub{}
	return r.Get(ctx, key, hub) == nil && removals.IsHaltedIn(hub)
}
