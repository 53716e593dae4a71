package fleet

import (
	"fmt"
	"reflect"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// applyOrder takes in what a person wants, and what the whole fleet hangs on.
func (s *State) applyOrder(now time.Time, e Event) {
	switch e := e.(type) {
	case Declared:
		s.declare(now, e)
	case Approved:
		s.approve(now, e)
	case Retry:
		s.retry(now, e.Value)
	case Confirmed:
		s.leavers.isHalted, s.leavers.count = false, 0
		s.recordHeader()
		s.recount(now)
	case Ended:
		s.endFleet(now)
	case Stream:
		s.clock.isRunning = e.Healthy
		if e.Healthy {
			s.recount(now)
		}
	case Unfit:
		s.unfit = setOf(e.ModelIDs)
		s.recount(now)
	}
}

// declare takes in an edit. Another revision begins at the first batch, or, if it is the stable
// one, goes back at once. An edit of rollout alone restarts nothing; one of the selector has the
// devices listed, and whoever it brings waits for batches.
func (s *State) declare(now time.Time, e Declared) {
	old := s.spec
	s.spec = e.Spec
	if !reflect.DeepEqual(old.Selector, e.Spec.Selector) || !reflect.DeepEqual(keysOf(old), keysOf(e.Spec)) {
		s.reselect(now, !reflect.DeepEqual(old.Selector, e.Spec.Selector))
	}
	was := s.wanted
	s.wanted = s.addRevision(s.words.revision(s.revisionName(e.Declaration), e.Declaration))
	if s.wanted == was {
		s.recount(now)
		return
	}
	clear(s.bodies)
	s.drift.lift()
	s.recordHeader()
	switch {
	case !s.enforces() || s.rollout.number == 0:
		s.recount(now)
	case s.wanted == s.stable:
		s.begin(now, v1alpha1.RolloutBack)
	default:
		s.begin(now, v1alpha1.RolloutBatches)
	}
	s.dropRevisions()
}

func keysOf(spec *v1alpha1.DeviceFleetSpec) []string { return NewSelector(spec).keys }

// reselect goes by another selector. Members that it certainly leaves out leave at once; all others
// are listed, since it may hang on other tags.
func (s *State) reselect(now time.Time, isEdit bool) {
	old := s.selector
	s.selector = NewSelector(s.spec)
	for at, m := range s.members.all {
		values := make([]string, len(s.selector.keys))
		for i, key := range s.selector.keys {
			values[i] = old.tag(m.tags, key)
		}
		s.setTags(m, m.tags.model, values)
		if s.selector.excluded[m.id] || s.selector.ids != nil && !s.selector.ids[m.id] {
			s.leave(now, at)
			continue
		}
		if !reflect.DeepEqual(old.keys, s.selector.keys) || !s.selector.matchesSet(m.id, m.tags) {
			s.change(now, at, func(m *member) { m.set(flagDoubtful) })
		}
	}
	s.listing = listing{isEdit: isEdit && s.rollout.number > 0}
}

// approve takes in an approval, which counts for the batch that waits for one.
func (s *State) approve(now time.Time, e Approved) {
	batch := s.waitingFor(e.Name)
	if batch < 0 {
		s.notice(v1alpha1.ReasonApprovalVoid, fmt.Sprintf("Approval of %q by %s is void: that batch waits for none", e.Name, e.By))
		return
	}
	b := &s.rollout.batches[batch]
	switch s.batchState(batch) {
	case v1alpha1.BatchStopped:
		b.accepted = b.tally.failed()
		s.rollout.stopped = nil
	case v1alpha1.BatchOnHold:
		b.startBy = e.By
	default:
		b.passBy = e.By
	}
	s.recordHeader()
	s.notice(v1alpha1.ReasonApproved, fmt.Sprintf("Batch %s was approved by %s", b.name, e.By))
	s.recount(now)
}

// waitingFor returns the batch that an approval names, if it waits for one, else -1.
func (s *State) waitingFor(name string) int {
	for i := range s.rollout.batches {
		if name != s.wantedRevision().name+"/"+s.rollout.batches[i].name {
			continue
		}
		switch s.batchState(i) {
		case v1alpha1.BatchStopped, v1alpha1.BatchNoEvidence:
			return i
		case v1alpha1.BatchOnHold:
			if i == 0 || !s.rollout.batches[i-1].passedAt.IsZero() {
				return i
			}
		case v1alpha1.BatchPending, v1alpha1.BatchProgressing, v1alpha1.BatchSoaking, v1alpha1.BatchPassed:
		}
	}
	return -1
}

// retry writes to the failed once more, and lifts a stop.
func (s *State) retry(now time.Time, value string) {
	if value == s.retried {
		return
	}
	s.retried = value
	s.rollout.stopped = nil
	s.drift.lift()
	s.recordHeader()
	for at, m := range s.members.all {
		if !m.state.isFailed() || m.is(flagLeaving) {
			continue
		}
		s.change(now, at, func(m *member) {
			holds := m.state != stateRefused && m.state != stateModelMismatch
			s.forgetAttempt(at, m)
			m.put(flagResend, holds && s.enforces())
		})
	}
	s.recount(now)
}

// endFleet has all members cleared, or forgets them.
func (s *State) endFleet(now time.Time) {
	s.isEnded = true
	s.listing.isComplete = true
	for at, m := range s.members.all {
		switch {
		case m.is(flagLeaving):
			s.change(now, at, func(*member) {})
		case s.spec.DeletionPolicy == v1alpha1.DeletionClear && s.enforces() && (s.hasOurs(m) || m.sent != 0):
			s.startLeaving(now, at)
		default:
			s.remove(now, at)
		}
	}
}

// maxRevisions are kept by name.
const maxRevisions = 20

// dropRevisions forgets revisions that no member was brought to. Beyond maxRevisions the oldest go
// as well: members that were brought to one keep what is ours there, and have no target until their
// batch.
func (s *State) dropRevisions() {
	used := map[revisionID]bool{s.wanted: true, s.stable: true, s.nothing: true}
	count := 0
	for _, m := range s.members.all {
		used[m.rev], used[m.sent] = true, true
	}
	for id := len(s.revisions) - 1; id > 0; id-- {
		r := revisionID(id) //nolint:gosec // far fewer
		if s.revisions[id] == nil {
			continue
		}
		isKept := r == s.wanted || r == s.stable || r == s.nothing
		if !isKept && (!used[r] || count >= maxRevisions) && !s.isSent(r) {
			s.revisions[id] = nil
			continue
		}
		count++
	}
	for _, m := range s.members.all {
		if m.rev != 0 && s.revisions[m.rev] == nil {
			m.rev = 0
			s.markDirty(m)
		}
	}
}

// isSent reports whether a write of the revision may be under way, or have happened unseen.
func (s *State) isSent(rev revisionID) bool {
	for _, m := range s.members.all {
		if m.sent == rev {
			return true
		}
	}
	return false
}
