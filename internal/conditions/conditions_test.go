package conditions

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

func shown(o Object) map[string]string {
	all := map[string]string{}
	for _, c := range *o.GetConditions() {
		all[c.Type] = string(c.Status) + " " + c.Reason + ": " + c.Message
	}
	return all
}

// TestSetVerdict has one verdict follow another, as kstatus reads them.
func TestSetVerdict(t *testing.T) {
	o := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Generation: 3}}
	for _, c := range []struct {
		verdict Verdict
		want    map[string]string
	}{
		{Verdict{Reason: "Waits", Message: "a"}, map[string]string{"Ready": "False Waits: a", "Reconciling": "True Waits: a"}},
		{Verdict{Stalled: true, Reason: "Fails", Message: "b"}, map[string]string{"Ready": "False Fails: b", "Stalled": "True Fails: b"}},
		{Verdict{Ready: true, Stalled: true, Reason: "Well", Message: "c"}, map[string]string{"Ready": "True Well: c"}},
	} {
		SetVerdict(o, c.verdict)
		if diff := cmp.Diff(c.want, shown(o)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.verdict, diff)
		}
		if got := ReadyOf(o); got.ObservedGeneration != 3 {
			t.Errorf("%+v is of generation %d", c.verdict, got.ObservedGeneration)
		}
	}
}

func TestReadyOfNone(t *testing.T) {
	if got := ReadyOf(&v1alpha1.IoTHub{}); got.Status != metav1.ConditionUnknown || got.Reason != "" || got.Type != v1alpha1.ConditionReady {
		t.Errorf("got %+v", got)
	}
}

func TestSetOrRemove(t *testing.T) {
	o := &v1alpha1.IoTHub{}
	SetOrRemove(o, "Odd", true, "Because", "so")
	if !IsTrue(o, "Odd") {
		t.Errorf("got %v", shown(o))
	}
	Set(o, "Odd", false, "Because", "so")
	if IsTrue(o, "Odd") || len(shown(o)) != 1 {
		t.Errorf("got %v", shown(o))
	}
	SetOrRemove(o, "Odd", false, "", "")
	if len(shown(o)) != 0 {
		t.Errorf("left are %v", shown(o))
	}
}

func TestSetStatusCutsAndCleansMessages(t *testing.T) {
	o := &v1alpha1.IoTHub{}
	SetStatus(o, v1alpha1.ConditionReady, metav1.ConditionUnknown, "Because", strings.Repeat("x", 2*MaxMessage))
	if got := ReadyOf(o); len(got.Message) > MaxMessage || got.Message == "" || got.Status != metav1.ConditionUnknown {
		t.Errorf("a message of %d bytes, %s", len(got.Message), got.Status)
	}
	SetStatus(o, v1alpha1.ConditionReady, metav1.ConditionUnknown, "Because", "a\x1b[31mb")
	if got := ReadyOf(o).Message; strings.Contains(got, "\x1b") {
		t.Errorf("got %q", got)
	}
}

func TestIsSame(t *testing.T) {
	status := func(raw string) *v1alpha1.PnPDeviceStatus {
		return &v1alpha1.PnPDeviceStatus{Properties: []v1alpha1.PropertyStatus{{Name: "a", Desired: &apiextensionsv1.JSON{Raw: json.RawMessage(raw)}}}}
	}
	for name, c := range map[string]struct {
		a, b any
		want bool
	}{
		"the same":             {status("5"), status("5"), true},
		"another value":        {status("5"), status("6"), false},
		"none and an empty":    {[]string(nil), []string{}, true},
		"one and an empty one": {[]string{""}, []string{}, false},
	} {
		if got := IsSame(c.a, c.b); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
