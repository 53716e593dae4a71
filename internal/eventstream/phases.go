package eventstream

import (
	"maps"
	"slices"
	"sync"
)

// severity orders phases from the one that a user should hear of first.
var severity = []Phase{Unauthorized, HubGone, GroupGone, Shared, Taken, StoreFailed, Busy, Unavailable, Lagging, Connecting, Reading}

// phases keeps the phase of every partition and reports the stream's.
type phases struct {
	report func(State)

	mu         sync.Mutex
	whole      Phase // while there are no partitions to speak of
	partitions map[string]Phase
	storeFails bool
	told       State
}

// all says what the stream as a whole is doing, whatever its partitions did.
func (p *phases) all(phase Phase) { p.change(func() { p.whole, p.partitions = phase, nil }) }

// each starts partitions over.
func (p *phases) each(ids []string, phase Phase) {
	p.change(func() {
		p.partitions = map[string]Phase{}
		for _, id := range ids {
			p.partitions[id] = phase
		}
	})
}

func (p *phases) set(id string, phase Phase) {
	p.change(func() {
		if p.partitions != nil {
			p.partitions[id] = phase
		}
	})
}

// open says of a partition that it was not refused. One that is behind has to catch up before it
// counts as read.
func (p *phases) open(id string, behind func() bool) {
	p.change(func() {
		switch {
		case p.partitions == nil:
		case behind():
			p.partitions[id] = Lagging
		default:
			p.partitions[id] = Reading
		}
	})
}

// lag marks a partition that is read as behind, or as caught up.
func (p *phases) lag(id string, behind bool) {
	p.change(func() {
		switch {
		case behind && p.partitions[id] == Reading:
			p.partitions[id] = Lagging
		case !behind && p.partitions[id] == Lagging:
			p.partitions[id] = Reading
		}
	})
}

// store says whether the last checkpoint could be written.
func (p *phases) store(ok bool) { p.change(func() { p.storeFails = !ok }) }

func (p *phases) change(edit func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	edit()
	if now := p.state(); !now.equal(p.told) {
		p.told = now
		if p.report != nil {
			p.report(now)
		}
	}
}

func (p *phases) state() State {
	if len(p.partitions) == 0 {
		return State{Phase: p.whole}
	}
	for _, phase := range severity {
		if phase == StoreFailed && p.storeFails {
			return State{Phase: StoreFailed}
		}
		var in []string
		for _, id := range slices.Sorted(maps.Keys(p.partitions)) {
			if p.partitions[id] == phase {
				in = append(in, id)
			}
		}
		if len(in) > 0 {
			return State{Phase: phase, Partitions: in}
		}
	}
	return State{Phase: p.whole}
}
