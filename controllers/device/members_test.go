package device

import (
	"context"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/rivals"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
)

// listing lists the same devices whatever is asked for.
type listing struct {
	client.Client

	devices []*v1alpha1.PnPDevice
}

func (c listing) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*v1alpha1.PnPDeviceList).Items = c.devices
	return nil
}

func deviceOf(name string, generation, observed int64) *v1alpha1.PnPDevice {
	return &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: generation}, Status: v1alpha1.PnPDeviceStatus{ObservedGeneration: observed}}
}

func TestWhatAHubThatBecameReadyWakesComesAfterEdits(t *testing.T) {
	q := priorityqueue.New[reconcile.Request]("test")
	defer q.ShutDown()
	r := &PnPDeviceReconciler{Client: listing{devices: []*v1alpha1.PnPDevice{deviceOf("same", 1, 1), deviceOf("new", 1, -1), deviceOf("edited", 2, 1)}}}
	r.enqueueMembers().Generic(t.Context(), event.GenericEvent{Object: &v1alpha1.IoTHub{}}, q)
	var order []string
	for range 3 {
		item, priority, _ := q.GetWithPriority()
		order = append(order, item.Name)
		if isEdit := item.Name == "edited"; isEdit != (priority == 0) {
			t.Errorf("%s has priority %d", item.Name, priority)
		}
		q.Done(item)
	}
	if want := []string{"edited", "same", "new"}; !slices.Equal(order, want) {
		t.Errorf("order is %v, want %v", order, want)
	}
}

func TestWhatWasEditedWhileNoOperatorRanComesFirst(t *testing.T) {
	q := priorityqueue.New[reconcile.Request]("test")
	defer q.ShutDown()
	edited, same := deviceOf("edited", 2, 1), deviceOf("same", 2, 2)
	for _, e := range []event.CreateEvent{{Object: same, IsInInitialList: true}, {Object: edited, IsInInitialList: true}} {
		triggers.EnqueueEdited().Create(t.Context(), e, q)
	}
	item, priority, _ := q.GetWithPriority()
	if item.Name != "edited" || priority != 0 || q.Len() != 0 {
		t.Errorf("got %s with priority %d, and %d more", item.Name, priority, q.Len())
	}
}

func TestWhatConcernsManyComesAfterEdits(t *testing.T) {
	hub := &v1alpha1.IoTHub{}
	many := triggers.EnqueueBehind(func(context.Context, client.Object) []reconcile.Request {
		return rivals.Requests([]*v1alpha1.PnPDevice{deviceOf("a", 1, 1), deviceOf("edited", 2, 1)})
	})
	for name, tell := range map[string]func(q priorityqueue.PriorityQueue[reconcile.Request]){
		"it is created": func(q priorityqueue.PriorityQueue[reconcile.Request]) {
			many.Create(t.Context(), event.CreateEvent{Object: hub}, q)
		},
		"it changes": func(q priorityqueue.PriorityQueue[reconcile.Request]) {
			many.Update(t.Context(), event.UpdateEvent{ObjectOld: hub, ObjectNew: hub}, q)
		},
		"it goes": func(q priorityqueue.PriorityQueue[reconcile.Request]) {
			many.Delete(t.Context(), event.DeleteEvent{Object: hub}, q)
		},
		"it is woken": func(q priorityqueue.PriorityQueue[reconcile.Request]) {
			many.Generic(t.Context(), event.GenericEvent{Object: hub}, q)
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := priorityqueue.New[reconcile.Request]("test")
			defer q.ShutDown()
			q.Add(rivals.Requests([]*v1alpha1.PnPDevice{deviceOf("edited", 2, 1)})[0])
			tell(q)
			first, before, _ := q.GetWithPriority()
			second, after, _ := q.GetWithPriority()
			if first.Name != "edited" || second.Name != "a" || before != 0 || after >= triggers.PrioritySweep || q.Len() != 0 {
				t.Errorf("%s with %d, %s with %d, and %d more", first.Name, before, second.Name, after, q.Len())
			}
		})
	}
}
