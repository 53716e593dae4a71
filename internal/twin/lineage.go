package twin

import "time"

// Seen is what is recorded of a twin beside its properties, to tell a later state of it from another twin: etag and versions
// are small counters, which match by chance once a device was created anew or a hub failed over to an older copy.
type Seen struct {
	// DeviceETag is the etag of the identity. It moves when a key is rotated, too.
	DeviceETag              string
	Version, DesiredVersion int64
	// DesiredUpdated is the hub's time of the desired section's last write, zero if it is not known.
	DesiredUpdated time.Time
}

// Seen is what is recorded of the twin.
func (t *Twin) Seen() Seen {
	return Seen{DeviceETag: t.DeviceETag, Version: t.Version, DesiredVersion: t.DesiredVersion, DesiredUpdated: t.DesiredUpdated}
}

// Lineage is how a twin relates to one that was seen before.
type Lineage int

const (
	// Successor means the same twin, as it is now.
	Successor Lineage = iota
	// Uncertain means that the identity was written and the desired section as well, by a rotated key or by a device that was created
	// anew. An acknowledgement still counts; no value is the object's unless it is declared.
	Uncertain
	// Stranger means another device of that name, or another history of the same one. Nothing recorded holds for it.
	Stranger
)

// Lineage compares a twin with what was seen.
func (s Seen) Lineage(t *Twin) Lineage {
	sameWrites := t.DesiredVersion == s.DesiredVersion
	timed := !t.DesiredUpdated.IsZero() && !s.DesiredUpdated.IsZero()
	sameIdentity := t.DeviceETag == s.DeviceETag
	switch {
	case t.DesiredVersion < s.DesiredVersion,
		sameWrites && timed && !t.DesiredUpdated.Equal(s.DesiredUpdated),
		!sameIdentity && t.Version < s.Version:
		return Stranger
	case sameIdentity || sameWrites:
		return Successor
	default:
		return Uncertain
	}
}

// MayBeOfOneTwin reports whether two sightings may be of one twin, whichever came first.
func (s Seen) MayBeOfOneTwin(other Seen) bool {
	return s.Lineage(other.twin()) != Stranger || other.Lineage(s.twin()) != Stranger
}

func (s Seen) twin() *Twin {
	return &Twin{DeviceETag: s.DeviceETag, Version: s.Version, DesiredVersion: s.DesiredVersion, DesiredUpdated: s.DesiredUpdated}
}
