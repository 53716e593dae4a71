package fleet

import (
	"slices"
	"time"
)

// storedState is what of the state is on record, and what is on its way there.
type storedState struct {
	// changes numbers the states of the header, recorded and recording those that are stored, and
	// under way.
	changes, recorded, recording int64
	// dirty is how many members differ from their record.
	dirty int
	// window has members that are reserved and not on record yet, ready those that are.
	window, ready []slot
	flushing      *flush
	flushes       int64
	lastFlush     time.Time
	clearing      int // writes to members that leave
	shards        []shard
	// journal has the ids of which the journal has a record, revisions the names of those on
	// record.
	journal, revisions map[string]bool
}

// flush is one that is under way.
type flush struct {
	number  int64
	window  []slot
	members []slot
	shards  []int
	journal bool
}

func (s *storedState) isHeaderDirty() bool { return s.changes != s.recorded }

func (s *storedState) mustRecord() bool { return s.isHeaderDirty() && s.recording == 0 }

func (s *storedState) flushingWindow() int {
	if s.flushing == nil {
		return 0
	}
	return len(s.flushing.window)
}

// recordHeader says that the header has to be stored before the next write.
func (s *State) recordHeader() { s.stored.changes++ }

// markDirty says that the record of a member has to be stored some time.
func (s *State) markDirty(m *member) {
	if !m.is(flagDirty) {
		m.set(flagDirty)
		s.stored.dirty++
		if int(m.shard) < len(s.stored.shards) {
			s.stored.shards[m.shard].dirty++
		}
	}
}

// shard is a part of the record: the members that were assigned to it.
type shard struct {
	slots []slot
	bytes int
	dirty int
	// gone are ids whose record has to go. hadGone is true while only the journal says that some
	// have.
	gone    []string
	hadGone bool
	// mustWrite is true for a shard that may not be stored as it should be.
	mustWrite bool
}

const (
	// shardMembers are in a shard at most, and shardBytes of ids.
	shardMembers = 8192
	shardBytes   = 256 << 10
	// rewriteShare of a shard's members, in percent, make it worth rewriting; fewer go to the
	// journal.
	rewriteShare = 2
	// journalMembers are in the journal at most; then all is folded into shards.
	journalMembers = 2048
	// maxShards bounds them: 2^16 at shardMembers each are far beyond any hub.
	maxShards = 1 << 16
)

// assignShard gives a member the shard that has room.
func (s *State) assignShard(at slot, m *member) {
	last := len(s.stored.shards) - 1
	if last < 0 || len(s.stored.shards[last].slots) >= shardMembers || s.stored.shards[last].bytes >= shardBytes {
		s.stored.shards = append(s.stored.shards, shard{})
		last++
	}
	s.putIntoShard(at, m, last)
}

func (s *State) putIntoShard(at slot, m *member, i int) {
	sh := &s.stored.shards[i]
	sh.slots = append(sh.slots, at)
	sh.bytes += len(m.id)
	m.shard = uint16(i) //nolint:gosec // maxShards bounds it
}

// sortShards gives members shards in their order, as long as none was stored: a rollout then
// changes one shard after the other.
func (s *State) sortShards() {
	if s.stored.flushes > 0 {
		return
	}
	places := make(map[slot]place, s.members.count())
	var slots []slot
	for at, m := range s.members.all {
		places[at] = s.placeOf(m)
		slots = append(slots, at)
	}
	slices.SortFunc(slots, func(a, b slot) int { return comparePlaces(places[a], places[b]) })
	s.stored.shards = nil
	for _, at := range slots {
		m := s.members.at(at)
		s.assignShard(at, m)
		if m.is(flagDirty) {
			s.stored.shards[m.shard].dirty++
		}
	}
}

// bury takes a member out of the record.
func (s *State) bury(at slot, m *member) {
	if m.is(flagDirty) {
		m.clear(flagDirty)
		s.stored.dirty--
		s.stored.shards[m.shard].dirty--
	}
	sh := &s.stored.shards[m.shard]
	if i := slices.Index(sh.slots, at); i >= 0 {
		sh.slots = slices.Delete(sh.slots, i, i+1)
	}
	sh.bytes -= len(m.id)
	sh.gone = append(sh.gone, m.id)
	delete(s.stored.journal, m.id)
}

// nextFlush stores the window, and now and then what changed besides.
func (s *State) nextFlush(now time.Time) (Action, bool) {
	if s.stored.flushing != nil {
		return Action{}, false
	}
	if !s.stored.isHeaderDirty() {
		s.reserve()
	}
	sinceLast := now.Sub(s.stored.lastFlush)
	isUrgent := len(s.stored.window) > 0 && len(s.stored.ready) == 0 && sinceLast >= time.Second
	isDue := (s.stored.dirty > 0 || s.hasGone()) && sinceLast >= flushEvery
	if !isUrgent && !isDue {
		return Action{}, false
	}
	return s.Flush(now), true
}

func (s *State) hasGone() bool {
	return slices.ContainsFunc(s.stored.shards, func(sh shard) bool { return len(sh.gone) > 0 })
}

// Flush stores all that changed, for whoever needs it on record now, such as before a checkpoint of
// the stream. It must not be asked for while another one is under way.
func (s *State) Flush(now time.Time) Action {
	s.stored.flushes++
	f := &flush{number: s.stored.flushes, window: s.stored.window}
	s.stored.window = nil
	s.stored.flushing, s.stored.lastFlush = f, now
	return Action{Do: Flush, Number: f.number, Objects: s.objects(f)}
}

// flushed makes the members of a window ready: what may be written to them is on record.
func (s *State) flushed(number int64) {
	f := s.stored.flushing
	if f == nil || f.number != number {
		return
	}
	s.stored.flushing = nil
	for _, at := range f.window {
		if m := s.members.at(at); m.is(flagReserved) && !m.is(flagDirty) {
			m.set(flagFlushed)
			s.stored.ready = append(s.stored.ready, at)
		} else if m.is(flagReserved) {
			s.stored.window = append(s.stored.window, at) // it was reserved anew meanwhile
		}
	}
}

// notFlushed has all of a flush stored again.
func (s *State) notFlushed(number int64) {
	f := s.stored.flushing
	if f == nil || f.number != number {
		return
	}
	s.stored.flushing = nil
	s.stored.window = append(f.window, s.stored.window...)
	for _, at := range f.members {
		if m := s.members.at(at); !m.is(flagGone) {
			s.markDirty(m)
		}
	}
	for _, i := range f.shards {
		s.stored.shards[i].mustWrite = true
	}
}
