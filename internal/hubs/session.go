// Package hubs keeps one live session per IoTHub object: the client, what memory knows beyond status, and the sweep.
package hubs

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/budget"
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
	Hub
	HostName string
	// Fingerprint of the credential and connection settings that the session was built from. Never printed.
	Fingerprint string
	// Budget of the hub, which the client's Gate draws from; nil: there is no limit.
	Budget *budget.Budget

	memory  *memory
	stop    context.CancelFunc
	done    chan struct{} // closed when its background work has ended
	refused atomic.Bool
	relied  atomic.Bool                 // somebody was told that events are trusted
	stream  atomic.Pointer[streamState] // nil: none is read
	heard   atomic.Pointer[time.Time]   // up to when the stream's events were handled
}

// memory of the devices of one hub. Sessions that follow each other share it: a rotated key changes nothing about devices.
type memory struct {
	mu      sync.Mutex
	devices map[string]*Device
	calls   Calls
	canary  canary
	// streaming is held while a stream is read: the next session's goes on where this one's has stopped and stored.
	streaming sync.Mutex
}

// NewSession wraps an authenticated client.
func NewSession(hub Hub, hostName, fingerprint string) *Session {
	return &Session{Hub: hub, HostName: hostName, Fingerprint: fingerprint, memory: &memory{devices: map[string]*Device{}}}
}

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

// Calls returns the commands that are under way at the hub.
func (s *Session) Calls() *Calls { return &s.memory.calls }

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
	// Budgets by host. They outlive sessions: those that follow each other, and those of several objects, share one.
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

// UnsavedAt returns the memory of a device at a host if it alone knows what an object owns there;
// nil: it does not.
func (r *Registry) UnsavedAt(hostName, deviceID string, object types.UID) *Device {
	for _, s := range r.beside(nil, hostName) {
		if d := s.peek(deviceID); d != nil {
			if of, is := d.isUnshown(); is && of == object {
				return d
			}
		}
	}
	return nil
}

// HandOver has the session of an object's IoTHub know what another session of the same host knows
// of the object: it was declared there before. It costs next to nothing where there is no such
// session.
func (r *Registry) HandOver(to *Session, deviceID string, object types.UID) {
	for _, s := range r.beside(to, to.HostName) {
		if from := s.peek(deviceID); from != nil {
			to.Device(deviceID).takeOver(from, object)
		}
	}
}

// beside are the sessions of a host but one.
func (r *Registry) beside(one *Session, hostName string) []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	var others []*Session
	for _, s := range r.sessions {
		if s != one && s.HostName == hostName {
			others = append(others, s)
		}
	}
	for _, k := range r.kept {
		if k.session != one && k.session.HostName == hostName {
			others = append(others, k.session)
		}
	}
	return others
}

// all are the sessions, with those that are kept for clearing.
func (r *Registry) all() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	sessions := slices.Collect(maps.Values(r.sessions))
	for _, k := range r.kept {
		sessions = append(sessions, k.session)
	}
	return sessions
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
	if before := cmp.Or(earlier, retired); before != nil && before.HostName == s.HostName {
		s.memory = before.memory
	}
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
	s.Close()
}

// Refuse notes that the hub refused the credential in the middle of work: the session has to prove itself again.
// It reports whether this is the first word of it.
func (s *Session) Refuse() bool { return !s.refused.Swap(true) }

// Refused reports whether the hub refused the credential since the session was built.
func (s *Session) Refused() bool { return s.refused.Load() }
