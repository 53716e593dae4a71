package hub

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/query"
)

// index is what queries see. Without a lag that is the store itself; with one it is a copy that trails behind: rows are
// older than the twins, new devices are missing and deleted ones linger, as the service's documentation and users report.
type index struct {
	mu      sync.Mutex
	lag     time.Duration
	rows    map[string]*Twin // nil while there is no lag
	pending []indexed        // in commit order, not yet in rows
	ids     []string         // sorted keys of rows; nil when they must be collected again
}

// indexed is a change that an index will show. after is nil for a deletion.
type indexed struct {
	at    time.Time
	key   string
	after *Twin
}

// SetIndexLag lets queries see each change only after that long, by the hub's clock. Setting it starts from what is true
// now; 0, the default, ends it.
func (h *Hub) SetIndexLag(lag time.Duration) { h.setLag(&h.index, lag) }

// IndexLag returns what SetIndexLag set.
func (h *Hub) IndexLag() time.Duration { return h.index.delay() }

// SetCountLag has COUNT() and the other aggregates trail behind by that long, by the hub's clock; 0, the default, has them
// count what rows show. How far a real hub's trail behind after a change of many devices is not documented.
func (h *Hub) SetCountLag(lag time.Duration) { h.setLag(&h.counts, lag) }

// CountLag returns what SetCountLag set.
func (h *Hub) CountLag() time.Duration { return h.counts.delay() }

func (h *Hub) setLag(x *index, lag time.Duration) {
	var rows map[string]*Twin
	x.mu.Lock()
	defer x.mu.Unlock()
	if lag > 0 {
		rows = map[string]*Twin{}
		for _, id := range slices.Concat(h.IDs(), h.moduleKeys()) {
			if t, err := h.Get(id); err == nil {
				rows[id] = t
			}
		}
	}
	x.lag, x.rows, x.pending, x.ids = lag, rows, nil, nil
}

func (x *index) delay() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.lag
}

// usualRows is how many rows a page of a query has at most.
const usualRows = 100

// SetQueryRows decides how many rows a page of a query has at most; 0 is the usual 100. Whether a real hub gives more where
// more are asked for is not documented.
func (h *Hub) SetQueryRows(n int) { h.queryRows.Store(int64(n)) }

// SetQueryDialect decides how queries, target conditions and those of jobs read where Microsoft does not say it.
func (h *Hub) SetQueryDialect(d query.Dialect) { h.dialect.Store(&d) }

// QueryDialect returns what SetQueryDialect set.
func (h *Hub) QueryDialect() query.Dialect {
	if d := h.dialect.Load(); d != nil {
		return *d
	}
	return query.Dialect{}
}

// QueryRows returns how many rows a page of a query has at most.
func (h *Hub) QueryRows() int { return cmp.Or(int(h.queryRows.Load()), usualRows) }

func (x *index) record(c Change) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.rows == nil {
		return
	}
	x.pending = append(x.pending, indexed{c.At, ModuleKey(c.DeviceID, c.ModuleID), c.After})
	x.settle(c.At)
}

// settle moves what is old enough into the rows. What it leaves is not copied: there may be a hundred thousand changes.
func (x *index) settle(now time.Time) {
	n := 0
	for n < len(x.pending) && !x.pending[n].at.Add(x.lag).After(now) {
		x.apply(x.pending[n])
		n++
	}
	clear(x.pending[:n])
	x.pending = x.pending[n:]
}

func (x *index) apply(c indexed) {
	if _, known := x.rows[c.key]; known != (c.after != nil) {
		x.ids = nil
	}
	if c.after == nil {
		delete(x.rows, c.key)
		return
	}
	x.rows[c.key] = c.after
}

// Rows calls yield for each device that a query may see, in order of id and starting behind after, until it returns false.
func (h *Hub) Rows(after string, yield func(*Twin) bool) { h.rows(&h.index, false, after, yield) }

// ModuleRows is Rows for modules: after is the key of one.
func (h *Hub) ModuleRows(after string, yield func(*Twin) bool) { h.rows(&h.index, true, after, yield) }

// CountedRows calls yield for each device that an aggregate counts, which are those of Rows unless SetCountLag says otherwise.
func (h *Hub) CountedRows(yield func(*Twin) bool) {
	x := &h.index
	if h.CountLag() > 0 {
		x = &h.counts
	}
	h.rows(x, false, "", yield)
}

func (h *Hub) rows(x *index, modules bool, after string, yield func(*Twin) bool) {
	ids, get := h.shown(x, modules)
	start, found := slices.BinarySearch(ids, after)
	if found {
		start++
	}
	for _, id := range ids[start:] {
		if t := get(id); t != nil && isModuleKey(id) == modules && !yield(t) {
			return
		}
	}
}

// shown returns the ids that an index holds and how to get at their rows.
func (h *Hub) shown(x *index, modules bool) ([]string, func(string) *Twin) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.rows == nil {
		return h.idsOf(modules).sorted(func() []string { return h.collect(modules) }), func(id string) *Twin { t, _ := h.Get(id); return t }
	}
	x.settle(h.clock())
	if x.ids == nil {
		x.ids = sortedKeys(x.rows)
	}
	return x.ids, x.row
}

func (x *index) row(id string) *Twin {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.rows[id]
}

func sortedKeys(m map[string]*Twin) []string {
	ids := make([]string, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
