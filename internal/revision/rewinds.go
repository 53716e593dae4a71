package revision

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/lazymap"
)

// queue of a controller.
type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Rewinds notices that objects were put back to older copies, as by a restore of etcd while the
// operator runs. What status says then was true once: the hub has to be read before it is believed.
// The zero value is ready to use.
type Rewinds struct {
	// Found, if set, is called for each object that was put back.
	Found func()

	mu      sync.Mutex
	objects map[types.UID]struct{} // PnPDevices that were not read since
}

// Observer notices objects that were put back, by what the cache shows of them.
func (w *Rewinds) Observer() handler.Funcs {
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ queue) {
			if !e.IsInInitialList && isUsed(e.Object) {
				w.note(e.Object)
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ queue) {
			if WentBack(e.ObjectOld, e.ObjectNew) {
				w.note(e.ObjectNew)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ queue) { w.Take(e.Object) },
	}
}

func (w *Rewinds) note(o client.Object) {
	if _, is := o.(*v1alpha1.PnPDevice); is {
		w.mu.Lock()
		lazymap.Put(&w.objects, o.GetUID(), struct{}{})
		w.mu.Unlock()
	}
	if w.Found != nil {
		w.Found()
	}
}

// Take reports whether an object was put back since it was asked last.
func (w *Rewinds) Take(o client.Object) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, was := w.objects[o.GetUID()]
	delete(w.objects, o.GetUID())
	return was
}

// PutBack passes updates to an older copy. Where a restore gave the copy a newer resourceVersion,
// the versions of the twin in status tell; what the operator itself wrote passes as well if a
// device was created anew, and costs a pass without a call.
func PutBack() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return WentBack(e.ObjectOld, e.ObjectNew) || statusWentBack(e.ObjectOld, e.ObjectNew)
		},
	}
}

// WentBack reports whether an object is an older copy of itself. The numbers that the API server
// gives only grow.
func WentBack(was, is client.Object) bool {
	return was.GetUID() == is.GetUID() && (IsNewer(was, is) || is.GetGeneration() < was.GetGeneration())
}

// statusWentBack reports whether status is about an earlier state of a twin than before.
func statusWentBack(before, after client.Object) bool {
	was, ok := before.(*v1alpha1.PnPDevice)
	is, same := after.(*v1alpha1.PnPDevice)
	return ok && same && was.Status.Twin != nil && (is.Status.Twin == nil ||
		is.Status.Twin.Version < was.Status.Twin.Version || is.Status.Twin.DesiredVersion < was.Status.Twin.DesiredVersion)
}

// isUsed reports whether an object that has just appeared was worked on before: no status comes
// with what a user creates.
func isUsed(o client.Object) bool {
	switch o := o.(type) {
	case *v1alpha1.PnPDevice:
		return o.Status.Twin != nil
	case *v1alpha1.DeviceCommand:
		return o.Status.RequestID != "" || o.Finished()
	case *v1alpha1.IoTHub:
		return len(o.Status.Conditions) > 0
	}
	return false
}
