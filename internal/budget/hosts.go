package budget

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Hosts holds the budgets by host name of the hub. Several owners may share one; where they state different limits, the lower of each holds. The zero
// value is ready to use and safe for concurrent use.
type Hosts struct {
	mu    sync.Mutex
	hosts map[string]*host
}

type host struct {
	budget *Budget
	stated map[string]Limits // by owner
}

// State has an owner state limits for a host, and returns the budget. It reports whether the limits in force changed.
func (h *Hosts) State(name, owner string, l Limits) (b *Budget, changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name = strings.ToLower(name)
	known := h.hosts[name]
	if known == nil {
		if h.hosts == nil {
			h.hosts = map[string]*host{}
		}
		known = &host{budget: New(time.Now, l), stated: map[string]Limits{}}
		h.hosts[name] = known
	}
	known.stated[owner] = l
	return known.budget, known.budget.Set(known.lowest())
}

// Leave forgets an owner. The budget goes with the last one of its host.
func (h *Hosts) Leave(owner string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, one := range h.hosts {
		if _, ok := one.stated[owner]; !ok {
			continue
		}
		if delete(one.stated, owner); len(one.stated) == 0 {
			delete(h.hosts, name)
			continue
		}
		one.budget.Set(one.lowest())
	}
}

// All returns the budgets by host.
func (h *Hosts) All() map[string]*Budget {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[string]*Budget, len(h.hosts))
	for name, one := range h.hosts {
		all[name] = one.budget
	}
	return all
}

func (h *host) lowest() Limits {
	all := slices.Collect(maps.Values(h.stated))
	lowest := all[0]
	for _, l := range all[1:] {
		lowest = lowest.lower(l)
	}
	return lowest
}
