package dtdl_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

const (
	controller = `{"@context":"dtmi:dtdl:context;2","@id":"dtmi:test:Controller;1","@type":"Interface","extends":"dtmi:test:Common;1","contents":[
		{"@type":"Property","name":"interval","writable":true,"schema":"duration"},
		{"@type":"Command","name":"reboot","request":{"name":"delay","schema":"integer"}},
		{"@type":"Component","name":"thermostat1","schema":"dtmi:test:Thermostat;1"},
		{"@type":"Component","name":"thermostat2","schema":"dtmi:test:Thermostat;1"},
		{"@type":"Telemetry","name":"load","schema":"double"},
		{"@type":"Relationship","name":"next"}]}`
	common     = `{"@context":"dtmi:dtdl:context;2","@id":"dtmi:test:Common;1","@type":"Interface","contents":{"@type":"Property","name":"serialNumber","schema":"string"}}`
	thermostat = `{"@context":"dtmi:dtdl:context;2","@id":"dtmi:test:Thermostat;1","@type":"Interface","extends":["dtmi:test:Common;1"],"contents":[
		{"@type":"Property","name":"target","writable":true,"schema":"double"}]}`
)

func TestLookups(t *testing.T) {
	m := dtdl.Parse([]byte(thermostat), []byte("["+common+","+controller+"]"))
	if len(m.Errors) > 0 || len(m.Missing) > 0 {
		t.Fatal(m.Errors, m.Missing)
	}
	i := m.Interface("dtmi:test:Controller;1")
	if p := i.Property("interval"); p == nil || !p.Writable || p.Schema.Kind != dtdl.Duration {
		t.Errorf("interval is %+v", p)
	}
	if p := i.Property("serialNumber"); p == nil || p.Writable || p.Schema.Kind != dtdl.String {
		t.Errorf("serialNumber, which is inherited, is %+v", p)
	}
	if c := i.Command("reboot"); c == nil || c.Request == nil || c.Request.Schema.Kind != dtdl.Integer || c.Response != nil {
		t.Errorf("reboot is %+v", c)
	}
	if c := i.Component("thermostat2"); c == nil || c.Interface != m.Interface("dtmi:test:Thermostat;1") || c.Interface.Property("serialNumber") == nil {
		t.Errorf("thermostat2 is %+v", c)
	}
	if i.Property("reboot") != nil || i.Command("interval") != nil || i.Component("load") != nil || i.Property("") != nil {
		t.Error("a name is found among what it is not")
	}
	counts := []int{len(i.Properties), len(i.Commands), len(i.Components), i.Version}
	if diff := cmp.Diff([]int{2, 1, 2, 2}, counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{"load": "Telemetry", "next": "Relationship", "interval": "Property", "reboot": "Command", "thermostat1": "Component", "x": ""} {
		if got := i.Content(name); got != want {
			t.Errorf("%s is a %q, want %q", name, got, want)
		}
	}
	if diff := cmp.Diff([]string{"dtmi:test:Common;1"}, i.Extends); diff != "" {
		t.Errorf("extends (-want +got):\n%s", diff)
	}
}

func TestMissingInterfacesAreAskedFor(t *testing.T) {
	m := dtdl.Parse([]byte("[" + controller + "," + thermostat + "]"))
	want := []dtdl.Missing{{DTMI: "dtmi:test:Common;1", Interface: "dtmi:test:Controller;1", Path: "/0/extends"}}
	if diff := cmp.Diff(want, m.Missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if len(m.Errors) > 0 || len(m.Interfaces()) > 0 {
		t.Errorf("errors %v, interfaces %v", m.Errors, m.Interfaces())
	}
	if !m.Defines("dtmi:test:Controller;1") || m.Defines("dtmi:test:Common;1") {
		t.Error("what is defined is not known")
	}
}

func TestOnlySoundInterfacesAreGiven(t *testing.T) {
	broken := `{"@context":"dtmi:dtdl:context;2","@id":"dtmi:test:Thermostat;1","@type":"Interface","contents":[{"@type":"Property","name":"a-b","schema":"double"}]}`
	m := dtdl.Parse([]byte("[" + controller + "," + broken + "," + common + "]"))
	if len(m.Errors) != 1 {
		t.Error(m.Errors)
	}
	if m.Interface("dtmi:test:Controller;1") != nil || m.Interface("dtmi:test:Thermostat;1") != nil {
		t.Error("an interface with a broken component is given")
	}
	if m.Interface("dtmi:test:Common;1") == nil {
		t.Error("a sound interface is not given")
	}
}

func TestRecursiveSchemas(t *testing.T) {
	m := dtdl.Parse([]byte(thing(4, `"schemas":{"@id":"dtmi:test:node;1","@type":"Object","fields":[{"name":"v","schema":"integer"},{"name":"next","schema":"dtmi:test:node;1"}]},"contents":`+property(`"dtmi:test:node;1"`))))
	schema := m.Interface("dtmi:test:Thing;1").Property("p").Schema
	if schema.Fields["next"].Schema != schema {
		t.Error("the schema is not made of itself")
	}
	got := fmt.Sprint(schema.Validate(decode(t, `{"v":1,"next":{"v":2,"next":{"v":"3"}}}`), "p"))
	if got != `[p.next.next.v is "3", want an integer from -2147483648 to 2147483647]` {
		t.Error(got)
	}
}

func TestRepositoryPath(t *testing.T) {
	for dtmi, want := range map[string]string{
		"dtmi:com:example:Thermostat;1": "dtmi/com/example/thermostat-1.json",
		"dtmi:a;12":                     "dtmi/a-12.json",
		"dtmi:a":                        "",
		"dtmi:a;1.2":                    "",
		"dtmi:../etc;1":                 "",
		"dtmi:a;1#x":                    "",
		"":                              "",
	} {
		if got, ok := dtdl.RepositoryPath(dtmi); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v, want %q", dtmi, got, ok, want)
		}
	}
}
