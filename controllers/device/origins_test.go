package device

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

func originated(generation, observed int64, annotations map[string]string) *v1alpha1.PnPDevice {
	return &v1alpha1.PnPDevice{
		ObjectMeta: metav1.ObjectMeta{UID: "u", Generation: generation, Annotations: annotations},
		Status:     v1alpha1.PnPDeviceStatus{ObservedGeneration: observed},
	}
}

func TestWhoIsWaitingDecidesThePriority(t *testing.T) {
	create := func(atStart bool, d *v1alpha1.PnPDevice) func(*origins) {
		return func(o *origins) {
			o.observer().Create(t.Context(), event.CreateEvent{Object: d, IsInInitialList: atStart}, nil)
		}
	}
	update := func(was, is *v1alpha1.PnPDevice) func(*origins) {
		return func(o *origins) {
			o.observer().Update(t.Context(), event.UpdateEvent{ObjectOld: was, ObjectNew: is}, nil)
		}
	}
	found := create(true, originated(1, -1, nil))
	for name, c := range map[string]struct {
		events []func(*origins)
		want   budget.Priority
	}{
		"created by a user":                           {[]func(*origins){create(false, originated(1, -1, nil))}, budget.PriorityEdit},
		"found at the start, never looked at":         {[]func(*origins){found}, budget.PrioritySweep},
		"found at the start, edited while none ran":   {[]func(*origins){create(true, originated(3, 2, nil))}, budget.PriorityEdit},
		"found at the start, as it was left":          {[]func(*origins){create(true, originated(2, 2, nil))}, budget.PriorityFollowUp},
		"found at the start, and then edited":         {[]func(*origins){found, update(originated(1, -1, nil), originated(2, -1, nil))}, budget.PriorityEdit},
		"a read was asked for":                        {[]func(*origins){update(originated(1, 1, nil), originated(1, 1, map[string]string{"a": "b"}))}, budget.PriorityEdit},
		"status was written":                          {[]func(*origins){update(originated(1, -1, nil), originated(1, 1, nil))}, budget.PriorityFollowUp},
		"found at the start, then status was written": {[]func(*origins){found, update(originated(1, -1, nil), originated(1, 1, nil))}, budget.PrioritySweep},
	} {
		t.Run(name, func(t *testing.T) {
			o := &origins{}
			for _, happen := range c.events {
				happen(o)
			}
			s := &scope{State: convergence.New(convergence.Facts{Device: originated(1, 1, nil)}), memory: &session.Pass{Device: &session.Device{}}, origin: o.of(originated(1, 1, nil))}
			if got := s.priority(); got != c.want {
				t.Errorf("%s, expected %s", got, c.want)
			}
		})
	}
}

func TestASweptDeviceIsReadAtTheLowestPriorityUnlessAUserWaits(t *testing.T) {
	s := &scope{State: convergence.New(convergence.Facts{Device: originated(1, 1, nil)}), memory: &session.Pass{Device: &session.Device{}}}
	s.memory.Suspect(session.Place{})
	if got := s.priority(); got != budget.PrioritySweep {
		t.Errorf("%s for a sweep", got)
	}
	s.origin = &origin{}
	if got := s.priority(); got != budget.PriorityEdit {
		t.Errorf("%s for an edit of a device that is also swept", got)
	}
	s.origin = nil
	s.Device.DeletionTimestamp = &metav1.Time{}
	s.Device.DeletionTimestamp.Time = s.Device.DeletionTimestamp.AddDate(2026, 0, 0)
	if got := s.priority(); got != budget.PriorityEdit {
		t.Errorf("%s for a deletion", got)
	}
}

func TestAnEditDuringAPassOutlivesIt(t *testing.T) {
	o, d := &origins{}, originated(1, 1, nil)
	o.put(d, &origin{})
	began := o.of(d)
	o.put(d, &origin{})
	o.settle(d, began)
	if o.of(d) == nil {
		t.Error("the second edit was forgotten with the first")
	}
	o.settle(d, o.of(d))
	if o.of(d) != nil {
		t.Error("an edit that was dealt with is remembered")
	}
	o.put(d, &origin{})
	o.observer().Delete(t.Context(), event.DeleteEvent{Object: d}, nil)
	if o.of(d) != nil || len(o.objects) != 0 {
		t.Error("an object that is gone is remembered")
	}
}
