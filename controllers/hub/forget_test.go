package hub

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached/cachedtest"
	"github.com/pnp-operator/pnp-operator/controllers/removals"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// A session that is kept for clearing keeps nobody else to the numbers of an IoTHub that is gone.
func TestTheNumbersOfAnIoTHubThatIsGoneHoldForNobody(t *testing.T) {
	low, high := types.NamespacedName{Namespace: "other", Name: "low"}, types.NamespacedName{Namespace: "factory", Name: "high"}
	for name, finalizers := range map[string][]string{"its session is kept": {v1alpha1.FinalizerClear}, "its session ends with it": nil} {
		t.Run(name, func(t *testing.T) {
			device := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Namespace: low.Namespace, Name: "d", Finalizers: finalizers}}
			device.Spec.HubRef.Name = low.Name
			r := forgetting(t, device)
			few := budget.S1
			few.DailyMessages = 10
			for hub, limits := range map[types.NamespacedName]budget.Limits{low: few, high: budget.S1} {
				r.Hubs.Put(t.Context(), hub, session.NewSession(silentHub{}, "host", ""), func(context.Context) {})
				r.Hubs.Budgets.State("host", hub.String(), limits)
				r.Hubs.Budgets.Trust("host", hub.String())
			}
			r.gone.observer().Delete(t.Context(), event.DeleteEvent{Object: &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Namespace: low.Namespace, Name: low.Name}}}, nil)
			if _, err := r.forget(t.Context(), low); err != nil {
				t.Fatal(err)
			}
			if s, _ := r.Hubs.ForClearing(low); (s != nil) != (finalizers != nil) {
				t.Fatalf("the session that is kept is %v", s)
			}
			if daily := r.Hubs.Budgets.All()["host"].Daily(); daily.Messages != budget.S1.DailyMessages || daily.Owner != high.String() {
				t.Errorf("%d messages of %s count", daily.Messages, daily.Owner)
			}
			woken := map[string]bool{}
			for len(r.Wakes.Members) > 0 {
				woken[client.ObjectKeyFromObject((<-r.Wakes.Members).Object).String()] = true
			}
			if !woken[high.String()] {
				t.Errorf("who waits for the number is not woken: %v", woken)
			}
		})
	}
}

// forgetting is a reconciler of IoTHubs that are gone, and of which these objects are.
func forgetting(t *testing.T, objects ...client.Object) *IoTHubReconciler {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := cachedtest.NewClientBuilder(scheme).WithObjects(objects...).Build()
	return &IoTHubReconciler{
		Client: c, Hubs: &session.Registry{}, Wakes: triggers.New(), Brake: removals.New(), checkpoints: &checkpoints{Client: c, reader: c}, ClearWithin: time.Hour,
		watches: &secretWatches{}, identities: &workloadIdentities{}, proofs: newProofs(t.Context(), func(types.NamespacedName) {}),
		retries: backoff.NewLasting(&backoff.Failures{}, waits.APIServer, ""), lifetime: t.Context(),
	}
}

// silentHub is a hub that nothing is asked of.
type silentHub struct{ session.Hub }

func (silentHub) Close() {}
