package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/hubs"
	"github.com/pnp-operator/pnp-operator/internal/places"
)

const (
	// maxLooks is how many devices are looked at for commands at a time, half of them at one hub.
	maxLooks = 32
	// lookHolds is how long a model that was looked at is believed, if nothing casts doubt on it.
	lookHolds = 10 * time.Second
	// retryLook is how soon a device is looked at again that the hub would not show.
	retryLook = 30 * time.Second
)

// looks are the calls that say which model a device has, before it is sent a command. They run beside
// the workers: a hub that is slow, or says nothing, keeps nobody else's commands waiting.
type looks struct {
	pool     *places.Pool
	lifetime context.Context
	wake     func(command types.NamespacedName)

	mu     sync.Mutex
	under  map[types.NamespacedName]*look // by command
	serial int
}

func newLooks(ctx context.Context, wake func(types.NamespacedName)) *looks {
	return &looks{pool: places.New(maxLooks, time.Now), lifetime: ctx, wake: wake, under: map[types.NamespacedName]*look{}}
}

// look is one call, and what it came to.
type look struct {
	command  types.NamespacedName
	session  *hubs.Session
	deviceID string
	key      string // of its place
	cancel   context.CancelFunc
	asked    time.Time
	begun    bool // it has a place

	// The following are there once it is done.
	done   bool
	model  string
	err    error
	ended  time.Time
	doubts int // of the device until then
}

// take hands over what was seen of a device for a command, once. pending is what is still under way,
// or waits for a place. A look at another device, or by another session, is given up.
func (l *looks) take(command types.NamespacedName, session *hubs.Session, deviceID string) (of, pending *look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of = l.under[command]
	switch {
	case of == nil:
		return nil, nil
	case of.session != session || of.deviceID != deviceID:
		l.drop(of)
		return nil, nil
	case !of.done:
		return nil, of
	}
	delete(l.under, command)
	if of.isOver(time.Now()) {
		return nil, nil
	}
	return of, nil
}

// isOver reports whether a model does not count any more.
func (of *look) isOver(now time.Time) bool {
	return of.err == nil && (now.Sub(of.ended) > lookHolds || of.session.Device(of.deviceID).Doubts() != of.doubts)
}

// lined is for how long a look has been waiting for its place, 0 if it has one.
func (l *looks) lined(of *look, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if of.begun {
		return 0
	}
	return now.Sub(of.asked)
}

// begin looks at a device, once there is a place, and wakes the command when that is done.
func (l *looks) begin(of *look) {
	ctx, cancel := context.WithCancel(l.lifetime)
	of.cancel, of.asked = cancel, time.Now()
	l.mu.Lock()
	l.serial++
	of.key = fmt.Sprintf("%s %d", of.command, l.serial)
	l.under[of.command] = of
	l.mu.Unlock()
	run := func() { go l.run(ctx, of) }
	if _, ok := l.pool.Take(places.Who{Host: of.session.Destination, Tenant: of.command.Namespace, Key: of.key}, run); ok {
		run()
	}
}

func (l *looks) run(ctx context.Context, of *look) {
	defer l.pool.Leave(of.key)
	defer of.cancel()
	l.mu.Lock()
	of.begun = true
	l.mu.Unlock()
	caller := budget.Caller{Key: of.command.String() + " model", Priority: budget.PriorityCommand}
	t, err := of.session.GetTwin(budget.With(ctx, caller), of.deviceID)
	l.mu.Lock()
	of.done, of.err, of.ended, of.doubts = true, err, time.Now(), of.session.Device(of.deviceID).Doubts()
	if err == nil {
		of.model = t.ModelID
	}
	isWanted := l.under[of.command] == of
	l.mu.Unlock()
	if isWanted {
		l.wake(of.command)
	}
}

// forget gives up what is under way for a command that needs it no more.
func (l *looks) forget(command types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if of := l.under[command]; of != nil {
		l.drop(of)
	}
}

// drop is called with the lock held.
func (l *looks) drop(of *look) {
	delete(l.under, of.command)
	of.cancel()
	if !of.begun {
		l.pool.Leave(of.key) // its place in line; a place is given back at the end of the call
	}
}
