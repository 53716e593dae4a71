package triggers

import (
	"context"
	"strings"

	"github.com/go-logr/logr"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Queue is the queue of a controller.
type Queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// observed hands each event to observers, and then enqueues its object if the event passes.
type observed struct {
	observers []handler.Funcs
	passes    predicate.Predicate
	enqueue   handler.EnqueueRequestForObject
}

// Observed returns the event handler of a controller's own kind: observers hear of all that the
// cache shows, in their order and before anything is enqueued; objects whose events pass are
// enqueued.
func Observed(passes predicate.Predicate, observers ...handler.Funcs) handler.EventHandler {
	return &observed{observers: observers, passes: passes}
}

// Create handles an object that the cache begins to show.
func (o *observed) Create(ctx context.Context, e event.CreateEvent, q Queue) {
	for _, observer := range o.observers {
		observer.Create(ctx, e, q)
	}
	if o.passes.Create(e) {
		o.enqueue.Create(ctx, e, q)
	}
}

// Update handles an object that the cache shows otherwise than before.
func (o *observed) Update(ctx context.Context, e event.UpdateEvent, q Queue) {
	for _, observer := range o.observers {
		observer.Update(ctx, e, q)
	}
	if o.passes.Update(e) {
		o.enqueue.Update(ctx, e, q)
	}
}

// Delete handles an object that the cache shows no more.
func (o *observed) Delete(ctx context.Context, e event.DeleteEvent, q Queue) {
	for _, observer := range o.observers {
		observer.Delete(ctx, e, q)
	}
	if o.passes.Delete(e) {
		o.enqueue.Delete(ctx, e, q)
	}
}

// Generic handles what no cache tells of.
func (o *observed) Generic(ctx context.Context, e event.GenericEvent, q Queue) {
	if o.passes.Generic(e) {
		o.enqueue.Generic(ctx, e, q)
	}
}

// For begins the controller of a kind of this API, with its name and its log, as the builder's own
// For does; the handler is that of the kind's objects.
func For(mgr ctrl.Manager, kind string, object client.Object, h handler.EventHandler, options controller.Options) *builder.Builder {
	name := strings.ToLower(kind)
	options.LogConstructor = logOf(mgr.GetLogger().WithValues(
		"controller", name, "controllerGroup", v1alpha1.GroupVersion.Group, "controllerKind", kind), kind)
	return ctrl.NewControllerManagedBy(mgr).Named(name).Watches(object, h).WithOptions(options)
}

// logOf returns the log of each request of a controller.
func logOf(log logr.Logger, kind string) func(*reconcile.Request) logr.Logger {
	return func(request *reconcile.Request) logr.Logger {
		if request == nil {
			return log
		}
		return log.WithValues(kind, klog.KRef(request.Namespace, request.Name), "namespace", request.Namespace, "name", request.Name)
	}
}
