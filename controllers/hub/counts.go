package hub

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/finish"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// DeviceCounts keeps the counts in the status of IoTHubs up to date between their own passes. It
// asks no hub.
type DeviceCounts struct {
	client.Client
	Recorder events.EventRecorder
}

// SetupWithManager registers the controller. It is told what the cache shows, so what it counts is
// not older.
func (c *DeviceCounts) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("iothub-counts").
		Watches(&v1alpha1.PnPDevice{}, enqueueCounts(), builder.WithPredicates(countChanged())).
		Complete(backoff.Calm(c))
}

// Reconcile counts the devices of one IoTHub. A lock that is lost is tried again.
func (c *DeviceCounts) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	hub := &v1alpha1.IoTHub{}
	if err := c.Get(ctx, req.NamespacedName, hub); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if hub.Status.Devices == nil { // the first count is that of the IoTHub's own pass
		return ctrl.Result{}, nil
	}
	before := hub.DeepCopy()
	if err := countDevices(ctx, c, hub); err != nil {
		return ctrl.Result{}, err
	}
	return finish.Pass(ctx, c.Client, c.Recorder, &finish.Ending{Before: before, After: hub, Behind: waits.Cache.Most})
}

// countDevices puts the device counts into status.
func countDevices(ctx context.Context, reader client.Reader, hub *v1alpha1.IoTHub) error {
	devices, err := cached.MembersOf(ctx, reader, client.ObjectKeyFromObject(hub))
	if err != nil {
		return fmt.Errorf("listing the hub's devices: %w", err)
	}
	var counts v1alpha1.IoTHubDevices
	for _, device := range devices {
		counts = plus(counts, countOf(device))
	}
	if hub.Status.Devices == nil || *hub.Status.Devices != counts {
		hub.Status.Devices = &counts
	}
	return nil
}

// countOf is what one device adds to the counts of its IoTHub.
func countOf(device *v1alpha1.PnPDevice) v1alpha1.IoTHubDevices {
	one := func(is bool) int32 {
		if is {
			return 1
		}
		return 0
	}
	return v1alpha1.IoTHubDevices{
		Total: 1, Ready: one(conditions.IsTrue(device, v1alpha1.ConditionReady)), Offline: one(device.Status.ConnectionState == convergence.Disconnected),
		Clearing: one(isBeingCleared(device)),
	}
}

func plus(a, b v1alpha1.IoTHubDevices) v1alpha1.IoTHubDevices {
	return v1alpha1.IoTHubDevices{Total: a.Total + b.Total, Ready: a.Ready + b.Ready, Offline: a.Offline + b.Offline, Clearing: a.Clearing + b.Clearing}
}

// countChanged lets a change pass after which the counts of an IoTHub are others.
func countChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, ok := e.ObjectOld.(*v1alpha1.PnPDevice)
		is, okay := e.ObjectNew.(*v1alpha1.PnPDevice)
		return ok && okay && (countOf(was) != countOf(is) || cached.HubKey(was) != cached.HubKey(is))
	}}
}

// recountIn is when the devices of an IoTHub are counted after a change of one. Connections come and go
// day and night: for those alone the usual time is enough.
func recountIn(before, after *v1alpha1.PnPDevice) time.Duration {
	was, is := countOf(before), countOf(after)
	was.Offline, is.Offline = 0, 0
	if was == is && cached.HubKey(before) == cached.HubKey(after) {
		return waits.Count.Most
	}
	return waits.Recount.Most
}

// enqueueCounts has the IoTHubs of a device counted in a while, that which it left as well.
func enqueueCounts() handler.EventHandler {
	enqueue := func(q workqueue.TypedRateLimitingInterface[reconcile.Request], in time.Duration, objects ...client.Object) {
		for _, o := range objects {
			if device, ok := o.(*v1alpha1.PnPDevice); ok {
				q.AddAfter(reconcile.Request{NamespacedName: cached.HubKey(device)}, in)
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(q, waits.Recount.Most, e.Object)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			was, ok := e.ObjectOld.(*v1alpha1.PnPDevice)
			is, okay := e.ObjectNew.(*v1alpha1.PnPDevice)
			if ok && okay {
				enqueue(q, recountIn(was, is), was, is)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(q, waits.Recount.Most, e.Object)
		},
	}
}
