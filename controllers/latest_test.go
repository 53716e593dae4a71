package controllers

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

func written(uid types.UID, resourceVersion string) *v1alpha1.PnPDevice {
	return &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: "a", UID: uid, ResourceVersion: resourceVersion}}
}

// showing is a cache with one object in it, or none.
type showing struct {
	client.Reader

	device *v1alpha1.PnPDevice
}

func (s showing) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if s.device == nil {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	s.device.DeepCopyInto(into.(*v1alpha1.PnPDevice))
	return nil
}

// The informer may be faster than the answer to the write. Nothing would drop the object after that, and it is as large as all else that memory has of a device.
func TestAWriteIsRememberedUntilTheCacheShowsIt(t *testing.T) {
	for name, c := range map[string]struct {
		cached *v1alpha1.PnPDevice
		kept   bool
	}{
		"the cache is behind":                   {written("1", "6"), true},
		"the cache shows the write already":     {written("1", "7"), false},
		"the cache is ahead of the write":       {written("1", "8"), false},
		"the object is gone":                    {nil, false},
		"the object was deleted and made again": {written("2", "9"), false},
	} {
		t.Run(name, func(t *testing.T) {
			var l latest
			l.put(t.Context(), showing{device: c.cached}, written("1", "7"))
			if _, kept := l.objects["1"]; kept != c.kept {
				t.Errorf("it is remembered: %v, want %v", kept, c.kept)
			}
		})
	}
}
