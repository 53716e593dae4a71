package cached

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
)

// DestinationOf is what an IoTHub has its credential sent to.
func DestinationOf(hub *v1alpha1.IoTHub) string {
	return iothub.Destination(hub.Spec.HostName, hub.Spec.Endpoint, []byte(hub.Spec.CABundle))
}

// HubKey returns the name of the IoTHub of a PnPDevice.
func HubKey(device *v1alpha1.PnPDevice) types.NamespacedName {
	return types.NamespacedName{Namespace: device.Namespace, Name: device.Spec.HubRef.Name}
}

// HubOf finds the IoTHub of a device. It halts if there is none.
func HubOf(ctx context.Context, c client.Reader, device *v1alpha1.PnPDevice) (*v1alpha1.IoTHub, error) {
	hub := &v1alpha1.IoTHub{}
	err := c.Get(ctx, HubKey(device), hub)
	if apierrors.IsNotFound(err) {
		return nil, halt.Waiting(v1alpha1.ReasonHubNotFound, fmt.Sprintf("IoTHub %q does not exist in namespace %q", device.Spec.HubRef.Name, device.Namespace), 0)
	}
	if err != nil {
		return nil, fmt.Errorf("reading IoTHub %q: %w", device.Spec.HubRef.Name, err)
	}
	return hub, nil
}
