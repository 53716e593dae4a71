package eventstream

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// TelemetryMessage is what a device sent. The body is kept as it came, and only read if somebody asks.
type TelemetryMessage struct {
	// Component is the device's component (dt-subject), "" for the default one and for devices without Plug and Play.
	Component string
	// Model is the DTMI that the device announced when it connected (dt-dataschema), "" if none.
	Model string
	// ContentType is as the device set it, often "".
	ContentType string
	// Body is shared with the Message.
	Body []byte
}

// Bounds on what is read of a body: a hub takes messages of up to 256 KiB, and numbers end up in metrics.
const (
	maxTelemetryBody = 256 << 10
	maxNumbers       = 100
)

// Numbers are the fields of the body that are numbers, if it is a JSON object: at most 100, the first ones in order of their
// names. Nil for any other body. Some devices do not say what their messages are, so the content type does not matter.
func (t *TelemetryMessage) Numbers() map[string]float64 {
	fields := t.fields()
	if fields == nil {
		return nil
	}
	numbers := map[string]float64{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		f, err := strconv.ParseFloat(string(fields[name]), 64)
		if err == nil && len(numbers) < maxNumbers {
			numbers[name] = f
		}
	}
	return numbers
}

// fields are those of a JSON object that are numbers, as written.
func (t *TelemetryMessage) fields() map[string]json.Number {
	if len(t.Body) > maxTelemetryBody {
		return nil
	}
	v, err := twin.DecodeValue(t.Body)
	object, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil
	}
	numbers := map[string]json.Number{}
	for name, field := range object {
		if n, ok := field.(json.Number); ok {
			numbers[name] = n
		}
	}
	return numbers
}
