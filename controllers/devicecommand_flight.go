package controllers

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/hubs"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
)

const (
	// sendWithin is how old a claim may be when it is sent. A replica that was paused after its claim must not wake up and send: another one may
	// have given the command up as Unknown, and a person may have acted on that.
	sendWithin = 4 * time.Second
	// drainFor is how long a stopping operator waits for answers before it records Unknown.
	drainFor = 20 * time.Second
	// recordRetry is the pause between two tries to record an outcome.
	recordRetry = time.Second

	// How long a command rests after an attempt that did not reach its device: offline attempts count as messages of the hub.
	restOffline   = 15 * time.Minute
	restAbsent    = 5 * time.Minute
	restPostponed = 30 * time.Second
	// settleFor is how long a device that has just come back is given to take commands. It connects first and registers for commands later; an
	// attempt in between would be refused while its events arrive, and count as Unknown.
	settleFor = 2 * time.Second
)

// flight is one attempt: one call of the hub, and its record.
type flight struct {
	key       types.NamespacedName
	command   *v1alpha1.DeviceCommand // as it was after the claim
	device    *v1alpha1.PnPDevice
	session   *hubs.Session
	deviceID  string
	requestID string
	claimed   time.Time // monotonic

	cancel    context.CancelFunc
	abandoned bool // the object is gone; guarded by Flights.mu
}

// Flights are the attempts of this process. They outlive reconciliations, sessions and the manager's context.
type Flights struct {
	Client   client.Client
	Reader   client.Reader // of the API server, not of a cache
	Recorder events.EventRecorder
	Log      logr.Logger

	wakes    chan event.GenericEvent
	lifetime context.Context

	mu      sync.Mutex
	flying  map[types.NamespacedName]*flight
	rests   map[types.NamespacedName]time.Time
	unsent  map[string]bool // request IDs of claims that were never recorded as Running, so never sent
	closing bool
	all     sync.WaitGroup
}

// NewFlights returns none. Wakes are dropped once ctx ends.
func NewFlights(ctx context.Context, c client.Client, reader client.Reader, recorder events.EventRecorder, log logr.Logger) *Flights {
	return &Flights{
		Client: c, Reader: reader, Recorder: recorder, Log: log, lifetime: ctx, wakes: make(chan event.GenericEvent, 1024),
		flying: map[types.NamespacedName]*flight{}, rests: map[types.NamespacedName]time.Time{}, unsent: map[string]bool{},
	}
}

func (f *Flights) has(key types.NamespacedName) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flying[key] != nil
}

// deviceIsBack ends the rest of a command whose device did something. It does not wait: events of the hub call it.
func (f *Flights) deviceIsBack(key types.NamespacedName) {
	time.AfterFunc(settleFor, func() {
		f.mu.Lock()
		delete(f.rests, key)
		f.mu.Unlock()
		f.look(key)
	})
}

// look has a command reconciled.
func (f *Flights) look(key types.NamespacedName) {
	go send(f.lifetime, f.wakes, event.GenericEvent{Object: &v1alpha1.DeviceCommand{ObjectMeta: named(key)}})
}

// restFor is how long a command has to rest yet.
func (f *Flights) restFor(key types.NamespacedName, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rests[key].Sub(now)
}

func (f *Flights) remember(requestID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unsent[requestID] = true
}

func (f *Flights) forget(requestID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.unsent, requestID)
}

// neverSent reports whether this process made a claim and then could not record that it was running: it sent nothing.
func (f *Flights) neverSent(requestID string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unsent[requestID]
}

// start begins a flight. One that begins while the operator stops sends nothing.
func (f *Flights) start(one *flight) {
	ctx, cancel := context.WithCancel(context.Background())
	one.cancel = cancel
	f.mu.Lock()
	f.flying[one.key] = one
	closing := f.closing
	f.all.Add(1)
	f.mu.Unlock()
	if closing {
		one.claimed = time.Time{}
	}
	go func() {
		defer f.all.Done()
		defer cancel()
		f.fly(ctx, one)
	}()
}

// abandon stops waiting for the answer to a command whose object is gone.
func (f *Flights) abandon(key types.NamespacedName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.rests, key)
	if one := f.flying[key]; one != nil {
		one.abandoned = true
		one.cancel()
	}
}

// Drain runs until the operator stops, and then waits for answers as long as there is time; what is left is recorded as Unknown.
func (f *Flights) Drain(stopping context.Context) error {
	<-stopping.Done()
	f.mu.Lock()
	f.closing = true
	f.mu.Unlock()
	landed := make(chan struct{})
	go func() { f.all.Wait(); close(landed) }()
	select {
	case <-landed:
		return nil
	case <-time.After(drainFor):
	}
	f.mu.Lock()
	for _, one := range f.flying {
		one.cancel()
	}
	f.mu.Unlock()
	<-landed
	return nil
}

