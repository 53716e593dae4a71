package controllers

import (
	"context"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// latest bridges the time until the informer shows our own writes: a pass that started from the older object would
// forget what the last one wrote. An entry lives until the informer caught up. The zero value is ready to use.
type latest struct {
	mu      sync.Mutex
	objects map[types.UID]*v1alpha1.PnPDevice
}

// get returns the newer of what the cache holds and what was written last. It is not to be changed.
func (l *latest) get(ctx context.Context, cache client.Reader, key types.NamespacedName) (*v1alpha1.PnPDevice, error) {
	var cached v1alpha1.PnPDevice
	if err := cache.Get(ctx, key, &cached, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	return l.newer(&cached), nil
}

// newer returns what was written last if that is newer than the cached object, and the latter otherwise. Neither is to be changed.
func (l *latest) newer(cached *v1alpha1.PnPDevice) *v1alpha1.PnPDevice {
	l.mu.Lock()
	defer l.mu.Unlock()
	if written, ok := l.objects[cached.UID]; ok && isNewer(written, cached) {
		return written
	}
	delete(l.objects, cached.UID)
	return cached
}

// put remembers what was written, unless the informer has caught up with it already: nothing else would drop it then.
func (l *latest) put(ctx context.Context, cache client.Reader, written *v1alpha1.PnPDevice) {
	l.remember(written)
	var cached v1alpha1.PnPDevice
	switch err := cache.Get(ctx, client.ObjectKeyFromObject(written), &cached, client.UnsafeDisableDeepCopy); {
	case apierrors.IsNotFound(err) || err == nil && cached.UID != written.UID:
		l.drop(written, true)
	case err == nil:
		l.drop(&cached, false)
	}
}

func (l *latest) remember(written *v1alpha1.PnPDevice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.objects == nil {
		l.objects = map[types.UID]*v1alpha1.PnPDevice{}
	}
	l.objects[written.UID] = written
}

// seen is a predicate that lets everything pass: it drops what the informer has caught up with.
func (l *latest) seen() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool { l.drop(e.ObjectNew, false); return true },
		DeleteFunc: func(e event.DeleteEvent) bool { l.drop(e.Object, true); return true },
	}
}

func (l *latest) drop(o client.Object, gone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if written, ok := l.objects[o.GetUID()]; ok && (gone || !isNewer(written, o)) {
		delete(l.objects, o.GetUID())
	}
}

// isNewer reports whether a was written after b. Versions that do not compare are treated as older.
func isNewer(a, b client.Object) bool {
	order, err := resourceversion.CompareResourceVersion(a.GetResourceVersion(), b.GetResourceVersion())
	return err == nil && order > 0
}
