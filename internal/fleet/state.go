package fleet

import (
	"slices"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Identity says which fleet a State is about. Its record is of no use to any other.
type Identity struct {
	Namespace, Name, UID string
	// Hub is the destination that members are at.
	Hub string
}

// State is what is known of a fleet, and what is wanted. One goroutine at a time uses it.
type State struct {
	who      Identity
	spec     *v1alpha1.DeviceFleetSpec
	selector *Selector
	words    vocabulary
	// revisions are by revisionID; the first one is nil, and so are those that nobody needs.
	revisions      []*revision
	wanted, stable revisionID
	nothing        revisionID // declares nothing: the target of members that leave

	members roster
	shared  sharedFacts
	tagSets sharedTags
	// denied, calls and tries have the few members of which there is more to know.
	denied map[slot]*denial
	calls  map[slot]*call
	tries  map[slot]*try
	unfit  map[string]bool // models that the wanted revision does not fit

	rollout rollout
	total   tally
	leaving int
	owing   int // members with flagOwing
	reasons map[reason]int
	newest  []Failure

	clock  healthClock
	timers timers
	reads  queue
	writes queue
	// fresh are twins that were read for a write that needs all of them.
	fresh     map[slot]*twin.Twin
	stored    storedState
	listing   listing
	joins     joins
	leavers   leavers
	drift     driftBrake
	retried   string // the last value of the retry annotation
	strangers strangers
	paced     time.Time // when the next write may be, by maxPerMinute
	isEnded   bool
	heard     bool // a connection event was ever heard of
	bodies    map[bodyKey][]byte
	notices   []Notice
	said      saying
	// unplaced are members that were loaded with the batch of an earlier rollout.
	unplaced            []slot
	mustBegin, isLoaded bool
}

// denial has the leaves of one member that are another object's.
type denial struct {
	exception []leafID // a PnPDevice's
	conflict  []leafID // another fleet's
}

func (d *denial) has(leaf leafID) bool {
	return d != nil && (slices.Contains(d.exception, leaf) || slices.Contains(d.conflict, leaf))
}

// call is a request to the hub that is under way.
type call struct {
	writes bool
	rev    revisionID
	resend bool
	// clears is true for a write to a member that leaves, which is counted apart.
	clears bool
	// events arrived meanwhile; lost is true once there were too many.
	events []Event
	lost   bool
}

// maxHeldBack is how many events of one member wait for the outcome of a call.
const maxHeldBack = 32

// try is what is known of calls for a member that failed.
type try struct {
	since uint32 // by State.clock
	after uint32
	count int
}

// New returns the state of a fleet of which nothing is on record. declared is what spec declares.
func New(who Identity, spec *v1alpha1.DeviceFleetSpec, declared twin.Declaration) *State {
	s := &State{
		who: who, spec: spec, selector: NewSelector(spec), words: newVocabulary(), revisions: []*revision{nil},
		members: roster{byID: map[string]slot{}}, shared: sharedFacts{}, tagSets: sharedTags{},
		denied: map[slot]*denial{}, calls: map[slot]*call{}, tries: map[slot]*try{}, fresh: map[slot]*twin.Twin{}, unfit: map[string]bool{},
		reasons: map[reason]int{}, bodies: map[bodyKey][]byte{}, drift: newDriftBrake(), strangers: newStrangers(),
	}
	s.nothing = s.addRevision(&revision{})
	s.wanted = s.addRevision(s.words.revision(s.revisionName(declared), declared))
	s.stored.changes = 1
	return s
}

func (s *State) revisionName(d twin.Declaration) string { return s.who.Name + "-" + RevisionHash(d) }

// find returns the revision of a name, false if there is none.
func (s *State) find(name string) (revisionID, bool) {
	id := slices.IndexFunc(s.revisions, func(r *revision) bool { return r != nil && r.name == name })
	return revisionID(max(id, 0)), id >= 0 //nolint:gosec // far fewer
}

func (s *State) addRevision(r *revision) revisionID {
	if id, isKnown := s.find(r.name); isKnown {
		return id
	}
	s.revisions = append(s.revisions, r)
	return revisionID(len(s.revisions) - 1) //nolint:gosec // far fewer
}

func (s *State) wantedRevision() *revision { return s.revisions[s.wanted] }

// Revision returns the name of the wanted revision, and of the last one that went through all
// batches.
func (s *State) Revision() (wanted, stable string) {
	wanted = s.wantedRevision().name
	if r := s.revisions[s.stable]; r != nil {
		stable = r.name
	}
	return wanted, stable
}

func (s *State) salt() string { return s.who.Namespace + "/" + s.who.Name }

func (s *State) placeOf(m *member) place {
	group := s.spec.Rollout.GroupBy
	return placeOf(s.salt(), s.selector.tag(m.tags, group), m.id, group != "")
}

func (s *State) enforces() bool { return s.spec.Management == v1alpha1.ManagementEnforce }

// isPresent reports whether a device can be expected to take a value now. Where nobody ever told of
// connections, or where they say nothing, every device can.
func (s *State) isPresent(m *member) bool {
	return m.is(flagConnected|flagUnreliable) || !s.heard
}

// comparison is how what a member holds relates to a revision.
type comparison int

const (
	holdsIt comparison = iota
	differsFromIt
	unknownToUs
)

// compare says whether a member holds a revision: each of its leaves, and nothing else that is
// ours. Leaves of other objects do not count.
func (s *State) compare(at slot, m *member, r *revision) comparison {
	if !m.is(flagKnown) {
		return unknownToUs
	}
	denied := s.deniedTo(at, m)
	result, wants := holdsIt, r.wants
	for _, f := range m.facts.list { // both are in the order of their leaves
		for len(wants) > 0 && wants[0].leaf < f.leaf {
			if !denied.has(wants[0].leaf) {
				return unknownToUs
			}
			wants = wants[1:]
		}
		isWanted := len(wants) > 0 && wants[0].leaf == f.leaf
		differs := isWanted && wants[0].value != f.value || !isWanted && f.ours
		if differs && !denied.has(f.leaf) {
			result = differsFromIt
		}
		if isWanted {
			wants = wants[1:]
		}
	}
	if slices.ContainsFunc(wants, func(w want) bool { return !denied.has(w.leaf) }) {
		return unknownToUs
	}
	return result
}

func (s *State) deniedTo(at slot, m *member) *denial {
	if !m.is(flagDenied) {
		return nil
	}
	return s.denied[at]
}

// answered sums up how a device answered to the wanted revision, which it holds.
func (s *State) answered(at slot, m *member) memberState {
	if s.spec.Rollout.Acknowledgement == v1alpha1.AcknowledgementNone {
		return stateAcknowledged
	}
	denied, result := s.deniedTo(at, m), stateAcknowledged
	for _, w := range s.wantedRevision().wants {
		if denied.has(w.leaf) {
			continue
		}
		f, _ := m.facts.of(w.leaf)
		switch {
		case f.answer == answerRejected:
			return stateRejected
		case f.answer == answerAdjusted && s.spec.Rollout.Adjusted != v1alpha1.AdjustedAccept:
			result = stateAdjusted
		case (f.answer == answerNone || f.answer == answerInProgress) && result == stateAcknowledged:
			result = stateInFlight
		}
	}
	return result
}

// stateOf computes the state that a member counts as.
func (s *State) stateOf(at slot, m *member) memberState {
	isOpen := m.batch == noBatch || int(m.batch) < s.rollout.open
	switch {
	case m.tags != nil && s.unfit[m.tags.model]:
		return stateModelMismatch
	case m.sent != 0 && !m.is(flagReserved):
		return stateInFlight
	case m.is(flagRefused):
		return stateRefused
	case m.is(flagResend) || s.compare(at, m, s.wantedRevision()) != holdsIt:
		if isOpen && !s.isPresent(m) && (m.is(flagResend) || !m.is(flagWritten)) {
			return stateOffline
		}
		return statePending
	}
	return s.stateOfHolder(m, s.answered(at, m))
}

// stateOfHolder is the state of a member that holds the wanted revision, by its answer.
func (s *State) stateOfHolder(m *member, answered memberState) memberState {
	switch {
	case answered == stateRejected:
		return stateRejected
	case m.is(flagLost):
		return stateLost
	case answered != stateInFlight:
		return answered
	case m.is(flagTimedOut):
		return stateTimedOut
	case m.is(flagAway), !s.isPresent(m) && !m.is(flagWritten):
		return stateOffline
	}
	return stateInFlight
}

// target returns the revision that a member is to hold now, 0 for none. What was begun is not
// undone: a stop, a pause and a hold freeze it.
func (s *State) target(m *member) revisionID {
	switch {
	case m.is(flagLeaving):
		return s.nothing
	case m.rev == s.wanted:
		return s.wanted
	case s.isFrozen():
		return m.rev
	case m.batch != noBatch && int(m.batch) < s.rollout.open,
		m.batch == noBatch && !s.rollout.isActive() && s.rollout.number > 0:
		return s.wanted
	case m.rev == 0 && m.is(flagJoiner) && s.stable != s.wanted:
		return s.stable
	}
	return m.rev
}

// isFrozen reports whether no further member is brought to another revision.
func (s *State) isFrozen() bool { return s.rollout.stopped != nil || s.spec.Rollout.Paused }
