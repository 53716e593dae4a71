package revision

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// copyOf is a PnPDevice as the API server had it at some time.
func copyOf(resourceVersion string, generation, twinVersion int64) *v1alpha1.PnPDevice {
	d := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{UID: "u", Name: "a", ResourceVersion: resourceVersion, Generation: generation}}
	if twinVersion > 0 {
		d.Status.Twin = &v1alpha1.TwinReference{Etag: "e", Version: twinVersion, DesiredVersion: 3}
	}
	return d
}

func TestAnOlderCopyIsNoticed(t *testing.T) {
	another := copyOf("5", 1, 0)
	another.UID = "v"
	undesired := copyOf("9", 2, 7)
	undesired.Status.Twin.DesiredVersion = 2
	for name, c := range map[string]struct {
		was, is          *v1alpha1.PnPDevice
		passes, isRewind bool
	}{
		"status was written": {copyOf("7", 2, 6), copyOf("8", 2, 7), false, false},
		"a resync":           {copyOf("7", 2, 7), copyOf("7", 2, 7), false, false},
		"an edit":            {copyOf("7", 2, 7), copyOf("8", 3, 7), false, false},
		"etcd was put back":  {copyOf("8", 2, 7), copyOf("7", 2, 6), true, true},
		"etcd was put back, to where only metadata differ": {copyOf("8", 2, 7), copyOf("7", 2, 7), true, true},
		"etcd was put back, with larger resourceVersions":  {copyOf("8", 3, 7), copyOf("1000000008", 2, 6), true, true},
		"somebody put status back":                         {copyOf("8", 2, 7), copyOf("9", 2, 6), true, false},
		"somebody put status back to before a write":       {copyOf("8", 2, 7), undesired, true, false},
		"somebody took status away":                        {copyOf("8", 2, 7), copyOf("9", 2, 0), true, false},
		"another object took its name":                     {copyOf("8", 2, 0), another, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			found := 0
			w := Rewinds{Found: func() { found++ }}
			e := event.UpdateEvent{ObjectOld: c.was, ObjectNew: c.is}
			w.Observer().Update(t.Context(), e, nil)
			if got := PutBack().Update(e); got != c.passes {
				t.Errorf("passes: %t, expected %t", got, c.passes)
			}
			if got := w.Take(c.is); got != c.isRewind || (found > 0) != c.isRewind {
				t.Errorf("put back: %t, told of %d times, expected %t", got, found, c.isRewind)
			}
			if w.Take(c.is) {
				t.Error("it is told twice")
			}
		})
	}
}

func TestAnObjectThatComesBackWithItsStatusIsAnOlderCopy(t *testing.T) {
	ran := &v1alpha1.DeviceCommand{Status: v1alpha1.DeviceCommandStatus{RequestID: "r"}}
	connected := &v1alpha1.IoTHub{Status: v1alpha1.IoTHubStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady}}}}
	for name, c := range map[string]struct {
		object  client.Object
		atStart bool
		want    bool
	}{
		"a PnPDevice":                 {copyOf("7", 1, 3), false, true},
		"one that a user creates":     {copyOf("7", 1, 0), false, false},
		"one of the first list":       {copyOf("7", 1, 3), true, false},
		"a command":                   {ran, false, true},
		"a command of a user":         {&v1alpha1.DeviceCommand{}, false, false},
		"an IoTHub":                   {connected, false, true},
		"an IoTHub of a user":         {&v1alpha1.IoTHub{}, false, false},
		"an IoTHub of the first list": {connected, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			found := false
			w := Rewinds{Found: func() { found = true }}
			w.Observer().Create(t.Context(), event.CreateEvent{Object: c.object, IsInInitialList: c.atStart}, nil)
			if found != c.want {
				t.Errorf("noticed: %t, expected %t", found, c.want)
			}
			w.Observer().Delete(t.Context(), event.DeleteEvent{Object: c.object}, nil)
			if len(w.objects) > 0 {
				t.Error("an object that is gone is remembered")
			}
		})
	}
}
