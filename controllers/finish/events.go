package finish

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/reasons"
)

// announce emits an Event where Ready or its reason changed in a way that a user wants to hear of.
func announce(to events.EventRecorder, before, after Object) {
	if kind := toldOf(before, after); kind != "" {
		is := conditions.ReadyOf(after)
		to.Eventf(after, nil, kind, is.Reason, ActionReconcile, "%s", is.Message)
	}
}

// toldOf is the kind of Event that a change of Ready is worth, "" if none: a way into trouble is,
// and so is the end of one that was told of, by whatever way.
func toldOf(before, after Object) (kind string) {
	was, is := conditions.ReadyOf(before), conditions.ReadyOf(after)
	isRelief := isInTrouble(before) || warnedOf(before) != ""
	switch {
	case isInTrouble(after) && (!isInTrouble(before) || was.Reason != is.Reason):
		return corev1.EventTypeWarning
	case is.Status != metav1.ConditionTrue:
		return ""
	case isRelief && !isInTrouble(after), was.Status != metav1.ConditionTrue && !isOneOfMany(after):
		return corev1.EventTypeNormal
	}
	return ""
}

// isInTrouble reports whether an object has something to tell of. Its IoTHub tells what all of its
// devices wait for.
func isInTrouble(o Object) bool {
	return reasons.Of(conditions.ReadyOf(o).Reason).IsWorthAnEvent(conditions.IsTrue(o, v1alpha1.ConditionStalled))
}

// warnedOf is the reason of the last Event about a PnPDevice if that was a Warning.
func warnedOf(o Object) string {
	if device, ok := o.(*v1alpha1.PnPDevice); ok {
		return device.Status.LastWarning
	}
	return ""
}

// lastWarning is that once a change of Ready has been told of.
func lastWarning(before, after *v1alpha1.PnPDevice) string {
	switch {
	case conditions.IsTrue(after, v1alpha1.ConditionReady):
		return ""
	case toldOf(before, after) == corev1.EventTypeWarning:
		return conditions.ReadyOf(after).Reason
	}
	return before.Status.LastWarning
}

// noteWarning has a PnPDevice remember that.
func noteWarning(before, written Object) {
	if device, is := written.(*v1alpha1.PnPDevice); is {
		device.Status.LastWarning = lastWarning(before.(*v1alpha1.PnPDevice), device)
	}
}

// isOneOfMany: an Event is a write to the API server, and thousands of devices that do what was
// declared are not worth one.
func isOneOfMany(o Object) bool {
	_, is := o.(*v1alpha1.PnPDevice)
	return is
}

const (
	// maxNote is what the API server takes of an Event's text, in bytes.
	maxNote = 1024

	// ActionReconcile is the action of Events about a pass.
	ActionReconcile = "Reconcile"
)
