package session

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	// DefaultEchoWithin is how long the event of our own write may take.
	DefaultEchoWithin = time.Minute
	// maxMisses writes in a row without an echo mean that twin changes do not reach the stream.
	maxMisses = 3
)

// canary finds out whether twin change events are routed to the stream at all: no hub has such a
// route until somebody makes one, and it may go again. Every write of our own has to come back as
// an event. Sessions that follow each other share what is waited for. The zero value is ready to
// use.
type canary struct {
	within  time.Duration // 0: DefaultEchoWithin
	mu      sync.Mutex
	waiting map[string]echo // by device
	misses  int             // since an event was heard
	heard   bool            // an event, and not three times in a row none
	vouched bool            // nothing from before the stream was opened is missing: the checkpoint says so, or all devices are read
}

// echo is the event of a write that is waited for.
type echo struct {
	after int64     // the desired version that the write followed: its event shows a later one
	until time.Time // when it is late
	heard int64     // the newest desired version that an event showed meanwhile
}

// begin is for a stream that is opened: what another one brought says nothing of it.
func (c *canary) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard, c.misses, c.vouched = false, 0, false
}

// expect waits for the event of a write that is about to be made: it may come before the answer.
// The returned function says that there was no write.
func (c *canary) expect(deviceID string, after int64, now time.Time) (cancel func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		c.waiting = map[string]echo{}
	}
	earlier, waits := c.waiting[deviceID]
	e := echo{after: after, until: c.deadline(now)}
	if waits { // the deadline is that of the first
		e.until = earlier.until
	}
	c.waiting[deviceID] = e
	return func() { c.cancel(deviceID, after, earlier, waits) }
}

// cancel waits no longer for the write that followed a version, but for the one before it if that
// did not come back.
func (c *canary) cancel(deviceID string, after int64, earlier echo, waits bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e, still := c.waiting[deviceID]; {
	case !still || e.after != after:
	case waits && e.heard <= earlier.after:
		c.waiting[deviceID] = earlier
	default:
		delete(c.waiting, deviceID)
	}
}

func (c *canary) deadline(now time.Time) time.Time {
	return now.Add(cmp.Or(c.within, DefaultEchoWithin))
}

// hear takes note of a twin change event. It reports whether that changed the verdict, and whether
// events had stayed away until now: then others than our own were missed as well. An event that was
// on its way when a write was made is not its echo.
func (c *canary) hear(deviceID string, n *twin.Notification, now time.Time) (changed, missed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, waits := c.waiting[deviceID]; waits && n.Desired != nil {
		if n.Desired.Version == 0 || n.Desired.Version > e.after {
			delete(c.waiting, deviceID)
		} else { // that of an earlier write
			c.waiting[deviceID] = echo{e.after, c.deadline(now), max(e.heard, n.Desired.Version)}
		}
	}
	changed, missed = !c.trusted(), c.misses >= maxMisses
	c.heard, c.misses = true, 0
	return changed, missed
}

// resume believes what an earlier run heard.
func (c *canary) resume(heard bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard, c.vouched = c.heard || heard, c.vouched || heard
}

// forget waits no longer for a device: it is declared no more.
func (c *canary) forget(deviceID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, deviceID)
}

// skip waits for nothing that was written until now: the stream goes on at a later place, and all
// devices are read.
func (c *canary) skip() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.waiting)
	c.vouched = true
}

// judge counts the events that did not come, and returns the devices that relied on them. While the
// stream is not read nobody can hear them, so their time begins again.
func (c *canary) judge(now time.Time, reading bool) (late []string, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := [2]bool{c.trusted(), c.misses >= maxMisses}
	relied := c.heard
	for id, e := range c.waiting {
		switch {
		case !reading:
			e.until = c.deadline(now)
			c.waiting[id] = e
		case now.After(e.until):
			delete(c.waiting, id)
			late = append(late, id)
		}
	}
	c.misses += len(late)
	c.heard = c.heard && c.misses < maxMisses
	changed = was != [2]bool{c.trusted(), c.misses >= maxMisses}
	if !relied { // they were read after their writes
		return nil, changed
	}
	slices.Sort(late)
	return late, changed
}

// trusted reports whether an event was heard, and none stayed away since. c.mu is held.
func (c *canary) trusted() bool { return c.heard && c.misses == 0 }

// pending are the devices whose answers a reader of the stream relies on although the event of the
// write before them did not come yet.
func (c *canary) pending() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.heard {
		return nil
	}
	return slices.Sorted(maps.Keys(c.waiting))
}

// sure reports whether an event was heard, and none stayed away since.
func (c *canary) sure() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trusted()
}

// vouches reports whether what was before the stream was opened is known, and what is told since.
func (c *canary) vouches() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.vouched && c.trusted()
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
