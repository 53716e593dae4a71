package device

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	// maxFieldPath is what an Event has of the name of a leaf, in bytes.
	maxFieldPath = 512

	actionWrite  = "Write"
	actionDelete = "Delete"
)

// announceCorrection tells of a foreign change that was put back.
func announceCorrection(to events.EventRecorder, device *v1alpha1.PnPDevice, c twin.Change) {
	why := "someone else had changed it at the hub"
	if c.Unmarked {
		why = "the hub held it in " + convergence.UnmarkedText(c.Leaf.Component)
	}
	to.Eventf(device, fieldOf(device, c.Leaf), corev1.EventTypeWarning, v1alpha1.ReasonDriftCorrected, actionWrite,
		"Put %s back from %s to %s: %s", c.Leaf, shown(c.Was), convergence.ShownValue(c.Value), why)
}

// announceRelease tells of a property that left the declaration and was not removed.
func announceRelease(to events.EventRecorder, device *v1alpha1.PnPDevice, leaf twin.Leaf, held *twin.Desired) {
	to.Eventf(device, fieldOf(device, leaf), corev1.EventTypeWarning, v1alpha1.ReasonReleased, actionWrite,
		"Left %s at the hub as it is, %s: it is not the value that was last written or found there", leaf, shown(held))
}

// fieldOf tells Events about several leaves of one object apart: what else is alike is counted,
// with the first one's text.
func fieldOf(device *v1alpha1.PnPDevice, leaf twin.Leaf) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "PnPDevice", Namespace: device.Namespace, Name: device.Name, UID: device.UID,
		FieldPath: storable.Text(leaf.String(), maxFieldPath),
	}
}

// announceNotCleared tells of a deletion that left properties at the hub.
func announceNotCleared(to events.EventRecorder, device *v1alpha1.PnPDevice, why string) {
	to.Eventf(device, nil, corev1.EventTypeWarning, v1alpha1.ReasonNotCleared, actionDelete,
		"Deleted without removing its properties from device %q: %s", device.DeviceID(), why)
}

func shown(d *twin.Desired) string {
	if d == nil {
		return "nothing"
	}
	return convergence.ShownValue(d.Value)
}
