package devices

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

// contents are names, of commands those of their direct methods, and what they are.
type contents map[string]string

func (c contents) add(component string, i *dtdl.Interface) {
	for _, p := range i.Properties {
		kind := "read-only"
		if p.Writable {
			kind = "writable"
		}
		c[property{component, p.Name}.String()] = kind
	}
	for _, command := range i.Commands {
		name := command.Name
		if component != "" {
			name = component + "*" + name
		}
		c[name] = "command"
	}
}

func TestVirtualDevicesAreAsTheModelsOfTheSamples(t *testing.T) {
	parsed := dtdl.Parse(sampleModel(t, "thermostat"), sampleModel(t, "temperaturecontroller"))
	if len(parsed.Errors) > 0 || len(parsed.Missing) > 0 {
		t.Fatal(parsed.Errors, parsed.Missing)
	}
	for id, virtual := range models {
		has, want := contents{}, contents{}
		for _, p := range virtual.writable {
			has[p.String()] = "writable"
		}
		for _, p := range virtual.readOnly {
			has[p.String()] = "read-only"
		}
		for name := range maps.Keys(virtual.commands) {
			has[name] = "command"
		}
		device := parsed.Interface(id)
		want.add("", device)
		for _, c := range device.Components {
			want.add(c.Name, c.Interface)
		}
		if !reflect.DeepEqual(has, want) {
			t.Errorf("%s: the virtual device has %v, its model %v", id, has, want)
		}
	}
}

// sampleModel is the DTDL of a DeviceModel of the samples.
func sampleModel(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile("../../config/samples/" + name + "-model.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var object struct {
		Spec struct {
			DTDL json.RawMessage `json:"dtdl"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	return object.Spec.DTDL
}
