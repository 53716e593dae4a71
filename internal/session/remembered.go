package session

import (
	"maps"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Remembered returns what is known now, as values: nothing that memory hears later changes them.
func (d *Device) Remembered() *twin.Remembered {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &twin.Remembered{
		Newest: d.unpersisted, ETag: d.etag, Position: d.known,
		Saved: d.unsaved, Writes: d.writes(), Withheld: maps.Clone(d.withheld), Resolved: maps.Clone(d.resolved), Corrections: maps.Clone(d.corrections),
		IsDoubtful: d.doubtful(), IsModelInDoubt: d.modelUnknown(), IsAbsent: d.absent, ReadAt: d.looked,
	}
}
