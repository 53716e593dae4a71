package fleet

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// restName is that of the last batch, backName that of the only one on the way back.
const (
	restName = "rest"
	backName = "back"
)

// Stop is what stopped a rollout.
type Stop struct {
	Batch           string
	Failed, Allowed int
	At              time.Time
}

// rollout brings members to the wanted revision.
type rollout struct {
	number    int64 // 0: none was ever begun
	kind      v1alpha1.RolloutKind
	startedAt time.Time
	batches   []batch
	// open is how many batches were opened.
	open        int
	stopped     *Stop
	completedAt time.Time
}

func (r *rollout) isActive() bool { return r.number > 0 && r.completedAt.IsZero() }

// size is how many members the batches have.
func (r *rollout) size() (n int) {
	for i := range r.batches {
		n += r.batches[i].size
	}
	return n
}

// batch is a part of the members. What it holds besides counts is on record.
type batch struct {
	name string
	// tests pick the members of a batch of tags. Another one ends at through, the last one never.
	tests   []tagTest
	through place
	isLast  bool
	byTags  bool
	// size is fixed when the batches are cut, and grows with those that join.
	size               int
	openedAt, passedAt time.Time
	// startBy and passBy are the users who approved its start, or its passing without evidence.
	startBy, passBy string
	accepted        int
	// touched is when a member of it was written to, or answered, by State.clock.
	touched uint32
	tally   tally
}

// policy is what the spec says of a batch now: an edit of it restarts nothing.
type policy struct {
	hold        bool
	soak        uint32
	maxFailures Share
	minJudged   int
}

// defaultBatches are those of a spec that has none.
func defaultBatches() []v1alpha1.FleetBatch {
	share := func(text string) *intstr.IntOrString { v := intstr.FromString(text); return &v }
	return []v1alpha1.FleetBatch{{Name: "first", UpTo: share("1%")}, {Name: "tenth", UpTo: share("10%")}}
}

func (s *State) specBatches() []v1alpha1.FleetBatch {
	if len(s.spec.Rollout.Batches) == 0 {
		return defaultBatches()
	}
	return s.spec.Rollout.Batches
}

var defaultMaxFailures = Share{Part: 2 * perCent, IsPercent: true}

func (s *State) policyOf(b *batch) policy {
	p := policy{maxFailures: shareOf(s.spec.Rollout.MaxFailures, defaultMaxFailures)}
	for _, spec := range s.specBatches() {
		if spec.Name == b.name {
			p.hold, p.soak = spec.Hold, uint32(max(spec.SoakSeconds, 0))
			p.maxFailures, p.minJudged = shareOf(spec.MaxFailures, p.maxFailures), int(spec.MinJudged)
		}
	}
	if p.minJudged == 0 && p.maxFailures.IsPercent {
		p.minJudged = 1
		if part := p.maxFailures.Part; part > 0 {
			p.minJudged = (100*perCent + part - 1) / part // so many that the percentage is a device
		}
	}
	return p
}

func shareOf(v *intstr.IntOrString, otherwise Share) Share {
	if v == nil {
		return otherwise
	}
	if share, ok := ParseShare(v.String()); ok {
		return share
	}
	return otherwise
}

// begin cuts the batches over the members that do not hold the wanted revision, and opens none. On
// the way back there is one batch, open at once.
func (s *State) begin(now time.Time, kind v1alpha1.RolloutKind) {
	for _, m := range s.members.all {
		s.uncount(m)
		m.batch = noBatch
	}
	s.rollout = rollout{number: s.rollout.number + 1, kind: kind, startedAt: now}
	s.recordHeader()
	var scope []slot
	for at, m := range s.members.all {
		if m.is(flagLeaving) {
			continue
		}
		isOwing := m.is(flagOwing) || m.is(flagWritten) && m.state == stateInFlight && m.sent == 0
		s.pay(m)
		m.put(flagWritten, m.sent != 0 && !m.is(flagReserved))
		m.clear(flagJoiner | flagGated)
		s.forgetAttempt(at, m)
		if isOwing {
			s.owe(at, m)
		}
		if s.compare(at, m, s.wantedRevision()) == holdsIt && m.sent == 0 {
			s.bring(m, s.wanted)
			continue
		}
		scope = append(scope, at)
	}
	s.cut(scope, kind)
	s.recount(now)
	s.notice(v1alpha1.ReasonRolloutStarted, fmt.Sprintf("Revision %s: %d of %d devices do not hold it", s.wantedRevision().name, len(scope), s.members.count()))
}

// forgetAttempt clears what was concluded of an earlier revision.
func (s *State) forgetAttempt(at slot, m *member) {
	m.clear(flagLost | flagDue | flagTimedOut | flagRefused | flagResend | flagAway)
	m.spent, m.limit = 0, 0
	delete(s.tries, at)
	s.markDirty(m)
}

