package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// objects renders what a flush stores: new revisions first, then whole shards where many members
// changed, and the others in the journal.
func (s *State) objects(f *flush) (objects []Object) {
	objects = s.revisionObjects()
	var scattered []slot
	var gone []string
	for i := range s.stored.shards {
		sh := &s.stored.shards[i]
		if sh.dirty == 0 && len(sh.gone) == 0 && !sh.mustWrite {
			continue
		}
		if sh.mustWrite || sh.dirty*100 >= len(sh.slots)*rewriteShare || len(sh.gone)*100 > len(sh.slots)*rewriteShare {
			objects = append(objects, s.shardObject(f, i))
			continue
		}
		for _, at := range sh.slots {
			if s.members.at(at).is(flagDirty) {
				scattered = append(scattered, at)
			}
		}
		if len(sh.gone) > 0 {
			gone, sh.hadGone = append(gone, sh.gone...), true
			sh.gone = nil
		}
	}
	if len(scattered)+len(gone) == 0 {
		return objects
	}
	if len(s.stored.journal)+len(scattered)+len(gone) > journalMembers {
		return append(objects, s.foldJournal(f)...)
	}
	return append(objects, s.journalObject(f, scattered, gone))
}

func (s *State) revisionObjects() (objects []Object) {
	for id, r := range s.revisions {
		if r == nil || id == int(s.nothing) || s.stored.revisions[r.name] {
			continue
		}
		if s.stored.revisions == nil {
			s.stored.revisions = map[string]bool{}
		}
		s.stored.revisions[r.name] = true
		objects = append(objects, Object{Name: "revision-" + r.name, Content: v1alpha1.ShardRevision, Data: s.encodeRevision(r)})
	}
	return objects
}

func shardName(i int) string { return fmt.Sprintf("members-%d", i) }

const journalName = "journal"

// shardObject renders a whole shard. Its members are on record from then on.
func (s *State) shardObject(f *flush, i int) Object {
	sh := &s.stored.shards[i]
	s.cleared(f, sh.slots)
	f.shards = append(f.shards, i)
	sh.gone, sh.mustWrite = nil, false
	for _, at := range sh.slots {
		delete(s.stored.journal, s.members.at(at).id)
	}
	return Object{
		Name: shardName(i), Content: v1alpha1.ShardMembers, Index: i, Members: len(sh.slots),
		Data: s.encodeMembers(v1alpha1.ShardMembers, f.number, s.sortedSlots(sh.slots), nil),
	}
}

// journalObject renders the journal with some members more. Shards that have them are older.
func (s *State) journalObject(f *flush, scattered []slot, gone []string) Object {
	if s.stored.journal == nil {
		s.stored.journal = map[string]bool{}
	}
	for _, at := range scattered {
		s.stored.journal[s.members.at(at).id] = true
	}
	for _, id := range gone {
		s.stored.journal[id] = true
	}
	var slots []slot
	var absent []string
	for _, id := range sortedKeys(s.stored.journal) {
		if at, m := s.members.find(id); m != nil {
			slots = append(slots, at)
		} else {
			absent = append(absent, id)
		}
	}
	s.cleared(f, slots)
	f.journal = true
	return Object{
		Name: journalName, Content: v1alpha1.ShardJournal, Members: len(slots),
		Data: s.encodeMembers(v1alpha1.ShardJournal, f.number, slots, absent),
	}
}

