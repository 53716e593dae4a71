// Package declaration reads what a PnPDevice declares, and holds it against the rules that every twin has, whatever its model.
package declaration

import (
	"encoding/json"
	"errors"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// maxShown is what an error quotes of a value, in bytes.
const maxShown = 200

const (
	// MaxPayload is how many bytes of JSON the hub takes as the payload of a command ("Understand and invoke direct methods from IoT Hub").
	MaxPayload = 128 << 10
	// MaxDeclared is how many bytes of JSON a spec may declare, as the API server stores them: control characters, <, > and & take six each. The hub
	// takes 32 KB of desired properties, by a count that leaves out control characters only; what is larger is not decoded, which takes up to forty
	// times as much memory, and its acknowledgement would not fit into status.
	MaxDeclared = 128 << 10
)

// Abridge takes a declaration that Of refuses for its size out of a spec, to be kept in memory. Of refuses what it leaves for the same reason.
func Abridge(spec *v1alpha1.PnPDeviceSpec) {
	if size := Size(spec); size > MaxDeclared {
		text, _ := json.Marshal(tooLarge(size)) //nolint:errchkjson // a string has a JSON form
		spec.Properties, spec.Components = &apiextensionsv1.JSON{Raw: text}, nil
	}
}

func tooLarge(size int) string {
	return fmt.Sprintf("properties and components have %d bytes of JSON, in which control characters and <, > and & count as six, want at most %d", size, MaxDeclared)
}

// Of decodes what a spec declares. It fails if that is more than MaxDeclared, or if properties are not an object, which the CRD's schema forbids.
func Of(spec *v1alpha1.PnPDeviceSpec) (twin.Declaration, error) {
	if size := Size(spec); size > MaxDeclared {
		return nil, errors.New(tooLarge(size))
	}
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
	if text, isText := v.(string); isText && component == "" { // by Abridge
		return errors.New(text)
	}
	if !ok {
		return fmt.Errorf("properties of component %q: got %s, expected an object", component, storable.Shown(v, maxShown))
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

// Check decodes what a spec declares and lists what the rules of every twin forbid in it, one sentence each, as many as
// Violations keeps. hub is the IoTHub of the device, nil if that is not known: what either API takes is let through then.
func Check(spec *v1alpha1.PnPDeviceSpec, hub *v1alpha1.IoTHub) (declared twin.Declaration, violations []string) {
	declared, err := Of(spec)
	if err != nil {
		return nil, []string{err.Error()}
	}
	if violations := oversize(declared); len(violations) > 0 { // before anything is looked at that there may be much of
		return declared, violations
	}
	dialect := twin.DeviceTwin
	if hub != nil || spec.TwinAPI != "" {
		dialect = Dialect(spec, hub)
	}
	return declared, texts(twin.Validate(declared, dialect))
}

// Unanswerable lists what the hub takes and a device cannot acknowledge whole, one sentence each, where an acknowledgement is
// waited for. It is for what is declared anew: the device of an object that is there may answer in part, which counts.
func Unanswerable(spec *v1alpha1.PnPDeviceSpec, declared twin.Declaration) []string {
	if spec.ReadyWhen == v1alpha1.ReadyWhenApplied {
		return nil
	}
	return texts(twin.ValidateAnswer(declared))
}

func texts(broken []twin.Violation) []string {
	var found Violations
	for _, v := range broken {
		found.Add(v.String)
	}
	return found.Texts()
}
