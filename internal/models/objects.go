package models

import (
	"context"
	"slices"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Objects is a Shelf of DeviceModels in memory, the oldest first.
type Objects []*v1alpha1.DeviceModel

// ByModelID finds those for devices of a model.
func (o Objects) ByModelID(_ context.Context, namespace, modelID string) ([]*v1alpha1.DeviceModel, error) {
	return o.where(func(m *v1alpha1.DeviceModel) bool { return m.Namespace == namespace && ModelIDOf(m) == modelID }), nil
}

// ByInterface finds those that bring an interface along.
func (o Objects) ByInterface(_ context.Context, namespace, dtmi string) ([]*v1alpha1.DeviceModel, error) {
	return o.where(func(m *v1alpha1.DeviceModel) bool {
		return m.Namespace == namespace && slices.Contains(InterfacesOf(m), dtmi)
	}), nil
}

// Whole gives what it is given: nothing is abridged.
func (Objects) Whole(_ context.Context, object *v1alpha1.DeviceModel) (*v1alpha1.DeviceModel, error) {
	return object, nil
}

func (o Objects) where(fits func(*v1alpha1.DeviceModel) bool) (found []*v1alpha1.DeviceModel) {
	for _, m := range o {
		if fits(m) {
			found = append(found, m)
		}
	}
	return found
}
