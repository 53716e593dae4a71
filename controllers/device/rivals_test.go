package device

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached/cachedtest"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// incumbent has read the device d at the host h, by an IoTHub that is accepted there.
func incumbent(name string, created time.Time) (*v1alpha1.PnPDevice, *v1alpha1.IoTHub) {
	device := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "d", UID: types.UID(name), CreationTimestamp: metav1.NewTime(created)}}
	device.Spec.HubRef.Name = "hub"
	device.Status.Twin = &v1alpha1.TwinReference{Hub: "h", DeviceID: "d", Etag: "e"}
	hub := &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "hub"}}
	hub.Spec.HostName, hub.Status.Destination = "h", "h"
	hub.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAuthenticated, Status: metav1.ConditionTrue}}
	return device, hub
}

// losing is a reconciler, and an object that had its device, whose IoTHub is in use, and that lost
// it to one which declares p alone.
func losing(t *testing.T, rows ...v1alpha1.PropertyStatus) (r *PnPDeviceReconciler, device *v1alpha1.PnPDevice, hub *v1alpha1.IoTHub) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	winner, winnersHub := incumbent("a", time.Unix(1, 0))
	winner.Spec.Properties = &apiextensionsv1.JSON{Raw: []byte(`{"p": 1}`)}
	device, hub = incumbent("b", time.Unix(2, 0))
	device.Spec.Properties = &apiextensionsv1.JSON{Raw: []byte(`{"p": 2}`)}
	device.Status.Properties = rows
	sessions := &session.Registry{}
	for _, one := range []client.Object{winnersHub, hub} {
		sessions.Put(t.Context(), client.ObjectKeyFromObject(one), session.NewSession(nil, "h", ""), func(context.Context) {})
	}
	c := cachedtest.NewClientBuilder(scheme).WithObjects(winner, winnersHub, device, hub).Build()
	return &PnPDeviceReconciler{Hubs: sessions, Client: c}, device, hub
}

func ownedRow(name string) v1alpha1.PropertyStatus {
	return v1alpha1.PropertyStatus{Name: name, State: convergence.StateOf(twin.StateAcknowledged), Owned: true, Desired: convergence.JSONOf(json.Number("2")), DesiredVersion: 3}
}

// One that had the device, and lost it, goes on to know what it owns there, and says nothing of the
// device: nobody tells it.
func TestWhoLostADeviceSaysNothingOfIt(t *testing.T) {
	r, device, hub := losing(t, ownedRow("p"))
	st := &device.Status
	st.Declared, st.Acknowledged, st.Summary, st.ConnectionState = 1, 1, "1/1", convergence.Connected
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionSynced, v1alpha1.ConditionAcknowledged} {
		conditions.Set(device, kind, true, v1alpha1.ReasonDeviceAcknowledged, "")
	}
	s := newScope(device, time.Now())
	s.Hub, s.Destination = hub, "h"
	s.summarise(halt.Of(r.compete(t.Context(), s)))
	if is := conditions.ReadyOf(device); is.Reason != v1alpha1.ReasonDeviceAlreadyDeclared {
		t.Fatalf("Ready says %s: %s", is.Reason, is.Message)
	}
	for _, kind := range []string{v1alpha1.ConditionSynced, v1alpha1.ConditionAcknowledged} {
		if is := apimeta.FindStatusCondition(st.Conditions, kind); is.Status != metav1.ConditionFalse || is.Reason != v1alpha1.ReasonDeviceAlreadyDeclared {
			t.Errorf("%s is %s, %s", kind, is.Status, is.Reason)
		}
	}
	if st.Summary != "0/1" || st.Acknowledged != 0 || st.ConnectionState != "" {
		t.Errorf("%s are acknowledged, and the device is %q", st.Summary, st.ConnectionState)
	}
	if !st.Twin.Unconfirmed {
		t.Error("status is believed without a read once it has the device again, after a start")
	}
	if p := st.Properties; len(p) != 1 || !p[0].Owned || string(p[0].Desired.Raw) != "2" || p[0].DesiredVersion != 3 {
		t.Errorf("it owned version 3 of p, and says now %+v", p)
	}
}

// Another object's declaration is its own. All else that is left at the device is told of.
func TestADeletionTellsWhatItLeavesToAnotherObject(t *testing.T) {
	for name, test := range map[string]struct {
		rows []v1alpha1.PropertyStatus
		goes bool // with an Event
	}{
		"what that one declares":                 {[]v1alpha1.PropertyStatus{ownedRow("p")}, false},
		"what it does not declare":               {[]v1alpha1.PropertyStatus{ownedRow("p"), ownedRow("q")}, true},
		"what may have been sent":                {[]v1alpha1.PropertyStatus{{Name: "q", State: convergence.StateOf(twin.StatePending), Sent: &v1alpha1.SentValue{Value: *convergence.JSONOf("x"), Version: 4}}}, true},
		"another writer's, and one that is sent": {[]v1alpha1.PropertyStatus{{Name: "q", State: convergence.StateOf(twin.StateDrifted), Owned: true}, ownedRow("p")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, device, _ := losing(t, test.rows...)
			now := metav1.Now()
			device.DeletionTimestamp, device.Spec.DeletionPolicy = &now, v1alpha1.DeletionClear
			err := r.clear(t.Context(), newScope(device, time.Now()))
			if _, goes := errors.AsType[*notClearedError](err); goes != test.goes || err != nil && !goes {
				t.Errorf("the deletion ends with %v", err)
			}
		})
	}
}

func TestWhoHasADeviceAgainIsTold(t *testing.T) {
	object := func(uid string) *v1alpha1.PnPDevice {
		return &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: "d", UID: types.UID(uid)}}
	}
	type pass struct {
		object           string
		contested, adopt bool // by others
		want             bool
	}
	for name, passes := range map[string][]pass{
		"one object alone":                      {{"a", false, false, false}, {"a", false, false, false}},
		"one that never lost the device":        {{"a", true, false, false}, {"a", true, true, false}},
		"one that lost it and has it again":     {{"a", true, false, false}, {"b", true, true, true}, {"a", true, true, true}, {"a", true, true, false}},
		"the other one is gone by then":         {{"b", true, false, false}, {"a", false, false, true}, {"a", false, false, false}},
		"after a start, both had it":            {{"a", true, true, true}, {"a", true, true, false}},
		"after a start, the other never had it": {{"a", true, false, false}},
	} {
		var h holders
		for i, p := range passes {
			if got := h.take("h", object(p.object), p.contested, p.adopt); got != p.want {
				t.Errorf("%s: pass %d: %t", name, i, got)
			}
		}
		h.forget("d")
		if len(h.last) > 0 {
			t.Errorf("%s: %v is kept", name, h.last)
		}
	}
}
