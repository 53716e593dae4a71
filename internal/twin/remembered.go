package twin

import (
	"maps"
	"slices"
	"time"
)

// Attempt is one write that was sent and whose outcome is not settled.
type Attempt struct {
	// Version is the desired $version that it makes if the hub takes it, ETag what it was sent
	// with.
	Version int64
	ETag    string
	// Over is what the hub held when it was made, as far as is known.
	Over Seen
	// Values are what it carried; nil: removed.
	Values map[Leaf]any
	// Taken is true once the hub answered that it took the write.
	Taken bool
}

// MayBeOf reports whether the write may have been made to this twin: over an earlier state of it,
// or over the very state before it, whatever its counters say.
func (a Attempt) MayBeOf(t *Twin) bool {
	return a.Over.Lineage(t) == Successor || Follows(a.ETag, t.ETag)
}

// AttemptsOf returns what writes sent, by leaf. The map is never nil.
func AttemptsOf(writes []Attempt) Attempts {
	attempts := make(Attempts, len(writes))
	for _, a := range writes {
		for leaf, value := range a.Values {
			attempts[leaf] = append(attempts[leaf], Sent{Value: value, Version: a.Version, ETag: a.ETag, Taken: a.Taken})
		}
	}
	return attempts
}

// Saved is what an object owns where its status does not have it.
type Saved struct {
	Ownership
	// Of is the twin that it was settled for.
	Of Seen
	// IsOther is true if status is about another twin: an earlier device of that name, or a hub
	// before its failover.
	IsOther bool
	// Base is what status said when this was settled.
	Base Recorded
}

// Recorded is what a status says that an object owns, and of which twin. It is zero for a status
// that is about no twin.
type Recorded struct {
	Ownership
	Of Seen
}

// IsCorrectedBy reports whether status says something else now, of this very twin. A new leader's
// cache may show an older status at first than its predecessor wrote: what was settled by that one
// has to give way.
func (s *Saved) IsCorrectedBy(now Recorded) bool {
	isNew := now.Of != s.Base.Of || !now.Equal(s.Base.Ownership)
	return isNew && now.Of.MayBeOfOneTwin(s.Of)
}

// IsOfOther reports whether a status, which is about some twin, is about another one.
func (s *Saved) IsOfOther(now Recorded) bool {
	return s.IsOther && !s.IsCorrectedBy(now) || now.Of != Seen{} && !now.Of.MayBeOfOneTwin(s.Of)
}

// Remembered is what is known of a twin beyond its object's status, as plain values: what a process
// saw and sent since it started. A nil one knows of nothing.
type Remembered struct {
	// Newest is the newest twin that status does not have, nil if status has it.
	Newest *Twin
	// ETag and Position are the counters of the newest state known; ETag is empty if nothing was
	// seen.
	ETag     string
	Position Position
	// Saved is what the object owns where its status does not have it, nil if status does.
	Saved *Saved
	// Writes are those whose outcome is not settled, oldest first.
	Writes []Attempt
	// Withheld are values that status records as about to be sent and that certainly were not;
	// Resolved are those that were sent, and of which is known what became of them.
	Withheld, Resolved map[Leaf]Sent
	// Corrections are when leaves were put back, oldest first.
	Corrections map[Leaf][]time.Time
	// IsDoubtful is true if status must not be believed without a read, IsModelInDoubt if the
	// device may have another model than it was last seen with, and IsAbsent if the hub did not
	// know it.
	IsDoubtful, IsModelInDoubt, IsAbsent bool
	// ReadAt is when the hub was read last, zero: not since the start.
	ReadAt time.Time
}

// Attempts returns what was sent and is not settled, by leaf.
func (r *Remembered) Attempts() Attempts {
	if r == nil {
		return Attempts{}
	}
	return AttemptsOf(r.Writes)
}

// Unsaved returns what the object owns where its status does not have it, nil if status does.
func (r *Remembered) Unsaved() *Saved {
	if r == nil {
		return nil
	}
	return r.Saved
}

// IsWithheld reports whether this process recorded the value in status as about to be sent, and
// certainly did not send it. Of a record of another process nobody knows.
func (r *Remembered) IsWithheld(leaf Leaf, sent Sent) bool {
	return r != nil && IsRecorded(r.Withheld, leaf, sent)
}

// IsResolved reports whether this process sent the value that status records as about to be sent,
// and knows what became of it.
func (r *Remembered) IsResolved(leaf Leaf, sent Sent) bool {
	return r != nil && IsRecorded(r.Resolved, leaf, sent)
}

// IsRecorded reports whether records have this very value and version for a leaf.
func IsRecorded(records map[Leaf]Sent, leaf Leaf, sent Sent) bool {
	is, ok := records[leaf]
	return ok && is.Version == sent.Version && Equal(is.Value, sent.Value)
}

// ReadSince reports whether the hub has returned the twin since a time.
func (r *Remembered) ReadSince(t time.Time) bool {
	return r != nil && !r.ReadAt.IsZero() && !r.ReadAt.Before(t)
}

// CorrectionsAfter returns the times after one at which a leaf was put back, oldest first.
func (r *Remembered) CorrectionsAfter(leaf Leaf, since time.Time) []time.Time {
	if r == nil {
		return nil
	}
	times := r.Corrections[leaf]
	for len(times) > 0 && !times[0].After(since) {
		times = times[1:]
	}
	return times
}

// Correct notes that a leaf was put back, after the corrections that were known before.
func (r *Remembered) Correct(leaf Leaf, before []time.Time, at time.Time) {
	if r == nil {
		return
	}
	if r.Corrections == nil {
		r.Corrections = map[Leaf][]time.Time{}
	}
	r.Corrections[leaf] = append(slices.Clip(before), at)
}

// Newer returns the twin that status tells of, with the counters of the newest state known: status
// does not follow writes that concern nothing that it shows.
func (r *Remembered) Newer(told *Twin) *Twin {
	if r == nil || r.ETag == "" {
		return told
	}
	t := *told
	t.ETag, t.Version = r.ETag, r.Position.Version
	t.ReportedVersion, t.ReportedUpdated = r.Position.ReportedVersion, r.Position.ReportedUpdated
	t.DesiredVersion, t.DesiredUpdated = r.Position.DesiredVersion, r.Position.DesiredUpdated
	return &t
}

// ForgetWrites is for a twin that is another one than status is about: its versions are no proof of
// writes that were made before that. Those that may have been made to this very twin stay.
func (r *Remembered) ForgetWrites(now *Twin) {
	if r == nil {
		return
	}
	r.Writes = slices.DeleteFunc(slices.Clone(r.Writes), func(a Attempt) bool { return !a.MayBeOf(now) })
	r.Withheld, r.Saved = nil, nil
}

// SettleWrites says that what the object owns was computed from a read, or from the answer to the
// last write: that shows what became of each.
func (r *Remembered) SettleWrites() {
	if r == nil {
		return
	}
	r.Resolved = Resolve(maps.Clone(r.Resolved), r.Writes)
	r.Writes = nil
}

// Resolve adds to records, which may be nil, what writes carried whose outcome is known now.
func Resolve(records map[Leaf]Sent, writes []Attempt) map[Leaf]Sent {
	for _, a := range writes {
		for leaf, value := range a.Values {
			if records == nil {
				records = map[Leaf]Sent{}
			}
			records[leaf] = Sent{Value: value, Version: a.Version}
		}
	}
	return records
}
