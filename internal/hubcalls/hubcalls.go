// Package hubcalls makes calls of hubs beside the workers of the controllers, at most one for an
// object.
package hubcalls

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/places"
)

// Call is something that a hub is asked for an object, with the answer once it is done.
type Call interface {
	comparable
	// common is what all of them have.
	common() *Common
	// Ask makes the call.
	Ask(ctx context.Context)
	// Discard is called once if nobody takes the answer.
	Discard()
}

// Common is what questions have in common. An embedding type sets object, host and after.
type Common struct {
	Object types.NamespacedName // woken when the question is answered
	Host   string               // that is asked
	After  time.Duration        // that the call is put off for

	place  string // key of its place
	cancel context.CancelFunc
	Asked  time.Time // when it began to wait for a place
	begun  bool      // it has a place
	done   bool
}

func (q *Common) common() *Common { return q }

// Pool are calls of hubs beside the workers, at most one for an object: a hub that is slow or
// dead, or says nothing, keeps nobody else's objects waiting.
type Pool[Q Call] struct {
	pool     *places.Pool
	lifetime context.Context
	wake     func(object types.NamespacedName)

	mu     sync.Mutex
	under  map[types.NamespacedName]Q // by object
	serial int
}

// New has so many calls made at a time, half of them at one hub.
func New[Q Call](ctx context.Context, atATime int, wake func(types.NamespacedName)) *Pool[Q] {
	return &Pool[Q]{pool: places.New(atATime, time.Now), lifetime: ctx, wake: wake, under: map[types.NamespacedName]Q{}}
}

// Take hands over what was answered for an object, once. pending is what is still under way, or
// waits for a place. A question that is not the one that is asked now is given up.
func (h *Pool[Q]) Take(object types.NamespacedName, isAskedNow func(Q) bool) (answered, pending Q) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var none Q
	q, known := h.under[object]
	switch {
	case !known:
		return none, none
	case !isAskedNow(q):
		h.drop(q)
		return none, none
	case !q.common().done:
		return none, q
	}
	delete(h.under, object)
	return q, none
}

// Lined is for how long a question has been waiting for its place, 0 if it has one.
func (h *Pool[Q]) Lined(q Q, now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if is := q.common(); !is.begun {
		return now.Sub(is.Asked)
	}
	return 0
}

// Begin asks, after a while and once there is a place, and wakes the object when that is answered.
func (h *Pool[Q]) Begin(q Q) {
	ctx, cancel := context.WithCancel(h.lifetime)
	is := q.common()
	h.mu.Lock()
	h.serial++
	is.cancel, is.Asked, is.place = cancel, time.Now(), fmt.Sprintf("%s %d", is.Object, h.serial)
	h.under[is.Object] = q
	h.mu.Unlock()
	if is.After == 0 {
		h.enter(ctx, q)
		return
	}
	time.AfterFunc(is.After, func() {
		if ctx.Err() == nil {
			h.enter(ctx, q)
		}
	})
}

func (h *Pool[Q]) enter(ctx context.Context, q Q) {
	is, run := q.common(), func() { go h.run(ctx, q) }
	if _, ok := h.pool.Take(places.Who{Host: is.Host, Tenant: is.Object.Namespace, Key: is.place}, run); ok {
		run()
	}
}

func (h *Pool[Q]) run(ctx context.Context, q Q) {
	is := q.common()
	defer h.pool.Leave(is.place)
	defer is.cancel()
	h.mu.Lock()
	is.begun = true
	h.mu.Unlock()
	q.Ask(ctx)
	h.mu.Lock()
	is.done = true
	isWanted := h.under[is.Object] == q
	h.mu.Unlock()
	if !isWanted {
		q.Discard()
		return
	}
	h.wake(is.Object)
}

// Forget gives up what is under way for an object that needs it no more.
func (h *Pool[Q]) Forget(object types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if q, known := h.under[object]; known {
		h.drop(q)
	}
}

// drop is called with the lock held. A place in line is given back at once, and that of a call when
// it has ended.
func (h *Pool[Q]) drop(q Q) {
	is := q.common()
	delete(h.under, is.Object)
	is.cancel()
	switch {
	case is.done:
		q.Discard()
	case !is.begun:
		h.pool.Leave(is.place)
	}
}
