package hubs

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// maxCalls is how many commands may be under way at one hub. Each may wait for minutes, so they are more than the workers of a controller.
const maxCalls = 64

// Calls is the commands that are under way at a hub, or wait. Sessions that follow each other share it.
type Calls struct {
	mu      sync.Mutex
	running map[string]int // device id to the number of events of the device since its command was sent
	waiting map[string]map[types.NamespacedName]func()
	full    []waiter // who waits for a place, the first one first; an object once
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
		c.running = map[string]int{}
	}
	c.running[deviceID] = 0
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

// Stirred reports whether the hub's events told anything of the device since its command was sent.
func (c *Calls) Stirred(deviceID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running[deviceID] > 0
}

// Await calls wake once, when the hub's events tell that the device is there. An object has one wake for a device.
func (c *Calls) Await(deviceID string, object types.NamespacedName, wake func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		c.waiting = map[string]map[types.NamespacedName]func(){}
	}
	if c.waiting[deviceID] == nil {
		c.waiting[deviceID] = map[types.NamespacedName]func(){}
	}
	c.waiting[deviceID][object] = wake
}

// stir notes an event of a device. present is false if it told that the device is gone.
func (c *Calls) stir(deviceID string, present bool) {
	c.mu.Lock()
	if _, ok := c.running[deviceID]; ok {
		c.running[deviceID]++
	}
	var wakes map[types.NamespacedName]func()
	if present {
		wakes = c.waiting[deviceID]
		delete(c.waiting, deviceID)
	}
	c.mu.Unlock()
	for _, wake := range wakes {
		wake()
	}
}
