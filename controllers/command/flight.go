package command

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/finish"
	"github.com/pnp-operator/pnp-operator/controllers/ledgerstore"
	"github.com/pnp-operator/pnp-operator/controllers/metrics"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/ledger"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

const (
	// sendWithin is how old a claim may be when it is sent. A replica that was paused after its
	// claim must not wake up and send: another one may have given the command up as Unknown, and a
	// person may have acted on that.
	sendWithin = 4 * time.Second
	// drainFor is how long a stopping operator waits for answers before it records Unknown.
	drainFor = 20 * time.Second
	// recordRetry is the pause between two tries to record an outcome.
	recordRetry = time.Second
	// showAfter is how long the hub is called before status says so: most answers come sooner, and
	// each patch saved is one in four.
	showAfter = 3 * time.Second
	// hearFor is how long the hub's events are listened to after the hub said that a device is
	// offline, before that is believed: they arrive after what they tell of, and a device that was
	// given a command that reboots it is offline too.
	hearFor = 2 * time.Second
)

// flight is one attempt: one call of the hub, and its record.
type flight struct {
	key         types.NamespacedName
	command     *v1alpha1.DeviceCommand // as it was after the claim
	device      *v1alpha1.PnPDevice     // its metadata, for Events
	session     *session.Session
	destination string
	deviceID    string
	requestID   string
	route       v1alpha1.CommandRoute
	claimed     time.Time // monotonic; when the claim began
	at          time.Time // the same, for status

	// The following are for the claim. claims is false if there is one already.
	claims     bool
	invocation ledgerstore.Invocation
	over       *ledger.Entry // what is on record before it
	proof      ledger.Proof  // that it may follow, where that is not known from the entry
	longest    time.Duration // that the attempt may go on
	giveBack   func()        // the token of the call

	slot    *command.Slot
	refused bool // the API server refused the outcome, and it was told of
}

// Flights make the attempts of this process, which are in its registry of commands. They outlive
// reconciliations, sessions and the manager's context.
type Flights struct {
	Client   client.Client
	Reader   client.Reader // of the API server, not of a cache
	Recorder events.EventRecorder
	Ledger   *ledgerstore.Store
	Log      logr.Logger
	// Registry has what this process does with each command.
	Registry *command.Registry

	wakes    chan event.GenericEvent
	lifetime context.Context
	looks    looks // at devices, before a command is sent
	arrivals arrivals
}

// NewFlights returns an owner of no flight. Triggers are dropped once ctx ends.
func NewFlights(ctx context.Context, c client.Client, reader client.Reader, recorder events.EventRecorder, ledger *ledgerstore.Store, log logr.Logger) *Flights {
	f := &Flights{
		Client: c, Reader: reader, Recorder: recorder, Ledger: ledger, Log: log, lifetime: ctx, wakes: make(chan event.GenericEvent, 1024),
	}
	f.looks = newLooks(ctx, f.look)
	f.Registry = command.NewRegistry(f.look)
	return f
}

// has reports whether an attempt of a command is under way.
func (f *Flights) has(key types.NamespacedName) bool { return f.Registry.State(key) == command.Running }

// look has a command reconciled.
func (f *Flights) look(key types.NamespacedName) {
	go triggers.Send(f.lifetime, f.wakes, event.GenericEvent{Object: &v1alpha1.DeviceCommand{ObjectMeta: triggers.Named(key)}})
}

// nextID returns the request ID of the next attempt: that of a claim that nothing was sent with,
// which the annotation may have, or a new one.
func (f *Flights) nextID(key types.NamespacedName) string {
	return cmp.Or(f.Registry.Unsent(key), newRequestID())
}

// start begins a flight that has a slot. One that begins while the operator stops sends nothing.
func (f *Flights) start(one *flight) {
	if f.Registry.IsClosing() {
		one.claimed = time.Time{}
	}
	one.slot.Start(func(ctx context.Context) { f.fly(ctx, one) })
}

