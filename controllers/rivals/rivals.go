// Package rivals finds out which of the PnPDevices that declare one device may act on it.
package rivals

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/reasons"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

// Winner is the PnPDevice that may act on a device at a destination. The incumbent that status
// records wins over age, since a restore from backup resets creation times, and only objects whose
// IoTHub has authenticated at this very destination compete, so that a tenant without a credential
// cannot block another: neither with a wrong one, nor with a hub of its own under the same name.
func Winner(ctx context.Context, c client.Reader, sessions *session.Registry, device *v1alpha1.PnPDevice, destination string) (*v1alpha1.PnPDevice, error) {
	rivals, err := Of(ctx, c, device)
	if err != nil {
		return nil, err
	}
	return WinnerAmong(ctx, c, sessions, device, rivals, destination)
}

// WinnerAmong is Winner where the other declarations of the device are known. An object that does not
// compete any more, and only goes on for a moment, yields to each that does.
func WinnerAmong(
	ctx context.Context, c client.Reader, sessions *session.Registry, device *v1alpha1.PnPDevice, rivals []*v1alpha1.PnPDevice, destination string,
) (*v1alpha1.PnPDevice, error) {
	best := device
	if len(rivals) == 0 {
		return best, nil
	}
	isOfBest, err := competes(ctx, c, sessions, device, destination)
	if err != nil {
		return nil, err
	}
	for _, rival := range rivals {
		if isOfBest && !outranks(rival, best, destination) {
			continue
		}
		competes, err := competes(ctx, c, sessions, rival, destination)
		if err != nil {
			return nil, err
		}
		if competes {
			best, isOfBest = rival, true
		}
	}
	return best, nil
}

// Of are the other declarations of a device. They are the cache's own: not to be changed.
func Of(ctx context.Context, c client.Reader, device *v1alpha1.PnPDevice) ([]*v1alpha1.PnPDevice, error) {
	all, err := cached.DeclarationsOf(ctx, c, device.DeviceID())
	if err != nil {
		return nil, fmt.Errorf("looking for other declarations of the device: %w", err)
	}
	return slices.DeleteFunc(all, func(d *v1alpha1.PnPDevice) bool { return d.UID == device.UID }), nil
}

// competes reports whether a PnPDevice may have its device at a destination. The session of its IoTHub
// tells, by which it would be written: status follows that, and before the operator has made the session
// of an IoTHub after a start it says what there was.
//
// A session that is kept for clearing tells as well, of an object that is being deleted.
func competes(ctx context.Context, c client.Reader, sessions *session.Registry, device *v1alpha1.PnPDevice, destination string) (bool, error) {
	if !device.DeletionTimestamp.IsZero() {
		if session, _ := sessions.ForClearing(cached.HubKey(device)); session != nil {
			return session.Destination == destination, nil
		}
	}
	var hub v1alpha1.IoTHub
	if err := c.Get(ctx, cached.HubKey(device), &hub); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if session := sessions.Get(cached.HubKey(device)); session != nil {
		return session.Destination == destination, nil
	}
	return acceptedAt(&hub) == destination, nil
}

// acceptedAt is the destination that has accepted the credential of an IoTHub, empty if none has or
// does any more. The spec may name another one by now. A CRD of an earlier version keeps no record of
// it.
func acceptedAt(hub *v1alpha1.IoTHub) string {
	if conditions.AccessOf(hub).Status != metav1.ConditionTrue {
		return ""
	}
	return cmp.Or(hub.Status.Destination, cached.DestinationOf(hub))
}

func outranks(a, b *v1alpha1.PnPDevice, destination string) bool {
	incumbentA, incumbentB := convergence.IsAdopted(a, destination), convergence.IsAdopted(b, destination)
	if incumbentA != incumbentB {
		return incumbentA
	}
	return cmp.Or(
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name),
	) < 0
}

// Requests returns the requests for PnPDevices.
func Requests(devices []*v1alpha1.PnPDevice) []reconcile.Request {
	requests := make([]reconcile.Request, len(devices))
	for i, d := range devices {
		requests[i].NamespacedName = client.ObjectKeyFromObject(d)
	}
	return requests
}

// Siblings returns the other declarations of the device of a PnPDevice.
func Siblings(ctx context.Context, c client.Reader, o client.Object) []*v1alpha1.PnPDevice {
	device, ok := o.(*v1alpha1.PnPDevice)
	if !ok {
		return nil
	}
	rivals, err := Of(ctx, c, device)
	if err != nil {
		return nil // the cache has the index
	}
	return rivals
}

// At returns the other declarations of the devices of an IoTHub.
func At(ctx context.Context, c client.Reader, hub client.Object) []*v1alpha1.PnPDevice {
	devices, err := cached.MembersOf(ctx, c, client.ObjectKeyFromObject(hub))
	if err != nil {
		return nil // the cache has the index
	}
	var rivals []*v1alpha1.PnPDevice
	for _, device := range devices {
		rivals = append(rivals, Siblings(ctx, c, device)...)
	}
	return rivals
}

// StandingChanged passes what can change whether the devices of an IoTHub compete: others wait for
// them, or need not wait any more.
func StandingChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return acceptedAt(e.ObjectOld.(*v1alpha1.IoTHub)) != acceptedAt(e.ObjectNew.(*v1alpha1.IoTHub))
		},
	}
}

// Changed passes what can change who wins: an object that goes, moves to another hub, or becomes
// or ceases to be the incumbent.
func Changed() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld.(*v1alpha1.PnPDevice), e.ObjectNew.(*v1alpha1.PnPDevice)
			return was.Spec.HubRef != is.Spec.HubRef || Incumbency(was) != Incumbency(is)
		},
	}
}

// Incumbency returns the hub at which an object has read its device, empty if it has not.
func Incumbency(d *v1alpha1.PnPDevice) string {
	if d.Status.Twin == nil || d.Status.Twin.Etag == "" {
		return ""
	}
	return d.Status.Twin.Hub
}

// HubMatters passes the changes of an IoTHub that devices wait for.
func HubMatters() predicate.Predicate {
	return predicate.Funcs{
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld.(*v1alpha1.IoTHub), e.ObjectNew.(*v1alpha1.IoTHub)
			before, after := conditions.AccessOf(was), conditions.AccessOf(is)
			return was.Generation != is.Generation || before.Reason != after.Reason || before.Status != after.Status || halted(was) != halted(is) ||
				conditions.IsTrue(was, v1alpha1.ConditionStalled) != conditions.IsTrue(is, v1alpha1.ConditionStalled) || saysOtherwise(before, after)
		},
	}
}

// saysOtherwise reports whether an IoTHub that a person has to mend says something else of that:
// its devices quote it. How a hub fails differs from try to try, and is not worth ten thousand
// statuses.
func saysOtherwise(before, after metav1.Condition) bool {
	return after.Status == metav1.ConditionFalse && before.Message != after.Message && !reasons.Of(after.Reason).Heals
}

func halted(hub *v1alpha1.IoTHub) metav1.ConditionStatus {
	if c := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionRemovalsHalted); c != nil {
		return c.Status
	}
	return metav1.ConditionUnknown
}
