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
