package oracle

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Leaf is one property of a component, "" for the default one.
type Leaf struct{ Component, Name string }

func (l Leaf) String() string {
	if l.Component == "" {
		return l.Name
	}
	return l.Component + "." + l.Name
}

func compareLeaves(a, b Leaf) int {
	switch {
	case a.String() < b.String():
		return -1
	case a.String() > b.String():
		return 1
	}
	return 0
}

// declarable are the properties that PnPDevices declare, foreign those that only others write, beside them and in the same components.
var (
	declarable = []Leaf{
		{"", "interval"}, {"", "ratio"}, {"", "label"}, {"", "enabled"}, {"", "limits"}, {"", "mixed"},
		{"thermostat1", "targetTemperature"}, {"thermostat1", "limits"}, {"thermostat2", "targetTemperature"},
		{"pump", "speed"}, {"pump", "mode"}, {"pump", "schedule"},
	}
	foreign = []Leaf{{"", "owner"}, {"", "site"}, {"thermostat1", "calibration"}, {"pump", "firmware"}, {"visitor", "note"}}
)

// valueFor draws a value of the type that the leaf has; that of "mixed" changes.
func valueFor(r *rand.Rand, leaf Leaf) any {
	switch leaf.Name {
	case "interval", "speed":
		return r.IntN(1000)
	case "ratio", "targetTemperature":
		return float64(r.IntN(10_000)) / 10
	case "enabled":
		return r.IntN(2) == 0
	case "limits", "schedule":
		return objectValue(r)
	case "mixed":
		return []func() any{func() any { return objectValue(r) }, func() any { return r.IntN(100) }, func() any { return text(r) }}[r.IntN(3)]()
	default:
		return text(r)
	}
}

func text(r *rand.Rand) string { return fmt.Sprintf("v%d", r.IntN(1000)) }

// objectValue has keys that come and go, so that a merge has something to remove.
func objectValue(r *rand.Rand) map[string]any {
	o := map[string]any{"low": r.IntN(50)}
	if r.IntN(2) == 0 {
		o["high"] = 50 + r.IntN(50)
	}
	if r.IntN(3) == 0 {
		o["hysteresis"] = map[string]any{"up": float64(r.IntN(20)) / 4, "unit": text(r)}
	}
	if r.IntN(3) == 0 {
		o["note"] = text(r)
	}
	return o
}

// device is what the plan knows of one device and its object.
type device struct {
	name           string
	declared       bool // there is a PnPDevice
	atHub, online  bool
	mayVanish      bool
	busyUntil      time.Duration // a plot is about it
	busy           bool
	away           bool // its object names another IoTHub, which is not ready
	rewound        bool // the hub failed over to a copy of it, and the operator need not know
	values         map[Leaf]any
	twinAPI        v1alpha1.TwinAPI
	management     v1alpha1.Management
	deletionPolicy v1alpha1.DeletionPolicy
	readyWhen      v1alpha1.ReadyWhen
	reported       v1alpha1.ReportedScope
	within         int32
	suspend        bool
}

// begin gives the device's object a new declaration.
func (d *device) begin(r *rand.Rand) {
	d.declared, d.suspend, d.away, d.values = true, false, false, map[Leaf]any{}
	d.twinAPI = []v1alpha1.TwinAPI{v1alpha1.TwinAPIDigitalTwin, v1alpha1.TwinAPIDeviceTwin}[r.IntN(2)]
	d.management, d.readyWhen, d.reported, d.within = v1alpha1.ManagementEnforce, v1alpha1.ReadyWhenAcknowledged, v1alpha1.ReportedDeclared, 600
	d.deletionPolicy = []v1alpha1.DeletionPolicy{v1alpha1.DeletionRetain, v1alpha1.DeletionClear}[r.IntN(2)]
	for range 3 + r.IntN(4) {
		leaf := declarable[r.IntN(len(declarable))]
		d.values[leaf] = valueFor(r, leaf)
	}
}

// leaves are those that the object declares, in order.
func (d *device) leaves() []Leaf { return slices.SortedFunc(maps.Keys(d.values), compareLeaves) }

// undeclared are those that objects may declare and this one does not, in order.
func (d *device) undeclared() []Leaf {
	return slices.DeleteFunc(slices.SortedFunc(slices.Values(declarable), compareLeaves), func(l Leaf) bool { return d.values[l] != nil })
}

func (d *device) spec(hub string) *v1alpha1.PnPDeviceSpec {
	if d.away {
		hub = Elsewhere
	}
	spec := &v1alpha1.PnPDeviceSpec{
		HubRef: v1alpha1.HubReference{Name: hub}, DeviceID: d.name, TwinAPI: d.twinAPI, Management: d.management, DeletionPolicy: d.deletionPolicy,
		ReadyWhen: d.readyWhen, Reported: d.reported, AcknowledgeWithinSeconds: d.within, Suspend: d.suspend,
	}
	byComponent := map[string]map[string]any{}
	for leaf, value := range d.values {
		if byComponent[leaf.Component] == nil {
			byComponent[leaf.Component] = map[string]any{}
		}
		byComponent[leaf.Component][leaf.Name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(byComponent)) {
		if name == "" {
			spec.Properties = encoded(byComponent[name])
			continue
		}
		spec.Components = append(spec.Components, v1alpha1.ComponentDeclaration{Name: name, Properties: encoded(byComponent[name])})
	}
	return spec
}

func encoded(fields map[string]any) *apiextensionsv1.JSON {
	return &apiextensionsv1.JSON{Raw: raw(fields)}
}

// raw encodes what JSON has a form for.
func raw(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
