package removals

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/lazymap"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	// brakeWindow is how long a removal counts as part of the sync that is going on.
	brakeWindow = 10 * time.Minute
	// reservedFor is how long removals may be sent on what status counts, until it is written anew.
	reservedFor = 5 * time.Minute
	// brakeAhead is how many removals status counts ahead of use, or a quarter of all if that is
	// more; never more than this process has made, so that what comes after it counts twice as many
	// at most.
	brakeAhead = 4
	// mostCounted objects are told apart in status.
	mostCounted = 256
)

// Request is an object with properties that are to be removed from its device.
type Request struct {
	name   string
	Object types.UID
	Member Member
	Leaves []twin.Leaf
	shown  bool // the object itself says that they are halted
	// Unrecorded are asked for where there is no IoTHub any more that could count them.
	Unrecorded bool
}

// Member is a hash of an object at one generation: status has room for no more of each.
// The properties to remove follow from the generation, since any edit raises it.
type Member uint32

// MemberOf returns the hash of an object at a generation.
func MemberOf(object types.UID, generation int64) Member {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(string(object) + "/" + strconv.FormatInt(generation, 10)))
	return Member(hash.Sum32())
}

// members are a set of them in the form that status keeps: sorted, four bytes each.
type members []byte

const memberBytes = 4

func membersFrom(all iter.Seq[Member], most int) members {
	var set members
	for _, m := range slices.Compact(slices.Sorted(all)) {
		if len(set) == most*memberBytes {
			break
		}
		set = binary.BigEndian.AppendUint32(set, uint32(m))
	}
	return set
}

func (s members) at(i int) Member { return Member(binary.BigEndian.Uint32(s[i*memberBytes:])) }

func (s members) len() int { return len(s) / memberBytes }

func (s members) has(m Member) bool {
	low, high := 0, s.len()
	for low < high {
		switch middle := (low + high) / 2; cmp.Compare(s.at(middle), m) {
		case 0:
			return true
		case -1:
			low = middle + 1
		default:
			high = middle
		}
	}
	return false
}

func (s members) all() iter.Seq[Member] {
	return func(yield func(Member) bool) {
		for i := range s.len() {
			if !yield(s.at(i)) {
				return
			}
		}
	}
}

// reservation is a number of removals that status counts until then.
type reservation struct {
	count   int
	until   time.Time
	members members // objects all of whose removals are in the count
	// returned are removals of those that did not happen. A reader of status takes them for
	// counted, so that their part of the count is no other object's.
	returned map[types.UID]int
}

// window is what was removed at one hub lately, or may have been: exactly as far as this process
// did it, and as a sum what others did.
type window struct {
	removed map[types.UID]*removals
	carried reservation // by others
	own     reservation // what status counts in all: this process may go that far
}

// removals of one object.
type removals struct {
	member Member
	at     map[twin.Leaf]time.Time
}

// expire drops what was removed too long ago.
func (w *window) expire(now time.Time) {
	if !now.Before(w.carried.until) {
		w.carried = reservation{}
	}
	for object, r := range w.removed {
		for leaf, at := range r.at {
			if now.Sub(at) >= brakeWindow {
				delete(r.at, leaf)
			}
		}
		w.trim(object)
	}
}

func (w *window) trim(object types.UID) {
	if r := w.removed[object]; r != nil && len(r.at) == 0 {
		delete(w.removed, object)
	}
}

// size is how many removals count now. One that others had counted, and that is tried again, counts
// once.
func (w *window) size() int {
	n := w.carried.count
	for _, r := range w.removed {
		if !w.carried.members.has(r.member) {
			n += len(r.at)
		}
	}
	return n
}

// with is how many count together with those that wait.
func (w *window) with(waiting iter.Seq[Request]) int {
	n := w.size()
	for one := range waiting {
		if !w.carried.members.has(one.Member) {
			n += len(w.fresh(one))
		}
	}
	return n
}

// exceeds reports whether a sync is larger than one may be.
func (w *window) exceeds(c census, confirmed members) bool {
	return w.with(beyond(confirmed, maps.Values(c.waiting))) > max(brakeAtLeast, (c.owned+w.size())/brakeShare)
}

// fresh are the leaves that do not count yet.
func (w *window) fresh(one Request) []twin.Leaf {
	r := w.removed[one.Object]
	if r == nil {
		return one.Leaves
	}
	return slices.DeleteFunc(slices.Clone(one.Leaves), func(leaf twin.Leaf) bool { _, counts := r.at[leaf]; return counts })
}

// count takes note of removals that are about to be sent, and returns those that did not count
// before: should they certainly not happen, they can be taken back.
func (w *window) count(one Request, now time.Time) []twin.Leaf {
	fresh := w.fresh(one)
	r := w.removed[one.Object]
	if r == nil {
		r = &removals{at: map[twin.Leaf]time.Time{}}
		if w.removed == nil {
			w.removed = map[types.UID]*removals{}
		}
		w.removed[one.Object] = r
	}
	r.member = one.Member
	delete(w.own.returned, one.Object)
	for _, leaf := range one.Leaves {
		r.at[leaf] = now
	}
	return fresh
}

// takeBack drops removals that certainly did not happen.
func (w *window) takeBack(object types.UID, leaves []twin.Leaf) {
	r := w.removed[object]
	if r == nil {
		return
	}
	for _, leaf := range leaves {
		delete(r.at, leaf)
	}
	if len(leaves) > 0 && w.own.members.has(r.member) {
		lazymap.Put(&w.own.returned, object, len(leaves))
	}
	w.trim(object)
}

// covers reports whether status counts removals that are about to be sent.
func (w *window) covers(one Request, now time.Time) bool {
	need := w.need(one)
	for object, n := range w.own.returned {
		if object != one.Object {
			need += n
		}
	}
	return w.own.count >= need && !now.Add(brakeWindow).After(w.own.until)
}

// need is what status has to count before they are sent.
func (w *window) need(one Request) int {
	if w.carried.members.has(one.Member) {
		return w.size()
	}
	return w.size() + len(w.fresh(one))
}

// reserve is what status should count before removals are sent: these, and a few more, so that it
// need not be written for each.
func (w *window) reserve(one Request, now time.Time) reservation {
	need, made := w.need(one), 0
	for _, r := range w.removed {
		made += len(r.at)
	}
	until := now.Add(brakeWindow + reservedFor + time.Second).Truncate(time.Second) // status has whole seconds
	if w.carried.until.After(until) {
		until = w.carried.until
	}
	return reservation{count: need + min(made, max(brakeAhead, need/4)), until: until, members: membersFrom(w.counted(one), mostCounted)}
}

// counted are the objects all of whose removals are in the count.
func (w *window) counted(one Request) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		if !yield(one.Member) {
			return
		}
		for _, r := range w.removed {
			if !yield(r.member) {
				return
			}
		}
		for m := range w.carried.members.all() {
			if !yield(m) {
				return
			}
		}
	}
}

// declared forgets removals of what an object declares.
func (w *window) declared(object types.UID, declared twin.Declaration) {
	r := w.removed[object]
	if r == nil {
		return
	}
	for leaf := range r.at {
		if _, again := declared[leaf]; again {
			delete(r.at, leaf)
		}
	}
	w.trim(object)
}
