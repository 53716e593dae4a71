package device

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// unusedHub is a hub that nothing is asked of.
type unusedHub struct{ session.Hub }

func (unusedHub) Close() {}

func TestFactsDecideWhetherADeletionWaits(t *testing.T) {
	key := client.ObjectKey{Namespace: "factory", Name: "hub"}
	hubAt := func(host string, conditions ...metav1.Condition) *v1alpha1.IoTHub {
		return &v1alpha1.IoTHub{
			ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
			Spec:       v1alpha1.IoTHubSpec{HostName: host}, Status: v1alpha1.IoTHubStatus{Conditions: conditions},
		}
	}
	is := func(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Reason: reason}
	}
	accepted := is(v1alpha1.ConditionAuthenticated, metav1.ConditionTrue, v1alpha1.ReasonAuthenticated)
	refused := is(v1alpha1.ConditionAuthenticated, metav1.ConditionFalse, v1alpha1.ReasonUnauthorized)
	live := func(r *PnPDeviceReconciler) {
		r.Hubs.Put(context.Background(), key, session.NewSession(unusedHub{}, "a", ""), func(context.Context) {})
	}
	kept := func(r *PnPDeviceReconciler) { live(r); r.Hubs.Keep(key, time.Hour, func() {}) }
	went := func(r *PnPDeviceReconciler) {
		r.GoneHub = func(client.ObjectKey) *v1alpha1.IoTHub { return hubAt("a") }
	}
	const clears, waits, goes = "clears", "waits", "goes"
	type facts = []func(*PnPDeviceReconciler)
	tests := map[string]struct {
		hub   *v1alpha1.IoTHub
		facts facts
		want  string
	}{
		"a session":                                     {hubAt("a", accepted), facts{live}, clears},
		"a session, whatever the IoTHub says":           {hubAt("a", refused), facts{live}, clears},
		"a session whose IoTHub has just gone":          {nil, facts{live, went}, waits},
		"a session that is kept without the Secret":     {hubAt("a", refused), facts{kept}, clears},
		"a session that is kept without the IoTHub":     {nil, facts{kept, went}, clears},
		"a session that is kept, of another host":       {hubAt("b", accepted), facts{kept}, waits},
		"no IoTHub, and no session":                     {nil, nil, goes},
		"an IoTHub that was not tried yet":              {hubAt("a"), nil, waits},
		"an IoTHub that was reached before the start":   {hubAt("a", accepted), nil, waits},
		"an IoTHub that was refused before the start":   {hubAt("a", refused), nil, waits},
		"an IoTHub that a person has to mend":           {hubAt("a", accepted), facts{func(r *PnPDeviceReconciler) { r.Hubs.Obstruct(key, v1alpha1.ReasonSecretNotFound) }}, goes},
		"an IoTHub that was mended":                     {hubAt("a", refused), facts{func(r *PnPDeviceReconciler) { r.Hubs.Obstruct(key, "x"); r.Hubs.Obstruct(key, "") }}, waits},
		"an IoTHub of an operator that said Ready only": {hubAt("a", is(v1alpha1.ConditionReady, metav1.ConditionTrue, "")), nil, waits},
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			objects := fake.NewClientBuilder().WithScheme(scheme)
			if test.hub != nil {
				objects = objects.WithObjects(test.hub)
			}
			r := &PnPDeviceReconciler{Client: objects.Build(), Hubs: &session.Registry{}, GoneHub: func(client.ObjectKey) *v1alpha1.IoTHub { return nil }}
			for _, fact := range test.facts {
				fact(r)
			}
			device := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "d"}}
			device.Spec.HubRef.Name = key.Name
			s := newScope(device, time.Now())
			got := outcomeOf(r.hubForClearing(t.Context(), s), clears, waits, goes)
			if got != test.want {
				t.Errorf("the deletion %s, want that it %s", got, test.want)
			}
			if (s.session != nil) != (test.want == clears) {
				t.Errorf("the session is %v", s.session)
			}
		})
	}
}

