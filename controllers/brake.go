package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
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
	takenAt        time.Time
	owned, pending int
	removed        []removal
	halted         bool
}

type removal struct {
	at    time.Time
	count int
}

// NewBrake returns a brake that is off.
func NewBrake() *Brake { return &Brake{hubs: map[types.NamespacedName]*census{}} }

// Allow reports whether count properties of one device may be removed now, and remembers them if so.
func (b *Brake) Allow(ctx context.Context, reader client.Reader, hub *v1alpha1.IoTHub, count int, now time.Time) (bool, error) {
	if c := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionRemovalsHalted); c != nil {
		return c.Reason == v1alpha1.ReasonConfirmed, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(client.ObjectKeyFromObject(hub))
	if err := c.refresh(ctx, reader, client.ObjectKeyFromObject(hub), now); err != nil {
		return false, err
	}
	recent := c.recent(now)
	c.halted = c.halted || c.pending+recent > max(brakeAtLeast, (c.owned+recent)/brakeShare)
	if !c.halted {
		c.removed = append(c.removed, removal{now, count})
	}
	return !c.halted, nil
}

func (b *Brake) of(hub types.NamespacedName) *census {
	c, ok := b.hubs[hub]
	if !ok {
		c = &census{}
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

// recent counts what was removed within the window.
func (c *census) recent(now time.Time) int {
	total, kept := 0, c.removed[:0]
	for _, r := range c.removed {
		if now.Sub(r.at) < brakeWindow {
			kept, total = append(kept, r), total+r.count
		}
	}
	c.removed = kept
	return total
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
func countOwned(ctx context.Context, reader client.Reader, hub types.NamespacedName) (owned, pending int, err error) {
	devices, err := membersOf(ctx, reader, hub)
	if err != nil {
		return 0, 0, fmt.Errorf("counting owned properties: %w", err)
	}
	for i := range devices {
		o, p := ownedBy(&devices[i])
		owned, pending = owned+o, pending+p
	}
	return owned, pending, nil
}

func ownedBy(device *v1alpha1.PnPDevice) (owned, pending int) {
	declared, err := declarationOf(&device.Spec)
	if err != nil {
		return 0, 0
	}
	clearing := device.DeletionTimestamp != nil && device.Spec.DeletionPolicy == v1alpha1.DeletionClear
	for leaf, p := range entriesOf(&device.Status) {
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
	answer := hub.Annotations[v1alpha1.AnnotationConfirmRemovals]
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
	case pending == 0:
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
