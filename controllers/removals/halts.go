package removals

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
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
func beyond(set members, waiting iter.Seq[Request]) iter.Seq[Request] {
	return only(waiting, func(one Request) bool { return !set.has(one.Member) })
}

func only(waiting iter.Seq[Request], wanted func(Request) bool) iter.Seq[Request] {
	return func(yield func(Request) bool) {
		for one := range waiting {
			if wanted(one) && !yield(one) {
				return
			}
		}
	}
}

// setOf names removals, nil if there are none.
func setOf(waiting iter.Seq[Request], at metav1.Time) *v1alpha1.RemovalSet {
	leaves := map[Member]int{}
	for one := range waiting {
		leaves[one.Member] += len(one.Leaves)
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
func review(was v1alpha1.HubRemovals, waiting iter.Seq[Request], halting, confirms bool, now time.Time) v1alpha1.HubRemovals {
	at, next := metav1.NewTime(now.Truncate(time.Second)), v1alpha1.HubRemovals{Recent: was.Recent}
	confirmed, named := membersOfSet(was.Confirmed), membersOfSet(was.Halted)
	if confirms {
		next.Recent = nil // a person knows of what was removed before
		next.Confirmed = setOf(only(waiting, func(one Request) bool { return one.shown || named.has(one.Member) || confirmed.has(one.Member) }), at)
		return next
	}
	for one := range waiting {
		if confirmed.has(one.Member) {
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

// IsHaltedIn reports whether removals are halted by the status of an IoTHub.
func IsHaltedIn(hub *v1alpha1.IoTHub) bool {
	return conditions.IsTrue(hub, v1alpha1.ConditionRemovalsHalted)
}

// namesOf are the names of the objects of a set, sorted.
func namesOf(set members, waiting iter.Seq[Request]) (names []string) {
	for one := range waiting {
		if set.has(one.Member) {
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
	// ConfirmText says how a person confirms removals.
	ConfirmText = "confirm by setting annotation " + v1alpha1.AnnotationConfirmRemovals + " on the IoTHub to a new value"
	// ShareText says why removals are halted.
	ShareText  = "ne sync would remove an unusually large share of the properties that PnPDevices own at this hub. "
	haltedText = "Removals of %s (%s) are halted: o" + ShareText + "Put declarations back that were edited. PnPDevices that are being deleted do not " +
		"come back like that: give them deletionPolicy: Retain, and put them back once they are gone. Or " + ConfirmText
)

// Describe keeps what is halted and what is confirmed in status, and the RemovalsHalted condition with
// it: true while removals are halted, and false while confirmed ones go on. A suspended IoTHub keeps
// what is halted, ends what was confirmed, and takes a confirmation once it is resumed. hasEnded is
// true if a halt is over that no condition told of.
func (b *Brake) Describe(ctx context.Context, cache client.Reader, hub *v1alpha1.IoTHub) (hasEnded bool, err error) {
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
	said := IsHaltedIn(hub) // before a halt is on record there is nothing to confirm
	halting := (said || pulled) && !b.recedes(hub, c)
	next := review(was, maps.Values(c.waiting), halting, said && isNew, time.Now())
	describeRemovals(hub, next, namesOf(membersOfSet(next.Halted), maps.Values(c.waiting))...)
	if next.Halted == nil {
		b.release(key, pull)
	}
	return next.Halted == nil && pulled && !said, nil
}
