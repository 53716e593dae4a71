package session

import (
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
)

// IdleFor is how long a stream that broke off keeps its consumer group.
const IdleFor = 30 * time.Second

// StreamKey names a consumer group, and where it is: what a credential was accepted at says nothing
// of another place.
type StreamKey struct{ Namespace, Endpoint, CABundle, EventHub, ConsumerGroup string }

// claim is the one reader that a consumer group has in this process.
type claim struct {
	hub     types.NamespacedName
	session *Session
}

// streamState is how a stream is doing, and since when.
type streamState struct {
	eventstream.State

	since time.Time
}

// ClaimStream makes a session, whose credential the event hub has just accepted, the reader of a
// consumer group, in place of the group that it had. It reports false if another one reads it. One
// whose session has ended, or that cannot read, is none.
func (r *Registry) ClaimStream(hub types.NamespacedName, s *Session, stream StreamKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions[hub] != s || !r.isFree(hub, stream) {
		return false
	}
	maps.DeleteFunc(r.streams, func(_ StreamKey, c claim) bool { return c.hub == hub || r.sessions[c.hub] != c.session })
	if r.streams == nil {
		r.streams = map[StreamKey]claim{}
	}
	r.streams[stream] = claim{hub, s}
	return true
}

// StreamIsFree reports whether an IoTHub would get a consumer group if it proved once more that it
// may read it.
func (r *Registry) StreamIsFree(hub types.NamespacedName, stream StreamKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.isFree(hub, stream)
}

func (r *Registry) isFree(hub types.NamespacedName, stream StreamKey) bool {
	c, claimed := r.streams[stream]
	return !claimed || c.hub == hub || r.sessions[c.hub] != c.session || !c.session.reads(time.Now())
}

// reads reports whether a session that was let read events does so, or will in a moment.
func (s *Session) reads(now time.Time) bool {
	state := s.stream.Load()
	if state == nil {
		return false
	}
	switch state.Phase {
	case eventstream.Unauthorized, eventstream.HubGone, eventstream.GroupGone, eventstream.Shared:
		return false
	case eventstream.Unavailable, eventstream.Busy:
		return now.Sub(state.since) < IdleFor
	}
	return true
}
