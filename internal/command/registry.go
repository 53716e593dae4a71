package command

import (
	"errors"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// maxPlaces is how many commands may be under way at one hub. Each may wait for minutes, so they
// are more than the workers of a controller.
const maxPlaces = 64

const (
	// smallPayload is what any command may carry, in bytes.
	smallPayload = 4 << 10
	// maxLarge is how many commands with a larger payload may be under way at all hubs together.
	maxLarge = 64
)

// Errors of Reserve.
var (
	// ErrNoPlace means that the device or the hub has no place. The command is told of one.
	ErrNoPlace = errors.New("the device or the hub has no place for the command")
	// ErrClosing means that the operator stops: no claim is made then.
	ErrClosing = errors.New("the operator stops")
)

// State is what this process does with a command.
type State string

// States of a command.
const (
	// Idle means that nothing is under way.
	Idle State = "Idle"
	// Waiting means that it found no place at its hub.
	Waiting State = "Waiting"
	// Running means that an attempt is claimed, sent or recorded.
	Running State = "Running"
	// Resting means that it is left alone after an attempt that did not reach its device.
	Resting State = "Resting"
	// Doubted means that events said that such an attempt may have reached it, which is not on
	// record.
	Doubted State = "Doubted"
)

// Hub is a hub as an IoTHub object has it.
type Hub struct {
	IoTHub types.NamespacedName
	Host   string
}

// Life is that of sessions which follow each other without a gap.
type Life struct{ _ byte }

// Site is where the events of a device are heard.
type Site struct {
	Hub

	Life *Life
}

// Registry is the one owner of what this process knows of commands. It outlives sessions of hubs:
// an attempt goes on, and is heard, whatever becomes of the one that it began at.
type Registry struct {
	look func(types.NamespacedName)

	all sync.WaitGroup // attempts

	mu      sync.Mutex
	closing bool
	runs    map[types.NamespacedName]*run
	lines   map[Hub]*line
	large   map[string]int // attempts with large payloads, by namespace
}

// Request asks for a place for an attempt of a command.
type Request struct {
	// Key and Object are the name and the UID of the command.
	Key    types.NamespacedName
	Object types.UID
	// Site and Device are where the command goes.
	Site   Site
	Device string
	// Payload is the size of what the command carries, in bytes.
	Payload int
	// Freed is called once there may be a place, if there is none now.
	Freed func()
}

func (q Request) isLarge() bool { return q.Payload > smallPayload }

// run is what is known of one command. One of which nothing is known is not kept.
type run struct {
	key     types.NamespacedName
	slot    *Slot     // the attempt that is under way
	turn    *turn     // it waits for a place
	rest    *rest     // after the last attempt
	unsent  string    // request ID of a claim that nothing was sent with
	failure error     // why the last claim failed, until the next pass
	passed  types.UID // the command has ended, and the API server refuses its status
}

// turn is a command's place in the line of those that found none at the hub.
type turn struct{ Request }

// line is the commands at one hub.
type line struct {
	busy    map[string]*Slot // by device
	waiting []*run           // the first one first
	resting map[string]map[types.NamespacedName]*run
}

// NewRegistry returns one that knows of nothing. look has a command reconciled, and must not wait.
func NewRegistry(look func(types.NamespacedName)) *Registry {
	return &Registry{look: look, runs: map[types.NamespacedName]*run{}, lines: map[Hub]*line{}, large: map[string]int{}}
}

// State returns what this process does with a command.
func (r *Registry) State(key types.NamespacedName) State {
	r.mu.Lock()
	defer r.mu.Unlock()
	is := r.runs[key]
	switch {
	case is == nil:
		return Idle
	case is.slot != nil:
		return Running
	case is.rest != nil && is.rest.doubted:
		return Doubted
	case is.turn != nil:
		return Waiting
	case is.rest != nil:
		return Resting
	}
	return Idle
}

// RunsFor returns the UID of the command that the attempt under way is for, empty if there is none.
// An object that was deleted and created again has its name, and another UID.
func (r *Registry) RunsFor(key types.NamespacedName) types.UID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if is := r.runs[key]; is != nil && is.slot != nil {
		return is.slot.Object
	}
	return ""
}

// change has a function change what is known of a command, with the lock held.
func (r *Registry) change(key types.NamespacedName, how func(*run)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	is := r.runs[key]
	if is == nil {
		is = &run{key: key}
		r.runs[key] = is
	}
	how(is)
	r.prune(is)
}

// prune drops a command of which nothing is known.
func (r *Registry) prune(is *run) {
	if *is == (run{key: is.key}) {
		delete(r.runs, is.key)
	}
}

// lineOf returns the line of a hub, with the lock held.
func (r *Registry) lineOf(hub Hub) *line {
	l := r.lines[hub]
	if l == nil {
		l = &line{busy: map[string]*Slot{}, resting: map[string]map[types.NamespacedName]*run{}}
		r.lines[hub] = l
	}
	return l
}

