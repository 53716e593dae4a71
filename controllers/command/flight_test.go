package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/ledgerstore"
	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// invokedHub is a hub that is asked for commands only.
type invokedHub struct {
	session.Hub

	invoke func(context.Context, iothub.Invocation) (iothub.CommandAnswer, error)
	calls  []iothub.Invocation
}

func (h *invokedHub) InvokeCommand(ctx context.Context, i iothub.Invocation) (iothub.CommandAnswer, error) {
	h.calls = append(h.calls, i)
	return h.invoke(ctx, i)
}

func done(context.Context, iothub.Invocation) (iothub.CommandAnswer, error) {
	return iothub.CommandAnswer{StatusCode: 200}, nil
}

// hanging answers nothing until the caller gives up.
func hanging(ctx context.Context, _ iothub.Invocation) (iothub.CommandAnswer, error) {
	<-ctx.Done()
	return iothub.CommandAnswer{}, &iothub.Error{Code: iothub.CodeCanceled, Err: ctx.Err(), Sent: true}
}

// offline is what the hub says of a device that is.
func offline(_ context.Context, i iothub.Invocation) (iothub.CommandAnswer, error) {
	time.Sleep(i.Connect)
	return iothub.CommandAnswer{}, &iothub.Error{StatusCode: 404, Number: 404103, Message: "Timed out waiting for device to connect.", Waited: &i.Connect, At: time.Now()}
}

// airport is Flights over an API server in memory, a hub, and one command that was just claimed.
type airport struct {
	*Flights
	t       *testing.T
	hub     *invokedHub
	flight  *flight
	patched func() error // called before each status patch
}

func newAirport(t *testing.T, invoke func(context.Context, iothub.Invocation) (iothub.CommandAnswer, error)) *airport {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	claimed := &v1alpha1.DeviceCommand{
		ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: "c", UID: "1", Annotations: map[string]string{v1alpha1.AnnotationAttempt: "r1"}},
		Spec: v1alpha1.DeviceCommandSpec{
			DeviceRef: v1alpha1.DeviceReference{Name: "d"}, Command: "reboot", NotAfter: metav1.NewTime(time.Now().Add(time.Hour)), ResponseTimeoutSeconds: 300,
		},
		Status: v1alpha1.DeviceCommandStatus{RequestID: "r1", Attempts: 1},
	}
	a := &airport{t: t, hub: &invokedHub{invoke: invoke}}
	c := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).WithObjects(claimed).WithStatusSubresource(claimed).Build(), interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if a.patched != nil {
				if err := a.patched(); err != nil {
					return err
				}
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	ledger := ledgerstore.New(t.Context(), c, c, "operator", logr.Discard())
	a.Flights = NewFlights(t.Context(), c, c, events.NewFakeRecorder(100), ledger, logr.Discard())
	a.flight = &flight{
		key: client.ObjectKeyFromObject(claimed), destination: "h", command: a.stored(), device: &v1alpha1.PnPDevice{}, session: session.NewSession(a.hub, "h", ""),
		deviceID: "d", requestID: "r1", claimed: time.Now(), invocation: ledgerstore.InvocationOf(claimed),
	}
	a.flight.slot = a.reserve(a.flight.key)
	if a.flight.slot == nil {
		t.Fatal("nothing stops it")
	}
	return a
}

// resting is how long the command has to rest yet.
func (a *airport) resting() time.Duration {
	a.t.Helper()
	status := &a.stored().Status
	return a.restOf(a.flight.key, status).Left(command.Facts{}, time.Now())
}

// reserve takes a place for a command of device d, nil if there is none.
func (a *airport) reserve(key types.NamespacedName) *command.Slot {
	slot, _ := a.Registry.Reserve(command.Request{Key: key, Object: "1", Site: a.flight.session.CommandSite(airportHub), Device: "d", Freed: func() {}})
	return slot
}

// airportHub is the IoTHub of an airport.
var airportHub = client.ObjectKey{Namespace: "factory", Name: "hub"}

// feed begins to read the hub's events, by a session.
func (a *airport) feed(at *session.Session) *session.Feed {
	feed := &session.Feed{Session: at, Declarations: deaf{}, Commands: a.At(airportHub, at), Meter: deaf{}}
	feed.Resume(a.t.Context(), eventstream.Checkpoint{})
	return feed
}

