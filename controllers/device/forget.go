package device

import (
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/metrics"
	"github.com/pnp-operator/pnp-operator/controllers/rivals"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
)

// forgets drops what sessions remember of a device whose object goes.
func (r *PnPDeviceReconciler) forgets() handler.Funcs {
	return handler.Funcs{DeleteFunc: func(ctx context.Context, e event.DeleteEvent, _ triggers.Queue) {
		device, ok := e.Object.(*v1alpha1.PnPDevice)
		if !ok {
			return
		}
		if session, _ := r.Hubs.ForClearing(cached.HubKey(device)); session != nil && !r.isStillDeclared(ctx, device) {
			session.Forget(device.DeviceID())
		}
		r.clearing.forget(device)
		r.refusals.Over(string(device.UID))
		if r.wasLast(ctx, device) { // somebody may wait to delete the IoTHub
			r.Wakes.Hub(ctx, cached.HubKey(device))
		}
		if others, err := rivals.Of(ctx, r, device); err == nil && len(others) == 0 {
			r.holders.forget(device.DeviceID())
		}
		metrics.DropTelemetry(client.ObjectKeyFromObject(device))
	}}
}

// wasLast reports whether the IoTHub of an object that is gone has no other one.
func (r *PnPDeviceReconciler) wasLast(ctx context.Context, gone *v1alpha1.PnPDevice) bool {
	hasOthers, err := cached.HasMembers(ctx, r, cached.HubKey(gone))
	return err == nil && !hasOthers
}

// isStillDeclared reports whether another object declares the same device at the same IoTHub: what
// memory holds is its.
func (r *PnPDeviceReconciler) isStillDeclared(ctx context.Context, gone *v1alpha1.PnPDevice) bool {
	declarations, err := cached.DeclarationsAt(ctx, r, cached.HubKey(gone), gone.DeviceID())
	return err != nil || slices.ContainsFunc(declarations, func(d *v1alpha1.PnPDevice) bool { return d.UID != gone.UID })
}
