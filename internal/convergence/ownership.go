package convergence

import (
	"maps"
	"slices"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Recall takes what status recorded as the object's. Of an object that status does not know at this
// hub that is nothing.
func (s *State) Recall(isAdopted bool) {
	s.isAdopted = isAdopted
	if is := s.Device.Status.Twin; is != nil && isAdopted {
		s.base = twin.Recorded{Ownership: s.Entries.ownership(), Of: SeenOf(is)}
	}
	saved := s.Memory.Unsaved()
	if s.isInherited = saved != nil && saved.IsOfOther(s.base); !isAdopted || s.isInherited {
		s.Entries, s.sent = Entries{}, nil
	}
	s.recorded = s.Entries.ownership()
}

// settle takes a twin that a read or the answer to a write returned: it shows what became of every write.
func (s *State) settle(t *twin.Twin) {
	s.adopt(t)
	s.Memory.SettleWrites()
	s.duties.Settle = true
}

// adopt takes a later state of the twin, and settles what of it is the object's: by what is recorded, and by what memory knows
// beyond that.
func (s *State) adopt(t *twin.Twin) {
	s.Twin = t
	s.Declared = s.inWordsOf(t)
	known, lineage := s.recorded, twin.Successor
	if saved := s.Memory.Unsaved(); saved != nil {
		known, lineage = s.correct(saved, t), saved.Of.Lineage(t)
	} else if is := s.Device.Status.Twin; is != nil && s.isAdopted && !s.isInherited {
		lineage = SeenOf(is).Lineage(t)
	}
	if lineage != twin.Successor {
		known = s.inherit(t, known, lineage)
	}
	s.Owned = s.ownedInWordsOf(t, known).After(t, s.attempts(), s.Declared, !s.Observes())
	s.resent = s.resent || s.hasResendArrived()
	s.save()
}

// correct returns what memory knows to be the object's, with what a newer status says beyond the one
// that it was settled by. A read may show that the status is about the hub before a failover which memory
// knows of: then nothing of it counts.
func (s *State) correct(saved *twin.Saved, t *twin.Twin) twin.Ownership {
	switch {
	case !saved.IsCorrectedBy(s.base):
		return saved.Ownership
	case s.WasRead && s.base.Of.Lineage(t) == twin.Stranger:
		s.isInherited, s.Entries, s.sent, s.recorded = true, Entries{}, nil, twin.Ownership{}
		return saved.Ownership
	}
	return saved.With(s.base.Ownership, saved.Base.Ownership)
}

// hasResendArrived reports whether the hub holds an unanswered value by a newer write than status
// knows: an earlier pass sent it again, and was not told of it. The write had all of them.
func (s *State) hasResendArrived() bool {
	return s.resendRequested() && slices.ContainsFunc(s.unanswered(), func(leaf twin.Leaf) bool {
		return s.Owned.Held[leaf].SetVersion > s.Entries[leaf].DesiredVersion
	})
}

// inherit drops what is recorded of a twin that this one may not be. What left the declaration is let go: it may be another
// writer's.
func (s *State) inherit(t *twin.Twin, earlier twin.Ownership, lineage twin.Lineage) twin.Ownership {
	s.isInherited, s.sent = true, nil
	s.recorded = twin.Ownership{Lost: map[twin.Leaf]any{}}
	for _, leaf := range earlier.Departing(s.Declared) {
		s.recorded.Lost[leaf] = nil
	}
	s.Memory.ForgetWrites(t)
	s.duties.Forget = t
	if lineage == twin.Stranger {
		maps.DeleteFunc(s.Entries, func(leaf twin.Leaf, _ v1alpha1.PropertyStatus) bool {
			_, declared := s.Declared[leaf]
			return declared
		})
	}
	return s.recorded
}

// save has memory keep what status does not have.
func (s *State) save() {
	if s.Memory == nil {
		return
	}
	s.Memory.Saved = nil
	if s.isInherited || !s.Owned.Equal(s.recorded) || s.Twin.DeviceETag != s.base.Of.DeviceETag {
		s.Memory.Saved = &twin.Saved{Ownership: s.Owned, Of: s.Twin.Seen(), IsOther: s.isInherited, Base: s.base}
	}
	s.duties.Keep, s.duties.Saved = true, s.Memory.Saved
}

// newest is the newest twin that is known without a read: the one that memory holds, or what status says. Where memory knows of
// a later one what the object owns of it, and no more, that is in it, and a read has to tell the rest.
func (s *State) newest() *twin.Twin {
	if t := s.Memory.Newest; t != nil {
		return t
	}
	t, saved := Belief(&s.Device.Status), s.Memory.Unsaved()
	if saved == nil {
		return t
	}
	s.IsUnconfirmed = true
	if saved.IsOther { // status is about another one
		t.Properties, t.Components, t.Unmarked = map[twin.Leaf]twin.Property{}, map[string]bool{}, nil
	}
	t.DeviceETag, t.Version = saved.Of.DeviceETag, saved.Of.Version
	t.DesiredVersion, t.DesiredUpdated = saved.Of.DesiredVersion, saved.Of.DesiredUpdated
	hold := func(leaf twin.Leaf, held *twin.Desired) {
		p := t.Properties[leaf]
		p.Desired = held
		t.Properties[leaf] = p
	}
	for leaf, owned := range saved.Held {
		hold(leaf, &twin.Desired{Value: owned.Value, Version: owned.Version})
	}
	for leaf := range saved.Lost {
		hold(leaf, nil)
	}
	return t
}

// recordAttempts has status say which writes may have been made.
func (s *State) recordAttempts() {
	s.isCarried, s.sent = true, maps.Clone(s.sent)
	for leaf, attempts := range s.Memory.Attempts() {
		last := attempts[len(attempts)-1]
		if last.Value == nil { // the value before is on record, and a read shows that it is gone
			continue
		}
		if s.sent == nil {
			s.sent = map[twin.Leaf]twin.Sent{}
		}
		s.sent[leaf] = last
	}
}

// SeenOf returns what status records of its twin.
func SeenOf(t *v1alpha1.TwinReference) twin.Seen {
	return twin.Seen{DeviceETag: t.DeviceEtag, Version: t.Version, DesiredVersion: t.DesiredVersion, DesiredUpdated: instantOf(t.DesiredUpdated)}
}

// attempts are the writes that may have happened: those that memory knows, and those that status records, unless this process
// recorded them and sent nothing.
func (s *State) attempts() twin.Attempts {
	attempts := s.Memory.Attempts()
	for leaf, sent := range s.sent {
		if !s.isWithheld(leaf) {
			attempts[leaf] = append([]twin.Sent{sent}, attempts[leaf]...)
		}
	}
	return attempts
}

// isWithheld reports whether what status records of a leaf, or will after this pass, certainly was not sent yet.
func (s *State) isWithheld(leaf twin.Leaf) bool {
	return slices.Contains(s.claimed, leaf) || s.Memory.IsWithheld(leaf, s.sent[leaf])
}

// Departing are the leaves that left the declaration and that are the object's, or may be as long
// as the twin was not read.
func (s *State) Departing() []twin.Leaf {
	departing := s.Owned.Departing(s.Declared)
	if _, read := s.reading(); read {
		return departing
	}
	for leaf, sent := range s.attempts() {
		_, declared := s.Declared[leaf]
		if !declared && !slices.Contains(departing, leaf) && sent[len(sent)-1].Value != nil {
			departing = append(departing, leaf)
		}
	}
	slices.SortFunc(departing, twin.CompareLeaves)
	return departing
}

// claim records new leaves before they are sent, so that a crash orphans nothing: the value, and the version that the write
// would make. It reports whether status has to be written before the hub is.
func (s *State) claim(changes []twin.Change) bool {
	for _, c := range changes {
		if c.Cause != twin.New {
			continue
		}
		next := twin.Sent{Value: c.Value, Version: s.nextVersion()}
		is, isRecorded := s.sent[c.Leaf]
		isRecorded = isRecorded && is.Version == next.Version && twin.Equal(is.Value, next.Value)
		if isRecorded || s.Memory.IsWithheld(c.Leaf, next) { // CRDs older than the operator drop the record
			continue
		}
		if s.sent == nil {
			s.sent = map[twin.Leaf]twin.Sent{}
		}
		s.sent[c.Leaf] = next
		s.claimed = append(s.claimed, c.Leaf)
		s.Claiming = true
	}
	return s.Claiming
}

// nextVersion is the desired $version that a write makes if the hub takes it with the etag of the twin of this pass.
func (s *State) nextVersion() int64 { return s.Twin.DesiredVersion + 1 }

// Withheld are the values that status records as about to be sent now and that certainly were not.
func (s *State) Withheld() map[twin.Leaf]twin.Sent {
	recorded := SentOf(&s.Device.Status)
	maps.DeleteFunc(recorded, func(leaf twin.Leaf, _ twin.Sent) bool { return !s.isWithheld(leaf) })
	if len(recorded) == 0 {
		return nil
	}
	return recorded
}
