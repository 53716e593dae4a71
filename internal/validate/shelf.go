package validate

import (
	"context"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/models"
)

// shelf is the DeviceModels of the manifests, in their order.
type shelf []*v1alpha1.DeviceModel

// uid stands in for what a cluster would give an object.
func uid(i int) types.UID { return types.UID(strconv.Itoa(i)) }

func (s shelf) ByModelID(_ context.Context, namespace, modelID string) ([]*v1alpha1.DeviceModel, error) {
	return s.where(func(m *v1alpha1.DeviceModel) bool { return m.Namespace == namespace && models.ModelIDOf(m) == modelID }), nil
}

func (s shelf) ByInterface(_ context.Context, namespace, dtmi string) ([]*v1alpha1.DeviceModel, error) {
	return s.where(func(m *v1alpha1.DeviceModel) bool {
		return m.Namespace == namespace && slices.Contains(models.InterfacesOf(m), dtmi)
	}), nil
}

func (s shelf) where(fits func(*v1alpha1.DeviceModel) bool) (found []*v1alpha1.DeviceModel) {
	for _, m := range s {
		if fits(m) {
			found = append(found, m)
		}
	}
	return found
}
