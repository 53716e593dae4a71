// Package places shares a bounded number of places, such as the workers of a controller that wait for
// a hub, between those who may take long. It does no I/O: whoever finds no place is told when there
// is one.
package places

import (
	"container/list"
	"slices"
	"sync"
	"time"
)

// Who asks for a place.
type Who struct {
	// Host is what is asked there and may be slow, Tenant on whose behalf.
	Host, Tenant string
	// Key names who asks: it has at most one place, or waits once.
	Key string
	// Rank says who of the same host and tenant goes first, the highest.
	Rank int
}

// shareOfTenant is how many places a tenant may hold for each that is free. A host gets one for one,
// and so holds half of the places if it is alone. Its tenant may have other hosts and gets more:
// three quarters.
const shareOfTenant = 3

// everyTurn is how often the one who has waited longest goes first, whatever the ranks.
const everyTurn = 4

// Pool is a number of places. A host or tenant may take one more while it holds fewer than its share
// of those that are free: one host gets half of all, two get a third each, and something is left for
// the next one that comes (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory
// packet switches"). It is safe for concurrent use.
type Pool struct {
	mu      sync.Mutex
	total   int
	now     func() time.Time
	held    map[string]Who // by key: also those who were called and did not come yet
	hosts   map[string]int
	tenants map[string]int
	waiting map[string]*waiter // by key
	lines   map[pair]*line
	order   []pair // of lines: the one that was served last is at the end
}

// New returns a pool of free places.
func New(total int, now func() time.Time) *Pool {
	return &Pool{
		total: total, now: now, held: map[string]Who{}, hosts: map[string]int{}, tenants: map[string]int{},
		waiting: map[string]*waiter{}, lines: map[pair]*line{},
	}
}

// Take takes a place and reports whether there was one. Otherwise the key waits in line: call is
// called once a place is kept for it, and waited is for how long it has been in line. What was kept
// is taken by the next Take, or given back by Leave.
func (p *Pool) Take(who Who, call func()) (waited time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, held := p.held[who.Key]; held {
		return 0, true
	}
	since := p.now()
	if before := p.waiting[who.Key]; before != nil {
		since = before.since
		if before.Who == who {
			return p.now().Sub(since), false
		}
		p.leaveLine(before)
	}
	if p.admits(who.pair()) { // then nobody is in its line
		p.hold(who)
		return 0, true
	}
	p.enqueue(&waiter{Who: who, call: call, since: since})
	return p.now().Sub(since), false
}

// Leave gives back the place of a key, or its place in line, if it has one. Those are called who can
// have a place now.
func (p *Pool) Leave(key string) {
	p.mu.Lock()
	if who, held := p.held[key]; held {
		delete(p.held, key)
		less(p.hosts, who.Host)
		less(p.tenants, who.Tenant)
	} else if w := p.waiting[key]; w != nil {
		p.leaveLine(w)
	}
	calls := p.serve()
	p.mu.Unlock()
	for _, call := range calls {
		call()
	}
}

func (p *Pool) admits(of pair) bool {
	free := p.total - len(p.held)
	return p.hosts[of.host] < free && p.tenants[of.tenant] < shareOfTenant*free
}

func (p *Pool) hold(who Who) {
	p.held[who.Key] = who
	p.hosts[who.Host]++
	p.tenants[who.Tenant]++
}

func less(counts map[string]int, key string) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}

// serve keeps places for those in line who can have one, a line after the other.
func (p *Pool) serve() (calls []func()) {
	for {
		at := slices.IndexFunc(p.order, p.admits)
		if at < 0 {
			return calls
		}
		of := p.order[at]
		next := p.lines[of].next()
		p.leaveLine(next)
		p.hold(next.Who)
		calls = append(calls, next.call)
		if p.lines[of] != nil {
			at = slices.Index(p.order, of)
			p.order = append(slices.Delete(p.order, at, at+1), of)
		}
	}
}

// pair is whose waiters are in one line.
type pair struct{ host, tenant string }

func (w Who) pair() pair { return pair{w.Host, w.Tenant} }

type waiter struct {
	Who

	call    func()
	since   time.Time
	turn    uint64 // of the line
	element *list.Element
}

// line is the waiters of a host and tenant, by rank, the first one first.
type line struct {
	ranks       map[int]*list.List
	came, turns uint64
}

func (p *Pool) enqueue(w *waiter) {
	l := p.lines[w.pair()]
	if l == nil {
		l = &line{ranks: map[int]*list.List{}}
		p.lines[w.pair()] = l
		p.order = append(p.order, w.pair())
	}
	if l.ranks[w.Rank] == nil {
		l.ranks[w.Rank] = list.New()
	}
	l.came++
	w.turn, w.element = l.came, l.ranks[w.Rank].PushBack(w)
	p.waiting[w.Key] = w
}

func (p *Pool) leaveLine(w *waiter) {
	delete(p.waiting, w.Key)
	l := p.lines[w.pair()]
	l.ranks[w.Rank].Remove(w.element)
	if l.ranks[w.Rank].Len() == 0 {
		delete(l.ranks, w.Rank)
	}
	if len(l.ranks) == 0 {
		delete(p.lines, w.pair())
		p.order = slices.DeleteFunc(p.order, func(of pair) bool { return of == w.pair() })
	}
}

// next is the first one of the highest rank, and every few turns the first one of all.
func (l *line) next() (next *waiter) {
	l.turns++
	for _, rank := range l.ranks {
		first := rank.Front().Value.(*waiter)
		switch {
		case next == nil:
			next = first
		case l.turns%everyTurn == 0 && first.turn < next.turn:
			next = first
		case l.turns%everyTurn != 0 && first.Rank > next.Rank:
			next = first
		}
	}
	return next
}
