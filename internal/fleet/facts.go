package fleet

import (
	"encoding/binary"
	"slices"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// answer is how a device answered to a value.
type answer uint8

const (
	answerNone answer = iota
	answerInProgress
	answerAcknowledged
	answerAdjusted
	answerRejected
)

// leafFact is what is known of one leaf at one device.
type leafFact struct {
	leaf  leafID
	value valueID
	// ours is true for a value that a write of the fleet set, or that it took over.
	ours bool
	// overwrote is true if another writer's value stood where ours is: removing ours restores
	// nothing.
	overwrote bool
	answer    answer
	// behind is how many desired versions before the member's base the value was set.
	behind uint32
}

// facts are those of all leaves that are known of a device, sorted by leaf. Members share them, so
// they are never changed in place.
type facts struct {
	list []leafFact
	key  string
	uses int
}

// of returns the fact of a leaf.
func (f *facts) of(leaf leafID) (leafFact, bool) {
	if f == nil {
		return leafFact{}, false
	}
	at, ok := slices.BinarySearchFunc(f.list, leaf, func(l leafFact, leaf leafID) int { return int(l.leaf) - int(leaf) })
	if !ok {
		return leafFact{}, false
	}
	return f.list[at], true
}

// bytesPerFact is what one fact takes in a key.
const bytesPerFact = 12

const (
	factOurs      = 1 << 3
	factOverwrote = 1 << 4
	factAnswer    = 1<<3 - 1
)

// keyOf packs a list, so that equal lists have equal keys.
func keyOf(list []leafFact) string {
	packed := make([]byte, 0, len(list)*bytesPerFact)
	for _, f := range list {
		packed = binary.BigEndian.AppendUint16(packed, uint16(f.leaf))
		packed = binary.BigEndian.AppendUint32(packed, uint32(f.value))
		flags := uint16(f.answer)
		if f.ours {
			flags |= factOurs
		}
		if f.overwrote {
			flags |= factOverwrote
		}
		packed = binary.BigEndian.AppendUint16(packed, flags)
		packed = binary.BigEndian.AppendUint32(packed, f.behind)
	}
	return string(packed)
}

// sharedFacts has each list once.
type sharedFacts map[string]*facts

// use returns the shared form of a list, with one use more.
func (s sharedFacts) use(list []leafFact) *facts {
	key := keyOf(list)
	f, ok := s[key]
	if !ok {
		f = &facts{list: slices.Clip(list), key: key}
		s[key] = f
	}
	f.uses++
	return f
}

// release takes one use back.
func (s sharedFacts) release(f *facts) {
	if f == nil {
		return
	}
	if f.uses--; f.uses == 0 {
		delete(s, f.key)
	}
}

// answerOf reads the state that twin.Judge gave, and for form Value takes a plain report as well.
func answerOf(state twin.State, isPlainEqual bool) answer {
	switch {
	case state == twin.StateInProgress:
		return answerInProgress
	case state == twin.StateAcknowledged, isPlainEqual:
		return answerAcknowledged
	case state == twin.StateAdjusted:
		return answerAdjusted
	case state == twin.StateRejected:
		return answerRejected
	}
	return answerNone
}
