package hub

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/lazymap"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// secretWatches wakes IoTHubs when a Secret that they refer to changes. Each Secret has a watch of its own that names it, in its namespace: a right on that
// Secret is enough, and all others cost nothing. Only metadata is asked for, and no more than the version is kept.
type secretWatches struct {
	client   metadata.Interface
	lifetime context.Context
	wake     func(ctx context.Context, hub types.NamespacedName)
	log      logr.Logger

	mu      sync.Mutex
	secrets map[types.NamespacedName]*secretWatch
	wanted  map[types.NamespacedName][]string // by IoTHub
}

type secretWatch struct {
	hubs map[types.NamespacedName]struct{}
	// stop is nil while there is no watch, since it is not known that the Secret may be read.
	stop context.CancelFunc
	// denied is since when the Secret must not be read, zero if that is not known.
	denied time.Time
}

func newSecretWatches(ctx context.Context, mgr ctrl.Manager, wakes *triggers.Triggers) (*secretWatches, error) {
	c, err := metadata.NewForConfigAndClient(metadata.ConfigFor(mgr.GetConfig()), mgr.GetHTTPClient())
	return &secretWatches{client: c, lifetime: ctx, wake: wakes.Hub, log: mgr.GetLogger().WithName("secrets")}, err
}

// secretsOf names the Secrets that an IoTHub refers to, each once.
func secretsOf(hub *v1alpha1.IoTHub) []string {
	var names []string
	if ref := hub.Spec.Authentication.ConnectionStringSecretRef; ref != nil {
		names = append(names, ref.Name)
	}
	if e := hub.Spec.Events; e != nil && e.ConnectionStringSecretRef != nil {
		names = append(names, e.ConnectionStringSecretRef.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// follow has an IoTHub woken by these Secrets of its namespace and no others. A Secret that nobody refers to any more is left.
func (w *secretWatches) follow(hub types.NamespacedName, names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Equal(w.wanted[hub], names) {
		return
	}
	for _, name := range names {
		key := types.NamespacedName{Namespace: hub.Namespace, Name: name}
		if w.secrets[key] == nil {
			lazymap.Put(&w.secrets, key, &secretWatch{})
		}
		lazymap.Put(&w.secrets[key].hubs, hub, struct{}{})
	}
	for _, name := range w.wanted[hub] {
		if !slices.Contains(names, name) {
			w.leave(types.NamespacedName{Namespace: hub.Namespace, Name: name}, hub)
		}
	}
	if len(names) == 0 {
		delete(w.wanted, hub)
		return
	}
	lazymap.Put(&w.wanted, hub, names)
}

func (w *secretWatches) leave(key, hub types.NamespacedName) {
	s := w.secrets[key]
	delete(s.hubs, hub)
	if len(s.hubs) > 0 {
		return
	}
	if s.stop != nil {
		s.stop()
	}
	delete(w.secrets, key)
}

// granted starts the watch of a Secret that could be asked for, whether it exists or not. version is what was read.
func (w *secretWatches) granted(key types.NamespacedName, version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.secrets[key]
	if s == nil { // nobody follows it any more
		return
	}
	s.denied = time.Time{}
	if s.stop == nil {
		s.stop = w.start(key, version)
	}
}

// denied stops the watch of a Secret that must not be read, which would be refused as well. It returns when to ask again.
func (w *secretWatches) denied(key types.NamespacedName, now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.secrets[key]
	if s == nil {
		return waits.Right.Most
	}
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	if s.denied.IsZero() {
		s.denied = now
	}
	return waits.Right.After(now.Sub(s.denied))
}

// start watches one Secret. What the first list brings wakes its IoTHubs as well if the Secret has changed since it was read.
func (w *secretWatches) start(key types.NamespacedName, read string) context.CancelFunc {
	ctx, stop := context.WithCancel(w.lifetime)
	named := fields.OneTermEqualSelector(metav1.ObjectNameField, key.Name).String()
	informer := metadatainformer.NewFilteredMetadataInformer(w.client, corev1.SchemeGroupVersion.WithResource("secrets"), key.Namespace, 0, nil,
		func(o *metav1.ListOptions) { o.FieldSelector = named }).Informer()
	changed := func(o any) {
		if m, ok := o.(*metav1.PartialObjectMetadata); !ok || m.ResourceVersion != read {
			w.wakeUsers(ctx, key)
		}
	}
	_, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: changed, UpdateFunc: func(_, o any) { changed(o) }, DeleteFunc: func(any) { changed(nil) },
	})
	if err := errors.Join(err, informer.SetTransform(versionOnly), informer.SetWatchErrorHandlerWithContext(w.failed(key))); err != nil {
		w.log.Error(err, "Could not watch a Secret", "Secret", key) // only an informer that runs refuses
	}
	go informer.RunWithContext(ctx)
	return stop
}

// versionOnly drops what is not needed: kubectl keeps the content of what it applied in an annotation.
func versionOnly(o any) (any, error) {
	if m, ok := o.(*metav1.PartialObjectMetadata); ok {
		m.ObjectMeta = metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion}
	}
	return o, nil
}

// failed says once that a watch is refused. The informer tries again, ever more slowly, up to a minute apart; until then the heartbeat of the IoTHub reads.
func (w *secretWatches) failed(key types.NamespacedName) toolscache.WatchErrorHandlerWithContext {
	var once sync.Once
	return func(_ context.Context, _ *toolscache.Reflector, err error) {
		if apierrors.IsForbidden(err) {
			once.Do(func() {
				w.log.Info("May read a Secret but not list and watch it: changes take up to a minute", "Secret", key)
			})
		}
		w.log.V(1).Info("Watch of a Secret ended", "Secret", key, "reason", err)
	}
}

func (w *secretWatches) wakeUsers(ctx context.Context, key types.NamespacedName) {
	w.mu.Lock()
	var hubs []types.NamespacedName
	if s := w.secrets[key]; s != nil {
		for hub := range s.hubs {
			hubs = append(hubs, hub)
		}
	}
	w.mu.Unlock()
	for _, hub := range hubs {
		w.wake(ctx, hub)
	}
}
