package controllers

import (
	"maps"
	"slices"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// recall takes what status recorded as the object's. Of an object that status does not know at this hub that is nothing.
func (s *scope) recall(isAdopted bool) {
	s.isAdopted = isAdopted
	if is := s.device.Status.Twin; is != nil && isAdopted {
		s.base = twin.Recorded{Ownership: s.entries.ownership(), Of: seen(is)}
	}
	saved := s.unsaved()
	if s.isInherited = saved != nil && saved.IsOfOther(s.base); !isAdopted || s.isInherited {
		s.entries, s.sent = entries{}, nil
	}
	s.recorded = s.entries.ownership()
}

// unsaved is what memory knows to be the object's beyond status, nil if nothing.
func (s *scope) unsaved() *twin.Saved {
	if s.memory == nil {
		return nil
	}
	return s.memory.Unsaved()
}

// settle takes a twin that a read or the answer to a write returned: it shows what became of every write.
func (s *scope) settle(t *twin.Twin) {
	s.adopt(t)
	s.memory.Settle()
}

// adopt takes a later state of the twin, and settles what of it is the object's: by what is recorded, and by what memory knows
// beyond that.
func (s *scope) adopt(t *twin.Twin) {
	s.twin = t
	s.declared = s.inWordsOf(t)
	known, lineage := s.recorded, twin.Successor
	if saved := s.unsaved(); saved != nil {
		known, lineage = s.correct(saved, t), saved.Of.Lineage(t)
	} else if is := s.device.Status.Twin; is != nil && s.isAdopted && !s.isInherited {
		lineage = seen(is).Lineage(t)
	}
	if lineage != twin.Successor {
		known = s.inherit(t, known, lineage)
	}
	s.owned = s.ownedInWordsOf(t, known).After(t, s.attempts(), s.declared, !s.observes())
	s.resent = s.resent || s.hasResendArrived()
	s.save()
}

// correct returns what memory knows to be the object's, with what a newer status says beyond the one
// that it was settled by. A read may show that the status is about the hub before a failover which memory
// knows of: then nothing of it counts.
func (s *scope) correct(saved *twin.Saved, t *twin.Twin) twin.Ownership {
	switch {
	case !saved.IsCorrectedBy(s.base):
		return saved.Ownership
	case s.wasRead && s.base.Of.Lineage(t) == twin.Stranger:
		s.isInherited, s.entries, s.sent, s.recorded = true, entries{}, nil, twin.Ownership{}
		return saved.Ownership
	}
	return saved.With(s.base.Ownership, saved.Base.Ownership)
}

// hasResendArrived reports whether the hub holds an unanswered value by a newer write than status
// knows: an earlier pass sent it again, and was not told of it. The write had all of them.
func (s *scope) hasResendArrived() bool {
	return s.resendRequested() && slices.ContainsFunc(s.unanswered(), func(leaf twin.Leaf) bool {
		return s.owned.Held[leaf].SetVersion > s.entries[leaf].DesiredVersion
	})
}

// inherit drops what is recorded of a twin that this one may not be. What left the declaration is let go: it may be another
// writer's.
func (s *scope) inherit(t *twin.Twin, earlier twin.Ownership, lineage twin.Lineage) twin.Ownership {
	s.isInherited, s.sent = true, nil
	s.recorded = twin.Ownership{Lost: map[twin.Leaf]any{}}
	for _, leaf := range earlier.Departing(s.declared) {
		s.recorded.Lost[leaf] = nil
	}
	if s.memory != nil {
		s.memory.ForgetAttempts(t)
	}
	if lineage == twin.Stranger {
		maps.DeleteFunc(s.entries, func(leaf twin.Leaf, _ v1alpha1.PropertyStatus) bool {
			_, declared := s.declared[leaf]
			return declared
		})
	}
	return s.recorded
}

// save has memory keep what status does not have.
func (s *scope) save() {
	switch {
	case s.memory == nil:
	case !s.isInherited && s.owned.Equal(s.recorded) && s.twin.DeviceETag == s.base.Of.DeviceETag:
		s.memory.Keep(nil)
	default:
		s.memory.Keep(&twin.Saved{Ownership: s.owned, Of: s.twin.Seen(), IsOther: s.isInherited, Base: s.base})
	}
}

// carry has status show what memory alone knows to be the object's, where the pass did not get as
// far as its twin: the IoTHub cannot be used, the declaration has moved to another one, or it is
// invalid. A start would know nothing of it.
func (r *PnPDeviceReconciler) carry(s *scope) {
	is := s.device.Status.Twin
	if s.twin != nil || is == nil || is.Etag == "" {
		return
	}
	memory, isThere := r.Hubs.UnsavedAt(is.Hub, is.DeviceID, s.device.UID)
	declared, err := declaration.Of(&s.device.Spec)
	if memory == nil {
		return
	}
	if err != nil { // it declares nothing that can be read
		declared = twin.Declaration{}
	}
	c := newScope(s.device, s.now)
	c.destination, c.memory, c.declared = is.Hub, memory, declared
	c.hub = &v1alpha1.IoTHub{Spec: v1alpha1.IoTHubSpec{HostName: iothub.HostOf(is.Hub)}}
	c.recall(true)
	c.adopt(c.newest())
	c.recordAttempts()
	c.describe()
	s.device.Status.Twin.Unconfirmed = is.Unconfirmed || !isThere || c.isUnconfirmed || len(memory.Attempts()) > 0
	s.carried = c
}

// newest is the newest twin that is known without a read: the one that memory holds, or what status says. Where memory knows of
// a later one what the object owns of it, and no more, that is in it, and a read has to tell the rest.
func (s *scope) newest() *twin.Twin {
	if t := s.memory.Unpersisted(); t != nil {
		return t
	}
	t, saved := belief(&s.device.Status), s.memory.Unsaved()
	if saved == nil {
		return t
	}
	s.isUnconfirmed = true
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
func (s *scope) recordAttempts() {
	s.isCarried, s.sent = true, maps.Clone(s.sent)
	for leaf, attempts := range s.memory.Attempts() {
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

func seen(t *v1alpha1.TwinReference) twin.Seen {
	return twin.Seen{DeviceETag: t.DeviceEtag, Version: t.Version, DesiredVersion: t.DesiredVersion, DesiredUpdated: instantOf(t.DesiredUpdated)}
}

// attempts are the writes that may have happened: those that memory knows, and those that status records, unless this process
// recorded them and sent nothing.
func (s *scope) attempts() twin.Attempts {
	attempts := twin.Attempts{}
	if s.memory != nil {
		attempts = s.memory.Attempts()
	}
	for leaf, sent := range s.sent {
		if !s.isWithheld(leaf) {
			attempts[leaf] = append([]twin.Sent{sent}, attempts[leaf]...)
		}
	}
	return attempts
}

// isWithheld reports whether what status records of a leaf, or will after this pass, certainly was not sent yet.
func (s *scope) isWithheld(leaf twin.Leaf) bool {
	return slices.Contains(s.claimed, leaf) || s.memory != nil && s.memory.IsWithheld(leaf, s.sent[leaf])
}

// departing are the leaves that left the declaration and that are the object's, or may be as long as the twin was not read.
func (s *scope) departing() []twin.Leaf {
	departing := s.owned.Departing(s.declared)
	if _, read := s.reading(); read {
		return departing
	}
	for leaf, sent := range s.attempts() {
		_, declared := s.declared[leaf]
		if !declared && !slices.Contains(departing, leaf) && sent[len(sent)-1].Value != nil {
			departing = append(departing, leaf)
		}
	}
	slices.SortFunc(departing, twin.CompareLeaves)
	return departing
}

// claim records new leaves before they are sent, so that a crash orphans nothing: the value, and the version that the write
// would make. It reports whether status has to be written before the hub is.
func (s *scope) claim(changes []twin.Change) bool {
	for _, c := range changes {
		if c.Cause != twin.New {
			continue
		}
		next := twin.Sent{Value: c.Value, Version: s.nextVersion()}
		is, isRecorded := s.sent[c.Leaf]
		isRecorded = isRecorded && is.Version == next.Version && twin.Equal(is.Value, next.Value)
		if isRecorded || s.memory.IsWithheld(c.Leaf, next) { // CRDs older than the operator drop the record
			continue
		}
		if s.sent == nil {
			s.sent = map[twin.Leaf]twin.Sent{}
		}
		s.sent[c.Leaf] = next
		s.claimed = append(s.claimed, c.Leaf)
		s.claiming = true
	}
	return s.claiming
}

// nextVersion is the desired $version that a write makes if the hub takes it with the etag of the twin of this pass.
func (s *scope) nextVersion() int64 { return s.twin.DesiredVersion + 1 }

// withheld are the values that status records as about to be sent now and that certainly were not.
func (s *scope) withheld() map[twin.Leaf]twin.Sent {
	recorded := sentOf(&s.device.Status)
	maps.DeleteFunc(recorded, func(leaf twin.Leaf, _ twin.Sent) bool { return !s.isWithheld(leaf) })
	if len(recorded) == 0 {
		return nil
	}
	return recorded
}
