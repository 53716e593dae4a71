package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/cached/cachedtest"
	"github.com/pnp-operator/pnp-operator/controllers/ledgerstore"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/ledger"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// step is what an operator does with a command, in this order: a write of the ledger and one of the
// object that claim it, the call of the hub, a write of the outcome.
type step int

const (
	claiming step = iota
	sealing
	calling
	recording
	never
)

// crash is where an operator ends: before a step has had its effect, or after, with no answer to it.
type crash struct {
	at    step
	after bool
}

var crashes = map[string]crash{
	"not at all":              {never, false},
	"before the claim":        {claiming, false},
	"after the claim":         {claiming, true},
	"before the seal":         {sealing, false},
	"after the seal":          {sealing, true},
	"before the hub delivers": {calling, false},
	"after the hub delivered": {calling, true},
	"before the outcome":      {recording, false},
	"after the outcome":       {recording, true},
}

// factory is an API server, a hub and a device that outlive operators.
type factory struct {
	t   *testing.T
	api client.WithWatch
	// answer is what the hub says of a command that it has delivered, or not: then delivers is false.
	answer   func(i iothub.Invocation) (iothub.CommandAnswer, error)
	delivers bool
	// twin is what the hub says of the device.
	twin func() (*twin.Twin, error)

	mu        sync.Mutex
	delivered []string // to the device, by the time of delivery
	reads     int      // of the twin
}

// process is an operator. One that has crashed reaches nothing any more.
type process struct {
	session.Hub

	factory *factory
	crash   crash
	dead    context.Context
	die     context.CancelFunc
	api     client.Client
	r       *DeviceCommandReconciler
	// refuse is an API server that takes no write of a step, nil: it takes all.
	refuse func(step) error
}

var errDead = errors.New("this process is dead")

func newFactory(t *testing.T, edit func(*v1alpha1.DeviceCommandSpec)) *factory {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	ready := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSucceeded}}
	command := &v1alpha1.DeviceCommand{
		ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: "c", UID: "1"},
		Spec: v1alpha1.DeviceCommandSpec{
			DeviceRef: v1alpha1.DeviceReference{Name: "d"}, Command: "reboot", NotAfter: metav1.NewTime(time.Now().Add(time.Hour)),
			ResponseTimeoutSeconds: 30, OnUnknownOutcome: v1alpha1.UnknownFail,
		},
	}
	edit(&command.Spec)
	return &factory{t: t, delivers: true, api: cachedtest.NewClientBuilder(scheme).WithStatusSubresource(command).
		WithObjects(
			command,
			&v1alpha1.IoTHub{
				ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: "hub"}, Spec: v1alpha1.IoTHubSpec{HostName: "h"}, Status: v1alpha1.IoTHubStatus{Conditions: ready},
			},
			&v1alpha1.PnPDevice{
				ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: "d", UID: "d"}, Spec: v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: "hub"}},
				Status: v1alpha1.PnPDeviceStatus{Conditions: ready, Twin: &v1alpha1.TwinReference{Hub: "h", DeviceID: "d", Etag: "e"}},
			},
		).Build()}
}

func (f *factory) stored() *v1alpha1.DeviceCommand {
	f.t.Helper()
	c := &v1alpha1.DeviceCommand{}
	if err := f.api.Get(context.Background(), client.ObjectKey{Namespace: "factory", Name: "c"}, c); err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *factory) deliveries() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.delivered)
}

