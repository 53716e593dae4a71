// Package session keeps one live session per IoTHub object: the client, what memory knows beyond status, and the sweep.
package session

import (
	"cmp"
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Hub is what a session asks of an IoT hub. *iothub.Client implements it.
type Hub interface {
	GetTwin(ctx context.Context, deviceID string) (*twin.Twin, error)
	PatchTwin(ctx context.Context, deviceID string, patch []byte, etag string) (*twin.Twin, error)
	PatchDigitalTwin(ctx context.Context, deviceID string, patch []byte, etag string) (newETag string, err error)
	InvokeCommand(ctx context.Context, i iothub.Invocation) (iothub.CommandAnswer, error)
	InvokeMethod(ctx context.Context, i iothub.Invocation) (iothub.CommandAnswer, error)
	Query(ctx context.Context, q iothub.Query) (iothub.QueryPage, error)
	Close()
}

// Session is the live connection of one IoTHub object.
type Session struct {
	// Destination is what accepted the credential, see iothub.Destination: only sessions with equal
	// ones are of the same hub.
	Destination string
	// Fingerprint of the credential and connection settings that the session was built from. Never printed.
	Fingerprint string
	// HasStream says that its background work reads an event stream, also before that has begun.
	HasStream bool
	// Budget of the hub, which the client's Gate draws from; nil: there is no limit.
	Budget *budget.Budget

	hub    Hub
	memory *memory
	stop   context.CancelFunc
	done   chan struct{} // closed when its background work has ended
	doubt  doubt
	relied atomic.Bool                 // somebody was told that events are trusted
	stream atomic.Pointer[streamState] // nil: none is read
	heard  atomic.Pointer[time.Time]   // up to when the stream's events were handled
	// coverage of its sweeps, nil until the first one is over.
	coverage atomic.Pointer[Coverage]
}

// memory of the devices of one hub. Sessions that follow each other share it: a rotated key changes nothing about devices.
type memory struct {
	mu      sync.Mutex
	devices map[string]*Device
	life    *command.Life
	canary  canary
	// streaming is held while a stream is read: the next session's goes on where this one's has stopped and stored.
	streaming sync.Mutex
}

// NewSession wraps a client whose credential a destination has accepted.
func NewSession(hub Hub, destination, fingerprint string) *Session {
	return &Session{hub: hub, Destination: destination, Fingerprint: fingerprint, memory: &memory{devices: map[string]*Device{}, life: &command.Life{}}}
}

// HostName of the hub.
func (s *Session) HostName() string { return iothub.HostOf(s.Destination) }

// Device returns what memory holds of a device, an empty record if nothing.
func (s *Session) Device(id string) *Device {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	d, ok := s.memory.devices[id]
	if !ok {
		d = &Device{}
		s.memory.devices[id] = d
	}
	return d
}

// Life returns that of the session and of those before and after it without a gap.
func (s *Session) Life() *command.Life { return s.memory.life }

// peek returns what memory holds of a device, nil if nothing.
func (s *Session) peek(id string) *Device {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	return s.memory.devices[id]
}

func (s *Session) devices() map[string]*Device {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	return maps.Clone(s.memory.devices)
}

// Forget drops what memory holds of a device that is no longer declared.
func (s *Session) Forget(id string) {
	s.memory.canary.forget(id)
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	delete(s.memory.devices, id)
}

// Registry holds the sessions by IoTHub object. The zero value is ready to use and safe for concurrent use.
type Registry struct {
	// Budgets by destination. They outlive sessions: those that follow each other, and those of several
	// objects, share one.
	Budgets budget.Hosts

	mu       sync.Mutex
	sessions map[types.NamespacedName]*Session
	streams  map[StreamKey]claim
	// kept are the sessions that only clear, and obstacles why an IoTHub has none, see Keep and
	// Obstruct.
	kept      map[types.NamespacedName]*kept
	obstacles map[types.NamespacedName]string
}

// Get returns the session of an IoTHub, nil while it has none.
func (r *Registry) Get(hub types.NamespacedName) *Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions[hub]
}

// Unshown is a device of which memory alone knows what its object owns.
type Unshown struct {
	DeviceID string
	Object   types.UID
	memory   *Device
}

