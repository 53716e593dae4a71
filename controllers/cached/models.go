package cached

import (
	"cmp"
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Models finds DeviceModels in the cache, by the indexes that Index registers.
type Models struct {
	client.Reader
	// API is asked for the content of large DeviceModels, which the cache does not hold.
	API client.Reader
}

// Whole reads a DeviceModel from the API server.
func (s Models) Whole(ctx context.Context, object *v1alpha1.DeviceModel) (*v1alpha1.DeviceModel, error) {
	whole := &v1alpha1.DeviceModel{}
	err := s.API.Get(ctx, client.ObjectKeyFromObject(object), whole)
	return whole, err
}

// ByModelID finds those for devices of a model, the oldest first.
func (s Models) ByModelID(ctx context.Context, namespace, modelID string) ([]*v1alpha1.DeviceModel, error) {
	return s.find(ctx, namespace, client.MatchingFields{IndexModel: modelID})
}

// ByInterface finds those that bring an interface along, the oldest first.
func (s Models) ByInterface(ctx context.Context, namespace, dtmi string) ([]*v1alpha1.DeviceModel, error) {
	return s.find(ctx, namespace, client.MatchingFields{indexInterface: dtmi})
}

func (s Models) find(ctx context.Context, namespace string, which client.MatchingFields) ([]*v1alpha1.DeviceModel, error) {
	var list v1alpha1.DeviceModelList
	if err := s.List(ctx, &list, client.InNamespace(namespace), which, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	found := make([]*v1alpha1.DeviceModel, len(list.Items))
	for i := range list.Items {
		found[i] = &list.Items[i]
	}
	slices.SortFunc(found, func(a, b *v1alpha1.DeviceModel) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return found, nil
}
