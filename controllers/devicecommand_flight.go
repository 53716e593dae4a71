package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
	sendWithin = 5 * time.Second
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
func (f *Flights) start(key types.NamespacedName, one *flight) {
	ctx, cancel := context.WithCancel(context.Background())
	one.cancel = cancel
	f.mu.Lock()
	f.flying[key] = one
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
	if result.meaning == command.Undelivered || result.meaning == command.Postponed {
		// Before it is known whether an event told of the device meanwhile: none must get lost in between.
		one.session.Calls().Await(one.deviceID, one.key, func() { f.deviceIsBack(one.key) })
	}
	f.land(one, result)
	f.mu.Lock()
	delete(f.flying, one.key)
	if rest := result.rest(); rest > 0 {
		f.rests[one.key] = time.Now().Add(rest)
	}
	f.mu.Unlock()
	one.session.Calls().End(one.deviceID)
	f.look(one.key)
}

// result is what an attempt came to.
type result struct {
	meaning command.Meaning
	attempt command.Attempt
	answer  iothub.CommandAnswer
	at      time.Time
}

// rest is how long the command is left alone after an attempt that did not reach its device.
func (r result) rest() time.Duration {
	switch r.meaning {
	case command.Undelivered:
		return restOffline
	case command.Postponed:
		switch postponedReason(r.attempt.Err) {
		case v1alpha1.ReasonQuotaExceeded:
			return restOffline
		case v1alpha1.ReasonDeviceNotFound, v1alpha1.ReasonDeviceDisabled:
			return restAbsent
		}
		return restPostponed
	case command.Succeeded, command.DeviceFailed, command.Refused, command.Unknown:
	}
	return 0
}

var errLate = errors.New("the operator was held up between its claim and sending")

