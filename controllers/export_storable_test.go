package controllers

import (
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Describe puts into the status of an object what a pass says that has read a twin. isAdopted is true if the status is about
// the twin already.
func Describe(device *v1alpha1.PnPDevice, t *twin.Twin, isAdopted bool) error {
	declared, err := declaration.Of(&device.Spec)
	if err != nil {
		return err
	}
	s := convergence.New(convergence.Facts{Device: device, Now: time.Now()})
	s.Hub = &v1alpha1.IoTHub{Spec: v1alpha1.IoTHubSpec{HostName: "factory.azure-devices.net"}}
	s.Declared = declared
	s.Recall(isAdopted)
	s.Took(t)
	s.Describe()
	return nil
}

// Belief is what a status says of its twin.
func Belief(device *v1alpha1.PnPDevice) *twin.Twin { return convergence.Belief(&device.Status) }