func (a *airport) stored() *v1alpha1.DeviceCommand {
	a.t.Helper()
	c := &v1alpha1.DeviceCommand{}
	if err := a.Client.Get(context.Background(), client.ObjectKey{Namespace: "factory", Name: "c"}, c); err != nil {
		a.t.Fatal(err)
	}
	return c
}

// store has another replica write.
func (a *airport) store(edit func(*v1alpha1.DeviceCommand)) {
	a.t.Helper()
	c := a.stored()
	edit(c)
	if err := a.Client.Status().Update(context.Background(), c); err != nil {
		a.t.Error(err)
	}
}

func (a *airport) wantOutcome(want v1alpha1.CommandOutcome, reason string) {
	a.t.Helper()
	c := a.stored()
	if c.Status.Outcome != want || conditions.ReadyOf(c).Reason != reason {
		a.t.Errorf("outcome %q, %s (%s), expected %q, %s", c.Status.Outcome, conditions.ReadyOf(c).Reason, conditions.ReadyOf(c).Message, want, reason)
	}
}

func TestSendingWithinItsTime(t *testing.T) {
	const s = time.Second
	tests := map[string]struct {
		claimAge, left time.Duration // at the time of sending
		connect        int32
		sent           bool
		wantConnect    time.Duration
	}{
		"at once":                                     {0, time.Hour, 0, true, 0},
		"with all of its connect time-out":            {0, time.Hour, 300, true, 300 * s},
		"with a connect time-out that ends in time":   {0, 300 * s, 300, true, 300 * s},
		"5 s before notAfter: no longer than those":   {0, 5 * s, 300, true, 5 * s},
		"part of a second more is not asked for":      {0, 5*s + 900*time.Millisecond, 300, true, 5 * s},
		"less than a second before notAfter":          {0, 900 * time.Millisecond, 300, true, 0},
		"at notAfter: not":                            {0, 0, 300, false, 0},
		"held up until after notAfter: not":           {s, -s, 0, false, 0},
		"held up as long as may be":                   {sendWithin, time.Hour, 0, true, 0},
		"held up longer, as by a stop of the process": {sendWithin + 1, time.Hour, 0, false, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAirport(t, done)
				a.flight.claimed = time.Now().Add(-test.claimAge)
				a.flight.command.Spec.NotAfter, a.flight.command.Spec.ConnectTimeoutSeconds = metav1.NewTime(time.Now().Add(test.left)), test.connect
				a.start(a.flight)
				a.Registry.Wait()
				if sent := len(a.hub.calls) == 1; sent != test.sent {
					t.Fatalf("calls %+v", a.hub.calls)
				}
				if !test.sent {
					a.wantOutcome("", v1alpha1.ReasonProgressing)
					if c := a.stored(); c.Status.ReleasedRequestID != "r1" {
						t.Error("the claim is not released")
					}
					return
				}
				a.wantOutcome(v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded)
				if got := a.hub.calls[0].Connect; got != test.wantConnect {
					t.Errorf("connect time-out %s, want %s", got, test.wantConnect)
				}
			})
		})
	}
}

func TestADeviceThatComesBackWhileTheOutcomeIsRecordedEndsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAirport(t, offline)
		a.patched = func() error {
			a.patched = nil
			a.tells(eventstream.Connected, time.Now())
			time.Sleep(command.SettleFor + time.Second)
			return errors.New("the API server is slow")
		}
		a.start(a.flight)
		a.Registry.Wait()
		a.wantOutcome("", v1alpha1.ReasonDeviceOffline)
		if left := a.resting(); left > 0 {
			t.Errorf("rests for %s, although the device is back", left)
		}
	})
}

