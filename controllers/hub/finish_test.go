package hub

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/removals"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/waits"
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
		"a person has to act":           {halt.Stalled(v1alpha1.ReasonUnauthorized, "", 0), 2, v1alpha1.ReasonUnauthorized, false},
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
			r := &IoTHubReconciler{Client: c, Recorder: events.NewFakeRecorder(10), retries: backoff.NewLasting(&backoff.Failures{}, waits.APIServer, "")}
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

// A hub that does not answer keeps no word back that needs none of it.
func TestAHubThatIsBeingProvedSaysThatItIsSuspended(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	hub := &v1alpha1.IoTHub{
		ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: "hub", Generation: 2}, Status: v1alpha1.IoTHubStatus{ObservedGeneration: 1},
	}
	conditions.SetVerdict(hub, conditions.Verdict{Reason: v1alpha1.ReasonHubUnavailable, Message: "no whole answer in time"})
	said := conditions.ReadyOf(hub)
	writes := 0
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(hub).WithStatusSubresource(hub).WithInterceptorFuncs(interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			writes++
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}).Build()
	recorder := events.NewFakeRecorder(10)
	r := &IoTHubReconciler{Client: c, Recorder: recorder, Brake: removals.New(), retries: backoff.NewLasting(&backoff.Failures{}, waits.APIServer, "")}
	r.retries.Fails(client.ObjectKeyFromObject(hub).String()+probing, backoff.Cause{Row: waits.Connect}, time.Now())
	for i, is := range []bool{true, true, false, false} {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(hub), hub); err != nil {
			t.Fatal(err)
		}
		before := hub.DeepCopy()
		hub.Spec.Suspend = is
		if _, err := r.finishUnproved(t.Context(), before, hub, halt.Quiet(0)); err != nil {
			t.Fatal(err)
		}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(hub), hub); err != nil {
			t.Fatal(err)
		}
		if conditions.IsTrue(hub, v1alpha1.ConditionSuspended) != is || writes != i/2+1 || len(recorder.Events) != i/2+1 {
			t.Errorf("pass %d: %d writes, %d Events, %+v", i, writes, len(recorder.Events), hub.Status.Conditions)
		}
	}
	if is := conditions.ReadyOf(hub); is.Reason != said.Reason || is.ObservedGeneration != said.ObservedGeneration || hub.Status.ObservedGeneration != 1 {
		t.Errorf("it says %+v of the hub", is)
	}
	if _, fails := r.retries.Of(client.ObjectKeyFromObject(hub).String() + probing); !fails {
		t.Error("its back-off is over")
	}
}
