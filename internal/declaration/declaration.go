// Package declaration reads what a PnPDevice declares, and holds it against the rules that every twin has, whatever its model.
package declaration

import (
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Of decodes what a spec declares. It fails if properties are not an object, which the CRD's schema forbids.
func Of(spec *v1alpha1.PnPDeviceSpec) (twin.Declaration, error) {
	declared := twin.Declaration{}
	if err := declare(declared, "", spec.Properties); err != nil {
		return nil, err
	}
	for _, c := range spec.Components {
		if err := declare(declared, c.Name, c.Properties); err != nil {
			return nil, err
		}
	}
	return declared, nil
}

func declare(into twin.Declaration, component string, properties *apiextensionsv1.JSON) error {
	v := Value(properties)
	if v == nil {
		return nil
	}
	fields, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("properties of component %q: got %s, expected an object", component, twin.EncodeValue(v))
	}
	for name, value := range fields {
		into[twin.Leaf{Component: component, Name: name}] = value
	}
	return nil
}

// Value decodes JSON that the API server has parsed before; it cannot be malformed. nil means that there is none, or null.
func Value(j *apiextensionsv1.JSON) any {
	if j == nil || len(j.Raw) == 0 {
		return nil
	}
	v, err := twin.DecodeValue(j.Raw)
	if err != nil {
		return nil
	}
	return v
}

// Dialect is that of the API that the twin of a device is written through. hub is its IoTHub.
func Dialect(spec *v1alpha1.PnPDeviceSpec, hub *v1alpha1.IoTHub) twin.Dialect {
	api := spec.TwinAPI
	if api == "" && hub != nil {
		api = hub.WritesThrough()
	}
	if api == v1alpha1.TwinAPIDeviceTwin {
		return twin.DeviceTwin
	}
	return twin.DigitalTwin
}

// Check decodes what a spec declares and lists what the rules of every twin forbid in it, one sentence each. hub is the IoTHub of the device, nil if
// that is not known: what either API takes is let through then.
func Check(spec *v1alpha1.PnPDeviceSpec, hub *v1alpha1.IoTHub) (declared twin.Declaration, violations []string) {
	declared, err := Of(spec)
	if err != nil {
		return nil, []string{err.Error()}
	}
	dialect := twin.DeviceTwin
	if hub != nil || spec.TwinAPI != "" {
		dialect = Dialect(spec, hub)
	}
	for _, v := range twin.Validate(declared, dialect) {
		violations = append(violations, v.String())
	}
	return declared, violations
}
