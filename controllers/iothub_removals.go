package controllers

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// mostNamed objects are halted, or confirmed, by name: what is beyond stays halted until the next
// confirmation.
const mostNamed = 16384

func haltedAt(hub *v1alpha1.IoTHub) members {
	if hub.Status.Removals == nil {
		return nil
	}
	return membersOfSet(hub.Status.Removals.Halted)
}

func confirmedAt(hub *v1alpha1.IoTHub) members {
	if hub.Status.Removals == nil {
		return nil
	}
	return membersOfSet(hub.Status.Removals.Confirmed)
}

func membersOfSet(set *v1alpha1.RemovalSet) members {
	if set == nil {
		return nil
	}
	return set.Members
}

// confirmationOf is when a person confirmed what is still going on, zero if nothing is.
func confirmationOf(hub *v1alpha1.IoTHub) time.Time {
	if hub.Status.Removals == nil || hub.Status.Removals.Confirmed == nil {
		return time.Time{}
	}
	return hub.Status.Removals.Confirmed.At.Time
}

// beyond leaves out what is in a set.
func beyond(set members, waiting iter.Seq[removing]) iter.Seq[removing] {
	return only(waiting, func(one removing) bool { return !set.has(one.member) })
}

func only(waiting iter.Seq[removing], wanted func(removing) bool) iter.Seq[removing] {
	return func(yield func(removing) bool) {
		for one := range waiting {
			if wanted(one) && !yield(one) {
				return
			}
		}
	}
}

// setOf names removals, nil if there are none.
func setOf(waiting iter.Seq[removing], at metav1.Time) *v1alpha1.RemovalSet {
	leaves := map[member]int{}
	for one := range waiting {
		leaves[one.member] += len(one.leaves)
	}
	if len(leaves) == 0 {
		return nil
	}
	set := membersFrom(maps.Keys(leaves), mostNamed)
	named := &v1alpha1.RemovalSet{Devices: int32(set.len()), At: at, Members: set} //nolint:gosec // at most mostNamed
	for m := range set.all() {
		named.Properties += int32(leaves[m]) //nolint:gosec // properties
	}
	return named
}

// review says what is halted and what is confirmed from now on, by what waits to be removed. A
// confirmation is one of what is halted at that time: of what the IoTHub names, and of what its
// objects say of themselves. It ends when all of that is done, or cannot be done now.
func review(was v1alpha1.HubRemovals, waiting iter.Seq[removing], halting, confirms bool, now time.Time) v1alpha1.HubRemovals {
	at, next := metav1.NewTime(now.Truncate(time.Second)), v1alpha1.HubRemovals{Recent: was.Recent}
	confirmed, named := membersOfSet(was.Confirmed), membersOfSet(was.Halted)
	if confirms {
		next.Recent = nil // a person knows of what was removed before
		next.Confirmed = setOf(only(waiting, func(one removing) bool { return one.shown || named.has(one.member) || confirmed.has(one.member) }), at)
		return next
	}
	for one := range waiting {
		if confirmed.has(one.member) {
			next.Confirmed = was.Confirmed
		}
	}
	if halting {
		if was.Halted != nil {
			at = was.Halted.At
		}
		next.Halted = setOf(beyond(confirmed, waiting), at)
	}
	return next
}

// brake keeps what is halted and what is confirmed in status. Objects that wait for removals which no
// condition told of are told once those go on.
func (r *IoTHubReconciler) brake(ctx context.Context, hub *v1alpha1.IoTHub) error {
	hasEnded, err := r.Brake.describe(ctx, r, hub)
	if hasEnded {
		r.Wakes.MembersOf(ctx, client.ObjectKeyFromObject(hub))
	}
	return err
}

