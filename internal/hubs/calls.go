package hubs

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// maxCalls is how many commands may be under way at one hub. Each may wait for minutes, so they are more than the workers of a controller.
const maxCalls = 64

// Sign is what an event says of a device's presence.
type Sign int

const (
	// Came means that it connected.
	Came Sign = iota
	// Went means that it disconnected.
	Went
	// Acted means that it sent something.
	Acted
)

// Calls is the commands that are under way at a hub, or wait. Sessions that follow each other share it.
type Calls struct {
	mu      sync.Mutex
	running map[string]*hearing // by device id
	waiting map[string]map[types.NamespacedName]*absence
	full    []waiter // who waits for a place, the first one first; an object once
}

// hearing is what the hub's events say of a device since its command was given a place. They arrive after what they tell of.
type hearing struct {
	began    time.Time
	answered time.Time // zero while the hub has not
	back     bool      // the device connected after the answer
	stirred  bool      // the device was there before the answer
}

// hear takes one event, and reports whether the device was there while its command was under way.
func (h *hearing) hear(sign Sign, at time.Time) bool {
	switch {
	case at.Before(h.began):
	case h.answered.IsZero() || !at.After(h.answered):
		h.stirred = true
	case sign == Went && !h.back: // it was there until then
		h.stirred = true
	case sign == Came:
		h.back = true
	}
	return h.stirred
}

// absence is a command that waits because its device was offline.
type absence struct {
	*hearing

	wake, doubt func()
}

// waiter is an object that found no place for a command of a device.
type waiter struct {
	object   types.NamespacedName
	deviceID string
	freed    func()
}

// Begin takes a place for a device's command. It reports false if the device or the hub has none; freed is called once there may be one for
// the object. An object that asks again keeps its turn.
func (c *Calls) Begin(deviceID string, object types.NamespacedName, freed func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	turn := slices.IndexFunc(c.full, func(w waiter) bool { return w.object == object })
	if _, busy := c.running[deviceID]; busy || len(c.running) >= maxCalls {
		if turn < 0 {
			c.full = append(c.full, waiter{object, deviceID, freed})
		}
		return false
	}
	if turn >= 0 {
		c.full = slices.Delete(c.full, turn, turn+1)
	}
	if c.running == nil {
		c.running = map[string]*hearing{}
	}
	c.running[deviceID] = &hearing{began: time.Now()}
	c.forget(deviceID, object)
	return true
}

// End gives the place back, to the one that has waited longest of those whose device is free.
func (c *Calls) End(deviceID string) {
	c.mu.Lock()
	delete(c.running, deviceID)
	freed := func() {}
	next := slices.IndexFunc(c.full, func(w waiter) bool { _, busy := c.running[w.deviceID]; return !busy })
	if next >= 0 {
		freed = c.full[next].freed
		c.full = slices.Delete(c.full, next, next+1)
	}
	c.mu.Unlock()
	freed()
}

// Answered notes that the hub has answered the command of a device.
func (c *Calls) Answered(deviceID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.running[deviceID]; h != nil {
		h.answered = time.Now()
	}
}

// Stirred reports whether the hub's events told that the device was there while its command was under way.
func (c *Calls) Stirred(deviceID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.running[deviceID]
	return h != nil && h.stirred
}

// Await calls wake once, when the hub's events tell that the device is there. Should they tell before that it was there while the command was under way, it
// calls doubt instead. An object has one of both for a device; it is called while its command is under way, and answered.
func (c *Calls) Await(deviceID string, object types.NamespacedName, wake, doubt func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		c.waiting = map[string]map[types.NamespacedName]*absence{}
	}
	if c.waiting[deviceID] == nil {
		c.waiting[deviceID] = map[types.NamespacedName]*absence{}
	}
	c.waiting[deviceID][object] = &absence{c.running[deviceID], wake, doubt}
}

// Forget ends the waiting of an object.
func (c *Calls) Forget(deviceID string, object types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(deviceID, object)
}

func (c *Calls) forget(deviceID string, object types.NamespacedName) {
	delete(c.waiting[deviceID], object)
	if len(c.waiting[deviceID]) == 0 {
		delete(c.waiting, deviceID)
	}
}

// stir notes an event of a device, and when what it tells happened: now, if nobody says.
func (c *Calls) stir(deviceID string, sign Sign, at time.Time) {
	if at.IsZero() {
		at = time.Now()
	}
	c.mu.Lock()
	if h := c.running[deviceID]; h != nil {
		h.hear(sign, at)
	}
	var calls []func()
	for object, a := range c.waiting[deviceID] {
		switch {
		case a.hear(sign, at):
			calls = append(calls, a.doubt)
		case sign != Went:
			calls = append(calls, a.wake)
		default:
			continue
		}
		c.forget(deviceID, object)
	}
	c.mu.Unlock()
	for _, call := range calls {
		call()
	}
}
