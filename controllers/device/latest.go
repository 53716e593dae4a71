package device

import (
	"context"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/lazymap"
	"github.com/pnp-operator/pnp-operator/internal/revision"
)

// latest bridges the time until the informer shows our own writes: a pass that started from the older object would
// forget what the last one wrote. An entry lives until the informer caught up. The zero value is ready to use.
type latest struct {
	mu      sync.Mutex
	objects map[types.NamespacedName]*v1alpha1.PnPDevice
	// doubted were refused once as the base of another write.
	doubted map[*v1alpha1.PnPDevice]struct{}
}

// get returns the newer of what was written last and what the cache holds. It is not to be changed. The cache is asked second: once it has caught up, what was
// written is forgotten.
func (l *latest) get(ctx context.Context, cache client.Reader, key types.NamespacedName) (*v1alpha1.PnPDevice, error) {
	written := l.written(key)
	var cached v1alpha1.PnPDevice
	if err := cache.Get(ctx, key, &cached, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	if written != nil && revision.IsNewer(written, &cached) {
		return written, nil
	}
	return &cached, nil
}

// put remembers what was written, unless the informer has caught up with it already: nothing else would drop it then.
func (l *latest) put(ctx context.Context, cache client.Reader, written *v1alpha1.PnPDevice) {
	l.remember(written)
	var cached v1alpha1.PnPDevice
	switch err := cache.Get(ctx, client.ObjectKeyFromObject(written), &cached, client.UnsafeDisableDeepCopy); {
	case apierrors.IsNotFound(err):
		l.drop(written, true)
	case err == nil:
		l.drop(&cached, false)
	}
}

func (l *latest) written(key types.NamespacedName) *v1alpha1.PnPDevice {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.objects[key]
}

func (l *latest) remember(written *v1alpha1.PnPDevice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.objects == nil {
		l.objects = map[types.NamespacedName]*v1alpha1.PnPDevice{}
	}
	key := client.ObjectKeyFromObject(written)
	delete(l.doubted, l.objects[key])
	l.objects[key] = written
}

// observer drops what the informer has caught up with.
func (l *latest) observer() handler.Funcs {
	return handler.Funcs{
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ triggers.Queue) {
			l.drop(e.ObjectNew, revision.WentBack(e.ObjectOld, e.ObjectNew))
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ triggers.Queue) { l.drop(e.Object, true) },
	}
}

// drop forgets what was written of an object that the cache shows, or that is gone.
func (l *latest) drop(o client.Object, gone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := client.ObjectKeyFromObject(o)
	if written, ok := l.objects[key]; ok && (gone || !revision.IsNewer(written, o)) {
		l.forget(key, written)
	}
}

// refused takes note that the API server took no write that is based on what was written last. If
// that goes on although the cache has had time to catch up, the cache never will: etcd was put back
// to before that write.
func (l *latest) refused(base *v1alpha1.PnPDevice, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := client.ObjectKeyFromObject(base)
	if !apierrors.IsConflict(err) || l.objects[key] != base {
		return
	}
	if _, again := l.doubted[base]; again {
		l.forget(key, base)
		return
	}
	lazymap.Put(&l.doubted, base, struct{}{})
}

func (l *latest) forget(key types.NamespacedName, written *v1alpha1.PnPDevice) {
	delete(l.objects, key)
	delete(l.doubted, written)
}