// start starts an operator that will crash.
func (f *factory) start(at crash) *process {
	p := &process{factory: f, crash: at}
	p.dead, p.die = context.WithCancel(context.Background())
	p.api = interceptor.NewClient(f.api, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return p.write(ctx, claiming, func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return p.write(ctx, claiming, func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return p.write(ctx, sealing, func() error { return c.Patch(ctx, o, patch, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return p.write(ctx, recording, func() error { return c.SubResource(sub).Patch(ctx, o, patch, opts...) })
		},
	})
	sessions := &session.Registry{}
	sessions.Put(p.dead, client.ObjectKey{Namespace: "factory", Name: "hub"}, session.NewSession(p, "h", ""), func(context.Context) {})
	recorder := events.NewFakeRecorder(1000)
	p.r = &DeviceCommandReconciler{
		Client: p.api, Recorder: recorder, Hubs: sessions, Wakes: triggers.New(), Models: models.NewLibrary(cached.Models{Reader: p.api}, models.NewRepositories(nil, nil)),
		Flights: NewFlights(p.dead, p.api, p.api, recorder, ledgerstore.New(p.dead, p.api, p.api, "operator", logr.Discard()), logr.Discard()),
	}
	return p
}

// write is one write, in which the process may die.
func (p *process) write(ctx context.Context, at step, apply func() error) error {
	if err := errors.Join(p.dead.Err(), ctx.Err()); err != nil {
		return err
	}
	if p.crash == (crash{at, false}) {
		p.die()
		return errDead
	}
	if p.refuse != nil {
		if err := p.refuse(at); err != nil {
			return err
		}
	}
	err := apply()
	if p.crash == (crash{at, true}) {
		p.die()
		return errDead
	}
	return err
}

// GetTwin reads the device's twin.
func (p *process) GetTwin(context.Context, string) (*twin.Twin, error) {
	p.factory.mu.Lock()
	p.factory.reads++
	p.factory.mu.Unlock()
	return p.factory.twin()
}

// InvokeCommand is the hub, as this process reaches it.
func (p *process) InvokeCommand(ctx context.Context, i iothub.Invocation) (iothub.CommandAnswer, error) {
	lost := &iothub.Error{Code: iothub.CodeConnection, Err: errDead, Sent: true}
	if p.dead.Err() != nil {
		return iothub.CommandAnswer{}, lost
	}
	if p.crash == (crash{calling, false}) {
		p.die()
		return iothub.CommandAnswer{}, lost
	}
	p.factory.mu.Lock()
	if p.factory.delivers {
		p.factory.delivered = append(p.factory.delivered, i.Command)
	}
	p.factory.mu.Unlock()
	if p.crash == (crash{calling, true}) {
		p.die()
		return iothub.CommandAnswer{}, lost
	}
	return p.factory.answer(i)
}

// run reconciles the command whenever it is due, until it has an outcome, the process dies, or time is up.
func (p *process) run(within time.Duration) {
	p.factory.t.Helper()
	limit := time.After(within)
	request := ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "factory", Name: "c"}}
	for failures := 1; p.dead.Err() == nil && !p.factory.stored().Finished(); {
		outcome, err := p.r.Reconcile(p.dead, request)
		var due <-chan time.Time
		switch {
		case err != nil:
			due = time.After(time.Duration(failures) * time.Second)
			failures++
		case outcome.RequeueAfter > 0:
			due = time.After(outcome.RequeueAfter)
		}
		select {
		case <-due:
		case <-p.r.Flights.wakes:
		case <-p.dead.Done():
		case <-limit:
			return
		}
	}
}

// onRecord is what the ledger has of the command.
func (p *process) onRecord() *ledger.Entry {
	p.factory.t.Helper()
	e, err := p.r.Flights.Ledger.Look(p.factory.t.Context(), ledgerstore.InvocationOf(p.factory.stored()))
	if err != nil {
		p.factory.t.Fatal(err)
	}
	return e
}

// stop ends a process without a trace, and waits for what it still does, which reaches nothing.
func (p *process) stop() {
	p.die()
	p.r.Flights.Registry.Wait()
}

// hubAnswers are what a hub may say of a command that its device was given.
var hubAnswers = map[string]struct {
	answer func(iothub.Invocation) (iothub.CommandAnswer, error)
	// outcome without a crash
	outcome v1alpha1.CommandOutcome
}{
	"200": {okAnswer, v1alpha1.CommandSucceeded},
	"503 of the device": {func(iothub.Invocation) (iothub.CommandAnswer, error) {
		return iothub.CommandAnswer{StatusCode: 503}, nil
	}, v1alpha1.CommandFailed},
	"404103, other words":      {refusing(404, 404103, "Device unavailable"), v1alpha1.CommandUnknown},
	"404103, without time-out": {refusing(404, 404103, "Timed out waiting for device to connect."), v1alpha1.CommandUnknown},
	"404104":                   {refusing(404, 404104, ""), v1alpha1.CommandUnknown},
	"408":                      {refusing(408, 408000, ""), v1alpha1.CommandUnknown},
	"500":                      {refusing(500, 500001, ""), v1alpha1.CommandUnknown},
	"503":                      {refusing(503, 503001, ""), v1alpha1.CommandUnknown},
	"504101":                   {refusing(504, 504101, ""), v1alpha1.CommandUnknown},
	"nothing": {func(iothub.Invocation) (iothub.CommandAnswer, error) {
		return iothub.CommandAnswer{}, &iothub.Error{Code: iothub.CodeConnection, Err: errors.New("reset"), Sent: true}
	}, v1alpha1.CommandUnknown},
}

func okAnswer(iothub.Invocation) (iothub.CommandAnswer, error) {
	return iothub.CommandAnswer{StatusCode: 200}, nil
}

func refusing(status, number int, message string) func(iothub.Invocation) (iothub.CommandAnswer, error) {
	return func(iothub.Invocation) (iothub.CommandAnswer, error) {
		return iothub.CommandAnswer{}, &iothub.Error{StatusCode: status, Number: number, Message: message, Sent: true}
	}
}

// afterCrash is what is known, and how often the device ran the command, once another operator has taken over.
func (c crash) afterCrash(whole v1alpha1.CommandOutcome) (outcome v1alpha1.CommandOutcome, deliveries int) {
	switch {
	case c.at == never, c == crash{claiming, false}, c == crash{recording, true}:
		return whole, 1
	case c.at < calling, c == crash{calling, false}:
		return v1alpha1.CommandUnknown, 0
	}
	return v1alpha1.CommandUnknown, 1
}

func TestACrashAnywhereRunsACommandAtMostOnce(t *testing.T) {
	for when, at := range crashes {
		for what, hub := range hubAnswers {
			t.Run(when+", "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFactory(t, func(*v1alpha1.DeviceCommandSpec) {})
					f.answer = hub.answer
					first := f.start(at)
					first.run(time.Minute)
					first.stop()
					second := f.start(crash{never, false})
					defer second.stop()
					second.run(2 * time.Hour)
					want, deliveries := at.afterCrash(hub.outcome)
					if c := f.stored(); c.Status.Outcome != want || f.deliveries() != deliveries {
						t.Errorf("outcome %q (%s) and %d deliveries, want %q and %d", c.Status.Outcome, conditions.ReadyOf(c).Message, f.deliveries(), want, deliveries)
					}
				})
			})
		}
	}
}

