package harness

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// The models of the devices, and the property that both have, one of them in components.
const (
	ThermostatModel = simulator.Thermostat
	ControllerModel = simulator.TemperatureController
	TargetProperty  = "targetTemperature"
)

// WithinScenario is how long something may take on a machine that is busy with other things.
const WithinScenario = 30 * time.Second

// Stage is what a scenario plays on.
type Stage struct {
	*Testbed
	*Fleet
	*Observer
}

// Outcome is what a scenario has to show: the time between two things.
type Outcome struct {
	From, To string
	Took     time.Duration
}

// NewConnected makes an identity and connects a device for it.
func (s Stage) NewConnected(ctx context.Context, id, model string) error {
	if err := s.Create(ctx, id); err != nil {
		return err
	}
	return s.Connect(ctx, id, model)
}

// NewDeclared is newConnected for a device that has acknowledged a declaration.
func (s Stage) NewDeclared(ctx context.Context, id, model string, properties map[string]map[string]any) error {
	if err := s.NewConnected(ctx, id, model); err != nil {
		return err
	}
	_, err := s.Converge(ctx, id, model, properties)
	return err
}

// Applied is a declaration, and when it was made.
type Applied struct {
	At         time.Time
	Generation int64
}

// Apply declares properties of a device: those of the default component under "", and of others by
// their names.
func (s Stage) Apply(ctx context.Context, id, model string, properties map[string]map[string]any) (Applied, error) {
	spec := v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: SampleHub}, ModelID: model}
	for _, component := range slices.Sorted(maps.Keys(properties)) {
		raw, err := json.Marshal(properties[component])
		if err != nil {
			return Applied{}, err
		}
		if component == "" {
			spec.Properties = &apiextensionsv1.JSON{Raw: raw}
			continue
		}
		spec.Components = append(spec.Components, v1alpha1.ComponentDeclaration{Name: component, Properties: &apiextensionsv1.JSON{Raw: raw}})
	}
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "PnPDevice",
		"metadata": map[string]any{"name": id, "namespace": Namespace}, "spec": spec,
	})
	if err != nil {
		return Applied{}, err
	}
	began := time.Now()
	out, err := s.Kubectl.Output(ctx, string(manifest), "apply", "--server-side", "-f", "-", "-o", "json")
	if err != nil {
		return Applied{}, err
	}
	var object v1alpha1.PnPDevice
	err = json.Unmarshal([]byte(out), &object)
	return Applied{began, object.Generation}, err
}

// Converge applies properties and waits until the device has acknowledged them.
func (s Stage) Converge(ctx context.Context, id, model string, properties map[string]map[string]any) (Outcome, error) {
	a, err := s.Apply(ctx, id, model, properties)
	if err != nil {
		return Outcome{}, err
	}
	return s.Acknowledged(ctx, id, "apply", a)
}

// Acknowledged waits until the device has acknowledged all of a declaration.
func (s Stage) Acknowledged(ctx context.Context, id, from string, a Applied) (Outcome, error) {
	at, err := s.Await(ctx, id, "Ready, acknowledged by the device", func(device *v1alpha1.PnPDevice) bool {
		return device.Generation >= a.Generation && IsReady(device)
	})
	return Outcome{from, "acknowledged", at.Sub(a.At)}, err
}

// NotReady waits until a declaration is not Ready for a reason.
func (s Stage) NotReady(ctx context.Context, id, reason string, a Applied) (time.Time, error) {
	return s.Await(ctx, id, "not Ready: "+reason, func(device *v1alpha1.PnPDevice) bool {
		return device.Generation >= a.Generation && IsNotReady(device, reason)
	})
}

// Temperature declares a temperature for a thermostat.
func Temperature(value any) map[string]map[string]any {
	return map[string]map[string]any{"": {TargetProperty: value}}
}