// Is reports whether that is still so.
func (u Unshown) Is() bool {
	object, is := u.memory.isUnshown()
	return is && object == u.Object
}

// IsInPass reports whether a pass over the device is under way.
func (u Unshown) IsInPass() bool { return u.memory.inPass() }

// Unshown lists those of all sessions.
func (r *Registry) Unshown() []Unshown {
	var all []Unshown
	for _, s := range r.all() {
		for id, d := range s.devices() {
			if object, is := d.isUnshown(); is {
				all = append(all, Unshown{id, object, d})
			}
		}
	}
	return all
}

// UnsavedAt returns a handle on the memory of a device at a destination, or at another one of its host,
// if it alone knows what an object owns there; nil: it does not. isThere is false for the latter. No
// pass has to begin.
func (r *Registry) UnsavedAt(destination, deviceID string, object types.UID) (p *Pass, isThere bool) {
	host := iothub.HostOf(destination)
	for _, s := range r.sessionsThat(func(s *Session) bool { return s.HostName() == host }) {
		d := s.peek(deviceID)
		if d == nil {
			continue
		}
		if of, is := d.isUnshown(); !is || of != object {
			continue
		}
		p = &Pass{Device: d, session: s, deviceID: deviceID, uid: object}
		if s.Destination == destination {
			return p, true
		}
	}
	return p, false
}

// HandOver has the session of an object's IoTHub know what another session of the same hub knows
// of the object: it was declared there before. It costs next to nothing where there is no such
// session. What was learned at another destination says nothing about this one.
func (r *Registry) HandOver(to *Session, deviceID string, object types.UID) {
	for _, s := range r.sessionsThat(func(s *Session) bool { return s != to && s.Destination == to.Destination }) {
		if from := s.peek(deviceID); from != nil {
			to.Device(deviceID).takeOver(from, object)
		}
	}
}

// all are the sessions, with those that are kept for clearing.
func (r *Registry) all() []*Session { return r.sessionsThat(func(*Session) bool { return true }) }

// sessionsThat are those of all for which a condition holds.
func (r *Registry) sessionsThat(holds func(*Session) bool) []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	var those []*Session
	for _, s := range r.sessions {
		if holds(s) {
			those = append(those, s)
		}
	}
	for _, k := range r.kept {
		if holds(k.session) {
			those = append(those, k.session)
		}
	}
	return those
}

// Put installs a session, runs its background work until the session is replaced or dropped, and ends the earlier one.
func (r *Registry) Put(ctx context.Context, hub types.NamespacedName, s *Session, background func(context.Context)) {
	ctx, s.stop = context.WithCancel(ctx)
	s.done = make(chan struct{})
	r.mu.Lock()
	earlier, retired := r.sessions[hub], r.release(hub)
	if r.sessions == nil {
		r.sessions = map[types.NamespacedName]*Session{}
	}
	s.follow(cmp.Or(earlier, retired))
	r.sessions[hub] = s
	r.mu.Unlock()
	if earlier != nil {
		earlier.end()
	}
	go func() {
		defer close(s.done)
		background(ctx)
	}()
}

// follow has a session know what the one before it of the same IoTHub knew. At another destination
// of the host all of that is in doubt: each device is read before anything is believed of it.
func (s *Session) follow(before *Session) {
	if before == nil || before.HostName() != s.HostName() {
		return
	}
	s.memory = before.memory
	isElsewhere, relied, now := before.Destination != s.Destination, before.relied.Load(), time.Now()
	for _, d := range s.devices() {
		if isElsewhere {
			d.Doubt()
		}
		if relied { // on a stream that has ended: nobody knows what becomes of this one's
			d.askAgain(now)
		}
	}
}

// Drain waits until the background work of all sessions has ended, once the context that they live in has: the last
// checkpoints are written then.
func (r *Registry) Drain() {
	for _, s := range r.all() {
		<-s.done
	}
}

// Drop ends the session of an IoTHub, if it has one, also one that is kept.
func (r *Registry) Drop(hub types.NamespacedName) {
	r.mu.Lock()
	s := r.sessions[hub]
	delete(r.sessions, hub)
	r.release(hub)
	r.mu.Unlock()
	if s != nil {
		s.end()
	}
}

func (s *Session) end() {
	s.stop()
	s.hub.Close()
}
