package session

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// kept is a session that outlives what it was built from: the IoTHub, its Secret or the right to
// read that. Nothing runs beside it, and Get does not return it, so that nothing but properties of
// objects that are being deleted is written with its credential, and only until then.
type kept struct {
	session *Session
	until   time.Time
	timer   *time.Timer
}

// Keep ends what runs beside the session of an IoTHub, and keeps the session itself for clearing.
// ended is called when that time is over, unless another session or Drop has ended it. One that is
// kept already is kept no longer for it.
func (r *Registry) Keep(hub types.NamespacedName, during time.Duration, ended func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[hub]
	if s == nil {
		return
	}
	delete(r.sessions, hub)
	s.stop()
	k := &kept{session: s, until: time.Now().Add(during)}
	k.timer = time.AfterFunc(during, func() {
		if r.expire(hub, k) {
			ended()
		}
	})
	if r.kept == nil {
		r.kept = map[types.NamespacedName]*kept{}
	}
	r.kept[hub] = k
}

// expire ends a session that was kept, if it still is.
func (r *Registry) expire(hub types.NamespacedName, k *kept) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept[hub] != k {
		return false
	}
	r.release(hub)
	return true
}

// release ends the session that is kept for an IoTHub, and returns it, nil if there is none. The
// registry is locked.
func (r *Registry) release(hub types.NamespacedName) *Session {
	k := r.kept[hub]
	if k == nil {
		return nil
	}
	delete(r.kept, hub)
	k.timer.Stop()
	k.session.hub.Close()
	return k.session
}

// ForClearing returns the session that can remove properties of objects that are being deleted,
// nil if there is none, and until when it is kept; zero is not limited.
func (r *Registry) ForClearing(hub types.NamespacedName) (s *Session, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sessions[hub]; s != nil {
		return s, time.Time{}
	}
	if k := r.kept[hub]; k != nil {
		return k.session, k.until
	}
	return nil, time.Time{}
}

// Obstruct notes what keeps an IoTHub from having a session until a person acts; "" is nothing. It
// reports whether that is news.
func (r *Registry) Obstruct(hub types.NamespacedName, obstacle string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.obstacles[hub] == obstacle {
		return false
	}
	if obstacle == "" {
		delete(r.obstacles, hub)
		return true
	}
	if r.obstacles == nil {
		r.obstacles = map[types.NamespacedName]string{}
	}
	r.obstacles[hub] = obstacle
	return true
}

// Obstacle returns what was noted last.
func (r *Registry) Obstacle(hub types.NamespacedName) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.obstacles[hub]
}
