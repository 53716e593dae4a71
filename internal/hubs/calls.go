package hubs

import (
	"maps"
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
	untold  map[types.NamespacedName]Place // events that doubt what is on record of a command
	full    []waiter                       // who waits for a place, the first one first; an object once
	heard   time.Time                      // up to when the hub's events were handled, by our clock
}

// Window is when an attempt was under way, by the hub's clock, which dates its events as well: ours
// may differ from it by more than an attempt takes. A hub that does not say when it answered leaves
// it zero; then whatever a device does may have been meanwhile.
type Window struct{ From, Until time.Time }

// WindowOf is that of an attempt which the hub ended at a time by its clock, and which took a while
// by ours.
func WindowOf(until time.Time, took time.Duration) Window {
	if until.IsZero() {
		return Window{}
	}
	return Window{until.Add(-took), until}
}

// hearing is what the hub's events say of a device since its command was given a place. They arrive after what they tell of.
type hearing struct {
	window  *Window   // nil while the hub has not answered
	latest  time.Time // of what was heard until then
	back    bool      // the device connected after the answer
	stirred bool      // the device was there before the answer
	deaf    bool      // events were lost
}

// hear takes one event, and when what it tells happened, by the hub's clock; zero is unknown.
func (h *hearing) hear(sign Sign, at time.Time) {
	switch {
	case at.IsZero():
		h.stirred = true
	case h.window == nil:
		if at.After(h.latest) {
			h.latest = at
		}
	case h.window.Until.IsZero():
		h.stirred = true
	case at.Before(h.window.From):
	case !at.After(h.window.Until):
		h.stirred = true
	case sign == Went && !h.back: // it was there until then
		h.stirred = true
	case sign == Came:
		h.back = true
	}
}

// answered looks at what was heard before the hub said when that was.
func (h *hearing) answered(w Window) {
	h.window = &w
	h.stirred = h.stirred || !h.latest.IsZero() && !h.latest.Before(w.From)
}

// absence is a command that waits because its device was offline.
type absence struct {
	*hearing

	since       time.Time // by our clock
	wake, doubt func()    // doubt is nil where the hub says for certain that it did not ask the device
	woken       bool
	recalled    bool // it waits since before the stream began to be read
}

// isDeaf reports whether an event that was lost may have told that the device was given the command.
func (a *absence) isDeaf() bool { return a.deaf && a.doubt != nil }

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
	c.running[deviceID] = &hearing{}
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

// Answered notes that the hub has answered the command of a device, which was under way at that
// time.
func (c *Calls) Answered(deviceID string, w Window) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.running[deviceID]; h != nil {
		h.answered(w)
	}
}

// Stirred reports whether the hub's events told that the device was there while its command was under way.
func (c *Calls) Stirred(deviceID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.running[deviceID]
	return h != nil && h.stirred
}

// Await calls wake once, when the hub's events tell that the device is there. Should they tell that
// it was there while the command was under way, it calls doubt instead, if that is not nil, also if
// wake was called before. It is called while the command is under way, and answered.
func (c *Calls) Await(deviceID string, object types.NamespacedName, wake, doubt func()) {
	c.mu.Lock()
	a := &absence{hearing: c.running[deviceID], since: time.Now(), wake: wake, doubt: doubt}
	doubted := a.stirred && doubt != nil
	if !doubted {
		c.await(deviceID, object, a)
	}
	c.mu.Unlock()
	if doubted {
		doubt()
	}
}

// Recall is Await for a command that was under way before this process listened: by what is on
// record of it. Nobody knows which of the hub's events were heard since, so it is called before the
// first one is read, and wake is called once all that the hub held then is handled, too. What is
// awaited already stays.
func (c *Calls) Recall(deviceID string, object types.NamespacedName, w Window, wake, doubt func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[deviceID][object] == nil {
		c.await(deviceID, object, &absence{hearing: &hearing{window: &w}, since: time.Now(), wake: wake, doubt: doubt, recalled: true})
	}
}