// trim drops a line that nobody is in.
func (r *Registry) trim(hub Hub) {
	if l := r.lines[hub]; l != nil && len(l.busy)+len(l.waiting)+len(l.resting) == 0 {
		delete(r.lines, hub)
	}
}

// Unsent returns the request ID of a claim that nothing was sent with, which the object may have.
func (r *Registry) Unsent(key types.NamespacedName) (requestID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if is := r.runs[key]; is != nil {
		return is.unsent
	}
	return ""
}

// Claiming notes the request ID of a claim that is about to be made, until Claimed.
func (r *Registry) Claiming(key types.NamespacedName, requestID string) {
	r.change(key, func(is *run) { is.unsent = requestID })
}

// Claimed notes that the claim is on record, and is about to be sent.
func (r *Registry) Claimed(key types.NamespacedName) {
	r.change(key, func(is *run) { is.unsent = "" })
}

// ClaimFailed notes why a claim failed, for the next pass to say.
func (r *Registry) ClaimFailed(key types.NamespacedName, err error) {
	r.change(key, func(is *run) { is.failure = err })
}

// Failure returns why the last claim failed, once.
func (r *Registry) Failure(key types.NamespacedName) (err error) {
	r.change(key, func(is *run) { err, is.failure = is.failure, nil })
	return err
}

// PassBy notes that a command has ended whose status the API server refuses. It reports whether
// that is news.
func (r *Registry) PassBy(key types.NamespacedName, object types.UID) (isNews bool) {
	r.change(key, func(is *run) { isNews, is.passed = is.passed != object, object })
	return isNews
}

// IsPassedBy reports whether a command has ended although its status does not say so.
func (r *Registry) IsPassedBy(key types.NamespacedName, object types.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	is := r.runs[key]
	return is != nil && is.passed == object && object != ""
}

// Clear drops what is known of a command that needs it no more. An attempt that is under way goes
// on.
func (r *Registry) Clear(key types.NamespacedName) {
	r.change(key, func(is *run) {
		r.clear(is)
	})
}

func (r *Registry) clear(is *run) {
	r.leaveLine(is)
	r.unlist(is)
	is.rest, is.unsent, is.failure, is.passed = nil, "", nil, ""
}

// Gone notes that the object of a command is gone. Nobody waits for the answer to an attempt any
// more. Its device is listened for all the same, for as long as a command of that name and spec may
// be sent: if the last attempt reached it after all, that one must not be. A rest that is in doubt
// is returned, to be put on record.
func (r *Registry) Gone(key types.NamespacedName) (doubted *Rest) {
	r.change(key, func(is *run) {
		if is.slot != nil {
			is.slot.abandon()
		}
		if is.rest != nil && is.rest.doubted {
			doubted = &is.rest.Rest
		}
		if left, listens := is.listensFor(); listens {
			r.leaveLine(is)
			is.expire(left, r.look)
			return
		}
		r.clear(is)
	})
	return doubted
}

// listensFor returns how long a rest matters whose object is gone, false if it does not.
func (is *run) listensFor() (time.Duration, bool) {
	if is.rest == nil || !is.rest.listens() || is.rest.Over {
		return 0, false
	}
	left := time.Until(is.rest.NotAfter)
	return left, left > 0
}

// expire has a command looked at once more when its rest does not matter any more.
func (is *run) expire(after time.Duration, look func(types.NamespacedName)) {
	if !is.rest.expires {
		is.rest.expires = true
		time.AfterFunc(after, func() { look(is.key) })
	}
}

// LeaveLine ends the waiting for a place of a command that is not sent any more.
func (r *Registry) LeaveLine(key types.NamespacedName) { r.change(key, r.leaveLine) }

// leaveLine ends the waiting for a place, with the lock held.
func (r *Registry) leaveLine(is *run) {
	if is.turn == nil {
		return
	}
	hub := is.turn.Site.Hub
	l := r.lineOf(hub)
	l.waiting = slices.DeleteFunc(l.waiting, func(o *run) bool { return o == is })
	is.turn = nil
	r.trim(hub)
}

// Close has no more claims made.
func (r *Registry) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closing = true
}

// IsClosing reports whether the operator stops.
func (r *Registry) IsClosing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closing
}

// Drain waits for the attempts that are under way, and after a while ends the calls of those that
// are left.
func (r *Registry) Drain(within time.Duration) {
	r.Close()
	timer := time.AfterFunc(within, r.cancelAll)
	defer timer.Stop()
	r.Wait()
}

// Wait waits for the attempts that are under way.
func (r *Registry) Wait() { r.all.Wait() }

func (r *Registry) cancelAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, is := range r.runs {
		if is.slot != nil && is.slot.cancel != nil {
			is.slot.cancel()
		}
	}
}