// An outage before the deletion, or a refusal of what was declared, is no part of the time for
// which the hub has to refuse before values are left there.
func TestOneRefusalAfterOtherFailuresLeavesNothingBehind(t *testing.T) {
	const grace = 30 * time.Second
	began := time.Now()
	denied := &iothub.Error{StatusCode: 401, Class: iothub.Terminal}
	for name, test := range map[string]struct {
		before  *waits.Row // of what failed for ten minutes, nil: nothing
		giveUp  func(*PnPDeviceReconciler, *scope) error
		refusal error
	}{
		"of the hub, after an outage": {waits.HubFails, func(r *PnPDeviceReconciler, s *scope) error { return r.notCleared(s, denied, "") }, denied},
		"of the hub, after it refused the declaration": {waits.HubRefuses, func(r *PnPDeviceReconciler, s *scope) error {
			return r.notCleared(s, denied, "")
		}, denied},
		"of the hub, and nothing before":                {nil, func(r *PnPDeviceReconciler, s *scope) error { return r.notCleared(s, denied, "") }, denied},
		"of a credential that is kept, after an outage": {waits.HubFails, func(r *PnPDeviceReconciler, s *scope) error { return r.unauthorized(s, denied) }, denied},
	} {
		t.Run(name, func(t *testing.T) {
			r := &PnPDeviceReconciler{Grace: grace, Hubs: &session.Registry{}, retries: backoff.NewLasting(&backoff.Failures{}, waits.APIServer, "")}
			device := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: "d", UID: "1"}}
			if test.before != nil {
				r.retries.Fails(nameOfDevice(device), backoff.Cause{Row: test.before, Object: device.UID}, began.Add(-10*time.Minute))
			}
			after := func(passed time.Duration) bool {
				_, left := errors.AsType[*notClearedError](test.giveUp(r, newScope(device, began.Add(passed))))
				return left
			}
			if after(0) || after(grace-1) {
				t.Error("it was given up before the hub had refused for the grace time")
			}
			if !after(grace) {
				t.Error("it was not given up after that")
			}
			if r.clearing.forget(device); after(2 * grace) {
				t.Error("an earlier object of that name counts")
			}
		})
	}
}

// An object that others hold says so, and by whom, and nothing else: what was cleared is not still
// to be removed.
func TestAnObjectThatOthersHoldSaysSo(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		finalizers []string
		want       string
	}{
		"by a controller":             {[]string{"example.com/keep", metav1.FinalizerDeleteDependents}, "Being deleted; the device is neither read nor written any more, and the object is held by finalizers of others: example.com/keep"},
		"by Kubernetes, for a moment": {[]string{metav1.FinalizerDeleteDependents}, ""},
	} {
		for _, policy := range []v1alpha1.DeletionPolicy{v1alpha1.DeletionClear, v1alpha1.DeletionRetain} {
			t.Run(name+", "+string(policy), func(t *testing.T) {
				now := metav1.Now()
				device := owning("d")
				device.DeletionTimestamp, device.Finalizers, device.Generation = &now, test.finalizers, 2
				device.Spec.DeletionPolicy, device.Status.ConnectionState, device.Status.Summary = policy, convergence.Connected, "1/1"
				conditions.SetVerdict(device, conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonDeviceAcknowledged})
				c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(device).WithStatusSubresource(device).Build()
				r := &PnPDeviceReconciler{Client: c, Hubs: &session.Registry{}, retries: backoff.NewLasting(&backoff.Failures{}, waits.APIServer, ""), Recorder: events.NewFakeRecorder(10)}
				for range 2 {
					if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(device)}); err != nil {
						t.Fatal(err)
					}
				}
				is := &v1alpha1.PnPDevice{}
				if err := c.Get(t.Context(), client.ObjectKeyFromObject(device), is); err != nil {
					t.Fatal(err)
				}
				if test.want == "" {
					if !conditions.IsTrue(is, v1alpha1.ConditionReady) {
						t.Errorf("it says %s", conditions.ReadyOf(is).Message)
					}
					return
				}
				if ready := conditions.ReadyOf(is); ready.Status != metav1.ConditionFalse || ready.Message != test.want || !conditions.IsTrue(is, v1alpha1.ConditionReconciling) {
					t.Errorf("Ready is %s: %s", ready.Status, ready.Message)
				}
				if st := is.Status; st.Summary != "0/0" || st.ConnectionState != "" || len(st.Properties) > 0 || conditions.IsTrue(is, v1alpha1.ConditionSynced) {
					t.Errorf("it says %s, %q, %v", st.Summary, st.ConnectionState, st.Properties)
				}
			})
		}
	}
}

// outcomeOf names what becomes of a deletion.
func outcomeOf(err error, clears, waits, goes string) string {
	_, left := errors.AsType[*notClearedError](err)
	switch {
	case err == nil:
		return clears
	case left:
		return goes
	case halt.Is(err):
		return waits
	}
	return err.Error()
}