func TestARetryAfterACrashComesOnlyWhenTheFirstAttemptIsOver(t *testing.T) {
	for when, at := range crashes {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory(t, func(c *v1alpha1.DeviceCommandSpec) { c.OnUnknownOutcome = v1alpha1.UnknownRetry })
				f.answer = okAnswer
				first := f.start(at)
				first.run(time.Minute)
				first.stop()
				began := time.Now()
				outcome, earlier := at.afterCrash(v1alpha1.CommandSucceeded)
				second := f.start(crash{never, false})
				defer second.stop()
				second.run(time.Hour)
				want, least := earlier, time.Duration(0)
				if outcome == v1alpha1.CommandUnknown {
					want, least = earlier+1, (30+60+15)*time.Second-drainFor // stop has waited that long
				}
				if c := f.stored(); c.Status.Outcome != v1alpha1.CommandSucceeded || f.deliveries() != want || time.Since(began) < least {
					t.Errorf("outcome %q and %d deliveries after %s, want %d after %s", c.Status.Outcome, f.deliveries(), time.Since(began), want, least)
				}
			})
		})
	}
}

func TestWhatIsNotDeliveredIsSentAgain(t *testing.T) {
	later := refusing(429, 429001, "")
	tests := map[string]struct {
		answer func(iothub.Invocation) (iothub.CommandAnswer, error)
		rest   time.Duration
	}{
		"offline":        {func(i iothub.Invocation) (iothub.CommandAnswer, error) { return offline(context.Background(), i) }, command.RestOffline},
		"throttled":      {later, command.RestLeast},
		"quota":          {refusing(403, 403002, ""), command.RestLeast}, // here there is no budget, which waits for the next day
		"too many":       {refusing(403, 403800, ""), command.RestLeast},
		"disabled":       {refusing(403, 403012, ""), command.RestAbsent},
		"unknown device": {refusing(404, 404001, ""), command.RestAbsent},
		"never connected": {func(iothub.Invocation) (iothub.CommandAnswer, error) {
			return iothub.CommandAnswer{}, &iothub.Error{Code: iothub.CodeDNS, Err: errDead}
		}, command.RestLeast},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory(t, func(*v1alpha1.DeviceCommandSpec) {})
				f.delivers, f.answer = false, test.answer
				p := f.start(crash{never, false})
				defer p.stop()
				p.run(test.rest * 8 / 10) // periodic work is jittered by a tenth
				if c := f.stored(); c.Finished() || c.Status.Attempts != 1 {
					t.Fatalf("outcome %q after %d attempts", c.Status.Outcome, c.Status.Attempts)
				}
				f.delivers, f.answer = true, okAnswer
				p.run(test.rest)
				if c := f.stored(); c.Status.Outcome != v1alpha1.CommandSucceeded || c.Status.Attempts != 2 || f.deliveries() != 1 {
					t.Errorf("outcome %q after %d attempts, %d deliveries", c.Status.Outcome, c.Status.Attempts, f.deliveries())
				}
			})
		})
	}
}