// bring says that a member was brought to a revision.
func (s *State) bring(m *member, rev revisionID) {
	if m.rev != rev {
		m.rev = rev
		s.markDirty(m)
	}
}

// cut distributes members over batches: those with a batch's tags first, the others in their order.
func (s *State) cut(scope []slot, kind v1alpha1.RolloutKind) {
	if kind == v1alpha1.RolloutBack {
		s.rollout.batches = []batch{{name: backName, isLast: true, size: len(scope), openedAt: s.rollout.startedAt}}
		s.rollout.open = 1
		for _, at := range scope {
			s.members.at(at).batch = 0
		}
		return
	}
	places := make(map[slot]place, len(scope))
	for _, at := range scope {
		places[at] = s.placeOf(s.members.at(at))
	}
	slices.SortFunc(scope, func(a, b slot) int { return comparePlaces(places[a], places[b]) })
	s.rollout.batches = nil
	for _, spec := range s.specBatches() {
		s.rollout.batches = append(s.rollout.batches, batch{name: spec.Name, tests: testsOf(spec.MatchTags, nil), byTags: len(spec.MatchTags) > 0})
	}
	s.rollout.batches = append(s.rollout.batches, batch{name: restName, isLast: true})
	rest := s.takeByTags(scope)
	s.takeByOrder(rest, places, len(scope))
}

// takeByTags gives members to the batches of tags, and returns the others in order.
func (s *State) takeByTags(scope []slot) (rest []slot) {
	for _, at := range scope {
		m := s.members.at(at)
		if b := s.batchByTags(m); b != noBatch {
			m.batch = b
			s.rollout.batches[b].size++
			continue
		}
		rest = append(rest, at)
	}
	return rest
}

func (s *State) batchByTags(m *member) uint8 {
	for i := range s.rollout.batches {
		tests := s.rollout.batches[i].tests
		if len(tests) > 0 && !slices.ContainsFunc(tests, func(t tagTest) bool { return !t.holds(s.selector.tag(m.tags, t.key)) }) {
			return uint8(i)
		}
	}
	return noBatch
}

// takeByOrder cuts the others by upTo, which counts all members of the batches so far.
func (s *State) takeByOrder(rest []slot, places map[slot]place, all int) {
	reached, taken := 0, 0
	for i, spec := range s.specBatches() {
		b := &s.rollout.batches[i]
		if spec.UpTo != nil {
			upTo := shareOf(spec.UpTo, Share{}).up(all)
			for reached < upTo && taken < len(rest) {
				s.members.at(rest[taken]).batch = uint8(i)
				b.size++
				reached++
				taken++
			}
			if taken > 0 {
				b.through = places[rest[taken-1]]
			}
			continue
		}
		reached += b.size
	}
	last := len(s.rollout.batches) - 1
	for _, at := range rest[taken:] {
		s.members.at(at).batch = uint8(last) //nolint:gosec // at most 21
	}
	s.rollout.batches[last].size += len(rest) - taken
}

// batchOfJoiner returns the batch that a member gets that was not there when they were cut.
func (s *State) batchOfJoiner(m *member) uint8 {
	if len(s.rollout.batches) == 0 {
		return noBatch
	}
	if b := s.batchByTags(m); b != noBatch {
		return b
	}
	p := s.placeOf(m)
	for i := range s.rollout.batches {
		b := &s.rollout.batches[i]
		if !b.byTags && (b.isLast || comparePlaces(p, b.through) <= 0) {
			return uint8(i)
		}
	}
	return noBatch
}

// turn opens batches, lets them pass, and ends rollouts, as far as that is due.
func (s *State) turn(now time.Time) {
	if !s.enforces() || s.isEnded || s.spec.Suspend || !s.listing.isComplete || !s.clock.isRunning {
		return
	}
	if s.rollout.number == 0 {
		s.begin(now, v1alpha1.RolloutBatches)
	}
	for s.rollout.isActive() && !s.isFrozen() {
		if !s.step(now) {
			return
		}
	}
	if !s.rollout.isActive() && s.rollout.stopped == nil && !s.spec.Rollout.Paused && s.joins.areWaiting(s) {
		s.begin(now, v1alpha1.RolloutJoined)
	}
}

