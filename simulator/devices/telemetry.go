package devices

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// Publisher takes the telemetry of virtual devices. An empty component is the default one.
type Publisher interface {
	PublishTelemetry(deviceID, component, model string, body []byte) error
}

// Telemetry is what a virtual device sends of its own accord; the zero value is nothing.
type Telemetry struct {
	// Interval between two rounds of one message for each component that has telemetry. In JSON "interval":"5s".
	Interval time.Duration
}

type encodedTelemetry struct {
	Interval jsontree.Duration `json:"interval,omitzero"`
}

// MarshalJSON shows the interval as "5s".
func (t Telemetry) MarshalJSON() ([]byte, error) {
	return json.Marshal(encodedTelemetry{jsontree.Duration(t.Interval)})
}

// UnmarshalJSON reads what MarshalJSON writes; a member that it does not know is an error.
func (t *Telemetry) UnmarshalJSON(data []byte) error {
	var e encodedTelemetry
	err := jsontree.Decode(data, &e)
	if err == nil {
		t.Interval = time.Duration(e.Interval)
	}
	return err
}

// minInterval keeps a typing error from filling the memory.
const minInterval = time.Millisecond

func (t Telemetry) validate() error {
	if t.Interval != 0 && t.Interval < minInterval {
		return fmt.Errorf("a telemetry interval of %s is too short", t.Interval)
	}
	return nil
}

// SendTelemetry sends one message of a connected device, from a component or, if that is empty, the default component.
func (d *Devices) SendTelemetry(id, component string, body []byte) error {
	return d.with(id, func(dev *device) error {
		if !dev.online() {
			return fmt.Errorf("the virtual device %q is offline", id)
		}
		return dev.publish(component, body)
	})
}

func (dev *device) publish(component string, body []byte) error {
	if dev.pool.publisher == nil {
		return nil
	}
	return dev.pool.publisher.PublishTelemetry(dev.id, component, dev.model, body)
}

// startTelemetry lets devices that connect together not send together.
func (dev *device) startTelemetry(session int64) {
	if i := dev.telemetry.Interval; i > 0 {
		dev.later(session, rand.N(i), func() { dev.measure(session) })
	}
}

// measure sends a round of telemetry and plans the next one.
func (dev *device) measure(session int64) {
	dev.later(session, dev.telemetry.Interval, func() { dev.measure(session) })
	dev.rounds++
	for i, component := range models[dev.model].measuring() {
		body := fmt.Appendf(nil, `{"temperature":%d.%d}`, 20+i, dev.rounds%10)
		if err := dev.publish(component, body); err != nil {
			dev.pool.log.V(1).Info("Virtual device could not send telemetry", "deviceID", dev.id, "error", err.Error())
		}
	}
}

// measuring are the components that have the telemetry "temperature": of a model that is not known, the default one.
func (m model) measuring() []string {
	if m.telemetry == nil {
		return []string{""}
	}
	return m.telemetry
}
