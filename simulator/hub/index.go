package hub

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// index is what queries see. Without a lag that is the store itself; with one it is a copy that trails behind: rows are
// older than the twins, new devices are missing and deleted ones linger, as the service's documentation and users report.
type index struct {
	mu      sync.Mutex
	lag     time.Duration
	rows    map[string]*Twin // nil while there is no lag
	pending []Change         // in commit order, not yet in rows
	ids     []string         // sorted keys of rows; nil when they must be collected again
}

// SetIndexLag lets queries see each change only after that long, by the hub's clock. Setting it starts from what is true
// now; 0, the default, ends it.
func (h *Hub) SetIndexLag(lag time.Duration) {
	var rows map[string]*Twin
	h.index.mu.Lock()
	defer h.index.mu.Unlock()
	if lag > 0 {
		rows = map[string]*Twin{}
		for _, id := range slices.Concat(h.IDs(), h.moduleKeys()) {
			if t, err := h.Get(id); err == nil {
				rows[id] = t
			}
		}
	}
	h.index.lag, h.index.rows, h.index.pending, h.index.ids = lag, rows, nil, nil
}

// IndexLag returns what SetIndexLag set.
func (h *Hub) IndexLag() time.Duration {
	h.index.mu.Lock()
	defer h.index.mu.Unlock()
	return h.index.lag
}

// usualRows is how many rows a page of a query has at most.
const usualRows = 100

// SetQueryRows decides how many rows a page of a query has at most; 0 is the usual 100. Whether a real hub gives more where
// more are asked for is not documented.
func (h *Hub) SetQueryRows(n int) { h.queryRows.Store(int64(n)) }

// QueryRows returns how many rows a page of a query has at most.
func (h *Hub) QueryRows() int { return cmp.Or(int(h.queryRows.Load()), usualRows) }

func (x *index) record(c Change) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.rows == nil {
		return
	}
	x.pending = append(x.pending, c)
	x.settle(c.At)
}

// settle moves what is old enough into the rows.
func (x *index) settle(now time.Time) {
	n := 0
	for n < len(x.pending) && !x.pending[n].At.Add(x.lag).After(now) {
		x.apply(x.pending[n])
		n++
	}
	x.pending = slices.Delete(x.pending, 0, n)
}

func (x *index) apply(c Change) {
	key := ModuleKey(c.DeviceID, c.ModuleID)
	if _, known := x.rows[key]; known != (c.After != nil) {
		x.ids = nil
	}
	if c.After == nil {
		delete(x.rows, key)
		return
	}
	x.rows[key] = c.After
}

// Rows calls yield for each device that a query may see, in order of id and starting behind after, until it returns false.
func (h *Hub) Rows(after string, yield func(*Twin) bool) { h.rows(false, after, yield) }

// ModuleRows is Rows for modules: after is the key of one.
func (h *Hub) ModuleRows(after string, yield func(*Twin) bool) { h.rows(true, after, yield) }

func (h *Hub) rows(modules bool, after string, yield func(*Twin) bool) {
	ids, get := h.indexed(modules)
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

// indexed returns the ids that the index holds and how to get at their rows.
func (h *Hub) indexed(modules bool) ([]string, func(string) *Twin) {
	x := &h.index
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
