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
	"github.com/pnp-operator/pnp-operator/internal/budget"
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
	// hearFor is how long the hub's events are listened to after the hub said that a device is offline, before that is believed: they arrive after what
	// they tell of, and a device that was given a command that reboots it is offline too.
	hearFor = 2 * time.Second
)

// flight is one attempt: one call of the hub, and its record.
type flight struct {
	key       types.NamespacedName
	command   *v1alpha1.DeviceCommand // as it was after the claim
	device    *v1alpha1.PnPDevice
	session   *hubs.Session
	hostName  string
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
	rests   map[types.NamespacedName]rest
	doubts  map[types.NamespacedName]suspicion
	unsent  map[types.NamespacedName]string // claims whose Running is not on record, so never sent
	closing bool
	all     sync.WaitGroup // claims that are being made, and flights
}

// NewFlights returns none. Wakes are dropped once ctx ends.
func NewFlights(ctx context.Context, c client.Client, reader client.Reader, recorder events.EventRecorder, log logr.Logger) *Flights {
	return &Flights{
		Client: c, Reader: reader, Recorder: recorder, Log: log, lifetime: ctx, wakes: make(chan event.GenericEvent, 1024),
		flying: map[types.NamespacedName]*flight{}, rests: map[types.NamespacedName]rest{}, doubts: map[types.NamespacedName]suspicion{},
		unsent: map[types.NamespacedName]string{},
	}
}

func (f *Flights) has(key types.NamespacedName) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flying[key] != nil
}

// look has a command reconciled.
func (f *Flights) look(key types.NamespacedName) {
	go send(f.lifetime, f.wakes, event.GenericEvent{Object: &v1alpha1.DeviceCommand{ObjectMeta: named(key)}})
}

func (f *Flights) remember(key types.NamespacedName, requestID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unsent[key] = requestID
}

func (f *Flights) forget(key types.NamespacedName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.unsent, key)
}

// neverSent reports whether this process made a claim and then could not record that it was running: it sent nothing.
func (f *Flights) neverSent(key types.NamespacedName, requestID string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unsent[key] == requestID
}

// admit counts a claim that is about to be made, so that a stop waits for it. It reports false once the operator stops: no claim is made then.
func (f *Flights) admit() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing {
		return false
	}
	f.all.Add(1)
	return true
}

// dismiss takes back what admit counted: no claim was made.
func (f *Flights) dismiss() { f.all.Done() }

// start begins the flight of a claim that was admitted. One that begins while the operator stops sends nothing.
func (f *Flights) start(one *flight) {
	ctx, cancel := context.WithCancel(context.Background())
	one.cancel = cancel
	f.mu.Lock()
	f.flying[one.key] = one
	closing := f.closing
	f.mu.Unlock()
	f.told(one.key) // whatever it was, it was about an earlier attempt
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
	f.clear(key)
	f.mu.Lock()
	defer f.mu.Unlock()
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
	if result.unsent() {
		one.session.GiveBack(one.key.String(), payloadOf(one.command)) // it was taken before the claim
	}
	if result.rest() > 0 {
		f.leaveAlone(one, result)
	}
	if !f.land(one, result) { // an object of that name is another one
		f.clear(one.key)
	}
	f.mu.Lock()
	delete(f.flying, one.key)
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
	ctx = budget.With(ctx, budget.Caller{Paid: true}) // before the claim
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
	a := command.Attempt{Connect: i.Connect, Elapsed: time.Since(began), Code: answer.StatusCode, Err: err}
	window := hubs.WindowOf(command.EndedAt(err), a.Elapsed)
	one.session.Calls().Answered(one.deviceID, window)
	if command.Judge(a) == command.Undelivered {
		a.Stirred = one.stirred(ctx)
	}
	return result{meaning: command.Judge(a), attempt: a, answer: answer, at: time.Now(), hostName: one.hostName, window: window}
}

// stirred listens for a while whether the device that is said to be offline was there.
func (one *flight) stirred(ctx context.Context) bool {
	select {
	case <-time.After(hearFor):
	case <-ctx.Done():
	}
	return one.session.Calls().Stirred(one.deviceID)
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
	if r.meaning == command.Undelivered && f.isDoubted(one.key, one.requestID) { // its events came while that was about to be recorded
		r.meaning, r.attempt.Stirred = command.Unknown, true
	}
	changed := one.command.DeepCopy()
	setVerdict(changed, describe(changed, r))
	return persistCommand(ctx, f.Client, f.Recorder, one.command, changed, one.device)
}

// persistCommand writes status on top of what it was computed from, and tells what is news: on the device, too, if the command has ended. device
// is nil if there is none.
func persistCommand(ctx context.Context, c client.Client, to events.EventRecorder, before, after *v1alpha1.DeviceCommand, device *v1alpha1.PnPDevice) error {
	statusPatches.WithLabelValues("DeviceCommand").Inc()
	if err := c.Status().Patch(ctx, after, wholeStatus{before}); err != nil {
		return client.IgnoreNotFound(err)
	}
	announce(to, before, after)
	if after.Finished() {
		commandOutcomes.WithLabelValues(string(after.Status.Outcome)).Inc()
		announceCommand(to, after, device)
	}
	return nil
}
