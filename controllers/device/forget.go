package device

import (
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/metrics"
	"github.com/pnp-operator/pnp-operator/controllers/rivals"
)

// forgets drops what sessions remember of a device whose object goes.
func (r *PnPDeviceReconciler) forgets() predicate.Predicate {
	return predicate.Funcs{DeleteFunc: func(e event.DeleteEvent) bool {
		device, ok := e.Object.(*v1alpha1.PnPDevice)
		if !ok {
			return true
		}
		if session, _ := r.Hubs.ForClearing(cached.HubKey(device)); session != nil && !r.isStillDeclared(device) {
			session.Forget(device.DeviceID())
		}
		r.clearing.forget(device)
		r.refusals.Over(string(device.UID))
		if r.wasLast(device) { // somebody may wait to delete the IoTHub
			r.Wakes.Hub(context.Background(), cached.HubKey(device))
		}
		if others, err := rivals.Of(context.Background(), r, device); err == nil && len(others) == 0 {
			r.holders.forget(device.DeviceID())
		}
		metrics.DropTelemetry(client.ObjectKeyFromObject(device))
		return true
	}}
}

// wasLast reports whether the IoTHub of an object that is gone has no other one.
func (r *PnPDeviceReconciler) wasLast(gone *v1alpha1.PnPDevice) bool {
	hasOthers, err := cached.HasMembers(context.Background(), r, cached.HubKey(gone))
	return err == nil && !hasOthers
}

// isStillDeclared reports whether another object declares the same device at the same IoTHub: what memory holds is its.
func (r *PnPDeviceReconciler) isStillDeclared(gone *v1alpha1.PnPDevice) bool {
	declarations, err := cached.DeclarationsAt(context.Background(), r, cached.HubKey(gone), gone.DeviceID())
	return err != nil || slices.ContainsFunc(declarations, func(d *v1alpha1.PnPDevice) bool { return d.UID != gone.UID })
}
