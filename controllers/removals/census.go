package removals

import (
	"context"
	"fmt"
	"maps"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// census counts properties of one hub.
type census struct {
	owned   int
	waiting map[types.UID]Request // to be removed
	// resting are those that would be, were their objects not suspended, or observing.
	resting int
}

// pending counts what is to be removed, now or once its objects are resumed, beside what was
// confirmed.
func (c census) pending(confirmed members) int {
	n := c.resting
	for one := range beyond(confirmed, maps.Values(c.waiting)) {
		n += len(one.Leaves)
	}
	return n
}

// takeCensus counts the properties that the hub's objects own, and those that are to be removed
// now. The window, if there is one, forgets what is declared again.
func takeCensus(ctx context.Context, reader client.Reader, hub *v1alpha1.IoTHub, w *window) (census, error) {
	devices, err := cached.MembersOf(ctx, reader, client.ObjectKeyFromObject(hub))
	if err != nil {
		return census{}, fmt.Errorf("counting owned properties: %w", err)
	}
	c := census{waiting: map[types.UID]Request{}}
	for _, device := range devices {
		declared, err := declaration.Of(&device.Spec)
		owned, waiting, resting := ownedBy(device, declared, hub)
		c.owned += owned
		if err != nil && device.DeletionTimestamp == nil {
			continue // nothing of it is removed
		}
		c.resting += resting
		if len(waiting.Leaves) > 0 {
			c.waiting[device.UID] = waiting
		}
		if w != nil && device.DeletionTimestamp == nil {
			w.declared(device.UID, declared)
		}
	}
	return c, nil
}

// ownedBy counts what an object owns at a hub, lists what of it is to be removed, and counts what is not for
// now, because the object is suspended or observes.
func ownedBy(device *v1alpha1.PnPDevice, declared twin.Declaration, hub *v1alpha1.IoTHub) (owned int, waiting Request, resting int) {
	waiting = Request{Object: device.UID, name: device.Name, Member: MemberOf(device.UID, device.Generation), shown: showsHalt(device)}
	if !convergence.IsOfHost(device, hub.Spec.HostName) {
		return 0, waiting, 0
	}
	removes, clears := canRemove(device), device.DeletionTimestamp != nil
	for leaf, p := range convergence.PropertiesOf(&device.Status) {
		if !convergence.IsHeld(p) {
			continue
		}
		owned++
		switch _, kept := declared[leaf]; {
		case removes && (clears || !kept):
			waiting.Leaves = append(waiting.Leaves, leaf)
		case !clears && !kept:
			resting++
		}
	}
	return owned, waiting, resting
}

// showsHalt reports whether the object says, of this very generation, that its removals are halted.
func showsHalt(device *v1alpha1.PnPDevice) bool {
	c := apimeta.FindStatusCondition(device.Status.Conditions, v1alpha1.ConditionStalled)
	return c != nil && c.Reason == v1alpha1.ReasonMassRemoval && c.ObservedGeneration == device.Generation
}

// canRemove reports whether anything of an object is removed once nothing but its IoTHub stops that.
// All else counts once it can be.
func canRemove(device *v1alpha1.PnPDevice) bool {
	switch {
	case device.Spec.Suspend, device.Spec.Management == v1alpha1.ManagementObserve:
		return false
	case device.DeletionTimestamp == nil:
		return true
	}
	return device.Spec.DeletionPolicy == v1alpha1.DeletionClear && controllerutil.ContainsFinalizer(device, v1alpha1.FinalizerClear)
}
