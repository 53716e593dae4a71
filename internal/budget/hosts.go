package budget

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Hosts holds the budgets by hub: by what accepted a credential, of which a host name alone may be
// too little. Several owners may share one; where they state different limits, the lower of each
// holds. An owner takes part once the hub has accepted its credential, and until it refuses it:
// whoever only names somebody else's hub must not slow it down. Until then its calls have a budget
// of their own. The zero value is ready to use and safe for concurrent use.
//
// What changes the limits in force changes how long others wait, too: State, Trust, Distrust and
// Leave return the owners of whom that is so, in order. They are to ask again, and so are those who
// say whose number it is once that is another owner's.
type Hosts struct {
	mu     sync.Mutex
	hubs   map[string]*shared
	guests map[string]*Budget // by owner
}

// shared is the budget of one hub.
type shared struct {
	budget *Budget
	stated map[string]statement // by owner
}

type statement struct {
	limits  Limits
	trusted bool
}

// State has an owner state limits for a hub, and returns the budget for its calls.
func (h *Hosts) State(hub, owner string, l Limits) (b *Budget, affected []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.hubs[hub]; known != nil && known.stated[owner].trusted {
		delete(h.guests, owner) // of another hub that it was about to be of
		known.stated[owner] = statement{l, true}
		return known.budget, known.apply()
	}
	if h.guests == nil {
		h.guests = map[string]*Budget{}
	}
	guest := h.guests[owner]
	if guest == nil {
		h.guests[owner] = New(time.Now, l)
		return h.guests[owner], nil
	}
	if guest.Set(l) {
		return guest, []string{owner}
	}
	return guest, nil
}

// Trust has an owner whose credential the hub has just accepted take part in its budget, which it
// returns, and in no other one. What the owner has asked so far counts.
func (h *Hosts) Trust(hub, owner string) (b *Budget, affected []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	guest, known := h.guests[owner], h.hubs[hub]
	delete(h.guests, owner)
	affected = h.leave(owner, hub)
	switch {
	case guest == nil: // it takes part already
		return known.budget, affected
	case known == nil:
		known = &shared{budget: guest, stated: map[string]statement{}}
		if h.hubs == nil {
			h.hubs = map[string]*shared{}
		}
		h.hubs[hub] = known
	default:
		known.budget.absorb(guest)
	}
	known.stated[owner] = statement{guest.limits, true}
	return known.budget, append(affected, known.apply()...)
}

// Distrust has an owner whose credential the hub refused take part no more, until it is trusted
// again. The budget stays.
func (h *Hosts) Distrust(owner string) (affected []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range h.hubs {
		if s, ok := one.stated[owner]; ok {
			one.stated[owner] = statement{s.limits, false}
			affected = append(affected, one.apply()...)
		}
	}
	return affected
}

// Leave forgets an owner. The budget goes with the last one of its hub.
func (h *Hosts) Leave(owner string) (affected []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.guests, owner)
	return h.leave(owner, "")
}

// leave has an owner take part in no budget but one.
func (h *Hosts) leave(owner, except string) (affected []string) {
	for hub, one := range h.hubs {
		if _, ok := one.stated[owner]; !ok || hub == except {
			continue
		}
		if delete(one.stated, owner); len(one.stated) == 0 {
			delete(h.hubs, hub)
			continue
		}
		affected = append(affected, one.apply()...)
	}
	return affected
}

// All returns the budgets by hub.
func (h *Hosts) All() map[string]*Budget {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[string]*Budget, len(h.hubs))
	for hub, one := range h.hubs {
		all[hub] = one.budget
	}
	return all
}

// apply puts the lowest of what the trusted owners state in force; without one, what was in force
// stays. It returns all owners if these are other limits than before, or if the one who was said to
// state the number of messages does so no more.
func (s *shared) apply() (affected []string) {
	var lowest *Limits
	for _, one := range s.stated {
		switch {
		case !one.trusted:
		case lowest == nil:
			lowest = &one.limits
		default:
			lower := lowest.lower(one.limits)
			lowest = &lower
		}
	}
	if lowest == nil {
		return nil
	}
	named := s.budget.Daily().Owner
	changed := s.budget.Set(*lowest)
	s.nameOwner()
	if isNamedStill := named == "" || s.states(named, lowest.DailyMessages); !changed && isNamedStill {
		return nil
	}
	return slices.Sorted(maps.Keys(s.stated))
}
