package controllers

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
)

const (
	// One sync may remove a tenth of a hub's owned properties, and always this many, before a person is asked.
	brakeShare   = 10
	brakeAtLeast = 20
	// What was removed in this window counts as the same sync.
	brakeWindow = 10 * time.Minute
	// A census of a hub's objects is good for this long: ten thousand of them may ask at once.
	censusFor = time.Second
)

// Brake halts the removals of a hub when one sync, a wrong path in Git for example, would remove a large share of what its
// PnPDevices own. The halt itself is kept in the IoTHub's status; memory holds only what is not there yet.
type Brake struct {
	mu   sync.Mutex
	hubs map[types.NamespacedName]*census
}

// census counts properties of one hub.
type census struct {
	takenAt time.Time
	owned   int
	pending map[types.UID]int     // about to be removed, by object
	removed map[types.UID]removal // removed within the window, by object
	halted  bool
}

type removal struct {
	at    time.Time
	count int
}

// NewBrake returns a brake that is off.
func NewBrake() *Brake { return &Brake{hubs: map[types.NamespacedName]*census{}} }

// Allow reports whether count properties of one object's device may be removed now.
func (b *Brake) Allow(ctx context.Context, reader client.Reader, hub *v1alpha1.IoTHub, object types.UID, count int, now time.Time) (bool, error) {
	if c := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionRemovalsHalted); c != nil {
		return c.Reason == v1alpha1.ReasonConfirmed, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(client.ObjectKeyFromObject(hub))
	if err := c.refresh(ctx, reader, client.ObjectKeyFromObject(hub), now); err != nil {
		return false, err
	}
	c.pending[object] = max(c.pending[object], count) // the census may be older than the object's edit
	gone, total := c.sync(now)
	c.halted = c.halted || total > max(brakeAtLeast, (c.owned+gone)/brakeShare)
	return !c.halted, nil
}

// Removed takes note of properties that were removed from one object's device.
func (b *Brake) Removed(hub types.NamespacedName, object types.UID, count int, now time.Time) {
	if count == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(hub)
	c.removed[object] = removal{now, c.removed[object].count + count}
}

func (b *Brake) of(hub types.NamespacedName) *census {
	c, ok := b.hubs[hub]
	if !ok {
		c = &census{removed: map[types.UID]removal{}}
		b.hubs[hub] = c
	}
	return c
}

func (c *census) refresh(ctx context.Context, reader client.Reader, hub types.NamespacedName, now time.Time) error {
	if now.Sub(c.takenAt) < censusFor {
		return nil
	}
	owned, pending, err := countOwned(ctx, reader, hub)
	if err != nil {
		return err
	}
	c.takenAt, c.owned, c.pending = now, owned, pending
	return nil
}

// sync counts what was removed within the window, and that together with what is about to be: the size of the sync that is
// going on. An object whose removal the cache does not show yet counts once.
func (c *census) sync(now time.Time) (gone, total int) {
	maps.DeleteFunc(c.removed, func(_ types.UID, r removal) bool { return now.Sub(r.at) >= brakeWindow })
	for object, count := range c.pending {
		total += max(count, c.removed[object].count)
	}
	for object, r := range c.removed {
		gone += r.count
		if _, counted := c.pending[object]; !counted {
			total += r.count
		}
	}
	return gone, total
}

// Halted reports whether the brake was pulled and not released.
func (b *Brake) Halted(hub types.NamespacedName) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of(hub).halted
}

// Forget drops what is known of a hub, its halt included.
func (b *Brake) Forget(hub types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.hubs, hub)
}

// countOwned counts the properties that the hub's objects own, and those among them that are about to be removed.
func countOwned(ctx context.Context, reader client.Reader, hub types.NamespacedName) (owned int, pending map[types.UID]int, err error) {
	devices, err := membersOf(ctx, reader, hub)
	if err != nil {
		return 0, nil, fmt.Errorf("counting owned properties: %w", err)
	}
	pending = map[types.UID]int{}
	for _, device := range devices {
		o, p := ownedBy(device)
		owned += o
		if p > 0 {
			pending[device.UID] = p
		}
	}
	return owned, pending, nil
}

func ownedBy(device *v1alpha1.PnPDevice) (owned, pending int) {
	declared, err := declaration.Of(&device.Spec)
	if err != nil {
		return 0, 0
	}
	clearing := device.DeletionTimestamp != nil && device.Spec.DeletionPolicy == v1alpha1.DeletionClear
	for leaf, p := range propertiesOf(&device.Status) {
		if !p.Owned {
			continue
		}
		owned++
		if _, kept := declared[leaf]; clearing || !kept {
			pending++
		}
	}
	return owned, pending
}

// brake keeps the RemovalsHalted condition: set when the brake was pulled, answered by the annotation, and gone when
// nothing is left to remove.
func (r *IoTHubReconciler) brake(ctx context.Context, hub *v1alpha1.IoTHub) error {
	key := client.ObjectKeyFromObject(hub)
	condition := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionRemovalsHalted)
	answer := echoable(hub.Annotations[v1alpha1.AnnotationConfirmRemovals])
	isNew := answer != "" && answer != hub.Status.LastConfirmedRemovals
	hub.Status.LastConfirmedRemovals = answer
	if condition == nil && !r.Brake.Halted(key) {
		return nil
	}
	_, pending, err := countOwned(ctx, r, key)
	if err != nil {
		return err
	}
	switch {
	case len(pending) == 0:
		apimeta.RemoveStatusCondition(&hub.Status.Conditions, v1alpha1.ConditionRemovalsHalted)
	case isNew:
		setCondition(hub, v1alpha1.ConditionRemovalsHalted, false, v1alpha1.ReasonConfirmed, "The removals were confirmed")
	case condition == nil || condition.Reason == v1alpha1.ReasonMassRemoval:
		setCondition(hub, v1alpha1.ConditionRemovalsHalted, true, v1alpha1.ReasonMassRemoval, massRemovalText)
		return nil
	default: // confirmed, and still going on
		return nil
	}
	r.Brake.Forget(key)
	return nil
}

const massRemovalText = "One sync would remove an unusually large share of the properties that PnPDevices own at this hub. Removals are halted. " +
	"Put the declarations back, or confirm by setting annotation " + v1alpha1.AnnotationConfirmRemovals + " on the IoTHub to a new value"