func sortedKeys(set map[string]bool) []string {
	keys := make([]string, 0, len(set))
	for key := range set {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// foldJournal renders all shards that the journal has members of, and an empty journal.
func (s *State) foldJournal(f *flush) (objects []Object) {
	for i := range s.stored.shards {
		sh := &s.stored.shards[i]
		inJournal := slices.ContainsFunc(sh.slots, func(at slot) bool { return s.stored.journal[s.members.at(at).id] })
		if sh.dirty > 0 || len(sh.gone) > 0 || inJournal || sh.hadGone {
			sh.hadGone = false
			objects = append(objects, s.shardObject(f, i))
		}
	}
	clear(s.stored.journal)
	return append(objects, s.journalObject(f, nil, nil))
}

// cleared says that members are on record as they are.
func (s *State) cleared(f *flush, slots []slot) {
	for _, at := range slots {
		if m := s.members.at(at); m.is(flagDirty) {
			m.clear(flagDirty)
			s.stored.dirty--
			s.stored.shards[m.shard].dirty--
			f.members = append(f.members, at)
		}
	}
}

// Load returns the state that was on record: status, and the data of each object. What cannot be
// used is left out, and said; its members are listed and read anew, which costs what is ours there,
// and no value.
func Load(who Identity, spec *v1alpha1.DeviceFleetSpec, declared twin.Declaration, status *v1alpha1.DeviceFleetStatus, objects []Object) (*State, []error) {
	s := New(who, spec, declared)
	var problems []error
	for _, o := range objects {
		if o.Content != v1alpha1.ShardRevision {
			continue
		}
		name, d, err := decodeRevision(o.Data, who)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", o.Name, err))
			continue
		}
		s.addRevision(s.words.revision(name, d))
		s.markStored(name)
	}
	current := s.wanted
	s.loadHeader(status)
	problems = append(problems, s.loadMembers(objects)...)
	s.stored.recorded = s.stored.changes
	s.listing.isComplete = len(problems) == 0 && s.members.count() > 0 && s.rolloutIsKnown(status)
	if status.Revision != s.revisions[current].name && s.rollout.number > 0 {
		s.wanted = current
		s.beginLoaded()
	}
	return s, problems
}

func (s *State) markStored(name string) {
	if s.stored.revisions == nil {
		s.stored.revisions = map[string]bool{}
	}
	s.stored.revisions[name] = true
}

// rolloutIsKnown is false if members are on record, and status was lost.
func (s *State) rolloutIsKnown(status *v1alpha1.DeviceFleetStatus) bool {
	return status.Revision != ""
}

// beginLoaded begins the rollout of a revision that was declared while the operator did not run.
// The first call of Next does it, which knows the time.
func (s *State) beginLoaded() { s.mustBegin = true }

// loadHeader takes the header from status.
func (s *State) loadHeader(status *v1alpha1.DeviceFleetStatus) {
	s.retried = status.LastHandledRetryAt
	s.leavers.isHalted = status.LeavingHalted
	s.stable = s.named(status.StableRevision)
	if status.Joined != nil {
		s.joins.day, s.joins.count = status.Joined.Day, int(status.Joined.Count)
	}
	r := status.Rollout
	if r == nil {
		return
	}
	s.rollout = rollout{number: r.Number, kind: r.Kind, startedAt: r.StartedAt.Time}
	if r.CompletedAt != nil {
		s.rollout.completedAt = r.CompletedAt.Time
	}
	if stop := r.Stopped; stop != nil {
		s.rollout.stopped = &Stop{Batch: stop.Batch, Failed: int(stop.Failed), Allowed: int(stop.Allowed), At: stop.Time.Time}
	}
	for i := range status.Batches {
		s.loadBatch(&status.Batches[i], i == len(status.Batches)-1)
	}
	if current := s.named(status.Revision); current != 0 {
		s.wanted = current
	}
}

func (s *State) loadBatch(b *v1alpha1.FleetBatchStatus, isLast bool) {
	loaded := batch{name: b.Name, isLast: isLast, size: int(b.Size), startBy: b.ApprovedBy, passBy: b.AcceptedBy, accepted: int(b.Accepted)}
	loaded.through, _ = parsePlace(b.Through)
	loaded.byTags = !isLast && b.Through == ""
	if b.StartedAt != nil {
		loaded.openedAt = b.StartedAt.Time
		s.rollout.open++
	}
	if b.CompletedAt != nil {
		loaded.passedAt = b.CompletedAt.Time
	}
	for _, spec := range s.specBatches() {
		if spec.Name == b.Name && loaded.byTags {
			loaded.tests = testsOf(spec.MatchTags, nil)
		}
	}
	s.rollout.batches = append(s.rollout.batches, loaded)
}

// named returns the revision of a name, 0 if it is not on record.
func (s *State) named(name string) revisionID {
	if name == "" {
		return 0
	}
	id, _ := s.find(name)
	return id
}

// loadMembers takes members from shards, and newer ones from the journal.
func (s *State) loadMembers(objects []Object) (problems []error) {
	ordered := slices.Clone(objects)
	slices.SortStableFunc(ordered, func(a, b Object) int { return strings.Compare(string(b.Content), string(a.Content)) }) // Members before Journal
	found := map[string]*memberRecord{}
	rollouts, shards := map[string]int64{}, map[string]int{}
	var keys []string
	for _, o := range ordered {
		if o.Content == v1alpha1.ShardRevision {
			continue
		}
		if o.Content == v1alpha1.ShardMembers {
			s.growShards(o.Index)
		}
		p, err := decodeMembers(o.Data, s.who, o.Content)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", o.Name, err))
			s.mustRewrite(o)
			continue
		}
		s.stored.flushes = max(s.stored.flushes, p.number)
		keys = p.keys
		for i := range p.records {
			r := &p.records[i]
			if o.Content == v1alpha1.ShardMembers {
				shards[r.id] = o.Index
			}
			if known, ok := found[r.id]; !ok || r.number > known.number {
				found[r.id], rollouts[r.id] = r, p.rollout
			}
		}
	}
	for _, id := range sortedRecords(found) {
		r := found[id]
		shardNumber, isInShard := shards[id]
		if r.isGone {
			if isInShard {
				s.stored.shards[shardNumber].hadGone = true
			}
			s.noteJournal(id)
			continue
		}
		s.loadMember(r, keys, rollouts[id], shardNumber, isInShard)
		if r.inJournal {
			s.noteJournal(id)
		}
	}
	return problems
}

