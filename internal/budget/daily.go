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
	for owner, one := range s.stated {
		if one.trusted && one.limits.DailyMessages == s.budget.limits.DailyMessages {
			owners = append(owners, owner)
		}
	}
	slices.Sort(owners)
	if len(owners) > 0 {
		s.budget.dailyOwner = owners[0]
	}
}
