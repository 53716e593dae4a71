package device

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// TestAPatchThatFailsAtOnceEndsWhatWasSaid goes through passes over an object that is Ready and is
// edited.
func TestAPatchThatFailsAtOnceEndsWhatWasSaid(t *testing.T) {
	b := newBench(t, `{"a": 2}`)
	held := &twin.Twin{ETag: twin.ETagOf(2), DesiredVersion: 2, Version: 4, Properties: map[twin.Leaf]twin.Property{
		{Name: "a"}: {Desired: &twin.Desired{Value: json.Number("2"), Version: 2}},
	}}
	b.get = func() (*twin.Twin, error) { return held, nil }
	b.pass()
	if !conditions.IsTrue(b.device, v1alpha1.ConditionReady) {
		t.Fatalf("not Ready: %+v", conditions.ReadyOf(b.device))
	}
	b.device.Generation, b.device.Spec.Properties.Raw = 2, []byte(`{"a": 3}`)
	b.patch = func(string) (*twin.Twin, error) { return nil, &iothub.Error{StatusCode: http.StatusServiceUnavailable} }
	statuses := b.statuses
	if _, err := b.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b.device)}); err == nil {
		t.Fatal(errors.New("the write fails, and the pass does not"))
	}
	if conditions.ReadyOf(b.device).Reason != v1alpha1.ReasonProgressing || conditions.IsTrue(b.device, v1alpha1.ConditionSynced) || b.statuses != statuses+1 {
		t.Errorf("after %d statuses: %+v", b.statuses-statuses, b.device.Status.Conditions)
	}
	if _, err := b.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b.device)}); err == nil || b.statuses != statuses+1 {
		t.Errorf("a failure that repeats costs %d statuses", b.statuses-statuses-1)
	}
}