// abandon stops waiting for the answer to a command whose object is gone. Its device is listened
// for all the same: if its last attempt reached it after all, another object must not be sent.
func (f *Flights) abandon(key types.NamespacedName) {
	f.looks.Forget(key)
	doubted := f.Registry.Gone(key)
	if doubted == nil {
		return
	}
	f.Ledger.ConcludeLater(ledgerstore.Invocation{Namespace: key.Namespace, Key: doubted.Record}, ledger.Entry{
		Request: doubted.RequestID, NotAfter: time.Now(), Outcome: &ledger.Outcome{Outcome: v1alpha1.CommandUnknown, Message: doubtText, At: time.Now()},
	})
}

// leaveLine has a command that is not sent any more wait for no place, and no look at its device.
func (f *Flights) leaveLine(key types.NamespacedName) {
	f.looks.Forget(key)
	f.Registry.LeaveLine(key)
}

// clear drops what is known of a command that needs it no more.
func (f *Flights) clear(key types.NamespacedName) {
	f.looks.Forget(key)
	f.Registry.Clear(key)
}

// Drain runs until the operator stops, and then waits for answers as long as there is time; what is
// left is recorded as Unknown.
func (f *Flights) Drain(stopping context.Context) error {
	<-stopping.Done()
	f.Registry.Drain(drainFor)
	f.flush()
	return nil
}

// flush has the ledger write what it kept back.
func (f *Flights) flush() {
	ctx, cancel := finish.ForRecord(context.Background())
	defer cancel()
	f.Ledger.Flush(ctx)
}

// fly claims the command, calls the hub once, unless the claim is too old, and records what became
// of it.
func (f *Flights) fly(ctx context.Context, one *flight) {
	if one.claims {
		if err := f.claim(one); err != nil {
			f.turnBack(one, err)
			return
		}
	}
	result := f.ask(ctx, one)
	if result.unsent() {
		one.session.GiveBack(one.key.String(), payloadOf(one.command)) // it was taken before the claim
	}
	one.command.Spec.Payload = nil // to record the outcome may take long
	if result.isPostponed() {
		f.leaveAlone(one, result)
	}
	recorded := f.land(ctx, one, result)
	f.account(one, result, recorded)
	if !recorded { // an object of that name is another one
		f.abandon(one.key)
	}
	one.slot.End()
}

// turnBack ends a flight whose claim failed. The next pass says why, or decides anew.
func (f *Flights) turnBack(one *flight, err error) {
	one.giveBack()
	if !isRefused(err) {
		f.Registry.ClaimFailed(one.key, err)
	}
	one.slot.End()
}

// ask calls the hub, and has status say so if that takes long.
func (f *Flights) ask(ctx context.Context, one *flight) result {
	answered := make(chan result, 1)
	command := one.command
	go func() { answered <- one.call(ctx, command) }()
	timer := time.NewTimer(showAfter)
	defer timer.Stop()
	select {
	case r := <-answered:
		return r
	case <-timer.C:
	}
	f.showRunning(one)
	return <-answered
}

// showRunning is for people: no decision depends on it, so that it is tried once.
func (f *Flights) showRunning(one *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), ledgerstore.CallTime)
	defer cancel()
	changed := one.command.DeepCopy()
	one.begun(&changed.Status)
	changed.Status.ObservedGeneration = changed.Generation
	conditions.SetVerdict(changed, conditions.Verdict{Reason: v1alpha1.ReasonRunning, Message: "Sent to the device; waiting for its answer"})
	if f.Client.Status().Patch(ctx, changed, wholeStatus{one.command}) == nil {
		one.command = changed
	}
}

// begun has status name the attempt.
func (one *flight) begun(status *v1alpha1.DeviceCommandStatus) {
	if status.RequestID == one.requestID && status.ReleasedRequestID != one.requestID {
		return
	}
	if status.ReleasedRequestID == one.requestID { // nothing was sent with it before
		status.ReleasedRequestID = ""
	}
	status.RequestID, status.DeviceID, status.Route, status.StartTime = one.requestID, one.deviceID, one.route, &metav1.Time{Time: one.at}
	status.DeviceOffline = nil
	status.Attempts++
}