// A session goes with the Secret of its IoTHub, and another one comes: what its events say of an attempt
// from before counts, and stays in the checkpoint until it is on record.
func TestADoubtIsHeardByTheSessionAfterAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAirport(t, offline)
		sent := time.Now()
		a.start(a.flight)
		a.Registry.Wait()
		a.wantOutcome("", v1alpha1.ReasonDeviceOffline)
		feed := a.feed(session.NewSession(a.hub, "h", ""))
		feed.Handle(t.Context(), eventstream.Event{
			Kind: eventstream.Telemetry, DeviceID: "d", Partition: "1", OperationTime: sent, EnqueuedTime: sent, Telemetry: &eventstream.TelemetryMessage{},
		})
		if !a.Registry.IsDoubted(a.flight.key, "r1") || len(feed.Outstanding(time.Now()).First) != 1 {
			t.Error("nobody heard that the device was there")
		}
		if a.Registry.DoubtIsOnRecord(a.flight.key); len(feed.Outstanding(time.Now()).First) > 0 {
			t.Error("the checkpoint is held for ever")
		}
		synctest.Wait()
	})
}

// deaf hears of no device, and counts nothing.
type deaf struct{}

func (deaf) List(context.Context) ([]session.Declared, error)              { return nil, nil }
func (deaf) Cached(context.Context, string) (func() session.Belief, bool)  { return nil, false }
func (deaf) Differs(context.Context, *twin.Twin) bool                      { return false }
func (deaf) Enqueue(context.Context, string, session.Cause, time.Duration) {}
func (deaf) Event(eventstream.Kind)                                        {}
func (deaf) Poison()                                                       {}
func (deaf) Telemetry(string)                                              {}
func (deaf) Measured(session.Measurement)                                  {}

// tells has the hub's events say something of the device, that happened at a time.
func (a *airport) tells(kind eventstream.Kind, at time.Time) {
	a.feed(a.flight.session).Handle(a.t.Context(), eventstream.Event{Kind: kind, DeviceID: "d", OperationTime: at, EnqueuedTime: at, Telemetry: &eventstream.TelemetryMessage{}})
}

func TestAnOfflineDeviceIsBelievedOnceItsEventsWereHeard(t *testing.T) {
	const s = time.Second
	tests := map[string]struct {
		kind           eventstream.Kind
		arrives, tells time.Duration // since the command was sent; the answer comes after 10 s
		outcome        v1alpha1.CommandOutcome
		reason         string
	}{
		"it disconnected before":         {eventstream.Disconnected, 11 * s, -s, "", v1alpha1.ReasonDeviceOffline},
		"it was told so meanwhile":       {eventstream.Disconnected, 5 * s, -s, "", v1alpha1.ReasonDeviceOffline},
		"it disconnected meanwhile":      {eventstream.Disconnected, 11 * s, 5 * s, v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown},
		"it disconnects right afterward": {eventstream.Disconnected, 11 * s, 10*s + 1, v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown},
		"it sent something meanwhile":    {eventstream.Telemetry, 11 * s, 5 * s, v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown},
		"it comes back afterwards":       {eventstream.Connected, 11 * s, 10*s + 1, "", v1alpha1.ReasonDeviceOffline},
		"it came meanwhile":              {eventstream.Connected, 11 * s, 9 * s, v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown},
	}
	for name, test := range tests {
		for _, ahead := range []time.Duration{0, -20 * s, 20 * s} { // the hub's clock
			t.Run(fmt.Sprintf("%s, the hub's clock ahead by %s", name, ahead), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := newAirport(t, func(ctx context.Context, i iothub.Invocation) (iothub.CommandAnswer, error) {
						answer, err := offline(ctx, i)
						refused, _ := errors.AsType[*iothub.Error](err)
						refused.At = refused.At.Add(ahead)
						return answer, err
					})
					a.flight.command.Spec.ConnectTimeoutSeconds = 10
					sent := time.Now().Add(ahead)
					time.AfterFunc(test.arrives, func() { a.tells(test.kind, sent.Add(test.tells)) })
					a.start(a.flight)
					a.Registry.Wait()
					a.wantOutcome(test.outcome, test.reason)
				})
			})
		}
	}
}

