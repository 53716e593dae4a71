package hub

import (
	"slices"
	"strings"
	"sync"
)

// maxGhosts is of how many deleted devices the last state is kept.
const maxGhosts = 4096

// ghosts are the devices that were deleted last, as they were. A hub was seen to list and to count
// devices 25 minutes after they had been deleted; a query shows them where a fault says so.
type ghosts struct {
	mu    sync.Mutex
	order []string
	last  map[string]*Twin
}

// record keeps the last state of a device that goes, and forgets that of one that is there again.
func (g *ghosts) record(c Change) {
	if c.ModuleID != "" || c.Kind != Created && c.Kind != Deleted {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.Kind == Created {
		g.forget(c.DeviceID)
		return
	}
	if g.last == nil {
		g.last = map[string]*Twin{}
	}
	g.last[c.DeviceID], g.order = c.Before, append(g.order, c.DeviceID)
	if len(g.order) > maxGhosts {
		g.forget(g.order[0])
	}
}

func (g *ghosts) forget(id string) {
	if g.last[id] == nil {
		return
	}
	delete(g.last, id)
	g.order = slices.DeleteFunc(g.order, func(other string) bool { return other == id })
}

// Ghosts returns the last states of the devices that were deleted, by id: the newest 4096 that were
// not made again.
func (h *Hub) Ghosts() []*Twin {
	g := &h.ghosts
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*Twin, 0, len(g.last))
	for _, t := range g.last {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *Twin) int { return strings.Compare(a.Identity.DeviceID, b.Identity.DeviceID) })
	return all
}
