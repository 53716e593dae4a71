package session

import (
	"slices"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Corrected notes that a leaf was put back, after the corrections that were known before. Status counts them as well, where
// the API server takes it.
func (d *Device) Corrected(leaf twin.Leaf, before []time.Time, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.corrections == nil {
		d.corrections = map[twin.Leaf][]time.Time{}
	}
	d.corrections[leaf] = append(slices.Clip(before), at)
}

// Corrections are the times since one at which a leaf was put back, oldest first. Older ones are forgotten.
func (d *Device) Corrections(leaf twin.Leaf, since time.Time) []time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	times := d.corrections[leaf]
	for len(times) > 0 && !times[0].After(since) {
		times = times[1:]
	}
	if len(times) == 0 {
		delete(d.corrections, leaf)
		return nil
	}
	d.corrections[leaf] = times
	return times
}
