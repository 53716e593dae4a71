package controllers

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
)

// kstatus takes a generation that was observed, without Reconciling or Stalled, for Current.
func TestAHubIsObservedOnceItIsJudged(t *testing.T) {
	tests := map[string]struct {
		outcome  error
		observed int64
		stalled  string // the reason of the condition Stalled, empty if that is not True
		fails    bool   // the pass, which controller-runtime then repeats
	}{
		"it is connected":               {nil, 2, "", false},
		"a person has to act":           {stalled(v1alpha1.ReasonUnauthorized, "", 0), 2, v1alpha1.ReasonUnauthorized, false},
		"the hub fails: asked again":    {&iothub.Error{StatusCode: 503}, 2, "", true},
		"the API server fails: not yet": {errors.New("etcd has no leader"), 1, "", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			hub := &v1alpha1.IoTHub{
				ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: "hub", Generation: 2}, Status: v1alpha1.IoTHubStatus{ObservedGeneration: 1},
			}
			c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(hub).WithStatusSubresource(hub).Build()
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(hub), hub); err != nil {
				t.Fatal(err)
			}
			r := &IoTHubReconciler{Client: c, Recorder: events.NewFakeRecorder(10), retries: newLasting(waitAPIServer)}
			if _, err := r.finish(t.Context(), hub.DeepCopy(), hub, test.outcome); (err != nil) != test.fails {
				t.Errorf("the pass returns %v", err)
			}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(hub), hub); err != nil {
				t.Fatal(err)
			}
			if got := hub.Status.ObservedGeneration; got != test.observed {
				t.Errorf("observed generation %d, want %d", got, test.observed)
			}
			reason := ""
			if c := meta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionStalled); c != nil && c.Status == metav1.ConditionTrue {
				reason = c.Reason
			}
			if reason != test.stalled {
				t.Errorf("Stalled with reason %q, want %q", reason, test.stalled)
			}
		})
	}
}
