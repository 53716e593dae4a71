package validate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/models"
)

const head = "apiVersion: iot.pnp-operator.io/v1alpha1\n"

const model = head + `kind: DeviceModel
metadata: {name: valve, namespace: factory}
spec:
  dtdl:
    "@context": dtmi:dtdl:context;2
    "@id": dtmi:com:example:Valve;1
    "@type": Interface
    contents:
    - {"@type": Property, name: opening, writable: true, schema: integer}
    - {"@type": Command, name: turn, request: {name: by, schema: integer}}
`

func device(spec string) string {
	return head + "kind: PnPDevice\nmetadata: {name: d, namespace: factory}\nspec:\n  hubRef: {name: h}\n  modelID: dtmi:com:example:Valve;1\n" + spec
}

func command(spec string) string {
	return head + "kind: DeviceCommand\nmetadata: {name: c, namespace: factory}\nspec:\n  deviceRef: {name: d}\n  notAfter: \"2030-01-01T00:00:00Z\"\n" + spec
}

// files checks files of the given texts, in one folder.
func files(t *testing.T, texts ...string) Result {
	t.Helper()
	dir := t.TempDir()
	for i, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	result, err := Files(t.Context(), []string{dir}, models.NewRepositories(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestManifests(t *testing.T) {
	tests := map[string]struct {
		texts []string
		want  []string // parts of the findings, one each; none: nothing would be refused
	}{
		"conforms":                 {[]string{model, device("  properties: {opening: 5}\n"), command("  command: turn\n  payload: 3\n")}, nil},
		"other kinds":              {[]string{"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n", "kind: Kustomization\n", ""}, nil},
		"unknown field":            {[]string{device("  propertys: {opening: 5}\n")}, []string{`a.yaml:1: error: PnPDevice factory/d: unknown field "spec.propertys"`}},
		"required field":           {[]string{head + "kind: IoTHub\nmetadata: {name: h}\nspec: {hostName: x.azure-devices.net}\n"}, []string{"IoTHub h: spec.authentication: Required"}},
		"pattern":                  {[]string{strings.Replace(device(""), "Valve;1", "Valve;0", 1)}, []string{"spec.modelID"}},
		"CEL rule":                 {[]string{command("  command: turn\n  connectTimeoutSeconds: 20\n  responseTimeoutSeconds: 10\n")}, []string{"connectTimeoutSeconds must not be above responseTimeoutSeconds"}},
		"both time-outs":           {[]string{command("  command: turn\n  connectTimeoutSeconds: 5\n  responseTimeoutSeconds: 10\n")}, nil},
		"nulls that are pruned":    {[]string{device("  twinAPI:\n  suspend: null\n")}, nil},
		"a list of objects":        {[]string{"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: iot.pnp-operator.io/v1alpha1, kind: PnPDevice, metadata: {name: d}, spec: {hubRef: {name: h}, more: 1}}\n"}, []string{`PnPDevice d: unknown field "spec.more"`}},
		"what is no object":        {[]string{"- op: add\n  path: /spec\n", "[]\n"}, nil},
		"an array, hub unknown":    {[]string{device("  properties: {list: [1]}\n")}, nil},
		"rule of all twins":        {[]string{device("  properties: {\"a.b\": 5}\n")}, []string{"properties[\"a.b\"]"}},
		"wrong value":              {[]string{model, device("  properties: {opening: half}\n")}, []string{`b.yaml:1: error: PnPDevice factory/d: spec.properties.opening is "half", want an integer`}},
		"wrong payload":            {[]string{model, device(""), command("  command: turn\n  payload: left\n")}, []string{`spec.payload is "left"`}},
		"warned of":                {[]string{model + "  validation: Warn\n", device("  properties: {opening: half}\n")}, []string{"warning: PnPDevice factory/d: spec.properties.opening"}},
		"wrong model":              {[]string{strings.Replace(model, "integer}}", "intger}}", 1)}, []string{"DeviceModel factory/valve: spec.dtdl/contents/1/request/schema"}},
		"model that lacks a part":  {[]string{strings.Replace(model, `{"@type": Property,`, `{"@type": Component, name: x, schema: "dtmi:com:example:X;1"}`+"\n    - {\"@type\": Property,", 1)}, []string{"dtmi:com:example:X;1"}},
		"repository not allowed":   {[]string{head + "kind: DeviceModel\nmetadata: {name: m}\nspec: {modelID: \"dtmi:a:b;1\", repository: {url: \"https://h\"}}\n"}, []string{`"h"`}},
		"unknown kind":             {[]string{head + "kind: PnpDevice\nmetadata: {name: d}\n"}, []string{`kind is "PnpDevice", want`}},
		"no YAML":                  {[]string{"a: b: c\n"}, []string{"a.yaml:1: error: "}},
		"repeated key":             {[]string{head + "kind: IoTHub\nkind: IoTHub\n"}, []string{"kind"}},
		"the line of the document": {[]string{"# about\n\n" + model + "---\n# the device\n" + device("  properties: {opening: half}\n")}, []string{"a.yaml:16: error"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			result := files(t, test.texts...)
			if len(result.Findings) != len(test.want) {
				t.Fatalf("findings %q, want %q", result.Findings, test.want)
			}
			for i, part := range test.want {
				if text := result.Findings[i].String(); !strings.Contains(text, part) {
					t.Errorf("%q does not tell of %q", text, part)
				}
			}
			if refused := len(test.want) > 0 && !result.Findings[0].Warning; result.Failed() != refused {
				t.Errorf("failed: %t", result.Failed())
			}
		})
	}
}

func TestTheSamplesAreValid(t *testing.T) {
	result, err := Files(t.Context(), []string{"../../config/samples"}, models.NewRepositories(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Findings) > 0 || result.Objects < 6 || result.Unchecked > 0 {
		t.Errorf("%+v", result)
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	if _, err := Files(t.Context(), []string{"no/such/folder"}, models.NewRepositories(nil, nil)); err == nil {
		t.Error("a folder that does not exist is no error")
	}
}
