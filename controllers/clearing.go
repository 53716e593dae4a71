package controllers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/lazymap"
)

// DefaultClearWithin is how long a session is kept for clearing after its IoTHub, its Secret or the
// right to read that is gone.
const DefaultClearWithin = 5 * time.Minute

// clearing is what both reconcilers know of deletions beyond the API server and the hub. The zero
// value is ready to use.
type clearing struct {
	mu sync.Mutex
	// gone are IoTHubs as they were when they went. Each is there for as long as its session is.
	gone map[types.NamespacedName]*v1alpha1.IoTHub
	// settled are objects that are being deleted, of which the hub holds nothing any more, or that
	// were said to leave something there.
	settled map[types.UID]struct{}
	// refused is since when the hub has refused to have objects cleared.
	refused map[types.UID]time.Time
}

// left is a predicate that lets everything pass: it keeps what an IoTHub was when it went.
func (c *clearing) left() predicate.Predicate {
	return predicate.Funcs{DeleteFunc: func(e event.DeleteEvent) bool {
		if hub, ok := e.Object.(*v1alpha1.IoTHub); ok {
			c.mu.Lock()
			defer c.mu.Unlock()
			lazymap.Put(&c.gone, client.ObjectKeyFromObject(hub), hub.DeepCopy())
		}
		return true
	}}
}

// goneHub returns an IoTHub as it was when it went, nil if that is not known.
func (c *clearing) goneHub(key types.NamespacedName) *v1alpha1.IoTHub {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone[key]
}

func (c *clearing) forgetHub(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.gone, key)
}

// isBack forgets an IoTHub that another object has taken the place of.
func (c *clearing) isBack(hub *v1alpha1.IoTHub) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := client.ObjectKeyFromObject(hub)
	if gone := c.gone[key]; gone != nil && gone.UID != hub.UID {
		delete(c.gone, key)
	}
}

// settle says that nothing is left to do for an object but to let it go: the hub took the patch, a
// read showed nothing of it, or it was said to leave something there.
func (c *clearing) settle(device *v1alpha1.PnPDevice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lazymap.Put(&c.settled, device.UID, struct{}{})
}

func (c *clearing) isSettled(device *v1alpha1.PnPDevice) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, is := c.settled[device.UID]
	return is
}

// refusedSince is since when the hub has refused to have an object cleared, which it does now.
func (c *clearing) refusedSince(device *v1alpha1.PnPDevice, now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	since, known := c.refused[device.UID]
	if !known {
		since = now
		lazymap.Put(&c.refused, device.UID, since)
	}
	return since
}

// isBackAgain is a predicate that lets everything pass: an object that was put back to a copy from
// before its deletion has something to clear again.
func (c *clearing) isBackAgain() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		if device, ok := e.ObjectNew.(*v1alpha1.PnPDevice); ok && device.DeletionTimestamp.IsZero() && !e.ObjectOld.GetDeletionTimestamp().IsZero() {
			c.forget(device)
		}
		return true
	}}
}

func (c *clearing) forget(device *v1alpha1.PnPDevice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.settled, device.UID)
	delete(c.refused, device.UID)
}

// retire ends the session of an IoTHub that cannot be used any more. If objects may have to be
// cleared at the hub, it is kept for that, as long as nothing but time speaks against it: a hub
// that does not answer, or what the session was built from being gone.
func (r *IoTHubReconciler) retire(ctx context.Context, hub types.NamespacedName, why error) {
	if h, ok := errors.AsType[*halt.Error](why); ok && !h.Missing || !r.mayClear(ctx, hub) {
		r.Hubs.Drop(hub)
		return
	}
	r.Hubs.Keep(hub, r.ClearWithin, func() {
		r.Wakes.Hub(r.lifetime, hub)
		r.wakeDeleted(r.lifetime, hub)
	})
}

// mayClear reports whether any object of an IoTHub is cleared when it is deleted.
func (r *IoTHubReconciler) mayClear(ctx context.Context, hub types.NamespacedName) bool {
	devices, err := cached.MembersOf(ctx, r, hub)
	return err != nil || slices.ContainsFunc(devices, func(d *v1alpha1.PnPDevice) bool {
		return controllerutil.ContainsFinalizer(d, v1alpha1.FinalizerClear)
	})
}

// wakeDeleted has the objects of an IoTHub that are being deleted reconciled.
func (r *IoTHubReconciler) wakeDeleted(ctx context.Context, hub types.NamespacedName) {
	devices, err := cached.MembersOf(ctx, r, hub)
	if err != nil {
		return // the cache has the index
	}
	for _, device := range devices {
		if isBeingCleared(device) {
			r.Wakes.Device(ctx, triggers.Device{Key: client.ObjectKeyFromObject(device)})
		}
	}
}

// isBeingCleared reports whether an object is being deleted and holds something to clear.
func isBeingCleared(device *v1alpha1.PnPDevice) bool {
	return !device.DeletionTimestamp.IsZero() && controllerutil.ContainsFinalizer(device, v1alpha1.FinalizerClear)
}

// obstacleOf is what keeps an IoTHub from having a session until a person acts, "" if nothing does.
func obstacleOf(outcome error) string {
	if h, ok := errors.AsType[*halt.Error](outcome); ok && !h.Ready && !h.KeepStatus {
		return h.Reason
	}
	return ""
}