// A claim that was released is followed by another one, and what is on record of the first says
// nothing of the second.
func TestASecondClaimIsNotTakenForTheFirst(t *testing.T) {
	type outcome struct {
		outcome    v1alpha1.CommandOutcome
		deliveries int
	}
	refused := errors.New("the API server, or a webhook, refuses")
	ran := outcome{v1alpha1.CommandSucceeded, 1}
	tests := map[string]struct {
		crash   crash // in the second attempt
		refuses step  // once, in the second attempt
		want    outcome
	}{
		"nothing happens":          {crash{never, false}, never, ran},
		"the claim is refused":     {crash{never, false}, claiming, ran},
		"the seal is refused":      {crash{never, false}, sealing, ran},
		"an end before the claim":  {crash{claiming, false}, never, ran},
		"an end after the claim":   {crash{claiming, true}, never, outcome{v1alpha1.CommandUnknown, 0}},
		"an end before the seal":   {crash{sealing, false}, never, outcome{v1alpha1.CommandUnknown, 0}},
		"an end after the seal":    {crash{sealing, true}, never, outcome{v1alpha1.CommandUnknown, 0}},
		"an end before it is sent": {crash{calling, false}, never, outcome{v1alpha1.CommandUnknown, 0}},
		"an end after it is sent":  {crash{calling, true}, never, outcome{v1alpha1.CommandUnknown, 1}},
		"an end, not on record":    {crash{recording, false}, never, outcome{v1alpha1.CommandUnknown, 1}},
		"an end, on record":        {crash{recording, true}, never, ran},
	}
	firsts := map[string]struct {
		answer func(iothub.Invocation) (iothub.CommandAnswer, error)
		// refuses is a step of which the API server takes no write, and then no claim either.
		refuses step
		// within that the second one is not made.
		within time.Duration
	}{
		"offline":    {func(i iothub.Invocation) (iothub.CommandAnswer, error) { return offline(context.Background(), i) }, never, 10 * time.Second},
		"throttled":  {refusing(429, 429001, ""), never, command.RestLeast * 8 / 10},
		"not sealed": {nil, sealing, 10 * time.Second},
	}
	for first, before := range firsts {
		for second, test := range tests {
			t.Run(first+", then "+second, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFactory(t, func(*v1alpha1.DeviceCommandSpec) {})
					f.delivers, f.answer = false, before.answer
					p := f.start(crash{never, false})
					refusing := before.refuses
					p.refuse = func(at step) error {
						if at != refusing {
							return nil
						}
						refusing = claiming
						return refused
					}
					p.run(before.within)
					if e := p.onRecord(); e == nil || !e.Released || f.stored().Finished() {
						t.Fatalf("on record %+v", e)
					}
					want := test.want
					if first == "not sealed" && test.crash == (crash{claiming, false}) { // that it was not sent is in memory only
						want = outcome{v1alpha1.CommandUnknown, 0}
					}
					f.delivers, f.answer, p.crash = true, okAnswer, test.crash
					p.refuse = func(at step) error {
						if at != test.refuses {
							return nil
						}
						p.refuse = nil
						return refused
					}
					p.run(30 * time.Minute)
					p.stop()
					last := f.start(crash{never, false})
					defer last.stop()
					last.run(30 * time.Minute)
					c := f.stored()
					if got := (outcome{c.Status.Outcome, f.deliveries()}); got != want {
						t.Errorf("got %v (%s), want %v", got, conditions.ReadyOf(c).Message, want)
					}
				})
			})
		}
	}
}

