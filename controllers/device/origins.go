package device

import (
	"context"
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
)

// origins remembers why objects are to be reconciled, until a pass has dealt with it: because a user edited them, or because the operator found them at its
// start and had never looked at them. Of ten thousand of the latter none may hold up one of the former. The zero value is ready to use.
type origins struct {
	mu      sync.Mutex
	objects map[types.UID]*origin
}

type origin struct {
	// atStart is true if no user is waiting: the object was there before the operator.
	atStart bool
}

// of returns why an object is to be reconciled, nil if neither applies.
func (o *origins) of(object client.Object) *origin {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.objects[object.GetUID()]
}

// settle forgets an origin that a pass has dealt with, unless there has been another one since.
func (o *origins) settle(object client.Object, dealtWith *origin) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if dealtWith != nil && o.objects[object.GetUID()] == dealtWith {
		delete(o.objects, object.GetUID())
	}
}

func (o *origins) put(object client.Object, why *origin) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.objects == nil {
		o.objects = map[types.UID]*origin{}
	}
	o.objects[object.GetUID()] = why
}

func (o *origins) drop(object client.Object) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.objects, object.GetUID())
}

// observer remembers why objects are to be reconciled.
func (o *origins) observer() handler.Funcs {
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ triggers.Queue) { o.created(e) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ triggers.Queue) { o.updated(e) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ triggers.Queue) { o.drop(e.Object) },
	}
}

// created tells what was found at the start from what somebody has just made, or had edited while no operator ran.
func (o *origins) created(e event.CreateEvent) {
	switch device := e.Object.(*v1alpha1.PnPDevice); {
	case !e.IsInInitialList || triggers.WasEdited(device):
		o.put(device, &origin{})
	case device.Status.ObservedGeneration <= 0:
		o.put(device, &origin{atStart: true})
	}
}

func (o *origins) updated(e event.UpdateEvent) {
	was, is := e.ObjectOld, e.ObjectNew
	if was.GetGeneration() != is.GetGeneration() || !maps.Equal(was.GetAnnotations(), is.GetAnnotations()) {
		o.put(is, &origin{})
	}
}
