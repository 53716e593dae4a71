package device

import (
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/finish"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// What becomes of a status that the API server refuses: less of it is written, with the reason StatusRefused. Statuses are
// made so that this does not happen; rules that others have for objects may be stricter.

const (
	// withheldReason is that of a twin.Omitted in a status that was refused whole.
	withheldReason = "StatusRefused"
)

// statusRefused is why the status of an object is not tried at each event. An edit ends that.
func statusRefused(o client.Object) backoff.Cause {
	return backoff.Cause{Row: waits.StatusRefused, At: backoff.Trouble{Destination: "the API server"}, About: backoff.About(o)}
}

// lessOf makes what is offered in place of a refused status of a device: what facts rest on, or else
// what status said before, with a reason. Memory keeps the rest.
func lessOf(before, device *v1alpha1.PnPDevice, refused error) (all []finish.Object) {
	for _, status := range []v1alpha1.PnPDeviceStatus{factsOf(&device.Status), unconfirmedOf(before)} {
		less := device.DeepCopy()
		less.Status = status
		conditions.SetVerdict(less, finish.RefusedVerdict(refused))
		all = append(all, less)
	}
	return all
}

// factsOf is a status without the values and texts that devices and tenants gave it.
func factsOf(status *v1alpha1.PnPDeviceStatus) v1alpha1.PnPDeviceStatus {
	less := *status.DeepCopy()
	less.Properties = factsIn(less.Properties, &less.NotShown)
	for i := range less.Components {
		less.Components[i].Properties = factsIn(less.Components[i].Properties, &less.NotShown)
	}
	return less
}

func factsIn(properties []v1alpha1.PropertyStatus, notShown *int32) []v1alpha1.PropertyStatus {
	all := len(properties)
	properties = slices.DeleteFunc(properties, func(p v1alpha1.PropertyStatus) bool { return p.State == convergence.StateOf(twin.StateReported) })
	*notShown += int32(all - len(properties)) //nolint:gosec // bounded by the schema
	for i := range properties {
		p := &properties[i]
		p.AckDescription = ""
		for value, set := range convergence.ValuesOf(p) {
			set(&apiextensionsv1.JSON{Raw: storable.Omit(convergence.FactOf(value), withheldReason)})
		}
	}
	return properties
}

// unconfirmedOf is what status said before, which is not to be believed without a read.
func unconfirmedOf(before *v1alpha1.PnPDevice) v1alpha1.PnPDeviceStatus {
	less := *before.Status.DeepCopy()
	less.ObservedGeneration = before.Generation
	if less.Twin != nil {
		less.Twin.Unconfirmed = true
	}
	return less
}