// Of what a device that is to be waited for does, an event ends the rest. Where the hub takes no more, it
// does not matter.
func TestWhatEndsARest(t *testing.T) {
	refused := func(status, number int) func(context.Context, iothub.Invocation) (iothub.CommandAnswer, error) {
		return func(context.Context, iothub.Invocation) (iothub.CommandAnswer, error) {
			return iothub.CommandAnswer{}, &iothub.Error{StatusCode: status, Number: number, Sent: true}
		}
	}
	tests := map[string]struct {
		invoke func(context.Context, iothub.Invocation) (iothub.CommandAnswer, error)
		rest   time.Duration
		ends   bool
	}{
		"offline":        {offline, command.RestOffline, true},
		"disabled":       {refused(403, 403012), command.RestAbsent, true},
		"unknown device": {refused(404, 404001), command.RestAbsent, true},
		"throttled":      {refused(429, 429001), command.RestLeast, false},
		"too many":       {refused(403, 403800), command.RestLeast, false},
		"quota":          {refused(403, 403002), command.RestLeast, false}, // and then the budget has no token until the next day
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAirport(t, test.invoke)
				a.start(a.flight)
				a.Registry.Wait()
				if left := a.resting(); left != test.rest {
					t.Fatalf("rests for %s, want %s", left, test.rest)
				}
				a.tells(eventstream.Connected, time.Now())
				time.Sleep(command.SettleFor - time.Millisecond)
				if a.resting() <= 0 {
					t.Error("ended at once")
				}
				time.Sleep(time.Millisecond)
				synctest.Wait()
				if ended := a.restOf(a.flight.key, &a.stored().Status).Over; ended != test.ends {
					t.Errorf("ended: %v", ended)
				}
			})
		})
	}
}

func TestAnAttemptThatWasReleasedIsUnknownOnceItIsInDoubt(t *testing.T) {
	for policy, reason := range map[v1alpha1.UnknownOutcomePolicy]string{
		v1alpha1.UnknownFail: v1alpha1.ReasonOutcomeUnknown, v1alpha1.UnknownRetry: v1alpha1.ReasonRetryingUnknownOutcome,
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFactory(t, func(c *v1alpha1.DeviceCommandSpec) { c.OnUnknownOutcome = policy })
			f.answer = func(i iothub.Invocation) (iothub.CommandAnswer, error) { return offline(t.Context(), i) }
			p := f.start(crash{never, false})
			defer p.stop()
			p.run(time.Minute)
			c := f.stored()
			if ready := conditions.ReadyOf(c); ready.Reason != v1alpha1.ReasonDeviceOffline {
				t.Fatalf("%s: %s", ready.Reason, ready.Message)
			}
			attempt := c.Status.DeviceOffline
			p.tells(eventstream.Disconnected, attempt.From.Add(-time.Second)) // before the attempt
			p.run(time.Second)
			if ready := conditions.ReadyOf(f.stored()); ready.Reason != v1alpha1.ReasonDeviceOffline {
				t.Errorf("%s: %s", ready.Reason, ready.Message)
			}
			feed := p.tells(eventstream.Telemetry, attempt.Until.Time)
			if held := feed.Outstanding(time.Now()).First; len(held) != 1 {
				t.Errorf("the checkpoint is held at %v", held)
			}
			p.run(time.Second)
			if c := f.stored(); conditions.ReadyOf(c).Reason != reason || c.Status.ReleasedRequestID != "" || c.Status.DeviceOffline != nil || f.deliveries() != 1 {
				t.Errorf("%s: %s, released %q, %d deliveries", policy, conditions.ReadyOf(c).Message, c.Status.ReleasedRequestID, f.deliveries())
			}
			p.run(time.Second)
			if held := feed.Outstanding(time.Now()).First; len(held) > 0 {
				t.Errorf("the doubt is on record, and the checkpoint is held at %v", held)
			}
		})
	}
}

// An admission policy may take no status of a command, for as long as it likes.
func TestAnOutcomeThatIsRefusedIsOfferedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAirport(t, done)
		recorder := events.NewFakeRecorder(10000)
		a.Recorder = recorder
		patches, next := 0, types.NamespacedName{Namespace: "factory", Name: "next"}
		a.patched = func() error {
			patches++
			return apierrors.NewForbidden(schema.GroupResource{}, "c", errors.New("denied by a policy"))
		}
		a.start(a.flight)
		time.Sleep(time.Minute)
		if a.reserve(next) == nil {
			t.Error("the call is over, and its place at the hub is taken")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if patches > 2*(5+60/4) {
			t.Errorf("%d patches in an hour", patches)
		}
		if n := len(recorder.Events); n != 1 {
			t.Errorf("%d Events", n)
		}
		a.patched = nil
		time.Sleep(waits.Outcome.Most * 11 / 10)
		synctest.Wait()
		a.wantOutcome(v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded)
		if a.has(a.flight.key) || a.reserve(a.flight.key) != nil {
			t.Error("the place of the next command is given back with the flight")
		}
	})
}

