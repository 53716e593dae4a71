package controllers

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/storable/storabletest"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/internal/validate"
)

// Each field in which a person reads text from outside has a row in a test like this one, here or in
// the package that has the field; what devices, tenants and hubs say in log lines is in
// internal/process, in internal/webhooks/denial_test.go what a refusal says, and in internal/iothub
// what a hub's error says.
var surfaces = map[string]storabletest.Surface{
	"message of a condition": {Limit: conditions.MaxMessage, Show: func(_ *testing.T, text string) string {
		o := &v1alpha1.IoTHub{}
		conditions.SetVerdict(o, conditions.Verdict{Reason: "Test", Message: text})
		return conditions.ReadyOf(o).Message
	}},
	"value in a message": {Limit: convergence.MaxShown, Show: func(_ *testing.T, text string) string { return convergence.ShownValue(map[string]any{text: text}) }},
	"status: ackDescription": {Limit: convergence.MaxAckDescription, Show: func(t *testing.T, text string) string {
		return described(t, v1alpha1.ReportedDeclared, reportOf("x", envelope(text))).Properties[0].AckDescription
	}},
	"status: desired": {Limit: storable.MaxValue, Show: func(t *testing.T, text string) string {
		return string(described(t, v1alpha1.ReportedDeclared, twinOf("desired", "x", text)).Properties[0].Desired.Raw)
	}},
	"status: reported": {Limit: storable.MaxValue, Show: func(t *testing.T, text string) string {
		return string(described(t, v1alpha1.ReportedDeclared, reportOf("x", map[string]any{text: text})).Properties[0].Reported.Raw)
	}},
	"status: sent": {Limit: storable.MaxValue, Show: func(_ *testing.T, text string) string { return string(convergence.JSONOf([]any{text}).Raw) }},
	"status: reported without a declaration": {Limit: convergence.MaxStatusBytes, Show: func(t *testing.T, text string) string {
		return encoded(t, described(t, v1alpha1.ReportedAll, reportOf("y", text)).Properties)
	}},
	"status: name of a property without a declaration": {Limit: convergence.MaxStatusBytes, Show: func(t *testing.T, text string) string {
		return encoded(t, described(t, v1alpha1.ReportedAll, reportOf(text, 1)).Properties)
	}},
	"status: name of a component": {Limit: convergence.MaxStatusBytes, Show: func(t *testing.T, text string) string {
		return encoded(t, described(t, v1alpha1.ReportedAll, reportOf(text, map[string]any{"__t": "c", "y": 1})).Components)
	}},
	"status and column: modelID": {Limit: 2048, Show: func(t *testing.T, text string) string {
		raw := twinJSON(map[string]any{"modelId": text})
		return described(t, v1alpha1.ReportedNone, raw).ModelID
	}},
	"status: echo of an annotation": {Limit: convergence.MaxEcho, Show: func(_ *testing.T, text string) string { return convergence.Echoable(text) }},
	"status: response of a command": {Limit: command.MaxResponse, Show: func(_ *testing.T, text string) string {
		raw, _ := command.Response([]byte(text))
		return string(raw)
	}},
	"status: response of a command in JSON": {Limit: command.MaxResponse, Show: func(t *testing.T, text string) string {
		raw, _ := command.Response([]byte(encoded(t, text)))
		return string(raw)
	}},
	"line of validate": {Limit: 4 << 10, Show: func(_ *testing.T, text string) string {
		return validate.Finding{File: text, Object: text, Message: text}.String()
	}},
	"violation of the rules of twins": {Limit: 16 << 10, Show: func(t *testing.T, text string) string {
		_, violations := declaration.Check(&v1alpha1.PnPDeviceSpec{
			TwinAPI: v1alpha1.TwinAPIDeviceTwin, Properties: jsonText(t, map[string]any{"a": map[string]any{text + "$": text}}),
		}, nil)
		return strings.Join(violations, "; ")
	}},
}

func TestTextFromOutsideIsCleanWhereverItSurfaces(t *testing.T) { storabletest.Check(t, surfaces) }

func encoded(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func envelope(text string) map[string]any {
	return map[string]any{"value": 1, "ac": 400, "av": 1, "ad": text}
}

func jsonText(t *testing.T, v any) *apiextensionsv1.JSON {
	t.Helper()
	return &apiextensionsv1.JSON{Raw: []byte(encoded(t, v))}
}

func reportOf(name string, value any) map[string]any { return twinOf("reported", name, value) }

func twinOf(section, name string, value any) map[string]any {
	return twinJSON(map[string]any{"properties": map[string]any{section: map[string]any{"$version": 1, name: value}}})
}

func twinJSON(fields map[string]any) map[string]any {
	fields["deviceId"], fields["etag"] = "d", "AAAAAAAAAAE="
	return fields
}

// described is the status of an object that declares x, after a read of a twin.
func described(t *testing.T, mode v1alpha1.ReportedScope, body map[string]any) v1alpha1.PnPDeviceStatus {
	t.Helper()
	now, err := twin.ParseDeviceTwin([]byte(encoded(t, body)))
	if err != nil {
		t.Fatal(err)
	}
	device := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: v1alpha1.PnPDeviceSpec{Reported: mode, Properties: jsonText(t, map[string]any{"x": 1})}}
	s := convergence.New(convergence.Facts{Device: device, Now: time.Now()})
	s.Declared = twin.Declaration{{Name: "x"}: json.Number("1")}
	s.Recall(false)
	s.Took(now)
	s.Describe()
	return device.Status
}
