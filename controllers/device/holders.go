package device

import (
	"context"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/rivals"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/lazymap"
)

// holders are the objects that had a device last, of those which more than one object declares. One that
// has a device again after another one has to read it: that one may have written, and what memory and
// status know of it is from before. The zero value is ready to use.
type holders struct {
	mu   sync.Mutex
	last map[heldDevice]types.UID
}

type heldDevice struct{ destination, deviceID string }

// take notes that an object has its device now. isBack is true if another one had it meanwhile; had is
// whether that is so as far as status tells, for want of a record: the operator has just started.
func (h *holders) take(destination string, device *v1alpha1.PnPDevice, isContested, had bool) (isBack bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := heldDevice{destination, device.DeviceID()}
	last, known := h.last[key]
	if isContested {
		lazymap.Put(&h.last, key, device.UID)
	} else {
		delete(h.last, key)
	}
	if !known {
		return had
	}
	return last != device.UID
}

// forget drops what is known of a device that nobody declares any more.
func (h *holders) forget(deviceID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.last, func(of heldDevice, _ types.UID) bool { return of.deviceID == deviceID })
}

// takeHold has an object that won its device read it, if another one had it.
func (r *PnPDeviceReconciler) takeHold(s *scope, others []*v1alpha1.PnPDevice) {
	had := slices.ContainsFunc(others, func(d *v1alpha1.PnPDevice) bool { return convergence.IsAdopted(d, s.Destination) })
	if r.holders.take(s.Destination, s.Device, len(others) > 0, had) {
		s.memory.Unheard()
	}
}

// stillHolds reports whether the object has its device yet, just before it writes: the IoTHub of one that
// comes before it may have been accepted since the pass began.
func (r *PnPDeviceReconciler) stillHolds(ctx context.Context, s *scope) (bool, error) {
	winner, err := rivals.Winner(ctx, r, r.Hubs, s.Device, s.Destination)
	return err == nil && winner.UID == s.Device.UID, err
}
