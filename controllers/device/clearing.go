package device

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/lazymap"
)

// clearing is what the reconciler knows of deletions beyond the API server and the hub. The zero
// value is ready to use.
type clearing struct {
	mu sync.Mutex
	// settled are objects that are being deleted, of which the hub holds nothing any more, or that
	// were said to leave something there.
	settled map[types.UID]struct{}
	// refused is since when the hub has refused to have objects cleared.
	refused map[types.UID]time.Time
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

// observer has an object that was put back to a copy from before its deletion cleared again.
func (c *clearing) observer() handler.Funcs {
	return handler.Funcs{UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ triggers.Queue) {
		if device, ok := e.ObjectNew.(*v1alpha1.PnPDevice); ok && device.DeletionTimestamp.IsZero() && !e.ObjectOld.GetDeletionTimestamp().IsZero() {
			c.forget(device)
		}
	}}
}

func (c *clearing) forget(device *v1alpha1.PnPDevice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.settled, device.UID)
	delete(c.refused, device.UID)
}
