package triggers

import (
	"context"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

func deviceOf(name string, generation, observed int64) *v1alpha1.PnPDevice {
	return &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: generation}, Status: v1alpha1.PnPDeviceStatus{ObservedGeneration: observed}}
}

func requestOf(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
}

func TestWhatWasEditedWhileNoOperatorRanComesFirst(t *testing.T) {
	q := priorityqueue.New[reconcile.Request]("test")
	defer q.ShutDown()
	edited, same := deviceOf("edited", 2, 1), deviceOf("same", 2, 2)
	for _, e := range []event.CreateEvent{{Object: same, IsInInitialList: true}, {Object: edited, IsInInitialList: true}} {
		EnqueueEdited().Create(t.Context(), e, q)
	}
	item, priority, _ := q.GetWithPriority()
	if item.Name != "edited" || priority != 0 || q.Len() != 0 {
		t.Errorf("got %s with priority %d, and %d more", item.Name, priority, q.Len())
	}
}

func TestWhatConcernsManyComesAfterEdits(t *testing.T) {
	hub := &v1alpha1.IoTHub{}
	many := EnqueueBehind(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{requestOf("a"), requestOf("edited")}
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
			q.Add(requestOf("edited"))
			tell(q)
			first, before, _ := q.GetWithPriority()
			second, after, _ := q.GetWithPriority()
			if first.Name != "edited" || second.Name != "a" || before != 0 || after >= PrioritySweep || q.Len() != 0 {
				t.Errorf("%s with %d, %s with %d, and %d more", first.Name, before, second.Name, after, q.Len())
			}
		})
	}
}

// Observers hear of each event, and before its object can be reconciled: whatever passes.
func TestObserversHearOfAllThatTheCacheShows(t *testing.T) {
	q := priorityqueue.New[reconcile.Request]("test")
	defer q.ShutDown()
	var heard []string
	observer := func(name string) handler.Funcs {
		hear := func(what string) { heard = append(heard, name+" "+what) }
		return handler.Funcs{
			CreateFunc: func(_ context.Context, e event.CreateEvent, _ Queue) { hear("creation of " + e.Object.GetName()) },
			UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ Queue) { hear("update of " + e.ObjectNew.GetName()) },
			DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ Queue) { hear("deletion of " + e.Object.GetName()) },
		}
	}
	last := handler.Funcs{CreateFunc: func(context.Context, event.CreateEvent, Queue) {
		if q.Len() != 0 {
			t.Error("an object is in the queue before its observers have heard of it")
		}
	}}
	h := Observed(predicate.GenerationChangedPredicate{}, observer("first"), observer("second"), last)
	same := deviceOf("same", 1, 1)
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: same, ObjectNew: same}, q)
	if q.Len() != 0 {
		t.Error("an event that does not pass enqueues its object")
	}
	h.Create(t.Context(), event.CreateEvent{Object: deviceOf("new", 1, 0)}, q)
	h.Delete(t.Context(), event.DeleteEvent{Object: deviceOf("gone", 1, 1)}, q)
	want := []string{
		"first update of same", "second update of same", "first creation of new", "second creation of new", "first deletion of gone", "second deletion of gone",
	}
	if !slices.Equal(heard, want) {
		t.Errorf("heard of %q, want %q", heard, want)
	}
	var enqueued []string
	for range 2 {
		item, _ := q.Get()
		enqueued = append(enqueued, item.Name)
	}
	if !slices.Equal(enqueued, []string{"new", "gone"}) {
		t.Errorf("enqueued %q", enqueued)
	}
}