// step opens or passes one batch, false if none is due.
func (s *State) step(now time.Time) bool {
	r := &s.rollout
	if r.open > 0 && r.batches[r.open-1].passedAt.IsZero() {
		b := &r.batches[r.open-1]
		if s.gate(b) != v1alpha1.BatchPassed {
			return false
		}
		b.passedAt = now
		s.recordHeader()
		s.notice(v1alpha1.ReasonBatchPassed, fmt.Sprintf("Batch %s: %d of %d acknowledged, %d failed", b.name, b.tally.written[stateAcknowledged], b.size, b.tally.failed()))
		if b.isLast {
			s.complete(now)
		}
		return true
	}
	if r.open == len(r.batches) {
		return false
	}
	b := &r.batches[r.open]
	if s.policyOf(b).hold && b.startBy == "" {
		return false
	}
	r.open++
	b.openedAt, b.touched = now, s.clock.seconds()
	s.recordHeader()
	s.timers.add(s.clock.seconds()+uint32(s.spec.Rollout.DeferSeconds), noSlot) //nolint:gosec // not negative
	s.recount(now)
	return true
}

// complete ends a rollout: the wanted revision is the stable one.
func (s *State) complete(now time.Time) {
	s.rollout.completedAt = now
	s.stable = s.wanted
	s.recordHeader()
	t := &s.total
	s.notice(v1alpha1.ReasonRolledOut, fmt.Sprintf("Revision %s: %d acknowledged, %d failed, %d offline", s.wantedRevision().name,
		t.states[stateAcknowledged], s.failedInAll(), t.states[stateOffline]))
}

func (s *State) failedInAll() int {
	n := 0
	for state := stateRejected; state < stateCount; state++ {
		n += s.total.states[state]
	}
	return n
}

// gate says how far an open batch has come, by evidence.
func (s *State) gate(b *batch) v1alpha1.BatchState {
	t := &b.tally
	if t.busy > 0 || t.written[stateInFlight] > 0 {
		return v1alpha1.BatchProgressing
	}
	isCovered := b.size == 0 && !b.byTags && s.rollout.size() > 0 // the batches before it have all that it was to reach
	if !isCovered && s.evidence(b) < s.evidenceWanted(b) && b.passBy == "" {
		return v1alpha1.BatchNoEvidence
	}
	if t.writtenTotal > 0 && s.rollout.kind != v1alpha1.RolloutBack && s.clock.seconds() < b.touched+s.policyOf(b).soak {
		return v1alpha1.BatchSoaking
	}
	return v1alpha1.BatchPassed
}

// evidence is how many members show that the revision does no harm: those that were written to, or,
// where nothing was to be written, those that hold it.
func (s *State) evidence(b *batch) int {
	if b.tally.writtenTotal == 0 {
		return b.tally.states[stateAcknowledged]
	}
	return b.tally.written[stateAcknowledged]
}

func (s *State) evidenceWanted(b *batch) int {
	if s.rollout.kind == v1alpha1.RolloutBack {
		return 0
	}
	if b.byTags {
		return 1 // and all others are judged, or the gate was busy
	}
	return max(1, min(int(s.spec.Rollout.MinAcknowledged), b.tally.reach))
}

// allowed is how many of n members of a batch may fail.
func (s *State) allowed(b *batch, n int) int {
	return max(s.policyOf(b).maxFailures.down(n), b.accepted)
}

// lookForBreach stops the rollout if a member is a failure too many in its batch: one that no
// further answer can make good, or, once enough have answered, one above the share of those written
// to.
func (s *State) lookForBreach(now time.Time, m *member) {
	if m.batch == noBatch || !m.state.isFailed() || m.counted&countedWritten == 0 || s.rollout.stopped != nil {
		return
	}
	b := &s.rollout.batches[m.batch]
	t, failed := &b.tally, b.tally.failed()
	isCertain := failed > s.allowed(b, max(t.reach, t.writtenTotal))
	judged := t.judged()
	isEnough := judged >= min(s.policyOf(b).minJudged, t.present) || judged == t.writtenTotal && t.busy == 0
	if !isCertain && (!isEnough || failed <= s.allowed(b, t.writtenTotal)) {
		return
	}
	s.rollout.stopped = &Stop{Batch: b.name, Failed: failed, Allowed: s.allowed(b, t.writtenTotal), At: now}
	s.recordHeader()
	s.notice(v1alpha1.ReasonFailureBudgetExceeded, fmt.Sprintf("Batch %s: %d of %d failed, %d are allowed", b.name, failed, t.writtenTotal, s.rollout.stopped.Allowed))
}

// BatchState says how far a batch has come, for status.
func (s *State) batchState(i int) v1alpha1.BatchState {
	b := &s.rollout.batches[i]
	switch {
	case s.rollout.stopped != nil && s.rollout.stopped.Batch == b.name:
		return v1alpha1.BatchStopped
	case !b.passedAt.IsZero():
		return v1alpha1.BatchPassed
	case i < s.rollout.open:
		return s.gate(b)
	case i == s.rollout.open && s.policyOf(b).hold && b.startBy == "":
		return v1alpha1.BatchOnHold
	}
	return v1alpha1.BatchPending
}