// Only the process that made a claim knows that it sent nothing.
func TestAFirstClaimWhoseSealIsRefusedWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory(t, func(*v1alpha1.DeviceCommandSpec) {})
		f.answer = okAnswer
		p := f.start(crash{never, false})
		defer p.stop()
		refusals := 0
		p.refuse = func(at step) error {
			if at == sealing && refusals < 3 {
				refusals++
				return errors.New("refused")
			}
			return nil
		}
		p.run(10 * time.Minute)
		if c := f.stored(); c.Status.Outcome != v1alpha1.CommandSucceeded || f.deliveries() != 1 || refusals != 3 {
			t.Errorf("outcome %q (%s), %d deliveries after %d refusals", c.Status.Outcome, conditions.ReadyOf(c).Message, f.deliveries(), refusals)
		}
	})
}

// stream begins to read the events of the hub.
func (p *process) stream() *session.Feed {
	at := p.r.Hubs.Get(airportHub)
	feed := &session.Feed{Session: at, Declarations: deaf{}, Commands: p.r.Flights.At(airportHub, at), Meter: deaf{}}
	feed.Resume(p.dead, eventstream.Checkpoint{})
	return feed
}

// tells has the hub's events say something of the device, that happened at a time.
func (p *process) tells(kind eventstream.Kind, at time.Time) *session.Feed {
	feed := p.stream()
	feed.Handle(p.dead, eventstream.Event{Kind: kind, DeviceID: "d", Partition: "1", OperationTime: at, EnqueuedTime: at, Telemetry: &eventstream.TelemetryMessage{}})
	return feed
}