// An outcome that the API server does not take yet does not keep the operator from stopping, nor
// what is gone in memory.
func TestARefusedOutcomeIsGivenUp(t *testing.T) {
	for name, end := range map[string]func(*airport, func()){
		"the object is gone": func(a *airport, _ func()) { a.abandon(a.flight.key) },
		"the operator stops": func(a *airport, stop func()) { stop() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAirport(t, done)
				lifetime, stop := context.WithCancel(t.Context())
				defer stop()
				a.lifetime = lifetime
				a.patched = func() error {
					return apierrors.NewForbidden(schema.GroupResource{}, "c", errors.New("denied by a policy"))
				}
				a.start(a.flight)
				time.Sleep(time.Hour)
				began := time.Now()
				end(a, stop)
				a.Registry.Wait()
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("given up after %s", took)
				}
			})
		})
	}
}

// A flight may take long to record its outcome. It keeps no more than it needs for that.
func TestAFlightKeepsLittleWhileItLands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAirport(t, func(context.Context, iothub.Invocation) (iothub.CommandAnswer, error) {
			return iothub.CommandAnswer{StatusCode: 200, Payload: []byte(`"` + strings.Repeat("x", 1<<20) + `"`)}, nil
		})
		claimed := a.stored()
		claimed.Spec.Payload = &apiextensionsv1.JSON{Raw: []byte(`"x"`)}
		if err := a.Client.Update(t.Context(), claimed); err != nil {
			t.Fatal(err)
		}
		one := a.flight
		one.command = a.stored()
		one.device = nameOf(&v1alpha1.PnPDevice{
			ObjectMeta: metav1.ObjectMeta{Name: "d", UID: "d"}, Spec: v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: "hub"}},
			Status: v1alpha1.PnPDeviceStatus{Twin: &v1alpha1.TwinReference{}},
		})
		a.patched = func() error { return errors.New("the API server is away") }
		a.start(one)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !a.has(one.key) {
			t.Fatal("it has landed")
		}
		if one.command.Spec.Payload != nil || one.device.UID != "d" || one.device.Status.Twin != nil || one.device.Spec.HubRef.Name != "" {
			t.Errorf("command %+v, device %+v", one.command.Spec, one.device)
		}
		a.patched = nil
		a.Registry.Wait()
		c := a.stored()
		if c.Status.Outcome != v1alpha1.CommandSucceeded || !c.Status.ResponseTruncated || len(c.Status.Response.Raw) > command.MaxResponse || c.Spec.Payload == nil {
			t.Errorf("outcome %q, %s", c.Status.Outcome, conditions.ReadyOf(c).Message)
		}
	})
}

func TestAnAnswerIsCutAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAirport(t, func(context.Context, iothub.Invocation) (iothub.CommandAnswer, error) {
			return iothub.CommandAnswer{StatusCode: 200, Payload: append(make([]byte, 0, 8<<20), "1"...)}, nil
		})
		defer a.flight.slot.Cancel()
		if r := a.flight.call(t.Context(), a.flight.command); string(r.response) != "1" || cap(r.response) > command.MaxResponse {
			t.Errorf("%d of %d bytes", len(r.response), cap(r.response))
		}
	})
}

func TestAnOfflineDeviceIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAirport(t, offline)
		a.start(a.flight)
		a.Registry.Wait()
		if left := a.resting(); left != command.RestOffline {
			t.Errorf("rests for %s", left)
		}
	})
}