// enqueueHalted has an IoTHub whose removals are halted look at what is left of them soon after one of its
// PnPDevices is edited or goes.
func (r *IoTHubReconciler) enqueueHalted() handler.EventHandler {
	look := func(ctx context.Context, o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		device, ok := o.(*v1alpha1.PnPDevice)
		if ok && r.isHalted(ctx, cached.HubKey(device)) {
			q.AddAfter(reconcile.Request{NamespacedName: cached.HubKey(device)}, waits.Census.Most)
		}
	}
	return handler.Funcs{
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() {
				look(ctx, e.ObjectOld, q)
				look(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			look(ctx, e.Object, q)
		},
	}
}

func (r *IoTHubReconciler) isHalted(ctx context.Context, key types.NamespacedName) bool {
	if _, pulled := r.Brake.Halted(key); pulled {
		return true
	}
	hub := &v1alpha1.IoTHub{}
	return r.Get(ctx, key, hub) == nil && isHaltedIn(hub)
}

// isHaltedIn reports whether removals are halted by the status of an IoTHub.
func isHaltedIn(hub *v1alpha1.IoTHub) bool {
	return conditions.IsTrue(hub, v1alpha1.ConditionRemovalsHalted)
}

// namesOf are the names of the objects of a set, sorted.
func namesOf(set members, waiting iter.Seq[removing]) (names []string) {
	for one := range waiting {
		if set.has(one.member) {
			names = append(names, one.name)
		}
	}
	slices.Sort(names)
	return names
}

func describeRemovals(hub *v1alpha1.IoTHub, next v1alpha1.HubRemovals, halted ...string) {
	switch {
	case next.Halted != nil:
		conditions.Set(hub, v1alpha1.ConditionRemovalsHalted, true, v1alpha1.ReasonMassRemoval,
			fmt.Sprintf(haltedText, countText(next.Halted), conditions.SomeOf(halted)))
	case next.Confirmed != nil:
		conditions.Set(hub, v1alpha1.ConditionRemovalsHalted, false, v1alpha1.ReasonConfirmed,
			fmt.Sprintf("The removals of %s were confirmed, and go on. No others are", countText(next.Confirmed)))
	default:
		apimeta.RemoveStatusCondition(&hub.Status.Conditions, v1alpha1.ConditionRemovalsHalted)
	}
	hub.Status.Removals = &next
	if next == (v1alpha1.HubRemovals{}) {
		hub.Status.Removals = nil
	}
}

func countText(set *v1alpha1.RemovalSet) string {
	return fmt.Sprintf("%s of %s", numbered(set.Properties, "property", "properties"), numbered(set.Devices, "PnPDevice", "PnPDevices"))
}

func numbered(n int32, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

const (
	confirmText = "confirm by setting annotation " + v1alpha1.AnnotationConfirmRemovals + " on the IoTHub to a new value"
	shareText   = "ne sync would remove an unusually large share of the properties that PnPDevices own at this hub. "
	haltedText  = "Removals of %s (%s) are halted: o" + shareText + "Put declarations back that were edited. PnPDevices that are being deleted do not " +
		"come back like that: give them deletionPolicy: Retain, and put them back once they are gone. Or " + confirmText
)

// massRemovalText is what each object says.
func massRemovalText(s *scope) string {
	text := "O" + shareText + "Removals are halted" + convergence.Listed(": not removed: ", s.Departing())
	switch {
	case s.hubGone:
		return text + ", and the IoTHub is gone: put it back and " + confirmText + ", or the object goes within minutes and its properties stay"
	case !s.Device.DeletionTimestamp.IsZero():
		return text + ". What is being deleted cannot be put back: set deletionPolicy: Retain, and put it back once it is gone, or " + confirmText
	}
	return text + ". Put the declarations back, or " + confirmText
}

// describe keeps what is halted and what is confirmed in status, and the RemovalsHalted condition with
// it: true while removals are halted, and false while confirmed ones go on. A suspended IoTHub keeps
// what is halted, ends what was confirmed, and takes a confirmation once it is resumed. hasEnded is
// true if a halt is over that no condition told of.
func (b *Brake) describe(ctx context.Context, cache client.Reader, hub *v1alpha1.IoTHub) (hasEnded bool, err error) {
	key := client.ObjectKeyFromObject(hub)
	answer := convergence.Echoable(hub.Annotations[v1alpha1.AnnotationConfirmRemovals])
	isNew := !hub.Spec.Suspend && convergence.IsOpenRequest(answer, hub.Status.LastConfirmedRemovals)
	if isNew {
		hub.Status.LastConfirmedRemovals = answer
	}
	condition := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionRemovalsHalted)
	pull, pulled := b.Halted(key)
	if condition == nil && !pulled {
		return false, nil
	}
	c, err := takeCensus(ctx, cache, hub, nil)
	if err != nil {
		return false, err
	}
	was := v1alpha1.HubRemovals{}
	if hub.Status.Removals != nil {
		was = *hub.Status.Removals
	}
	if hub.Spec.Suspend {
		was.Confirmed = nil
	}
	said := isHaltedIn(hub) // before a halt is on record there is nothing to confirm
	halting := (said || pulled) && !b.recedes(hub, c)
	next := review(was, maps.Values(c.waiting), halting, said && isNew, time.Now())
	describeRemovals(hub, next, namesOf(membersOfSet(next.Halted), maps.Values(c.waiting))...)
	if next.Halted == nil {
		b.release(key, pull)
	}
	return next.Halted == nil && pulled && !said, nil
}
