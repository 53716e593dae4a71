package device

import (
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/managedfields"
)

// ownFinalizer has the finalizer of a PnPDevice among the operator's own fields.
func (r *PnPDeviceReconciler) ownFinalizer(ctx context.Context, device *v1alpha1.PnPDevice) (*v1alpha1.PnPDevice, error) {
	changed := device.DeepCopy()
	patch := managedfields.Apply("PnPDevice", device, map[string]any{"finalizers": []string{v1alpha1.FinalizerClear}})
	return changed, r.Patch(ctx, changed, patch, managedfields.Owner, client.ForceOwnership)
}

// finalizerMoves passes the change of the finalizer, and of those that it is a field of.
func finalizerMoves() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld.(*v1alpha1.PnPDevice), e.ObjectNew.(*v1alpha1.PnPDevice)
			lost := controllerutil.ContainsFinalizer(was, v1alpha1.FinalizerClear) && !controllerutil.ContainsFinalizer(is, v1alpha1.FinalizerClear)
			return lost || managedfields.IsForeignFinalizer(is) || isHeldOtherwise(was, is)
		},
	}
}

// isHeldOtherwise reports whether an object that is being deleted, and that others hold, is held by
// other ones than before.
func isHeldOtherwise(was, is *v1alpha1.PnPDevice) bool {
	return !is.DeletionTimestamp.IsZero() && !controllerutil.ContainsFinalizer(is, v1alpha1.FinalizerClear) && !slices.Equal(was.Finalizers, is.Finalizers)
}

// keepFinalizer has the finalizer exactly while the deletion policy needs it, as one of the
// operator's own fields, and returns the object as it is then. A suspended object that owns nothing
// gets none, and neither does one that is too large to be written at all.
func (r *PnPDeviceReconciler) keepFinalizer(ctx context.Context, device *v1alpha1.PnPDevice) (*v1alpha1.PnPDevice, error) {
	has := controllerutil.ContainsFinalizer(device, v1alpha1.FinalizerClear)
	mayWrite := !device.Spec.Suspend && !declaration.IsTooLarge(&device.Spec)
	wants := device.Spec.DeletionPolicy == v1alpha1.DeletionClear && (has || mayWrite || convergence.EntriesOf(&device.Status).OwnsAnything())
	switch {
	case has && wants && managedfields.IsForeignFinalizer(device):
		return r.ownFinalizer(ctx, device)
	case has == wants:
		return device, nil
	}
	changed := device.DeepCopy()
	if wants {
		controllerutil.AddFinalizer(changed, v1alpha1.FinalizerClear)
	} else {
		controllerutil.RemoveFinalizer(changed, v1alpha1.FinalizerClear)
	}
	return changed, r.Patch(ctx, changed, client.MergeFromWithOptions(device, client.MergeFromWithOptimisticLock{}), managedfields.Owner)
}