func TestResultsAfterAnotherReplicaSpoke(t *testing.T) {
	unknown := func(c *v1alpha1.DeviceCommand) {
		c.Status.Outcome = v1alpha1.CommandUnknown
		conditions.SetVerdict(c, conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonOutcomeUnknown})
	}
	tests := map[string]struct {
		result  func(context.Context, iothub.Invocation) (iothub.CommandAnswer, error)
		spoke   func(*v1alpha1.DeviceCommand)
		outcome v1alpha1.CommandOutcome
		reason  string
	}{
		"an answer refines Unknown":                        {done, unknown, v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded},
		"that it was not delivered does not: it has ended": {offline, unknown, v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown},
		"an answer of another attempt is not this one's":   {done, func(c *v1alpha1.DeviceCommand) { unknown(c); c.Status.RequestID = "r2" }, v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown},
		"an answer does not replace another end":           {done, func(c *v1alpha1.DeviceCommand) { unknown(c); c.Status.Outcome = v1alpha1.CommandExpired }, v1alpha1.CommandExpired, v1alpha1.ReasonOutcomeUnknown},
		"an answer to what is to be retried ends it instead": {done, func(c *v1alpha1.DeviceCommand) {
			conditions.SetVerdict(c, conditions.Verdict{Reason: v1alpha1.ReasonRetryingUnknownOutcome})
		}, v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAirport(t, nil)
				a.hub.invoke = func(ctx context.Context, i iothub.Invocation) (iothub.CommandAnswer, error) {
					a.store(test.spoke)
					return test.result(ctx, i)
				}
				a.start(a.flight)
				a.Registry.Wait()
				a.wantOutcome(test.outcome, test.reason)
			})
		})
	}
}

func TestAResultIsNotForAnotherObjectOfThatName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAirport(t, nil)
		a.hub.invoke = func(ctx context.Context, i iothub.Invocation) (iothub.CommandAnswer, error) {
			gone := a.stored()
			if err := a.Client.Delete(ctx, gone); err != nil {
				t.Error(err)
			}
			again := &v1alpha1.DeviceCommand{ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: "c", UID: "2"}, Spec: gone.Spec}
			if err := a.Client.Create(ctx, again); err != nil {
				t.Error(err)
			}
			return offline(ctx, i)
		}
		// The fake client's resource versions begin anew with an object; a real one's never repeat.
		a.patched = func() error {
			if a.stored().UID != a.flight.command.UID {
				return apierrors.NewConflict(schema.GroupResource{}, "c", errors.New("another object"))
			}
			return nil
		}
		a.start(a.flight)
		a.Registry.Wait()
		a.wantOutcome("", "")
		if a.has(a.flight.key) || a.resting() > 0 {
			t.Error("the new object has to wait for the old one")
		}
	})
}

func TestStoppingDrains(t *testing.T) {
	slow := func(_ context.Context, _ iothub.Invocation) (iothub.CommandAnswer, error) {
		time.Sleep(drainFor - time.Second)
		return iothub.CommandAnswer{StatusCode: 200}, nil
	}
	tests := map[string]struct {
		invoke  func(context.Context, iothub.Invocation) (iothub.CommandAnswer, error)
		late    bool // the attempt begins after the stop
		outcome v1alpha1.CommandOutcome
		reason  string
		took    time.Duration
		calls   int
	}{
		"an answer within the grace is recorded":      {slow, false, v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded, drainFor - time.Second, 1},
		"without an answer the outcome is Unknown":    {hanging, false, v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown, drainFor, 1},
		"a claim that was begun before sends nothing": {done, true, "", v1alpha1.ReasonProgressing, time.Second, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAirport(t, test.invoke)
				stopping, stop := context.WithCancel(t.Context())
				began := time.Now()
				if !test.late {
					a.start(a.flight)
					synctest.Wait()
				}
				stop()
				if test.late {
					time.AfterFunc(time.Second, func() { a.start(a.flight) })
				}
				if err := a.Drain(stopping); err != nil {
					t.Error(err)
				}
				if a.reserve(client.ObjectKey{Namespace: "factory", Name: "another"}) != nil {
					t.Error("a claim may be begun after the stop")
				}
				a.wantOutcome(test.outcome, test.reason)
				if took := time.Since(began); took != test.took || len(a.hub.calls) != test.calls {
					t.Errorf("%s, %d calls", took, len(a.hub.calls))
				}
			})
		})
	}
}