// account has the ledger know what became of an attempt. One that nothing is known of stays open
// where status does not end with it either: its object is gone, or it is to be sent again.
func (f *Flights) account(one *flight, r result, recorded bool) {
	c := one.command
	if !recorded {
		c = one.outcome(r)
	}
	switch {
	case c.Status.RequestID != one.requestID:
	case c.Status.ReleasedRequestID == one.requestID:
		f.Ledger.ReleaseLater(one.invocation, one.requestID, c.Status.DeviceOffline != nil)
	case c.Finished() && (recorded || r.answered()):
		f.Ledger.ConcludeLater(one.invocation, concluded(c))
	}
}

// outcome is the object with what an attempt came to.
func (one *flight) outcome(r result) *v1alpha1.DeviceCommand {
	changed := one.command.DeepCopy()
	one.begun(&changed.Status)
	changed.Status.ObservedGeneration = changed.Generation
	conditions.SetVerdict(changed, describe(changed, r))
	return changed
}

var (
	errLate    = errors.New("the operator was held up between its claim and sending")
	errExpired = errors.New("notAfter passed between the claim and sending")
)

// call asks the hub.
func (one *flight) call(ctx context.Context, c *v1alpha1.DeviceCommand) result {
	if time.Since(one.claimed) > sendWithin {
		return result{meaning: command.Postponed, attempt: command.Attempt{Err: errLate}, at: time.Now()}
	}
	spec := c.Spec
	began := time.Now()
	left := spec.NotAfter.Sub(began)
	if left <= 0 {
		return result{meaning: command.Postponed, attempt: command.Attempt{Err: errExpired}, at: began}
	}
	i := iothub.Invocation{
		DeviceID: one.deviceID, Component: spec.Component, Command: spec.Command, Payload: payloadOf(c),
		Connect:  min(time.Duration(spec.ConnectTimeoutSeconds)*time.Second, left.Truncate(time.Second)),
		Response: time.Duration(spec.ResponseTimeoutSeconds) * time.Second,
	}
	hub := one.session.As(budget.Caller{Paid: true}) // before the claim
	invoke := hub.InvokeCommand
	if one.route == v1alpha1.RouteDirectMethod {
		invoke = hub.InvokeMethod
	}
	answer, err := invoke(ctx, i)
	a := command.Attempt{Connect: i.Connect, Elapsed: time.Since(began), Code: answer.StatusCode, Err: err}
	window := command.WindowOf(command.EndedAt(err), a.Elapsed)
	one.slot.Answered(window)
	if command.Judge(a) == command.Undelivered {
		a.Stirred = one.stirred(ctx)
	}
	response, cut := command.Response(answer.Payload)
	return result{
		meaning: command.Judge(a), attempt: a, response: bytes.Clone(response), truncated: cut, at: time.Now(), destination: one.destination, window: window,
	}
}

// stirred listens for a while whether the device that is said to be offline was there.
func (one *flight) stirred(ctx context.Context) bool {
	select {
	case <-time.After(hearFor):
	case <-ctx.Done():
	}
	return one.slot.IsStirred()
}

// land records what became of an attempt, however long that takes; it gives up only if the object
// is gone or another attempt's, which it reports as false. An outcome that the API server refuses
// it offers less and less often, without a place at the hub: that may go on for as long as a rule
// that others have for objects.
func (f *Flights) land(ctx context.Context, one *flight, r result) (recorded bool) {
	var refused, pause time.Duration
	isAside := false
	for ; ; f.pause(ctx, pause) {
		if one.slot.IsAbandoned() {
			announceAbandoned(f.Recorder, one.command, one.device)
			return false
		}
		err := f.record(AsOutcome(context.Background()), one, r)
		pause = recordRetry
		switch {
		case err == nil:
			return true
		case apierrors.IsConflict(err):
			if !f.refresh(context.Background(), one, r) {
				return false
			}
		case finish.IsRefusal(err):
			if !isAside {
				isAside = true
				one.slot.Leave()
				f.standAside(one, one.outcome(r))
			}
			refused = waits.Outcome.After(2 * refused)
			pause = session.Jittered(refused)
			fallthrough
		default:
			f.Log.Error(err, "Could not record the outcome of a command, trying again", "DeviceCommand", one.key)
		}
		if f.lifetime.Err() != nil && time.Since(r.at) > drainFor { // the next start finds the claim, and says Unknown
			return false
		}
	}
}

