package device

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

func version(v string) *v1alpha1.PnPDevice {
	return &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: v}}
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
		"the cache is behind":               {version("6"), true},
		"the cache shows the write already": {version("7"), false},
		"the cache is ahead of the write, or shows another object of that name": {version("8"), false},
		"the object is gone": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			var l latest
			cache := showing{device: c.cached}
			l.put(t.Context(), cache, version("7"))
			if kept := len(l.objects) == 1; kept != c.kept {
				t.Errorf("it is remembered: %v, want %v", kept, c.kept)
			}
			if got, err := l.get(t.Context(), cache, types.NamespacedName{Name: "a"}); c.kept && (err != nil || got.ResourceVersion != "7") {
				t.Errorf("got %v, %v; want what was written", got, err)
			}
		})
	}
}

// catchingUp is a cache whose informer shows the write while it is asked.
type catchingUp struct {
	client.Reader

	latest *latest
}

func (c catchingUp) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	version("6").DeepCopyInto(into.(*v1alpha1.PnPDevice))
	c.latest.drop(version("7"), false)
	return nil
}

func TestAWriteIsNotMissedWhileTheCacheCatchesUp(t *testing.T) {
	l := &latest{}
	l.remember(version("7"))
	got, err := l.get(t.Context(), catchingUp{latest: l}, types.NamespacedName{Name: "a"})
	if err != nil || got.ResourceVersion != "7" {
		t.Errorf("got %v, %v; want what was written", got, err)
	}
}
