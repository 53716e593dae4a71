package hubs

import (
	"cmp"
	"sync"
	"time"
)

const (
	// DefaultEchoWithin is how long the event of our own write may take.
	DefaultEchoWithin = time.Minute
	// maxMisses writes in a row without an echo mean that twin changes do not reach the stream.
	maxMisses = 3
)

// canary finds out whether twin change events are routed to the stream at all: no hub has such a route until somebody
// makes one. Every write of our own has to come back as an event. The zero value is ready to use.
type canary struct {
	within  time.Duration // 0: DefaultEchoWithin
	mu      sync.Mutex
	waiting map[string]time.Time // device to when its event is late
	misses  int
	heard   bool
}

// expect waits for the event of a write that is about to be made: it may come before the answer.
func (c *canary) expect(deviceID string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		c.waiting = map[string]time.Time{}
	}
	if _, ok := c.waiting[deviceID]; !ok { // the deadline is that of the first
		c.waiting[deviceID] = now.Add(cmp.Or(c.within, DefaultEchoWithin))
	}
}

// cancel waits no longer: there was no write.
func (c *canary) cancel(deviceID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, deviceID)
}

// hear takes note of a twin change event. It reports whether that changed the verdict.
func (c *canary) hear(deviceID string) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, deviceID)
	changed = !c.heard
	c.heard, c.misses = true, 0
	return changed
}

// resume believes what an earlier run heard.
func (c *canary) resume(heard bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = c.heard || heard
}

// judge counts the events that did not come. Where the stream is not read nobody can hear them.
func (c *canary) judge(now time.Time, reading bool) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !reading {
		clear(c.waiting)
		return false
	}
	before := c.misses >= maxMisses
	for id, until := range c.waiting {
		if now.After(until) {
			delete(c.waiting, id)
			c.misses++
		}
	}
	if c.misses >= maxMisses {
		c.heard = false
	}
	return !before && c.misses >= maxMisses
}

// alive reports whether an event was heard, and not three times in a row none.
func (c *canary) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard
}

// dead reports whether event after event stayed away.
func (c *canary) dead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.misses >= maxMisses
}