// fly calls the hub once, unless the claim is too old, and records what became of it.
func (f *Flights) fly(ctx context.Context, one *flight) {
	result := one.call(ctx)
	if rest := result.rest(); rest > 0 {
		f.mu.Lock()
		f.rests[one.key] = time.Now().Add(rest)
		f.mu.Unlock()
		// An event may tell of the device before the outcome is recorded, which may take long. It ends the rest, so that has begun by then.
		one.session.Calls().Await(one.deviceID, one.key, func() { f.deviceIsBack(one.key) })
	}
	recorded := f.land(one, result)
	f.mu.Lock()
	delete(f.flying, one.key)
	if !recorded { // an object of that name is another one
		delete(f.rests, one.key)
	}
	f.mu.Unlock()
	one.session.Calls().End(one.deviceID)
	f.look(one.key)
}

var (
	errLate    = errors.New("the operator was held up between its claim and sending")
	errExpired = errors.New("notAfter passed between the claim and sending")
)

// call asks the hub.
func (one *flight) call(ctx context.Context) result {
	if time.Since(one.claimed) > sendWithin {
		return result{meaning: command.Postponed, attempt: command.Attempt{Err: errLate}, at: time.Now()}
	}
	spec := one.command.Spec
	began := time.Now()
	left := spec.NotAfter.Sub(began)
	if left <= 0 {
		return result{meaning: command.Postponed, attempt: command.Attempt{Err: errExpired}, at: began}
	}
	i := iothub.Invocation{
		DeviceID: one.deviceID, Component: spec.Component, Command: spec.Command, Payload: payloadOf(one.command),
		Connect:  min(time.Duration(spec.ConnectTimeoutSeconds)*time.Second, left.Truncate(time.Second)),
		Response: time.Duration(spec.ResponseTimeoutSeconds) * time.Second,
	}
	invoke := one.session.InvokeCommand
	if one.command.Status.Route == v1alpha1.RouteDirectMethod {
		invoke = one.session.InvokeMethod
	}
	answer, err := invoke(ctx, i)
	a := command.Attempt{
		Connect: i.Connect, Elapsed: time.Since(began), Stirred: one.session.Calls().Stirred(one.deviceID), Code: answer.StatusCode, Err: err,
	}
	return result{command.Judge(a), a, answer, time.Now()}
}

// land records what became of an attempt, however long that takes; it gives up only if the object is gone or another attempt's, which it reports as
// false.
func (f *Flights) land(one *flight, r result) (recorded bool) {
	_ = wait.PollUntilContextCancel(context.Background(), recordRetry, true, func(ctx context.Context) (done bool, _ error) {
		if f.isAbandoned(one) {
			announceAbandoned(f.Recorder, one.command, one.device)
			return true, nil
		}
		err := f.record(ctx, one, r)
		switch {
		case err == nil:
			recorded = true
			return true, nil
		case apierrors.IsConflict(err):
			if !f.refresh(ctx, one, r) {
				return true, nil
			}
		default:
			f.Log.Error(err, "Could not record the outcome of a command, trying again", "DeviceCommand", one.key)
		}
		// Given up at the end: the next start finds the claim, and says Unknown.
		return f.lifetime.Err() != nil && time.Since(r.at) > drainFor, nil
	})
	return recorded
}

func (f *Flights) isAbandoned(one *flight) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return one.abandoned
}

// refresh takes the object as it is now for the next try. It reports false if the attempt is no longer the object's: then there is nothing to
// record. What the device or the hub answered may still replace an Unknown that another replica wrote about this attempt; that it was not delivered
// may not, as the command has ended.
func (f *Flights) refresh(ctx context.Context, one *flight, r result) bool {
	now := &v1alpha1.DeviceCommand{}
	if err := f.Reader.Get(ctx, one.key, now); err != nil {
		return !apierrors.IsNotFound(err)
	}
	mine := now.UID == one.command.UID && now.Status.RequestID == one.requestID
	if !mine || now.Finished() && (now.Status.Outcome != v1alpha1.CommandUnknown || !r.answered()) {
		return false
	}
	one.command = now
	return true
}

// record writes status on top of the object as it was after the claim.
func (f *Flights) record(ctx context.Context, one *flight, r result) error {
	changed := one.command.DeepCopy()
	setVerdict(changed, describe(changed, r))
	return persistCommand(ctx, f.Client, f.Recorder, one.command, changed, one.device)
}

// persistCommand writes status on top of what it was computed from, and tells what is news: on the device, too, if the command has ended. device
// is nil if there is none.
func persistCommand(ctx context.Context, c client.Client, to events.EventRecorder, before, after *v1alpha1.DeviceCommand, device *v1alpha1.PnPDevice) error {
	statusPatches.WithLabelValues("DeviceCommand").Inc()
	if err := c.Status().Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return client.IgnoreNotFound(err)
	}
	announce(to, before, after)
	if after.Finished() {
		commandOutcomes.WithLabelValues(string(after.Status.Outcome)).Inc()
		announceCommand(to, after, device)
	}
	return nil
}