type outcomeKey struct{}

// AsOutcome marks requests that record what became of a command that this process sent.
func AsOutcome(ctx context.Context) context.Context {
	return context.WithValue(ctx, outcomeKey{}, true)
}

// IsOutcome reports whether a request to the API server records what became of a command that this
// process sent. That is true whoever leads by now.
func IsOutcome(ctx context.Context) bool { return ctx.Value(outcomeKey{}) != nil }

// standAside lets the next command of the device go on, whatever status says of this one: once it
// has ended, or would have.
func (f *Flights) standAside(one *flight, c *v1alpha1.DeviceCommand) {
	if c.Finished() {
		f.passBy(c)
		return
	}
	time.AfterFunc(time.Until(c.Spec.NotAfter.Time), func() {
		if one.slot.IsUnderWay() {
			f.passBy(c)
		}
	})
}

// pause is one between two tries to record an outcome. It is short once the object is gone, or the
// operator stops.
func (f *Flights) pause(ctx context.Context, d time.Duration) {
	time.Sleep(recordRetry)
	select {
	case <-time.After(d - recordRetry):
	case <-ctx.Done():
	case <-f.lifetime.Done():
	}
}

// refresh takes the object as it is now for the next try. It reports false if the attempt is no
// longer the object's: then there is nothing to record. The answer of the device or the hub may
// still replace an Unknown that another replica wrote about this attempt; that it was not delivered
// may not, as the command has ended.
func (f *Flights) refresh(ctx context.Context, one *flight, r result) bool {
	now := &v1alpha1.DeviceCommand{}
	if err := f.Reader.Get(ctx, one.key, now); err != nil {
		return !apierrors.IsNotFound(err)
	}
	mine := now.Status.RequestID == one.requestID || now.Status.RequestID == one.command.Status.RequestID
	if now.UID != one.command.UID || !mine || now.Finished() && (now.Status.Outcome != v1alpha1.CommandUnknown || !r.answered()) {
		return false
	}
	one.command = now
	return true
}

// record writes status on top of the object as it was after the claim.
func (f *Flights) record(ctx context.Context, one *flight, r result) error {
	if r.meaning == command.Undelivered && f.Registry.IsDoubted(one.key, one.requestID) { // its events came while that was about to be recorded
		r.meaning, r.attempt.Stirred = command.Unknown, true
	}
	changed := one.outcome(r)
	stored := changed // also if the object is gone
	e := &finish.Ending{Before: one.command}
	endsCommand(e, changed)
	e.Answered = func(written finish.Object, err error) {
		if err == nil {
			stored = written.(*v1alpha1.DeviceCommand)
			announceOutcome(f.Recorder, stored, one.device, true)
		}
	}
	e.Refused = func(refusal error, isOnRecord bool) error {
		if !one.refused {
			one.refused = true
			finish.AnnounceRefusal(f.Recorder, e.Before, refusal)
		}
		if isOnRecord {
			return nil
		}
		return refusal
	}
	if err := e.Persist(ctx, f.Client, f.Recorder); err != nil {
		return err
	}
	one.command = stored
	return nil
}

// endsCommand has a command say what its status holds. One that the API server does not take with
// the device's answer is written without.
func endsCommand(e *finish.Ending, command *v1alpha1.DeviceCommand) {
	e.After = command
	e.Patch = func(read finish.Object) client.Patch { return wholeStatus{read.(*v1alpha1.DeviceCommand)} }
	e.Less = func(error) []finish.Object {
		less := command.DeepCopy()
		withoutAnswer(less)
		return []finish.Object{less}
	}
}

// announceOutcome tells on the device that a command has ended. device is nil if there is none.
// counts is false of an outcome that an earlier object had: it was told of then.
func announceOutcome(to events.EventRecorder, command *v1alpha1.DeviceCommand, device *v1alpha1.PnPDevice, counts bool) {
	if command.Finished() && counts {
		metrics.CommandOutcomes.WithLabelValues(string(command.Status.Outcome)).Inc()
		announceCommand(to, command, device)
	}
}
