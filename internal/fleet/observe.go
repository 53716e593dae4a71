package fleet

import (
	"errors"
	"hash/fnv"
	"slices"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// saying is what a device answered last, for the list of failures.
type saying struct {
	id          string
	leaf        twin.Leaf
	code        int16
	description string
}

func hash32(text string) uint32 {
	sum := fnv.New32a()
	sum.Write([]byte(text))
	return max(sum.Sum32(), 1)
}

func fromNano(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func nano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// partial is the twin as far as a record tells: the values of known leaves, and the counters.
func (s *State) partial(m *member) *twin.Twin {
	t := &twin.Twin{
		DeviceID: m.id, Partial: true, ETag: twin.ETagOf(m.etag), Version: m.version, DesiredVersion: m.desired, ReportedVersion: m.reported,
		DesiredUpdated: fromNano(m.desiredAt), ReportedUpdated: fromNano(m.reportedAt),
		Properties: map[twin.Leaf]twin.Property{}, Components: map[string]bool{},
	}
	if m.facts == nil {
		return t
	}
	for _, f := range m.facts.list {
		leaf := s.words.leaves[f.leaf]
		t.Properties[leaf] = twin.Property{Desired: s.was(m, f)}
		if leaf.Component != "" && f.value != valueAbsent {
			t.Components[leaf.Component] = true
		}
	}
	return t
}

// lineage compares a twin that was read with what is on record.
func (m *member) lineage(t *twin.Twin) twin.Lineage {
	seen := twin.Seen{DeviceETag: t.DeviceETag, Version: m.version, DesiredVersion: m.desired, DesiredUpdated: fromNano(m.desiredAt)}
	if m.deviceEtag != 0 && t.DeviceETag != "" && m.deviceEtag != hash32(t.DeviceETag) {
		seen.DeviceETag += " before"
	}
	return seen.Lineage(t)
}

// attempts are the writes that the record says may have happened.
func (s *State) attempts(m *member, isTaken bool) twin.Attempts {
	if m.sent == 0 || m.is(flagReserved) {
		return nil
	}
	attempts, r := twin.Attempts{}, s.revisions[m.sent]
	add := func(leaf leafID, value any) {
		attempts[s.words.leaves[leaf]] = []twin.Sent{{Value: value, Version: m.desired + 1, ETag: twin.ETagOf(m.etag), Taken: isTaken}}
	}
	for _, w := range r.wants {
		if f, _ := m.facts.of(w.leaf); f.value != w.value || m.is(flagResend) && f.answer != answerAcknowledged {
			add(w.leaf, s.words.content(w.value))
		}
	}
	for _, f := range m.facts.list {
		if f.ours && r.value(f.leaf) == valueAbsent {
			add(f.leaf, nil)
		}
	}
	return attempts
}

// owned is the ownership that the record tells of.
func (s *State) owned(m *member) twin.Ownership {
	o := twin.Ownership{Held: map[twin.Leaf]twin.Owned{}, Lost: map[twin.Leaf]any{}}
	if m.facts == nil {
		return o
	}
	for _, f := range m.facts.list {
		if f.ours {
			version := m.setVersion(f)
			o.Held[s.words.leaves[f.leaf]] = twin.Owned{Value: s.words.content(f.value), Version: version, SetVersion: version}
		}
	}
	return o
}

// declares returns what found values become the fleet's by being declared: with TakeOver those of
// the revision that the member is to hold.
func (s *State) declares(m *member) twin.Declaration {
	if s.spec.ExistingValues != v1alpha1.ExistingValuesTakeOver || !s.enforces() || m.is(flagLeaving) {
		return nil
	}
	d := twin.Declaration{}
	if r := s.revisions[s.target(m)]; r != nil {
		for _, w := range r.wants {
			d[s.words.leaves[w.leaf]] = s.words.content(w.value)
		}
	}
	return d
}

// observe takes in a later state of a member's twin: one that the hub returned, or, partial, one
// that an event made. isTaken is true for the answer to a write.
func (s *State) observe(now time.Time, at slot, m *member, t *twin.Twin, isTaken bool) {
	before, beforeBase := m.facts, m.base
	lineage := twin.Successor
	if m.is(flagKnown) && !isTaken && !t.Partial {
		lineage = m.lineage(t)
	}
	if lineage == twin.Stranger {
		s.forgetTwin(m)
	}
	ownership := s.owned(m)
	if lineage == twin.Uncertain {
		ownership = twin.Ownership{}
	}
	attempts, declared := s.attempts(m, isTaken), s.declares(m)
	next := ownership.After(t, attempts, declared, len(declared) > 0)
	list := s.factsOf(at, m, t, next)
	took := s.took(m, t, attempts, next, isTaken)
	s.replaceFacts(m, list, t)
	if !t.Partial {
		m.set(flagKnown)
		m.clear(flagDoubtful)
		s.keepFresh(at, m, t)
	} else {
		delete(s.fresh, at)
	}
	s.settleSent(now, at, m, took)
	s.noteDrift(now, at, m, before, beforeBase, t, took)
	if m.rev != s.wanted && !m.is(flagLeaving) && (m.batch == noBatch && s.rollout.number > 0 || int(m.batch) < s.rollout.open) &&
		s.compare(at, m, s.wantedRevision()) == holdsIt {
		s.bring(m, s.wanted)
	}
	s.markDirty(m)
}

// forgetTwin forgets what was known of the twin: it is another one.
func (s *State) forgetTwin(m *member) {
	s.pay(m)
	s.shared.release(m.facts)
	m.facts, m.base, m.sent, m.rev = nil, 0, 0, 0
	m.desired, m.version, m.reported, m.desiredAt, m.reportedAt = 0, 0, 0, 0, 0
	m.clear(flagKnown | flagWritten | flagReserved | flagFlushed | flagLost | flagTimedOut | flagDue | flagAway | flagResend | flagRefused)
}

// leavesOf are those that have to be known of a member: of the wanted revision, the stable one,
// those that it holds and may have been sent, and whatever is known already.
func (s *State) leavesOf(m *member) []leafID {
	var all []leafID
	for _, id := range []revisionID{s.wanted, s.stable, m.rev, m.sent} {
		if r := s.revisions[id]; r != nil {
			for _, w := range r.wants {
				all = append(all, w.leaf)
			}
		}
	}
	if m.facts != nil {
		for _, f := range m.facts.list {
			all = append(all, f.leaf)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// versioned is a fact with the desired version that set its value.
type versioned struct {
	leafFact

	version int64
}

// factsOf are the facts as of t. ownership is that as of t.
func (s *State) factsOf(at slot, m *member, t *twin.Twin, ownership twin.Ownership) []versioned {
	denied := s.deniedTo(at, m)
	var list []versioned
	for _, id := range s.leavesOf(m) {
		leaf := s.words.leaves[id]
		p, isKnown := t.Properties[leaf]
		old, wasKnown := m.facts.of(id)
		if t.Partial && !isKnown {
			continue // nothing is known of it, as before
		}
		f := s.valueFact(m, t, id, old, wasKnown)
		owned, isOurs := ownership.Held[leaf]
		f.ours = isOurs && !denied.has(id) && f.value >= firstValue
		if f.ours {
			f.version = owned.SetVersion
			f.overwrote = wasKnown && (old.ours && old.overwrote || !old.ours && old.value != valueAbsent)
		}
		f.answer = s.answerTo(m, t, leaf, p, f, old, wasKnown)
		if f.value == valueAbsent && s.isSuperfluous(m, id) {
			continue
		}
		list = append(list, f)
	}
	return list
}

// valueFact is the fact of what desired holds for a leaf. old is the one before, if it was known.
func (s *State) valueFact(m *member, t *twin.Twin, id leafID, old leafFact, wasKnown bool) versioned {
	f := versioned{leafFact: leafFact{leaf: id}}
	leaf := s.words.leaves[id]
	d := t.Properties[leaf].Desired
	if d == nil {
		return f
	}
	f.value, f.version = s.valueOf(t, leaf, d), d.Version
	if wasKnown && old.value == f.value && f.value >= firstValue {
		f.version = min(f.version, m.setVersion(old)) // rewritten by another: the answer stands
	}
	return f
}

// isSuperfluous reports whether nobody needs to know of a leaf that it is absent.
func (s *State) isSuperfluous(m *member, leaf leafID) bool {
	for _, id := range []revisionID{s.wanted, s.stable, m.rev} {
		if s.revisions[id].value(leaf) != valueAbsent {
			return false
		}
	}
	return true
}

// valueOf numbers what desired holds. A component without its marker is none: what is in it counts
// as foreign.
func (s *State) valueOf(t *twin.Twin, leaf twin.Leaf, d *twin.Desired) valueID {
	if !t.Partial && leaf.Component != "" && t.LacksMarker(leaf.Component) {
		return valueForeign
	}
	return s.words.find(d.Value)
}

// answerTo judges how the device answered to a value.
func (s *State) answerTo(m *member, t *twin.Twin, leaf twin.Leaf, p twin.Property, f versioned, old leafFact, wasKnown bool) answer {
	declared := s.words.content(f.value)
	if declared == nil {
		return answerNone
	}
	isSame, before := wasKnown && old.value == f.value && m.setVersion(old) == f.version, answerNone
	if isSame {
		before = old.answer
	}
	if t.Partial && p.Reported == nil {
		return before
	}
	isPlain := s.isPlainAnswer(declared, p.Reported)
	result := answerOf(twin.Judge(declared, p, f.version, t.AckLimit()), isPlain)
	if t.Partial {
		if p.Reported.Ack == nil && !isPlain && (before != answerNone || isEnvelopePart(p.Reported)) {
			m.set(flagDoubtful) // a part of an envelope: only the hub knows the whole
			return old.answer
		}
		if result == answerNone {
			return before // an answer to something older, or none
		}
	}
	s.noteAnswer(m, leaf, p, result, isSame && result == old.answer)
	return result
}

// isPlainAnswer reports whether a device that reports plain values reports the declared one.
func (s *State) isPlainAnswer(declared any, r *twin.Reported) bool {
	return s.spec.Rollout.Acknowledgement == v1alpha1.AcknowledgementValue && r != nil && r.Ack == nil && twin.EqualReported(declared, r.Value)
}

// noteAnswer records what follows for a member from an answer, which wasKnown before or was not.
func (s *State) noteAnswer(m *member, leaf twin.Leaf, p twin.Property, result answer, wasKnown bool) {
	if p.Reported != nil && p.Reported.Ack != nil && (result == answerRejected || result == answerAdjusted) {
		s.said = saying{m.id, leaf, clampCode(p.Reported.Ack.Code), p.Reported.Ack.Description}
	}
	if result >= answerAcknowledged && !wasKnown {
		m.answeredAt = unix(s.clock.last)
		m.clear(flagLost | flagTimedOut | flagDue | flagAway)
	}
}

func clampCode(code int64) int16 { return int16(max(min(code, 32767), -32768)) }

func isEnvelopePart(r *twin.Reported) bool {
	fields, isObject := r.Value.(map[string]any)
	if r.Envelope != nil {
		return true
	}
	if !isObject {
		return false
	}
	_, hasCode := fields["ac"]
	_, hasVersion := fields["av"]
	_, hasValue := fields["value"]
	return hasCode || hasVersion || hasValue
}

// took reports whether the write on record happened: the hub said so, or shows one of its values at
// the version that it made.
func (s *State) took(m *member, t *twin.Twin, attempts twin.Attempts, next twin.Ownership, isTaken bool) bool {
	if m.sent == 0 || m.is(flagReserved) {
		return false
	}
	if isTaken {
		return true
	}
	for leaf, sent := range attempts {
		owned, isOurs := next.Held[leaf]
		isProven := isOurs && owned.SetVersion > m.desired && sent[0].Value != nil
		isRemoved := sent[0].Value == nil && t.DesiredVersion == m.desired+1 && t.Properties[leaf].Desired == nil
		if isProven || isRemoved {
			return true
		}
	}
	return false
}

// replaceFacts stores facts, counted back from the desired version of the twin.
func (s *State) replaceFacts(m *member, list []versioned, t *twin.Twin) {
	base := t.DesiredVersion
	for _, f := range list {
		base = max(base, f.version)
	}
	if base != m.base {
		// The base moves only if a value has a newer version: members that another writer touched
		// elsewhere keep the facts that they share.
		newest := int64(0)
		for _, f := range list {
			newest = max(newest, f.version)
		}
		base = newest
	}
	plain := make([]leafFact, 0, len(list))
	for _, f := range list {
		fact := f.leafFact
		if fact.value != valueAbsent {
			fact.behind = uint32(min(max(base-f.version, 0), 1<<32-1))
		}
		plain = append(plain, fact)
	}
	if t.Partial && m.facts != nil { // leaves that the partial twin says nothing of stay as they are
		for _, old := range m.facts.list {
			if !slices.ContainsFunc(plain, func(f leafFact) bool { return f.leaf == old.leaf }) && old.value != valueAbsent {
				old.behind = uint32(min(max(base-m.setVersion(old), 0), 1<<32-1))
				plain = append(plain, old)
			}
		}
		slices.SortFunc(plain, func(a, b leafFact) int { return int(a.leaf) - int(b.leaf) })
	}
	was := m.facts
	m.facts, m.base = s.shared.use(plain), base
	s.shared.release(was)
	counter, _ := twin.ETagCounter(t.ETag)
	m.etag, m.version, m.desired, m.reported = counter, t.Version, t.DesiredVersion, t.ReportedVersion
	m.desiredAt, m.reportedAt = nano(t.DesiredUpdated), nano(t.ReportedUpdated)
	if t.DeviceETag != "" {
		m.deviceEtag = hash32(t.DeviceETag)
	}
}

// keepFresh keeps a twin that was read for a write that needs to know all of it, and sets aside a
// member whose twin has a component where a property is declared, or the other way round.
func (s *State) keepFresh(at slot, m *member, t *twin.Twin) {
	delete(s.fresh, at)
	if s.mergesIntoForeign(m, s.wantedRevision()) || m.rev != 0 && s.mergesIntoForeign(m, s.revisions[m.rev]) {
		s.fresh[at] = t
	}
	for _, w := range s.wantedRevision().wants {
		leaf := s.words.leaves[w.leaf]
		plain := t.Properties[twin.Leaf{Name: leaf.Component}].Desired
		_, isObject := any(nil), false
		if plain != nil {
			_, isObject = plain.Value.(map[string]any)
		}
		if leaf.Component == "" && t.Components[leaf.Name] || leaf.Component != "" && plain != nil && !isObject {
			m.set(flagRefused)
			return
		}
	}
}

// settleSent draws the conclusion about the write on record: it happened, or it did not.
func (s *State) settleSent(now time.Time, at slot, m *member, took bool) {
	if m.sent == 0 {
		return
	}
	if m.is(flagReserved) { // it was not begun, and its record is about an older twin
		s.unreserve(m)
		return
	}
	sent := m.sent
	m.sent = 0
	if !took {
		if m.rev != sent && !m.is(flagLeaving) {
			m.clear(flagWritten)
		}
		return
	}
	m.clear(flagResend | flagRefused | flagLost | flagTimedOut | flagDue)
	delete(s.tries, at)
	if m.is(flagLeaving) {
		return
	}
	s.bring(m, sent)
	m.put(flagWritten, sent == s.wanted)
	if sent != s.wanted {
		s.owe(at, m)
	}
	if m.wroteAt == 0 {
		m.wroteAt = unix(now)
	}
	if s.spec.Rollout.Acknowledgement == v1alpha1.AcknowledgementNone {
		m.answeredAt = unix(now)
	}
}

// fold takes in a twin change of a member, in its place among those that are known.
func (s *State) fold(now time.Time, at slot, m *member, n *twin.Notification) {
	if !m.is(flagKnown) || m.is(flagDoubtful) {
		return // a read is due that tells it all
	}
	partial := s.partial(m)
	switch partial.Position().Order(n) {
	case twin.Old:
		return
	case twin.Gap:
		m.set(flagDoubtful)
		s.markDirty(m)
		return
	case twin.Next:
	}
	next, err := partial.Fold(n)
	if err != nil {
		if !errors.Is(err, twin.ErrDoubtful) {
			panic("fleet: " + err.Error())
		}
		m.set(flagDoubtful)
		s.markDirty(m)
		return
	}
	if n.Desired == nil && !s.concerns(m, n, partial) {
		m.version, m.reported, m.reportedAt = next.Version, next.ReportedVersion, nano(next.ReportedUpdated)
		counter, _ := twin.ETagCounter(next.ETag)
		m.etag = counter
		return
	}
	s.observe(now, at, m, next, false)
}

// concerns reports whether a change touches a leaf that is known of a member.
func (s *State) concerns(m *member, n *twin.Notification, partial *twin.Twin) bool {
	return slices.ContainsFunc(n.Leaves(partial), func(leaf twin.Leaf) bool {
		id, ok := s.words.leafIDs[leaf]
		if !ok {
			return false
		}
		_, isKnown := m.facts.of(id)
		return isKnown
	})
}
