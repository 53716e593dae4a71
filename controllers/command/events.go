package command

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
)

// nameOf is what Events need of a device, without what is declared and shown of it.
func nameOf(device *v1alpha1.PnPDevice) *v1alpha1.PnPDevice {
	is := &v1alpha1.PnPDevice{TypeMeta: device.TypeMeta}
	is.Namespace, is.Name, is.UID, is.ResourceVersion = device.Namespace, device.Name, device.UID, device.ResourceVersion
	return is
}

// announceCommand has `kubectl describe pnpdevice` show the last commands. device is nil if there
// is none.
func announceCommand(to events.EventRecorder, c *v1alpha1.DeviceCommand, device *v1alpha1.PnPDevice) {
	if device == nil {
		return
	}
	kind := corev1.EventTypeNormal
	if c.Status.Outcome != v1alpha1.CommandSucceeded {
		kind = corev1.EventTypeWarning
	}
	to.Eventf(device, c, kind, "Command"+string(c.Status.Outcome), actionRun, "%s by DeviceCommand %q: %s", methodOf(c), c.Name, conditions.ReadyOf(c).Message)
}

// announceAbandoned tells of a command that was deleted while the hub was being called.
func announceAbandoned(to events.EventRecorder, c *v1alpha1.DeviceCommand, device *v1alpha1.PnPDevice) {
	to.Eventf(device, nil, corev1.EventTypeWarning, v1alpha1.ReasonCommandAbandoned, actionRun,
		"DeviceCommand %q was deleted while the hub was being called for %s: the device may have run it", c.Name, methodOf(c))
}

func methodOf(c *v1alpha1.DeviceCommand) string {
	if c.Spec.Component == "" {
		return c.Spec.Command
	}
	return c.Spec.Component + "/" + c.Spec.Command
}

const actionRun = "Run"