// MoveTo has an object that waits for its device wait at the calls of another session of the hub: the
// one that it waited at has ended. As after Recall, it is woken once all is handled that the hub held
// meanwhile. Events that were heard, or lost, still count. doubt takes the place of the one of Await, if
// there was one.
func (c *Calls) MoveTo(other *Calls, deviceID string, object types.NamespacedName, doubt func()) {
	c.mu.Lock()
	a, heard := c.waiting[deviceID][object], c.heard
	c.forget(deviceID, object)
	if a == nil {
		c.mu.Unlock()
		return
	}
	soFar := *a.hearing // its command may still have the place there
	a.hearing = &soFar
	c.mu.Unlock()
	other.mu.Lock()
	defer other.mu.Unlock()
	other.hear(heard)
	if other.waiting[deviceID][object] == nil {
		a.woken, a.recalled = false, true
		if a.doubt != nil {
			a.doubt = doubt
		}
		other.await(deviceID, object, a)
	}
}

// hear notes that all events up to a time were handled.
func (c *Calls) hear(at time.Time) {
	if c.heard.Before(at) {
		c.heard = at
	}
}

// Waiting lists the objects that wait for a device.
func (c *Calls) Waiting(deviceID string) []types.NamespacedName {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.waiting[deviceID]))
}

func (c *Calls) await(deviceID string, object types.NamespacedName, a *absence) {
	if c.waiting == nil {
		c.waiting = map[string]map[types.NamespacedName]*absence{}
	}
	if c.waiting[deviceID] == nil {
		c.waiting[deviceID] = map[types.NamespacedName]*absence{}
	}
	c.waiting[deviceID][object] = a
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

// Told says that a doubt about an object is on record, or does not matter any more.
func (c *Calls) Told(object types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.untold, object)
}

// outstanding are the events whose doubts are not on record.
func (c *Calls) outstanding() []Place {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.untold))
}

// stir notes an event of a device, and when what it tells happened.
func (c *Calls) stir(deviceID string, sign Sign, at time.Time, place Place) {
	c.mu.Lock()
	if h := c.running[deviceID]; h != nil {
		h.hear(sign, at)
	}
	var calls []func()
	for object, a := range c.waiting[deviceID] {
		a.hear(sign, at) // once more, if its command is under way: that changes nothing
		switch {
		case a.stirred && a.doubt != nil:
			calls = append(calls, a.doubt)
			c.hold(object, place)
			c.forget(deviceID, object)
		case sign != Went && !a.isDeaf() && !a.woken:
			calls = append(calls, a.wake)
			a.woken = true
		}
	}
	c.mu.Unlock()
	for _, call := range calls {
		call()
	}
}

func (c *Calls) hold(object types.NamespacedName, place Place) {
	if c.untold == nil {
		c.untold = map[types.NamespacedName]Place{}
	}
	c.untold[object] = place
}

// caughtUp says that all was handled that the hub held at a time, by our clock. It wakes the commands
// that were recalled: all that the hub knew of them is heard.
func (c *Calls) caughtUp(at time.Time) {
	c.mu.Lock()
	c.hear(at)
	var calls []func()
	for _, objects := range c.waiting {
		for _, a := range objects {
			if a.recalled && !a.isDeaf() && !a.woken {
				calls = append(calls, a.wake)
				a.woken = true
			}
		}
	}
	c.mu.Unlock()
	for _, call := range calls {
		call()
	}
}

// deafen notes that events were lost: of the commands under way, and of those that wait, nobody can
// say any more that nothing was heard, unless all events of their time were handled before.
func (c *Calls) deafen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.running {
		h.deaf = true
	}
	for _, objects := range c.waiting {
		for _, a := range objects {
			a.deaf = a.deaf || !a.since.Before(c.heard)
		}
	}
}
