package budget

import "slices"

// Daily is the number of messages of a day that is in force.
type Daily struct {
	Messages int64
	// Owner that states it, empty if the budget is not shared.
	Owner string
}

// Daily returns it.
func (b *Budget) Daily() Daily {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.daily()
}

func (b *Budget) daily() Daily { return Daily{Messages: b.limits.DailyMessages, Owner: b.dailyOwner} }

// nameOwner keeps the first owner whose number of messages is in force.
func (s *shared) nameOwner() {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	var owners []string
	for owner := range s.stated {
		if s.states(owner, s.budget.limits.DailyMessages) {
			owners = append(owners, owner)
		}
	}
	slices.Sort(owners)
	if len(owners) > 0 {
		s.budget.dailyOwner = owners[0]
	}
}

// states reports whether an owner states that number of messages, and counts.
func (s *shared) states(owner string, messages int64) bool {
	one := s.stated[owner]
	return one.trusted && one.limits.DailyMessages == messages
}
