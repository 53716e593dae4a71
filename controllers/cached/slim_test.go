package cached

import (
	encodingjson "encoding/json"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/managedfields"
)

func text(s string) string { return string([]byte(s)) } // as decoding makes it: in memory of its own

func fullDevice() *v1alpha1.PnPDevice {
	json := func(s string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(s)} }
	return &v1alpha1.PnPDevice{
		ObjectMeta: metav1.ObjectMeta{
			Name: "a", Annotations: map[string]string{"team": "red", v1alpha1.AnnotationResendRequestedAt: "now", corev1.LastAppliedConfigAnnotation: "{}"}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		},
		Spec: v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: text("hub")}, Components: []v1alpha1.ComponentDeclaration{{Name: text("c"), Properties: json(`{"p":1}`)}}},
		Status: v1alpha1.PnPDeviceStatus{
			Twin: &v1alpha1.TwinReference{Hub: text("h"), DeviceID: text("a")},
			Properties: []v1alpha1.PropertyStatus{
				{Name: text("same"), State: v1alpha1.PropertyState(text("Acknowledged")), Desired: json("1"), Reported: json("1")},
				{Name: text("other"), State: v1alpha1.PropertyState(text("Adjusted")), Desired: json("1"), Reported: json("2")},
				{Name: text("silent"), State: v1alpha1.PropertyState(text("Applied")), Desired: json("1")},
			},
			Components: []v1alpha1.ComponentStatus{{Name: text("c"), Properties: []v1alpha1.PropertyStatus{{Name: text("p"), State: v1alpha1.PropertyState(text("Acknowledged"))}}}},
			Conditions: []metav1.Condition{{Type: text("Ready"), Status: "True", Reason: text("DeviceAcknowledged"), Message: text("The device acknowledged every declared value")}},
		},
	}
}

func slim(t *testing.T, d *v1alpha1.PnPDevice) *v1alpha1.PnPDevice {
	t.Helper()
	o, err := Slim(d)
	if err != nil {
		t.Fatal(err)
	}
	return o.(*v1alpha1.PnPDevice)
}

func TestSlimChangesNoValue(t *testing.T) {
	want := fullDevice()
	want.ManagedFields = nil
	want.Annotations = map[string]string{v1alpha1.AnnotationResendRequestedAt: "now"}
	if diff := cmp.Diff(want, slim(t, fullDevice())); diff != "" {
		t.Error("(-want +got)", diff)
	}
}

func TestSlimHasEqualTextsOnce(t *testing.T) {
	a, b := slim(t, fullDevice()), slim(t, fullDevice())
	for name, texts := range map[string][2]string{
		"the hub":             {a.Spec.HubRef.Name, b.Spec.HubRef.Name},
		"a property":          {a.Status.Properties[1].Name, b.Status.Properties[1].Name},
		"a state":             {string(a.Status.Properties[0].State), string(b.Status.Components[0].Properties[0].State)},
		"a message":           {a.Status.Conditions[0].Message, b.Status.Conditions[0].Message},
		"name and device id":  {a.Name, a.Status.Twin.DeviceID},
		"component, declared": {a.Spec.Components[0].Name, b.Status.Components[0].Name},
	} {
		if unsafe.StringData(texts[0]) != unsafe.StringData(texts[1]) { //nolint:gosec // only compared
			t.Errorf("%s is in memory twice", name)
		}
	}
	if p := a.Status.Properties[0]; p.Desired != p.Reported {
		t.Error("a value that was reported as it was desired is in memory twice")
	}
	if c := a.DeepCopy().Status.Properties[0]; c.Desired == c.Reported {
		t.Error("a copy of the object has one value where it may change two")
	}
}

func TestSlimTakesWhateverTheCacheHasOfAnObjectThatIsGone(t *testing.T) {
	if o, err := Slim("tombstone"); err != nil || o != "tombstone" {
		t.Errorf("got %v, %v", o, err)
	}
}

func TestWhatTheCacheKeepsIsBounded(t *testing.T) {
	json := func(size int) *apiextensionsv1.JSON {
		return &apiextensionsv1.JSON{Raw: []byte(`"` + strings.Repeat("x", size) + `"`)}
	}
	metadata := metav1.ObjectMeta{
		Name: "a", Labels: map[string]string{"team": strings.Repeat("x", 60)}, OwnerReferences: make([]metav1.OwnerReference, 1000),
		Annotations:   map[string]string{"note": strings.Repeat("x", 200_000), v1alpha1.AnnotationReconcileRequestedAt: strings.Repeat("x", 100_000)},
		ManagedFields: make([]metav1.ManagedFieldsEntry, 1000),
	}
	for name, c := range map[string]struct {
		object client.Object
		most   int
	}{
		"a PnPDevice": {&v1alpha1.PnPDevice{ObjectMeta: *metadata.DeepCopy(), Spec: v1alpha1.PnPDeviceSpec{Properties: json(1_000_000)}}, 4 << 10},
		"a PnPDevice of large components": {&v1alpha1.PnPDevice{ObjectMeta: *metadata.DeepCopy(), Spec: v1alpha1.PnPDeviceSpec{
			Components: []v1alpha1.ComponentDeclaration{{Name: "c", Properties: json(1_000_000)}},
		}}, 4 << 10},
		"a DeviceCommand that has ended": {&v1alpha1.DeviceCommand{ObjectMeta: *metadata.DeepCopy(), Spec: v1alpha1.DeviceCommandSpec{Payload: json(100_000)},
			Status: v1alpha1.DeviceCommandStatus{Outcome: v1alpha1.CommandSucceeded, Response: json(16_000)}}, 4 << 10},
		"a DeviceModel": {&v1alpha1.DeviceModel{ObjectMeta: *metadata.DeepCopy(), Spec: v1alpha1.DeviceModelSpec{DTDL: json(1_000_000)}}, 4 << 10},
		"an IoTHub":     {&v1alpha1.IoTHub{ObjectMeta: *metadata.DeepCopy()}, 4 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // the cache may show a transform what it made before
				if _, err := Slim(c.object); err != nil {
					t.Fatal(err)
				}
			}
			if raw, err := encodingjson.Marshal(c.object); err != nil || len(raw) > c.most {
				t.Errorf("%d bytes are kept, want at most %d, %v", len(raw), c.most, err)
			}
		})
	}
}

func TestCommandsThatAreUnderWayKeepTheirPayload(t *testing.T) {
	command := &v1alpha1.DeviceCommand{Spec: v1alpha1.DeviceCommandSpec{Payload: &apiextensionsv1.JSON{Raw: make([]byte, 100_000)}}}
	if _, err := Slim(command); err != nil || command.Spec.Payload == nil || len(command.Annotations) > 0 {
		t.Error("it is abridged")
	}
}

func TestAForeignAttemptIsSeenInTheCache(t *testing.T) {
	command := &v1alpha1.DeviceCommand{ObjectMeta: metav1.ObjectMeta{
		Annotations:   map[string]string{v1alpha1.AnnotationAttempt: "a"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}}
	if _, err := Slim(command); err != nil || !managedfields.IsForeignAttempt(command) {
		t.Error("it looks like the operator's own")
	}
}
