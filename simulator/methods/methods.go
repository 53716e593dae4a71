// Package methods carries direct methods from the hub's callers to connected devices and back ("Understand and invoke
// direct methods from IoT Hub"). Commands of IoT Plug and Play are direct methods too: "command", or "component*command".
package methods

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"
)

// Invocation is one direct method on its way to a device. An empty payload is null.
type Invocation struct {
	Name    string
	Payload json.RawMessage
}

// Answer is what a device answers. Status is the device's own code; it says nothing about the delivery.
type Answer struct {
	Status  int
	Payload json.RawMessage
}

// Device is a connection that takes direct methods. Invoke delivers one and waits for its answer until ctx ends.
type Device interface {
	Invoke(ctx context.Context, i Invocation) (Answer, error)
}

// Timeouts are how long the hub waits: for the device to connect, and in all for its answer.
type Timeouts struct {
	Connect, Response time.Duration
}

// NotOnlineError says that nothing was delivered: no device took direct methods within After.
type NotOnlineError struct{ After time.Duration }

func (NotOnlineError) Error() string {
	return "the device is not online or has no callback for direct methods"
}

// TimeoutError says that a device was given the method and did not answer within After of the call.
type TimeoutError struct{ After time.Duration }

func (TimeoutError) Error() string { return "the device did not answer in time" }

// Exchange knows which device takes direct methods at the moment.
type Exchange struct {
	mu      sync.Mutex
	devices map[string]*entry
	changed chan struct{} // closed, and replaced, when a device attaches
	closed  context.Context
	close   context.CancelFunc
}

// entry makes two attachments of one Device differ.
type entry struct{ device Device }

// New returns an exchange without devices.
func New() *Exchange {
	e := &Exchange{devices: map[string]*entry{}, changed: make(chan struct{})}
	e.closed, e.close = context.WithCancel(context.Background())
	return e
}

// Close ends all calls that wait.
func (e *Exchange) Close() { e.close() }

// Attach lets a device take the direct methods for an id, in place of any before it, until detach is called.
func (e *Exchange) Attach(id string, d Device) (detach func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	mine := &entry{d}
	e.devices[id] = mine
	close(e.changed)
	e.changed = make(chan struct{})
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.devices[id] == mine {
			delete(e.devices, id)
		}
	}
}

func (e *Exchange) look(id string) (*entry, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.devices[id], e.changed
}

// Invoke has a device run a method. It fails with NotOnlineError or TimeoutError, and with context.Canceled once the
// exchange is closed. A caller cannot call a method back, so there is no context.
func (e *Exchange) Invoke(id string, i Invocation, within Timeouts) (Answer, error) {
	start := time.Now()
	d, err := e.await(id, within.Connect)
	if err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithDeadline(e.closed, start.Add(within.Response))
	defer cancel()
	answer, err := d.Invoke(ctx, i)
	if errors.Is(err, context.DeadlineExceeded) {
		return Answer{}, TimeoutError{within.Response}
	}
	return answer, err
}

// await returns the device once it is attached.
func (e *Exchange) await(id string, within time.Duration) (Device, error) {
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		found, changed := e.look(id)
		if found != nil {
			return found.device, nil
		}
		if within <= 0 {
			return nil, NotOnlineError{within}
		}
		select {
		case <-changed:
		case <-late.C:
			return nil, NotOnlineError{within}
		case <-e.closed.Done():
			return nil, context.Canceled
		}
	}
}
