package hubs

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/watch"
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

// Telemetry reads the wanted numbers of a message. A message of another model than the known one raises a doubt about
// the model.
func (d *Device) Telemetry(t *watch.TelemetryMessage) (object types.NamespacedName, wanted map[string]float64) {
	d.mu.Lock()
	if t.Model != "" && d.model != "" && t.Model != d.model {
		d.modelInDoubt = true
	}
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
