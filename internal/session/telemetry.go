package session

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
)

// Interest is which numbers of a device's telemetry somebody wants to see, by component, and for which object.
type Interest struct {
	Object types.NamespacedName
	Fields map[string][]string
}

// Interested sets which telemetry is wanted. It returns what was wanted before.
func (d *Device) Interested(i Interest) (before Interest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, d.interest = d.interest, i
	return before
}

// Telemetry reads the wanted numbers of a message.
func (d *Device) Telemetry(t *eventstream.TelemetryMessage) (object types.NamespacedName, wanted map[string]float64) {
	d.mu.Lock()
	interest := d.interest
	d.mu.Unlock()
	fields := interest.Fields[t.Component]
	if len(fields) == 0 {
		return interest.Object, nil
	}
	wanted = t.Numbers()
	for name := range wanted {
		if !slices.Contains(fields, name) {
			delete(wanted, name)
		}
	}
	return interest.Object, wanted
}

// Foreign reports whether a message names another model than the known one, which then has to be looked at. A model that was
// looked at for and is not there is not looked for again: its messages may come late.
func (d *Device) Foreign(model string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if model == "" || d.model == "" || model == d.model || model == d.foreign {
		return false
	}
	d.foreign = model
	d.doubtModel()
	return true
}