// The hub said "offline" of a command that its device ran, and the events that tell so come only
// after a restart.
func TestAfterAStartAReleasedCommandIsSentOnlyOnceItsEventsWereHeard(t *testing.T) {
	type told struct {
		kind eventstream.Kind
		at   time.Duration // since the command was sent
	}
	tests := map[string]struct {
		streams, caughtUp bool
		told              []told
		sentAfter         time.Duration // the restart; 0: not
		outcome           v1alpha1.CommandOutcome
	}{
		"without a stream":                   {false, false, nil, command.RestOffline - time.Minute, v1alpha1.CommandSucceeded},
		"the stream has not caught up":       {true, false, nil, command.RestOffline - time.Minute, v1alpha1.CommandSucceeded},
		"the stream has caught up":           {true, true, nil, command.SettleFor, v1alpha1.CommandSucceeded},
		"the device comes back":              {true, false, []told{{eventstream.Connected, 30 * time.Second}}, command.SettleFor, v1alpha1.CommandSucceeded},
		"the device went before":             {true, true, []told{{eventstream.Disconnected, -time.Second}}, command.SettleFor, v1alpha1.CommandSucceeded},
		"the device went, so it was there":   {true, true, []told{{eventstream.Disconnected, time.Second}, {eventstream.Connected, 30 * time.Second}}, 0, v1alpha1.CommandUnknown},
		"the device did something meanwhile": {true, true, []told{{eventstream.Telemetry, 0}}, 0, v1alpha1.CommandUnknown},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory(t, func(*v1alpha1.DeviceCommandSpec) {})
				var sent time.Time
				f.answer = func(i iothub.Invocation) (iothub.CommandAnswer, error) {
					sent = time.Now()
					return offline(context.Background(), i)
				}
				first := f.start(crash{never, false})
				first.run(time.Minute)
				first.stop()
				if c := f.stored(); c.Status.DeviceOffline == nil || claimOf(c) != "" || f.deliveries() != 1 {
					t.Fatalf("%s, %d deliveries", conditions.ReadyOf(c).Message, f.deliveries())
				}
				f.answer = okAnswer
				second := f.start(crash{never, false})
				defer second.stop()
				began := time.Now()
				if test.streams {
					feed := second.stream()
					for _, e := range test.told {
						at := sent.Add(e.at)
						feed.Handle(t.Context(), eventstream.Event{Kind: e.kind, DeviceID: "d", Partition: "0", OperationTime: at, Telemetry: &eventstream.TelemetryMessage{}})
					}
					if test.caughtUp {
						feed.CaughtUp(time.Now())
					}
				}
				second.run(30 * time.Minute)
				deliveries := 1
				if test.sentAfter > 0 {
					deliveries = 2
				}
				c := f.stored()
				if c.Status.Outcome != test.outcome || f.deliveries() != deliveries {
					t.Fatalf("outcome %q (%s), %d deliveries, want %d", c.Status.Outcome, conditions.ReadyOf(c).Message, f.deliveries(), deliveries)
				}
				if took := c.Status.StartTime.Sub(began); test.sentAfter > 0 && (took < test.sentAfter-time.Second || took > test.sentAfter+2*time.Minute) {
					t.Errorf("sent again %s after the restart, want %s", took, test.sentAfter)
				}
			})
		})
	}
}

// oldCache reads what was before.
type oldCache struct {
	client.Client
	was *v1alpha1.DeviceCommand
}

func (o oldCache) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	if c, ok := into.(*v1alpha1.DeviceCommand); ok {
		o.was.DeepCopyInto(c)
		return nil
	}
	return o.Client.Get(ctx, key, into, opts...)
}

func TestAReplicaWithAnOldCacheSendsNothing(t *testing.T) {
	for name, hub := range hubAnswers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory(t, func(*v1alpha1.DeviceCommandSpec) {})
				f.answer = hub.answer
				old := f.stored()
				first, second := f.start(crash{never, false}), f.start(crash{never, false})
				defer first.stop()
				defer second.stop()
				second.r.Client = oldCache{second.api, old}
				first.run(time.Minute)
				before := f.stored()
				if _, err := second.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(old)}); err == nil {
					t.Error("a claim of an object that has changed")
				}
				if c := f.stored(); c.ResourceVersion != before.ResourceVersion || f.deliveries() != 1 {
					t.Errorf("%d deliveries, outcome %q", f.deliveries(), c.Status.Outcome)
				}
			})
		})
	}
}

