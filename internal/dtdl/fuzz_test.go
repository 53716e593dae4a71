package dtdl_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

func FuzzParse(f *testing.F) {
	for _, c := range rules {
		if len(c.document) < 4000 {
			f.Add([]byte(c.document))
		}
	}
	f.Add([]byte("[" + controller + "," + common + "," + thermostat + "]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := dtdl.Parse(raw)
		for _, e := range m.Errors {
			if e.Rule == "" || e.Message == "" || len(e.Error()) > 10000 {
				t.Fatalf("an error of %d bytes: %.300q", len(e.Error()), e.Error())
			}
		}
		for _, i := range m.Interfaces() {
			if m.Interface(i.DTMI) != i || !m.Defines(i.DTMI) {
				t.Fatalf("%s is not found", i.DTMI)
			}
			checkInterface(t, i)
		}
		if len(m.Errors) == 0 && len(m.Missing) == 0 && len(m.Interfaces()) == 0 && len(bytes.Trim(raw, "[] \t\r\n,")) > 0 {
			t.Fatalf("%.300q is neither right nor wrong", raw)
		}
	})
}

// checkInterface takes a sound interface as the operator would.
func checkInterface(t *testing.T, i *dtdl.Interface) {
	t.Helper()
	for _, p := range i.Properties {
		if i.Property(p.Name) != p {
			t.Fatalf("property %q of %s is not found", p.Name, i.DTMI)
		}
		p.Schema.Validate(map[string]any{"f": json.Number("1")}, "p")
	}
	for _, c := range i.Commands {
		if i.Command(c.Name) != c {
			t.Fatalf("command %q of %s is not found", c.Name, i.DTMI)
		}
		for _, payload := range []*dtdl.Payload{c.Request, c.Response} {
			if payload != nil {
				payload.Validate(nil, "p")
			}
		}
	}
	for _, c := range i.Components {
		if i.Component(c.Name) != c || len(c.Interface.Components) > 0 {
			t.Fatalf("component %q of %s is not found, or has components", c.Name, i.DTMI)
		}
	}
}

func FuzzValidate(f *testing.F) {
	for name, c := range primitives {
		for _, value := range append(c.good, c.bad...) {
			f.Add(`"`+name+`"`, value)
		}
	}
	f.Add(person, `{"name":"a","age":5,"mood":"b","rooms":{"x":[1,2]}}`)
	f.Add(enum("integer", `{"name":"a","enumValue":1}`), `1.0`)
	f.Fuzz(func(t *testing.T, schema, raw string) {
		m := dtdl.Parse([]byte(extended(4, `"dtmi:dtdl:extension:requirement;1"`, telemetry(`"string"`), `{"@type":"Command","name":"c","response":{"name":"r","schema":`+schema+`}}`)))
		i := m.Interface("dtmi:test:Thing;1")
		dec := json.NewDecoder(bytes.NewReader([]byte(raw)))
		dec.UseNumber()
		var value any
		if dec.Decode(&value) != nil || i == nil || i.Command("c") == nil || i.Command("c").Response == nil {
			return
		}
		payload := i.Command("c").Response
		for _, e := range payload.Validate(value, "p") {
			if e.Expected == "" || e.Got == "" || e.Path == "" {
				t.Fatalf("%s: %+v", raw, e)
			}
		}
	})
}
