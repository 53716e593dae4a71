package hub

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
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/lazymap"
)

// DefaultClearWithin is how long a session is kept for clearing after its IoTHub, its Secret or the
// right to read that is gone.
const DefaultClearWithin = 5 * time.Minute

// goneHubs are IoTHubs as they were when they went. Each is there for as long as its session is.
// The zero value is ready to use.
type goneHubs struct {
	mu   sync.Mutex
	hubs map[types.NamespacedName]*v1alpha1.IoTHub
}

// observer keeps what an IoTHub was when it went.
func (g *goneHubs) observer() handler.Funcs {
	return handler.Funcs{DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ triggers.Queue) {
		if hub, ok := e.Object.(*v1alpha1.IoTHub); ok {
			g.mu.Lock()
			defer g.mu.Unlock()
			lazymap.Put(&g.hubs, client.ObjectKeyFromObject(hub), hub.DeepCopy())
		}
	}}
}

// get returns an IoTHub as it was when it went, nil if that is not known.
func (g *goneHubs) get(key types.NamespacedName) *v1alpha1.IoTHub {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hubs[key]
}

func (g *goneHubs) forget(key types.NamespacedName) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.hubs, key)
}

// isBack forgets an IoTHub that another object has taken the place of.
func (g *goneHubs) isBack(hub *v1alpha1.IoTHub) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := client.ObjectKeyFromObject(hub)
	if gone := g.hubs[key]; gone != nil && gone.UID != hub.UID {
		delete(g.hubs, key)
	}
}

// Gone returns an IoTHub as it was when it went, nil if that is not known. It is known for as long
// as its session is kept.
func (r *IoTHubReconciler) Gone(hub types.NamespacedName) *v1alpha1.IoTHub { return r.gone.get(hub) }

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