// decoder reads as the API server's client does: what an answer lacks stays as it was.
type decoder struct{ client.Reader }

func (d decoder) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	var is v1alpha1.DeviceCommand
	if err := d.Reader.Get(ctx, key, &is, opts...); err != nil {
		return err
	}
	text, err := json.Marshal(is)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// The cache has a part of a large outcome, and may have it still when another object has the name.
func TestAnOutcomeIsNotThatOfTheNextObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory(t, func(*v1alpha1.DeviceCommandSpec) {})
		f.answer = func(iothub.Invocation) (iothub.CommandAnswer, error) {
			return iothub.CommandAnswer{StatusCode: 200, Payload: []byte(`"` + strings.Repeat("x", 2<<10) + `"`)}, nil
		}
		p := f.start(crash{never, false})
		defer p.stop()
		p.r.Flights.Reader = decoder{p.api}
		p.run(time.Minute)
		was := f.stored()
		f.again(p, "2", func(c *v1alpha1.DeviceCommand) { c.Spec.Command = "erase" })
		if _, err := cached.Slim(was); err != nil || was.Annotations[models.AnnotationAbridged] == "" {
			t.Fatal("it is whole", err)
		}
		p.r.Client = oldCache{p.api, was}
		if again, err := p.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(was)}); err != nil || again.RequeueAfter == 0 {
			t.Errorf("the cache has to catch up: %+v, %v", again, err)
		}
		if e := p.onRecord(); e != nil {
			t.Errorf("on record of the next object: %+v", e)
		}
		p.r.Client = p.api
		p.run(time.Minute)
		if c := f.stored(); f.deliveries() != 2 || c.Status.RequestID == was.Status.RequestID || conditions.ReadyOf(c).Reason != v1alpha1.ReasonSucceeded {
			t.Errorf("%d deliveries, %s: %s", f.deliveries(), conditions.ReadyOf(c).Reason, conditions.ReadyOf(c).Message)
		}
	})
}

func TestAStopDoesNotCutAClaimInTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory(t, func(*v1alpha1.DeviceCommandSpec) {})
		f.answer = okAnswer
		p := f.start(crash{never, false})
		defer p.stop()
		stopping, stop := context.WithCancel(t.Context())
		p.r.Flights.Client = interceptor.NewClient(p.api.(client.WithWatch), interceptor.Funcs{
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
				stop() // in the middle
				return c.Patch(ctx, o, patch, opts...)
			},
		})
		if _, err := p.r.Reconcile(stopping, ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "factory", Name: "c"}}); err != nil {
			t.Error(err)
		}
		if err := p.r.Flights.Drain(stopping); err != nil {
			t.Error(err)
		}
		if c := f.stored(); c.Status.Outcome != v1alpha1.CommandSucceeded || f.deliveries() != 1 {
			t.Errorf("outcome %q, %d deliveries, annotations %v, request %q", c.Status.Outcome, f.deliveries(), c.Annotations, c.Status.RequestID)
		}
	})
}

func TestAStoppingOperatorClaimsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory(t, func(*v1alpha1.DeviceCommandSpec) {})
		p := f.start(crash{never, false})
		defer p.stop()
		stopping, stop := context.WithCancel(t.Context())
		stop()
		if err := p.r.Flights.Drain(stopping); err != nil {
			t.Error(err)
		}
		if _, err := p.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "factory", Name: "c"}}); err != nil {
			t.Error(err)
		}
		if c := f.stored(); len(c.Annotations) != 0 || c.Status.RequestID != "" {
			t.Error(fmt.Sprint(c.Annotations, c.Status.RequestID))
		}
	})
}

