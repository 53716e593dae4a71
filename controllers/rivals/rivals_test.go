package rivals

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached/cachedtest"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

// standing is what is known of the IoTHub of a PnPDevice, and of the object itself.
type standing struct {
	session  string // its destination, "": there is none
	accepted bool   // so status says: at the host h
	adopted  bool   // the object has read the device at the host h
}

var standings = func() (all []standing) {
	for _, session := range []string{"", "h", "h@elsewhere"} {
		for _, accepted := range []bool{false, true} {
			for _, adopted := range []bool{false, true} {
				all = append(all, standing{session, accepted, adopted})
			}
		}
	}
	return all
}()

// Status may be behind the sessions, and the other way round after a start. Of three objects for a
// device, whatever is known of them, at most one of those that could write takes itself for the one
// that may, and it is one if any could.
func TestOneObjectOfADeviceMayWrite(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, a := range standings {
		for _, b := range standings {
			for _, c := range standings {
				sessions := &session.Registry{}
				objects := cachedtest.NewClientBuilder(scheme)
				var devices []*v1alpha1.PnPDevice
				for i, is := range []standing{a, b, c} {
					device, hub := is.objects(fmt.Sprint(i), time.Unix(int64(10-i), 0))
					objects.WithObjects(device, hub)
					devices = append(devices, device)
					if is.session != "" {
						sessions.Put(t.Context(), client.ObjectKeyFromObject(hub), session.NewSession(nil, is.session, ""), func(context.Context) {})
					}
				}
				reader := objects.Build()
				writers, able := 0, 0
				for i, is := range []standing{a, b, c} {
					if is.session != "h" {
						continue
					}
					able++
					winner, err := Winner(t.Context(), reader, sessions, devices[i], "h")
					if err != nil {
						t.Fatal(err)
					}
					if winner.UID == devices[i].UID {
						writers++
					}
				}
				waits := a.isAwaited() || b.isAwaited() || c.isAwaited()
				if writers > 1 || writers == 0 && able > 0 && !waits {
					t.Fatalf("%+v, %+v, %+v: %d writers", a, b, c, writers)
				}
			}
		}
	}
}

// isAwaited reports whether the operator is about to make a session for an object, as after a
// start.
func (s standing) isAwaited() bool { return s.session == "" && s.accepted }

func (s standing) objects(name string, created time.Time) (*v1alpha1.PnPDevice, *v1alpha1.IoTHub) {
	device := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "d", UID: types.UID(name), CreationTimestamp: metav1.NewTime(created)}}
	device.Spec.HubRef.Name = "hub"
	if s.adopted {
		device.Status.Twin = &v1alpha1.TwinReference{Hub: "h", DeviceID: "d", Etag: "e"}
	}
	hub := &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "hub"}}
	hub.Spec.HostName, hub.Status.Destination = "h", "h"
	access := metav1.ConditionFalse
	if s.accepted {
		access = metav1.ConditionTrue
	}
	hub.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAuthenticated, Status: access}}
	return device, hub
}

// Devices and commands quote what their IoTHub says: another Secret that is missing, for example.
func TestDevicesHearOfWhatTheirIoTHubSays(t *testing.T) {
	hub := func(status metav1.ConditionStatus, reason, message string) *v1alpha1.IoTHub {
		return &v1alpha1.IoTHub{Status: v1alpha1.IoTHubStatus{Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionAuthenticated, Status: status, Reason: reason, Message: message},
		}}}
	}
	const no, yes = metav1.ConditionFalse, metav1.ConditionTrue
	for name, test := range map[string]struct {
		was, is *v1alpha1.IoTHub
		want    bool
	}{
		"another Secret is missing":       {hub(no, v1alpha1.ReasonSecretNotFound, `"a"`), hub(no, v1alpha1.ReasonSecretNotFound, `"b"`), true},
		"the Secret holds other nonsense": {hub(no, v1alpha1.ReasonInvalidConnectionString, "x"), hub(no, v1alpha1.ReasonInvalidConnectionString, "y"), true},
		"the same":                        {hub(no, v1alpha1.ReasonSecretNotFound, `"a"`), hub(no, v1alpha1.ReasonSecretNotFound, `"a"`), false},
		"the hub fails in another way":    {hub(no, v1alpha1.ReasonHubUnavailable, "503"), hub(no, v1alpha1.ReasonHubUnavailable, "500"), false},
		"it is accepted":                  {hub(no, v1alpha1.ReasonSecretNotFound, `"a"`), hub(yes, v1alpha1.ReasonAuthenticated, ""), true},
		"nobody quotes what is accepted":  {hub(yes, v1alpha1.ReasonAuthenticated, "x"), hub(yes, v1alpha1.ReasonAuthenticated, "y"), false},
	} {
		if got := HubMatters().Update(event.UpdateEvent{ObjectOld: test.was, ObjectNew: test.is}); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestWhoCompetesForADevice(t *testing.T) {
	const here, elsewhere = "h@localhost:1", "h@localhost:2"
	hub := func(access metav1.ConditionStatus, at, endpoint string) *v1alpha1.IoTHub {
		h := &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "hub"}}
		h.Spec.HostName, h.Spec.Endpoint, h.Status.Destination = "h", endpoint, at
		h.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAuthenticated, Status: access}}
		return h
	}
	for name, c := range map[string]struct {
		hub  *v1alpha1.IoTHub
		want bool
	}{
		"accepted here":                            {hub(metav1.ConditionTrue, here, "https://localhost:1"), true},
		"accepted elsewhere":                       {hub(metav1.ConditionTrue, elsewhere, "https://localhost:2"), false},
		"accepted elsewhere, and named this since": {hub(metav1.ConditionTrue, elsewhere, "https://localhost:1"), false},
		"accepted here, and named elsewhere since": {hub(metav1.ConditionTrue, here, "https://localhost:2"), true},
		"refused": {hub(metav1.ConditionFalse, here, "https://localhost:1"), false},
		"accepted, by a CRD that keeps no record":   {hub(metav1.ConditionTrue, "", "https://localhost:1"), true},
		"elsewhere, by a CRD that keeps no record":  {hub(metav1.ConditionTrue, "", "https://localhost:2"), false},
		"accepted at the host, not at its endpoint": {hub(metav1.ConditionTrue, "h", ""), false},
		"there is no such IoTHub":                   {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			objects := fake.NewClientBuilder().WithScheme(scheme)
			if c.hub != nil {
				objects.WithObjects(c.hub)
			}
			rival := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "d"}}
			rival.Spec.HubRef.Name = "hub"
			got, err := competes(t.Context(), objects.Build(), &session.Registry{}, rival, here)
			if err != nil || got != c.want {
				t.Errorf("competes: %t, %v, expected %t", got, err, c.want)
			}
		})
	}
}
