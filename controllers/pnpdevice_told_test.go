package controllers

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func TestWhatAnIoTHubSaysOfMessagesAndRefusals(t *testing.T) {
	hub := types.NamespacedName{Namespace: "factory", Name: "hub"}
	writes := []budget.Class{budget.TwinWrite}
	for name, c := range map[string]struct {
		trouble budget.Trouble
		owner   string
		want    string
	}{
		"refusals":                  {budget.HubThrottles, "", "The hub refused requests (429): fewer are made for now, of twin writes"}, // T20
		"a number of its own":       {budget.AllStopped, "factory/hub", `spec.requestBudget.dailyMessages: 10 of IoTHub "hub" are used: requests wait until 00:00 UTC, or until it is raised`},
		"the number of another one": {budget.AllStopped, "factory/other", `spec.requestBudget.dailyMessages: 10 of IoTHub "other" are used: requests wait until 00:00 UTC, or until it is raised`}, // T2
		"one of somebody else":      {budget.SweepsStopped, "line/press", "80 percent of spec.requestBudget.dailyMessages: 10 of another namespace's IoTHub of this hub are used: sweeps wait until 00:00 UTC"},
	} {
		if got := troubleVerdict(c.trouble, writes, budget.Daily{Messages: 10, Owner: c.owner}, hub).Message; got != c.want {
			t.Errorf("%s: got %s\nwant %s", name, got, c.want)
		}
	}
}

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
