package budget

import (
	"strings"
	"sync"
	"time"
)

// Hosts holds the budgets by host name of the hub. Several owners may share one; where they state different limits, the lower of each holds. An owner takes
// part once the hub has accepted its credential, and until it refuses it: whoever only names somebody else's hub must not slow it down. Until then its calls
// have a budget of their own. The zero value is ready to use and safe for concurrent use.
type Hosts struct {
	mu     sync.Mutex
	hosts  map[string]*host
	guests map[string]*Budget // by owner
}

type host struct {
	budget *Budget
	stated map[string]statement // by owner
}

type statement struct {
	limits  Limits
	trusted bool
}

// State has an owner state limits for a host, and returns the budget for its calls. It reports whether limits in force changed.
func (h *Hosts) State(name, owner string, l Limits) (b *Budget, changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.hosts[strings.ToLower(name)]; known != nil && known.stated[owner].trusted {
		known.stated[owner] = statement{l, true}
		return known.budget, known.apply()
	}
	if h.guests == nil {
		h.guests = map[string]*Budget{}
	}
	if guest := h.guests[owner]; guest != nil {
		return guest, guest.Set(l)
	}
	h.guests[owner] = New(time.Now, l)
	return h.guests[owner], false
}

// Trust has an owner whose credential the hub has just accepted take part in the budget of the host, which it returns. What the owner has asked so far counts.
func (h *Hosts) Trust(name, owner string) *Budget {
	h.mu.Lock()
	defer h.mu.Unlock()
	name = strings.ToLower(name)
	guest, known := h.guests[owner], h.hosts[name]
	delete(h.guests, owner)
	switch {
	case guest == nil: // it takes part already
		return known.budget
	case known == nil:
		known = &host{budget: guest, stated: map[string]statement{}}
		if h.hosts == nil {
			h.hosts = map[string]*host{}
		}
		h.hosts[name] = known
	default:
		known.budget.absorb(guest)
	}
	known.stated[owner] = statement{guest.limits, true}
	known.apply()
	return known.budget
}

// Distrust has an owner whose credential the hub refused take part no more, until it is trusted again. The budget stays.
func (h *Hosts) Distrust(owner string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range h.hosts {
		if s, ok := one.stated[owner]; ok {
			one.stated[owner] = statement{s.limits, false}
			one.apply()
		}
	}
}

// Leave forgets an owner. The budget goes with the last one of its host.
func (h *Hosts) Leave(owner string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.guests, owner)
	for name, one := range h.hosts {
		if _, ok := one.stated[owner]; !ok {
			continue
		}
		if delete(one.stated, owner); len(one.stated) == 0 {
			delete(h.hosts, name)
			continue
		}
		one.apply()
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

// apply puts the lowest of what the trusted owners state in force; without one, what was in force stays.
func (h *host) apply() (changed bool) {
	var lowest *Limits
	for _, s := range h.stated {
		switch {
		case !s.trusted:
		case lowest == nil:
			lowest = &s.limits
		default:
			lower := lowest.lower(s.limits)
			lowest = &lower
		}
	}
	return lowest != nil && h.budget.Set(*lowest)
}
