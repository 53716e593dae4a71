package fleet

import (
	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// flags are facts about a member that are true or not.
type flags uint32

const (
	// flagKnown: facts are those of the twin, as far as is known.
	flagKnown flags = 1 << iota
	// flagDoubtful: the twin is read before anything is done.
	flagDoubtful
	// flagConnected: the hub said last that the device is connected.
	flagConnected
	// flagUnreliable: the device works while the hub calls it disconnected, or comes and goes.
	flagUnreliable
	// flagWritten: the member was written to in this rollout.
	flagWritten
	// flagAway: it was not connected when it was written to, and has not been since.
	flagAway
	// flagLost: it went before it answered, or soon after.
	flagLost
	// flagDue: its time to answer is over, which a read has to confirm.
	flagDue
	// flagTimedOut: a read confirmed that.
	flagTimedOut
	// flagRefused: the hub refuses its write, or its twin does not take the value.
	flagRefused
	// flagResend: values without an acknowledgement are written once more.
	flagResend
	// flagJoiner: it joined after the batches were cut, and may be written to outside of them.
	flagJoiner
	// flagLeaving: it is no member any more, and what is ours is removed.
	flagLeaving
	// flagDenied: leaves of it belong to a PnPDevice or another fleet. See State.denied.
	flagDenied
	// flagDirty: its record is newer than the one that was stored.
	flagDirty
	// flagQueuedRead and flagQueuedWrite: it is in that queue.
	flagQueuedRead
	flagQueuedWrite
	// flagFlushed: what flagReserved promises is on record.
	flagFlushed
	// flagGated: it waits for batches of its own, since an edit of the selector brought it.
	flagGated
	// flagReserved: sent is on record, or about to be, and the write was not begun.
	flagReserved
	// flagListed: the enumeration that goes on has seen it.
	flagListed
	// flagGone: the slot is free.
	flagGone
	// flagOwing: it was written to for an earlier revision, or to put a value back, and may be busy
	// with that.
	flagOwing
	// flagWaiting: its time to answer runs.
	flagWaiting
)

// recorded are the flags that outlive the process.
const recorded = flagKnown | flagConnected | flagUnreliable | flagWritten | flagAway | flagLost | flagTimedOut | flagRefused |
	flagResend | flagJoiner | flagGated | flagLeaving | flagOwing | flagDenied

// noBatch is the batch of members that held the revision already when the batches were cut.
const noBatch = 0xff

// member is what is known of one device. There may be a million: about 170 bytes with what is
// shared.
type member struct {
	id    string
	tags  *tagSet
	facts *facts
	// etag is the counter of the twin's etag, base the desired version that facts count back from,
	// desired and reported the $version of the sections, 0 if not known.
	etag                    uint64
	base, desired, reported int64
	version                 int64
	// desiredAt and reportedAt are the hub's times of the last writes, in nanoseconds of Unix.
	desiredAt, reportedAt int64
	// deviceEtag is a hash of the identity's etag.
	deviceEtag uint32
	// wroteAt, answeredAt and seenAt (of connection and disconnection) are in seconds of Unix.
	wroteAt, answeredAt, seenAt uint32
	// since is when its time to answer began to run, until when it ends; spent is what ran before,
	// and limit when it ends whatever is spent. All in seconds of State.healthy.
	since, spent, limit uint32
	flags               flags
	code                int16
	// rev is the revision that the member was brought to, sent the one of a write that may have
	// happened, 0 for none.
	rev, sent revisionID
	shard     uint16
	batch     uint8
	state     memberState
	counted   counted
}

// revisionID numbers a revision within one State. 0 is none.
type revisionID uint16

func (m *member) is(f flags) bool { return m.flags&f != 0 }
func (m *member) set(f flags)     { m.flags |= f }
func (m *member) clear(f flags)   { m.flags &^= f }

func (m *member) put(f flags, on bool) {
	if on {
		m.set(f)
	} else {
		m.clear(f)
	}
}

// setVersion is the desired version that set a leaf.
func (m *member) setVersion(f leafFact) int64 { return m.base - int64(f.behind) }

// memberState is the state that a member counts as.
type memberState uint8

const (
	statePending memberState = iota
	stateInFlight
	stateAcknowledged
	stateOffline
	stateRejected
	stateAdjusted
	stateTimedOut
	stateLost
	stateModelMismatch
	stateRefused
	stateCount
)

var stateNames = [stateCount]v1alpha1.MemberState{
	v1alpha1.MemberPending, v1alpha1.MemberInFlight, v1alpha1.MemberAcknowledged, v1alpha1.MemberOffline, v1alpha1.MemberRejected,
	v1alpha1.MemberAdjusted, v1alpha1.MemberTimedOut, v1alpha1.MemberLost, v1alpha1.MemberModelMismatch, v1alpha1.MemberRefused,
}

func (s memberState) isFailed() bool { return s >= stateRejected }

// slabSize members are allocated at once, and never move.
const slabSize = 1024

// slot numbers a member within one State.
type slot uint32

// roster holds the members. A free slot is used again.
type roster struct {
	slabs []*[slabSize]member
	byID  map[string]slot
	free  []slot
	next  slot
}

func (r *roster) at(s slot) *member { return &r.slabs[s/slabSize][s%slabSize] }

// find returns the member with an id, nil if there is none.
func (r *roster) find(id string) (slot, *member) {
	s, ok := r.byID[id]
	if !ok {
		return 0, nil
	}
	return s, r.at(s)
}

// add makes a member. The id must not have one.
func (r *roster) add(id string) (slot, *member) {
	var s slot
	if n := len(r.free); n > 0 {
		s, r.free = r.free[n-1], r.free[:n-1]
	} else {
		s = r.next
		r.next++
		if int(s) == len(r.slabs)*slabSize {
			r.slabs = append(r.slabs, new([slabSize]member))
		}
	}
	m := r.at(s)
	*m = member{id: id, batch: noBatch}
	r.byID[id] = s
	return s, m
}

// remove frees a slot.
func (r *roster) remove(s slot) {
	m := r.at(s)
	delete(r.byID, m.id)
	*m = member{flags: flagGone}
	r.free = append(r.free, s)
}

func (r *roster) count() int { return len(r.byID) }

// all goes through the members in no order that means anything, the same each time.
func (r *roster) all(yield func(slot, *member) bool) {
	for s := range r.next {
		if m := r.at(s); !m.is(flagGone) && !yield(s, m) {
			return
		}
	}
}
