package devices

import (
	"encoding/json"
	"strconv"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// property names a property; component is empty for the default component.
type property struct{ component, name string }

func (p property) String() string {
	if p.component == "" {
		return p.name
	}
	return p.component + "." + p.name
}

func (p property) path() []string {
	if p.component == "" {
		return []string{p.name}
	}
	return []string{p.component, p.name}
}

// initial is a property with the value that a device starts with.
type initial struct {
	property
	value any
}

// model is what a virtual device knows of its model.
type model struct {
	writable, readOnly []initial
	telemetry          []string          // components that measure a temperature
	commands           map[string]string // answers by the name of the direct method
}

// has reports whether the model has a component of that name.
func (m model) has(component string) bool {
	for _, list := range [][]initial{m.writable, m.readOnly} {
		for _, p := range list {
			if p.component == component {
				return true
			}
		}
	}
	return false
}

var models = map[string]model{
	Thermostat: {
		writable:  []initial{{property{"", "targetTemperature"}, json.Number("20.0")}},
		readOnly:  []initial{{property{"", "maxTempSinceLastReboot"}, json.Number("25.3")}},
		telemetry: []string{""},
		commands:  map[string]string{"getMaxMinReport": maxMinReport},
	},
	TemperatureController: {
		writable: []initial{
			{property{"thermostat1", "targetTemperature"}, json.Number("20.0")},
			{property{"thermostat2", "targetTemperature"}, json.Number("20.0")},
		},
		readOnly: []initial{
			{property{"", "serialNumber"}, "SR-123456"},
			{property{"thermostat1", "maxTempSinceLastReboot"}, json.Number("25.3")},
			{property{"thermostat2", "maxTempSinceLastReboot"}, json.Number("26.1")},
			{property{"deviceInformation", "manufacturer"}, "Contoso"},
			{property{"deviceInformation", "model"}, "Virtual Controller"},
			{property{"deviceInformation", "swVersion"}, "1.0.0"},
			{property{"deviceInformation", "osName"}, "Linux"},
			{property{"deviceInformation", "processorArchitecture"}, "amd64"},
			{property{"deviceInformation", "processorManufacturer"}, "Contoso"},
			{property{"deviceInformation", "totalStorage"}, json.Number("256")},
			{property{"deviceInformation", "totalMemory"}, json.Number("1024")},
		},
		telemetry: []string{"thermostat1", "thermostat2"},
		commands: map[string]string{
			"reboot": "null", "thermostat1*getMaxMinReport": maxMinReport, "thermostat2*getMaxMinReport": maxMinReport,
		},
	},
}

const componentMarker = "__t"

func isComponent(v any) bool {
	o, _ := v.(jsontree.Object)
	marker, _ := o.Get(componentMarker)
	return marker == "c"
}

// properties lists the properties of a section or of a patch of one. What is marked as a component has properties of
// its own; nulls are left out.
func properties(o jsontree.Object) []initial {
	var out []initial
	for _, m := range o {
		switch {
		case m.Name == componentMarker || m.Value == nil:
		case isComponent(m.Value):
			out = append(out, inComponent(m.Name, m.Value.(jsontree.Object))...)
		default:
			out = append(out, initial{property{"", m.Name}, m.Value})
		}
	}
	return out
}

func inComponent(name string, o jsontree.Object) []initial {
	var out []initial
	for _, m := range o {
		if m.Name != componentMarker && m.Value != nil {
			out = append(out, initial{property{name, m.Name}, m.Value})
		}
	}
	return out
}

// report is a reported patch under construction.
type report struct{ patch jsontree.Object }

func (r *report) set(p property, v any) {
	if p.component == "" {
		r.patch = r.patch.With(p.name, v)
		return
	}
	component := r.patch.Object(p.component)
	if component == nil {
		component = jsontree.Object{{Name: componentMarker, Value: "c"}}
	}
	r.patch = r.patch.With(p.component, component.With(p.name, v))
}

// envelope is an acknowledgement of a writable property.
func envelope(value any, code int, version int64, description string) jsontree.Object {
	o := jsontree.Object{
		{Name: "value", Value: value},
		{Name: "ac", Value: json.Number(strconv.Itoa(code))},
		{Name: "av", Value: json.Number(strconv.FormatInt(version, 10))},
	}
	if description != "" {
		o = append(o, jsontree.Member{Name: "ad", Value: description})
	}
	return o
}

// unwrap returns the value of a reported property and the desired version that it acknowledges, if it does.
func unwrap(v any) (value any, version int64, acknowledged bool) {
	o, _ := v.(jsontree.Object)
	av, ok := o.Get("av")
	if !ok {
		return v, 0, false
	}
	value, _ = o.Get("value")
	if n, ok := av.(json.Number); ok {
		version, _ = n.Int64()
	}
	return value, version, true
}
