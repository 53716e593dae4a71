package controllers

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/internal/validate"
)

// surface is a field in which a person reads text from outside. A new one has its row below; what
// devices, tenants and hubs say in log lines is in internal/process, in
// internal/webhooks/denial_test.go what a refusal says, and in internal/iothub what a hub's error
// says.
type surface struct {
	limit int // bytes
	show  func(t *testing.T, text string) string
}

var surfaces = map[string]surface{
	"message of a condition": {conditions.MaxMessage, func(_ *testing.T, text string) string {
		o := &v1alpha1.IoTHub{}
		conditions.SetVerdict(o, conditions.Verdict{Reason: "Test", Message: text})
		return conditions.ReadyOf(o).Message
	}},
	"note of an Event": {maxNote, func(_ *testing.T, text string) string {
		heard := &lastEvent{}
		newRecorder(heard, runtime.NewScheme()).Eventf(&v1alpha1.PnPDevice{}, nil, "Warning", "Test", "Test", "%s", text)
		return heard.note
	}},
	"field path of an Event": {maxFieldPath, func(_ *testing.T, text string) string {
		return fieldOf(&v1alpha1.PnPDevice{}, twin.Leaf{Component: text, Name: text}).FieldPath
	}},
	"value in a message": {convergence.MaxShown, func(_ *testing.T, text string) string { return convergence.ShownValue(map[string]any{text: text}) }},
	"status: ackDescription": {convergence.MaxAckDescription, func(t *testing.T, text string) string {
		return described(t, v1alpha1.ReportedDeclared, reportOf("x", envelope(text))).Properties[0].AckDescription
	}},
	"status: desired": {storable.MaxValue, func(t *testing.T, text string) string {
		return string(described(t, v1alpha1.ReportedDeclared, twinOf("desired", "x", text)).Properties[0].Desired.Raw)
	}},
	"status: reported": {storable.MaxValue, func(t *testing.T, text string) string {
		return string(described(t, v1alpha1.ReportedDeclared, reportOf("x", map[string]any{text: text})).Properties[0].Reported.Raw)
	}},
	"status: sent": {storable.MaxValue, func(_ *testing.T, text string) string { return string(convergence.JSONOf([]any{text}).Raw) }},
	"status: reported without a declaration": {convergence.MaxStatusBytes, func(t *testing.T, text string) string {
		return encoded(t, described(t, v1alpha1.ReportedAll, reportOf("y", text)).Properties)
	}},
	"status: name of a property without a declaration": {convergence.MaxStatusBytes, func(t *testing.T, text string) string {
		return encoded(t, described(t, v1alpha1.ReportedAll, reportOf(text, 1)).Properties)
	}},
	"status: name of a component": {convergence.MaxStatusBytes, func(t *testing.T, text string) string {
		return encoded(t, described(t, v1alpha1.ReportedAll, reportOf(text, map[string]any{"__t": "c", "y": 1})).Components)
	}},
	"status and column: modelID": {2048, func(t *testing.T, text string) string {
		raw := twinJSON(map[string]any{"modelId": text})
		return described(t, v1alpha1.ReportedNone, raw).ModelID
	}},
	"status: echo of an annotation": {convergence.MaxEcho, func(_ *testing.T, text string) string { return convergence.Echoable(text) }},
	"status: response of a command": {command.MaxResponse, func(_ *testing.T, text string) string {
		raw, _ := command.Response([]byte(text))
		return string(raw)
	}},
	"status: response of a command in JSON": {command.MaxResponse, func(t *testing.T, text string) string {
		raw, _ := command.Response([]byte(encoded(t, text)))
		return string(raw)
	}},
	"outcome of a command": {conditions.MaxMessage, func(t *testing.T, text string) string {
		o := &v1alpha1.DeviceCommand{}
		conditions.SetVerdict(o, conditions.Verdict{Reason: "Test", Message: answeredText(200) + text})
		return concluded(o).Outcome.Message
	}},
	"label of telemetry": {maxLabel, func(t *testing.T, text string) string {
		newMeter(types.NamespacedName{Namespace: t.Name(), Name: "hub"}).Telemetry(text)
		return labelIn(t, telemetryMessages, "component")
	}},
	"label of a measurement": {maxLabel, func(t *testing.T, text string) string {
		newMeter(types.NamespacedName{}).Measured(session.Measurement{Object: types.NamespacedName{Namespace: t.Name()}, Component: text, Field: text})
		return labelIn(t, deviceTelemetry, "field")
	}},
	"label of a partition": {maxLabel, func(t *testing.T, text string) string {
		newMeter(types.NamespacedName{Namespace: t.Name()}).Lag(text, 1)
		return labelIn(t, streamLag, "partition")
	}},
	"line of validate": {4 << 10, func(_ *testing.T, text string) string {
		return validate.Finding{File: text, Object: text, Message: text}.String()
	}},
	"violation of the rules of twins": {16 << 10, func(t *testing.T, text string) string {
		_, violations := declaration.Check(&v1alpha1.PnPDeviceSpec{
			TwinAPI: v1alpha1.TwinAPIDeviceTwin, Properties: jsonText(t, map[string]any{"a": map[string]any{text + "$": text}}),
		}, nil)
		return strings.Join(violations, "; ")
	}},
}

func TestTextFromOutsideIsCleanWhereverItSurfaces(t *testing.T) {
	for name, s := range surfaces {
		for kind, text := range map[string]string{
			"ESC": "a\x1b[2Jb", "BEL": "a\x07b", "C1": "a\u009b32mb", "C1 as a byte": "a\x9bb", "bidi": "a\u202eb", "isolates": "a\u2066b\u2069", "CR LF": "a\r\n::error::b",
			"NUL": "a\x00b", "invalid UTF-8": "a\xff\xc3b", "separators": "a\u2028b\u2029c\u0085d", "tags": "a\U000e0041b", "DEL": "a\x7fb",
			"100 KB": strings.Repeat("温\x1b", 25_000), "quotes": `a"\b`,
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				got := s.show(t, text)
				if !utf8.ValidString(got) || !storable.IsClean(got) || strings.ContainsAny(got, "\x00\x1b\x07\r\n\x7f") {
					t.Errorf("%.200q", got)
				}
				if len(got) > s.limit {
					t.Errorf("%d bytes, want at most %d", len(got), s.limit)
				}
			})
		}
	}
}

// lastEvent keeps the text of an Event.
type lastEvent struct{ note string }

func (e *lastEvent) Eventf(_, _ runtime.Object, _, _, _, note string, args ...any) {
	e.note = fmt.Sprintf(note, args...)
}

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
	s := newScope(device, time.Now())
	s.Declared = twin.Declaration{{Name: "x"}: json.Number("1")}
	s.Recall(false)
	s.Took(now)
	s.Describe()
	return device.Status
}

// labelIn is a label of the series of the test's namespace, which it removes.
func labelIn(t *testing.T, of interface {
	prometheus.Collector
	DeletePartialMatch(labels prometheus.Labels) int
}, name string,
) string {
	t.Helper()
	defer of.DeletePartialMatch(prometheus.Labels{"namespace": t.Name()})
	registry := prometheus.NewRegistry()
	registry.MustRegister(of)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range families[0].GetMetric() {
		labels := map[string]string{}
		for _, l := range one.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["namespace"] == t.Name() {
			return labels[name]
		}
	}
	t.Fatal("there is no series")
	return ""
}