// again makes the command anew, as Git does, while an operator may run.
func (f *factory) again(p *process, uid types.UID, meanwhile func(*v1alpha1.DeviceCommand)) {
	f.t.Helper()
	was := f.stored()
	if err := f.api.Delete(f.t.Context(), was); err != nil {
		f.t.Fatal(err)
	}
	look := func() {
		if _, err := p.r.Reconcile(f.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(was)}); err != nil {
			f.t.Fatal(err)
		}
	}
	look()
	meanwhile(was)
	look()
	now := &v1alpha1.DeviceCommand{ObjectMeta: metav1.ObjectMeta{Namespace: was.Namespace, Name: was.Name, UID: uid}, Spec: was.Spec}
	if err := f.api.Create(f.t.Context(), now); err != nil {
		f.t.Fatal(err)
	}
}

// The hub took a device for offline, and the command was made anew since. The device's events may
// tell yet that it was there.
func TestACommandThatIsMadeAnewRestsAsTheFirstOneWould(t *testing.T) {
	nothing := func(*process, *v1alpha1.DeviceCommand) {}
	for name, test := range map[string]struct {
		meanwhile func(*process, *v1alpha1.DeviceCommand)
		restarts  bool
		outcome   v1alpha1.CommandOutcome
		sentAfter time.Duration // 0: not
	}{
		"nothing is heard of the device":  {nothing, false, v1alpha1.CommandSucceeded, command.RestOffline},
		"after a restart of the operator": {nothing, true, v1alpha1.CommandSucceeded, command.RestOffline},
		"the device is back": {func(p *process, c *v1alpha1.DeviceCommand) {
			p.tells(eventstream.Connected, c.Status.DeviceOffline.Until.Add(time.Second))
		}, false, v1alpha1.CommandSucceeded, time.Minute},
		"the device was there, so it may have run": {func(p *process, c *v1alpha1.DeviceCommand) {
			p.tells(eventstream.Telemetry, c.Status.DeviceOffline.Until.Time)
		}, false, v1alpha1.CommandUnknown, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory(t, func(*v1alpha1.DeviceCommandSpec) {})
				f.answer = func(i iothub.Invocation) (iothub.CommandAnswer, error) { return offline(context.Background(), i) }
				p := f.start(crash{never, false})
				p.run(time.Minute)
				began := f.stored().Status.StartTime.Time
				f.answer = okAnswer
				f.again(p, "2", func(c *v1alpha1.DeviceCommand) { test.meanwhile(p, c) })
				if test.restarts {
					time.Sleep(2 * 5 * time.Second)
					p.stop()
					p = f.start(crash{never, false})
				}
				defer func() { p.stop() }()
				p.run(40 * time.Minute)
				c := f.stored()
				want := 2
				if test.sentAfter == 0 {
					want = 1
				}
				if c.Status.Outcome != test.outcome || f.deliveries() != want {
					t.Fatalf("outcome %q (%s), %d deliveries", c.Status.Outcome, conditions.ReadyOf(c).Message, f.deliveries())
				}
				if took := c.Status.StartTime.Sub(began); want == 2 && (took < test.sentAfter-2*time.Second || took > test.sentAfter+2*time.Minute) {
					t.Errorf("sent again after %s, want %s", took, test.sentAfter)
				}
			})
		})
	}
}

// The record of a release may be in the cache only later. A claim that is made meanwhile is
// refused, but it would cost a write, and end the waiting for the device.
func TestACacheThatIsBehindDoesNotEndARest(t *testing.T) {
	for name, answer := range map[string]func(iothub.Invocation) (iothub.CommandAnswer, error){
		"offline":  func(i iothub.Invocation) (iothub.CommandAnswer, error) { return offline(context.Background(), i) },
		"disabled": refusing(403, 403012, ""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory(t, func(*v1alpha1.DeviceCommandSpec) {})
				f.answer = answer
				old := f.stored()
				p := f.start(crash{never, false})
				defer p.stop()
				p.run(10 * time.Second)
				before := p.onRecord()
				p.r.Client = oldCache{p.api, old}
				if _, err := p.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(old)}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				if after := p.onRecord(); after.Request != before.Request {
					t.Errorf("another claim was made: %+v", after)
				}
			})
		})
	}
}
