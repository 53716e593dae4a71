package device

import (
	"context"
	"fmt"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached/cachedtest"
	"github.com/pnp-operator/pnp-operator/controllers/removals"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// owning declares p0, and the hub holds it.
func owning(name string) *v1alpha1.PnPDevice {
	return &v1alpha1.PnPDevice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: name, UID: types.UID(name), Generation: 1},
		Spec: v1alpha1.PnPDeviceSpec{
			HubRef: v1alpha1.HubReference{Name: "hub"}, Properties: &apiextensionsv1.JSON{Raw: []byte(`{"p0":1}`)},
		},
		Status: v1alpha1.PnPDeviceStatus{
			Twin: &v1alpha1.TwinReference{Hub: "factory.azure-devices.net", DeviceID: name, Etag: "AAAAAAAAAAE="},
			Properties: []v1alpha1.PropertyStatus{
				{Name: "p0", Owned: true, Desired: &apiextensionsv1.JSON{Raw: []byte("1")}, State: convergence.StateOf(twin.StateApplied)},
			},
		},
	}
}

// TestASessionThatEndsTakesItsBrakeAlong covers passes that are under way when the time to clear at
// an IoTHub that is gone is up: what the brake counted is forgotten by then.
func TestASessionThatEndsTakesItsBrakeAlong(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(r *PnPDeviceReconciler, hub types.NamespacedName)
		allows bool
	}{
		"goes on while the session is kept": {end: func(*PnPDeviceReconciler, types.NamespacedName) {}, allows: true},
		"stops once it has ended": {end: func(r *PnPDeviceReconciler, hub types.NamespacedName) {
			r.Hubs.Drop(hub)
			r.Brake.Forget(hub)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			hub := &v1alpha1.IoTHub{
				ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: "hub"}, Spec: v1alpha1.IoTHubSpec{HostName: "factory.azure-devices.net"},
			}
			cluster := cachedtest.NewClientBuilder(scheme).WithObjects(hub, owning("leaving")).WithStatusSubresource(&v1alpha1.IoTHub{}).Build()
			key, now := client.ObjectKeyFromObject(hub), time.Now()
			kept := session.NewSession(unusedHub{}, hub.Spec.HostName, "")
			r := &PnPDeviceReconciler{Client: cluster, Hubs: &session.Registry{}, Brake: removals.New(), Wakes: triggers.New()}
			r.Brake.Client, r.Brake.Reader = cluster, cluster
			r.Hubs.Put(t.Context(), key, kept, func(context.Context) {})
			s := newScope(owning("leaving"), now)
			s.Hub, s.hubGone, s.session = hub, true, kept
			c.end(r, key)
			allowed, err := r.braked(t.Context(), s, []twin.Change{{Leaf: twin.Leaf{Name: "p0"}, Cause: twin.Removed}})
			if (err == nil) != c.allows || allowed != c.allows {
				t.Errorf("changes may be sent: %v (%v), expected %v", allowed, err, c.allows)
			}
			if err := cluster.Delete(t.Context(), owning("leaving")); err != nil { // else the next count finds the property declared
				t.Fatal(err)
			}
			atMost := removals.Request{Object: "another", Unrecorded: true} // what one sync may remove if nothing counts
			for i := range 20 {
				atMost.Leaves = append(atMost.Leaves, twin.Leaf{Name: fmt.Sprint("p", i)})
			}
			if next, err := r.Brake.Allow(t.Context(), cluster, hub, atMost, now); err != nil || next.Allowed == c.allows {
				t.Errorf("as if the brake counted a removal: %v (%v), expected %v", !next.Allowed, err, c.allows)
			}
		})
	}
}