// call asks the hub.
func (one *flight) call(ctx context.Context) result {
	if time.Since(one.claimed) > sendWithin {
		return result{meaning: command.Postponed, attempt: command.Attempt{Err: errLate}, at: time.Now()}
	}
	spec := one.command.Spec
	began := time.Now()
	left := spec.NotAfter.Sub(began).Truncate(time.Second)
	i := iothub.Invocation{
		DeviceID: one.deviceID, Component: spec.Component, Command: spec.Command, Payload: payloadOf(one.command),
		Connect:  max(min(time.Duration(spec.ConnectTimeoutSeconds)*time.Second, left), 0),
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

// land records what became of an attempt, however long that takes; it gives up only if the object is gone or another attempt's.
func (f *Flights) land(one *flight, r result) {
	for ctx := context.Background(); ; time.Sleep(recordRetry) {
		if f.isAbandoned(one) {
			f.Recorder.Eventf(one.device, nil, corev1.EventTypeWarning, v1alpha1.ReasonCommandAbandoned, actionRun,
				"DeviceCommand %q was deleted while the hub was being called for %s: the device may have run it", one.key.Name, methodOf(one.command))
			return
		}
		err := f.record(ctx, one, r)
		switch {
		case err == nil:
			return
		case apierrors.IsConflict(err):
			if !f.refresh(ctx, one) {
				return
			}
		default:
			f.Log.Error(err, "Could not record the outcome of a command, trying again", "DeviceCommand", one.key)
		}
		if f.lifetime.Err() != nil && time.Since(r.at) > drainFor {
			return // the next start finds the claim, and says Unknown
		}
	}
}

func (f *Flights) isAbandoned(one *flight) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return one.abandoned
}

// refresh takes the object as it is now for the next try. It reports false if the attempt is no longer the object's: then there is nothing to
// record. A result may still replace an Unknown that another replica wrote about this attempt.
func (f *Flights) refresh(ctx context.Context, one *flight) bool {
	now := &v1alpha1.DeviceCommand{}
	if err := f.Reader.Get(ctx, one.key, now); err != nil {
		return !apierrors.IsNotFound(err)
	}
	mine := now.UID == one.command.UID && now.Status.RequestID == one.requestID
	if !mine || now.Finished() && now.Status.Outcome != v1alpha1.CommandUnknown {
		return false
	}
	one.command = now
	return true
}

// record writes status on top of the object as it was after the claim.
func (f *Flights) record(ctx context.Context, one *flight, r result) error {
	base := one.command.DeepCopy()
	changed := one.command.DeepCopy()
	setVerdict(changed, describe(changed, one, r))
	statusPatches.WithLabelValues("DeviceCommand").Inc()
	if err := f.Client.Status().Patch(ctx, changed, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return client.IgnoreNotFound(err)
	}
	announce(f.Recorder, base, changed)
	if changed.Finished() {
		tellOf(f.Recorder, changed, one.device)
	}
	return nil
}

// describe puts a result into status and says what it means for the object.
func describe(c *v1alpha1.DeviceCommand, one *flight, r result) verdict {
	status := &c.Status
	why := command.Why(r.attempt)
	if r.attempt.Err == nil {
		raw, truncated := command.Response(r.answer.Payload)
		status.StatusCode, status.ResponseTruncated = new(int32(r.answer.StatusCode)), truncated
		status.Response = nil
		if raw != nil {
			status.Response = &apiextensionsv1.JSON{Raw: raw}
		}
	}
	finished := func(o v1alpha1.CommandOutcome, v verdict) verdict {
		status.Outcome, status.CompletionTime = o, &metav1.Time{Time: r.at}
		return v
	}
	switch r.meaning {
	case command.Succeeded:
		return finished(v1alpha1.CommandSucceeded, verdict{ready: true, reason: v1alpha1.ReasonSucceeded, message: why})
	case command.DeviceFailed:
		return finished(v1alpha1.CommandFailed, verdict{stalled: true, reason: v1alpha1.ReasonDeviceFailed, message: why})
	case command.Refused:
		return finished(v1alpha1.CommandFailed, verdict{stalled: true, reason: v1alpha1.ReasonHubRefused, message: "The hub refused the command: " + why})
	case command.Undelivered:
		status.ReleasedRequestID = one.requestID
		return verdict{reason: v1alpha1.ReasonDeviceOffline, message: "The device is offline; the command was not delivered and is sent when the device is back"}
	case command.Postponed:
		status.ReleasedRequestID = one.requestID
		return verdict{reason: postponedReason(r.attempt.Err), message: "The command was not delivered: " + why}
	case command.Unknown:
	}
	message := "The command was sent, and nobody can tell whether the device ran it: " + why
	if c.Spec.OnUnknownOutcome == v1alpha1.UnknownRetry && r.at.Before(c.Spec.NotAfter.Time) {
		return verdict{reason: v1alpha1.ReasonRetrying, message: message + "; it is sent again"}
	}
	return finished(v1alpha1.CommandUnknown, verdict{stalled: true, reason: v1alpha1.ReasonOutcomeUnknown, message: message})
}

func postponedReason(err error) string {
	e, ok := errors.AsType[*iothub.Error](err)
	switch {
	case !ok:
		return v1alpha1.ReasonProgressing
	case e.StatusCode == 0:
		return v1alpha1.ReasonHubUnavailable
	case e.Number == 404001:
		return v1alpha1.ReasonDeviceNotFound
	case e.Number == 403012:
		return v1alpha1.ReasonDeviceDisabled
	case e.Number == 403002:
		return v1alpha1.ReasonQuotaExceeded
	}
	return v1alpha1.ReasonThrottled
}

// tell announces the end of a command on its device.
func (r *DeviceCommandReconciler) tell(c *v1alpha1.DeviceCommand, device *v1alpha1.PnPDevice) {
	tellOf(r.Recorder, c, device)
}

// tellOf has `kubectl describe pnpdevice` show the last commands. device is nil if there is none.
func tellOf(to events.EventRecorder, c *v1alpha1.DeviceCommand, device *v1alpha1.PnPDevice) {
	commandOutcomes.WithLabelValues(string(c.Status.Outcome)).Inc()
	if device == nil {
		return
	}
	kind := corev1.EventTypeNormal
	if c.Status.Outcome != v1alpha1.CommandSucceeded {
		kind = corev1.EventTypeWarning
	}
	to.Eventf(device, c, kind, "Command"+string(c.Status.Outcome), actionRun, "%s by DeviceCommand %q: %s", methodOf(c), c.Name, readyOf(c).Message)
}

func methodOf(c *v1alpha1.DeviceCommand) string {
	if c.Spec.Component == "" {
		return c.Spec.Command
	}
	return fmt.Sprintf("%s/%s", c.Spec.Component, c.Spec.Command)
}
