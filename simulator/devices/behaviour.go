// Package devices runs virtual IoT Plug and Play devices inside the simulator. They follow Microsoft's "IoT Plug and
// Play conventions": announce the model, fetch the twin, apply and acknowledge desired properties.
package devices

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// Models that the virtual devices implement.
const (
	Thermostat            = "dtmi:com:example:Thermostat;1"
	TemperatureController = "dtmi:com:example:TemperatureController;1"
)

// Kind is how a device reacts to a desired property.
type Kind string

const (
	// KindAcknowledge applies the value and answers 200.
	KindAcknowledge Kind = "Acknowledge"
	// KindDelay answers 202 at once and 200 after Behaviour.Delay.
	KindDelay Kind = "Delay"
	// KindReject keeps the old value and answers Behaviour.Code.
	KindReject Kind = "Reject"
	// KindIgnore does not answer.
	KindIgnore Kind = "Ignore"
	// KindAdjust applies Behaviour.Value instead and answers 200.
	KindAdjust Kind = "Adjust"
	// KindPlainValue reports the value without an acknowledgement envelope.
	KindPlainValue Kind = "PlainValue"
	// KindFloat32 holds numbers in single precision and answers 200.
	KindFloat32 Kind = "Float32"
	// KindGoOffline drops the connection.
	KindGoOffline Kind = "GoOffline"
	// KindGoOnline connects again and acknowledges what happened meanwhile.
	KindGoOnline Kind = "GoOnline"
)

var kinds = []Kind{KindAcknowledge, KindDelay, KindReject, KindIgnore, KindAdjust, KindPlainValue, KindFloat32, KindGoOffline, KindGoOnline}

// Behaviour is a Kind with what it needs. The zero value acknowledges.
type Behaviour struct {
	Kind        Kind            `json:"kind,omitempty"`
	Delay       time.Duration   `json:"-"` // in JSON "delay":"2s"
	Code        int             `json:"code,omitempty"`
	Description string          `json:"description,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"`
}

// plain is Behaviour without its methods.
type plain Behaviour

type encoded struct {
	plain
	Delay jsontree.Duration `json:"delay,omitzero"`
}

// MarshalJSON shows the delay as "2s".
func (b Behaviour) MarshalJSON() ([]byte, error) {
	return json.Marshal(encoded{plain(b), jsontree.Duration(b.Delay)})
}

// UnmarshalJSON reads what MarshalJSON writes; a member that it does not know is an error.
func (b *Behaviour) UnmarshalJSON(data []byte) error {
	var e encoded
	err := jsontree.Decode(data, &e)
	if err == nil {
		*b = Behaviour(e.plain)
		b.Delay = time.Duration(e.Delay)
	}
	return err
}

// Acknowledge applies every value and answers 200.
func Acknowledge() Behaviour { return Behaviour{Kind: KindAcknowledge} }

// Delay answers 202 at once and 200 after d.
func Delay(d time.Duration) Behaviour { return Behaviour{Kind: KindDelay, Delay: d} }

// Reject answers with an error code.
func Reject(code int, description string) Behaviour {
	return Behaviour{Kind: KindReject, Code: code, Description: description}
}

// Ignore never answers.
func Ignore() Behaviour { return Behaviour{Kind: KindIgnore} }

// Adjust applies value, which must be JSON, instead of what was asked for.
func Adjust(value string) Behaviour {
	return Behaviour{Kind: KindAdjust, Value: json.RawMessage(value)}
}

// PlainValue reports values without an envelope.
func PlainValue() Behaviour { return Behaviour{Kind: KindPlainValue} }

// Float32 holds numbers in single precision.
func Float32() Behaviour { return Behaviour{Kind: KindFloat32} }

// GoOffline drops the connection at once; the rest of the behaviour stays.
func GoOffline() Behaviour { return Behaviour{Kind: KindGoOffline} }

// GoOnline connects again; the rest of the behaviour stays.
func GoOnline() Behaviour { return Behaviour{Kind: KindGoOnline} }

func (b Behaviour) validate() error {
	if b.Kind != "" && !slices.Contains(kinds, b.Kind) {
		return fmt.Errorf("unknown behaviour %q", b.Kind)
	}
	if b.Kind == KindAdjust && !json.Valid(b.Value) {
		return fmt.Errorf("the value %q to adjust to is not JSON", b.Value)
	}
	return nil
}

// Spec is a virtual device.
type Spec struct {
	// Model is the model id that the device announces; empty for none. Of models other than Thermostat and
	// TemperatureController the device knows nothing: it acknowledges whatever it is asked to apply.
	Model     string    `json:"model,omitempty"`
	Behaviour Behaviour `json:"behaviour"`
	// Properties overrides Behaviour for properties, by name or component.name.
	Properties map[string]Behaviour `json:"properties,omitempty"`
	// Telemetry is what the device sends while it is connected.
	Telemetry Telemetry `json:"telemetry,omitzero"`
	// Offline leaves the device disconnected until Online.
	Offline bool `json:"offline,omitempty"`
}