// growShards makes room for a shard of a number.
func (s *State) growShards(i int) {
	for len(s.stored.shards) <= i && i < maxShards {
		s.stored.shards = append(s.stored.shards, shard{})
	}
}

// mustRewrite has an object that could not be read stored anew.
func (s *State) mustRewrite(o Object) {
	if o.Content == v1alpha1.ShardMembers && o.Index < len(s.stored.shards) {
		s.stored.shards[o.Index].mustWrite = true
	}
}

func (s *State) noteJournal(id string) {
	if s.stored.journal == nil {
		s.stored.journal = map[string]bool{}
	}
	s.stored.journal[id] = true
}

func sortedRecords(found map[string]*memberRecord) []string {
	ids := make([]string, 0, len(found))
	for id := range found {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// loadMember adds a member as it was on record. One whose write may have happened is in flight
// until it is read.
func (s *State) loadMember(r *memberRecord, keys []string, rolloutNumber int64, shardNumber int, isInShard bool) {
	at, m := s.members.add(r.id)
	if isInShard {
		s.putIntoShard(at, m, shardNumber)
	} else {
		s.assignShard(at, m)
	}
	id, number := m.id, m.shard
	*m = r.m
	m.id, m.shard = id, number
	m.tags = s.tagSets.use(r.model, s.tagsBy(keys, r.tags))
	m.facts = s.shared.use(s.numbered(r.facts))
	m.rev, m.sent = s.named(r.rev), s.named(r.sent)
	m.reported = 0 // reports that nobody declared are not on record
	if r.sent != "" {
		if m.sent == 0 {
			m.set(flagDoubtful)
		}
		m.set(flagWritten)
	}
	if rolloutNumber != s.rollout.number || int(m.batch) >= len(s.rollout.batches) {
		m.batch = noBatch
		s.unplaced = append(s.unplaced, at)
	}
	if m.is(flagDenied) { // whether that goes on, a start tells: until then it joins anew
		m.clear(flagDenied)
		m.rev = 0
		m.set(flagDoubtful | flagJoiner)
	}
	if m.is(flagLeaving) {
		s.leaving++
	}
	if m.is(flagOwing) {
		s.owing++
		s.timers.add(m.limit, at)
	}
	s.heard = s.heard || m.seenAt > 0
}

// tagsBy orders tags by the keys that count now.
func (s *State) tagsBy(keys, tags []string) []string {
	values := make([]string, len(s.selector.keys))
	for i, key := range s.selector.keys {
		if at := slices.Index(keys, key); at >= 0 && at < len(tags) {
			values[i] = tags[at]
		}
	}
	return values
}

// numbered numbers the leaves and values of facts.
func (s *State) numbered(records []factRecord) []leafFact {
	list := make([]leafFact, 0, len(records))
	for _, r := range records {
		f := r.fact
		f.leaf = s.words.leaf(r.leaf)
		switch r.digest {
		case "":
			f.value = valueAbsent
		case foreignDigest:
			f.value = valueForeign
		default:
			f.value = s.words.digest(r.digest)
		}
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b leafFact) int { return int(a.leaf) - int(b.leaf) })
	return slices.CompactFunc(list, func(a, b leafFact) bool { return a.leaf == b.leaf })
}

// placeLoaded gives a member its batch that has to be written to.
func (s *State) placeLoaded(m *member) {
	switch {
	case s.rollout.kind == v1alpha1.RolloutBack:
		m.batch = 0
	case !m.is(flagJoiner) || s.rollout.isActive():
		m.batch = s.batchOfJoiner(m)
	}
}

// settleLoaded draws the conclusions about members that were loaded, once the time is known.
func (s *State) settleLoaded(now time.Time) {
	s.isLoaded = true
	for _, at := range s.unplaced { // nothing was written to them in this rollout
		m := s.members.at(at)
		isOwing := m.is(flagWritten) && m.sent == 0 && !m.hasAnsweredAll()
		m.put(flagWritten, m.sent != 0)
		if isOwing {
			s.owe(at, m)
		}
		if !m.is(flagLeaving) && len(s.rollout.batches) > 0 && (m.sent != 0 || s.compare(at, m, s.wantedRevision()) != holdsIt) {
			s.placeLoaded(m)
		}
	}
	s.unplaced = nil
	if s.mustBegin {
		s.mustBegin = false
		s.drift.lift()
		kind := v1alpha1.RolloutBatches
		if s.wanted == s.stable {
			kind = v1alpha1.RolloutBack
		}
		if s.enforces() {
			s.begin(now, kind)
			return
		}
		s.recordHeader()
	}
	s.recount(now)
}
