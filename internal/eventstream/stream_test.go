package eventstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/simulator/amqp"
	"github.com/pnp-operator/pnp-operator/simulator/auth"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

const hubName, group = "iothub-ehub-factory", "pnp-operator"

var timing = eventstream.Timing{Settle: 50 * time.Millisecond, Save: 20 * time.Millisecond, Lag: 100 * time.Millisecond, Retry: 200 * time.Millisecond}

// store keeps a checkpoint in memory.
type store struct {
	mu    sync.Mutex
	c     *eventstream.Checkpoint
	saves int
	err   error
}

func (s *store) Load(context.Context) (*eventstream.Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c, s.err
}

func (s *store) Save(_ context.Context, c *eventstream.Checkpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.c, s.saves = c, s.saves+1
	}
	return s.err
}

func (s *store) set(edit func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit()
}

func (s *store) mark(partition string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		return -2
	}
	return s.c.Partitions[partition].SequenceNumber
}

// sink records what it is handed. Nothing is outstanding unless a test says so.
type sink struct {
	mu      sync.Mutex
	bodies  []string
	poison  int
	resyncs int
	resumed eventstream.Checkpoint
	missing eventstream.Outstanding
	caught  []time.Time
	states  []eventstream.State
	block   chan struct{}

	onResync func()
}

func (s *sink) Handle(_ context.Context, e eventstream.Event) {
	if s.block != nil {
		<-s.block
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, string(e.Telemetry.Body))
}

func (s *sink) Poison(context.Context, error)                      { s.set(func() { s.poison++ }) }
func (s *sink) Resume(_ context.Context, c eventstream.Checkpoint) { s.set(func() { s.resumed = c }) }
func (s *sink) CaughtUp(at time.Time)                              { s.set(func() { s.caught = append(s.caught, at) }) }
func (s *sink) report(state eventstream.State)                     { s.set(func() { s.states = append(s.states, state) }) }
func (s *sink) set(edit func())                                    { s.mu.Lock(); defer s.mu.Unlock(); edit() }
func (s *sink) Outstanding(time.Time) (o eventstream.Outstanding) {
	s.set(func() { o = s.missing })
	return o
}
func (s *sink) caughtUp() (n int) { s.set(func() { n = len(s.caught) }); return n }
func (s *sink) Resync(context.Context) {
	if s.onResync != nil {
		s.onResync()
	}
	s.set(func() { s.resyncs++ })
}
func (s *sink) handled() (n int) { s.set(func() { n = len(s.bodies) }); return n }
func (s *sink) phase() (p eventstream.Phase) {
	s.set(func() {
		if len(s.states) > 0 {
			p = s.states[len(s.states)-1].Phase
		}
	})
	return p
}

// has reports whether the stream ever was in a phase.
func (s *sink) has(p eventstream.Phase) (was bool) {
	s.set(func() {
		was = slices.ContainsFunc(s.states, func(state eventstream.State) bool { return state.Phase == p })
	})
	return was
}

// site is an event hub with two partitions.
type site struct {
	log      *eventhub.Log
	server   *amqp.Server
	policies *auth.Policies
	address  string
	ahead    atomic.Int64 // by how much the hub's clock is ahead of ours, in nanoseconds
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{
		policies: auth.NewPolicies(func() string { return "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ=" }),
	}
	clock := func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	s.log = eventhub.New(eventhub.Options{Name: hubName, Partitions: 2, Groups: []string{group}, Clock: clock})
	s.server = amqp.New(amqp.Options{Log: s.log, Policies: s.policies})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	go func() { _ = s.server.Serve(l) }() // until the server is closed
	t.Cleanup(func() {
		if err := s.server.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// send appends telemetry, which carries its number.
func (s *site) send(partition, from, to int) {
	for i := from; i < to; i++ {
		s.log.Append(partition, eventhub.Message{
			Annotations: map[string]any{"iothub-connection-device-id": "d", "iothub-message-source": "Telemetry"}, Body: fmt.Appendf(nil, "%d/%d", partition, i),
		})
	}
}

// stream is a Stream that runs.
type stream struct {
	*eventstream.Stream

	sink *sink
	stop func()
}

func (s *site) stream(t *testing.T, st *store, edits ...func(*eventstream.Stream)) *stream {
	t.Helper()
	p, _ := s.policies.Get("service")
	config, err := eventstream.ParseConnectionString(fmt.Sprintf("Endpoint=sb://%s;SharedAccessKeyName=%s;SharedAccessKey=%s;EntityPath=%s;UseDevelopmentEmulator=true", s.address, p.Name, p.Key, hubName))
	if err != nil {
		t.Fatal(err)
	}
	config.ConsumerGroup, config.Instance = group, "test"
	k := &sink{}
	w := &stream{Stream: &eventstream.Stream{Config: config, Store: st, Sink: k, Report: k.report, Log: testr.New(t), Timing: timing}, sink: k}
	for _, edit := range edits {
		edit(w.Stream)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	w.stop = func() { cancel(); <-done }
	t.Cleanup(w.stop)
	return w
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("waited 20 s for " + what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (w *stream) reaches(t *testing.T, phase eventstream.Phase) {
	t.Helper()
	eventually(t, string(phase), func() bool { return w.sink.phase() == phase })
}

func TestAStreamGoesOnWhereItStopped(t *testing.T) {
	s, st := newSite(t), &store{}
	s.send(0, 0, 5) // before anybody reads: the devices are read instead
	first := s.stream(t, st)
	first.reaches(t, eventstream.Reading)
	s.send(0, 5, 10)
	s.send(1, 0, 3)
	eventually(t, "eight events", func() bool { return first.sink.handled() == 8 })
	first.stop()
	s.send(0, 10, 12) // while nobody reads
	second := s.stream(t, st)
	eventually(t, "two events", func() bool { return second.sink.handled() == 2 })
	if diff := cmp.Diff([]string{"0/10", "0/11"}, second.sink.bodies); diff != "" {
		t.Errorf("events after the restart (-want +got):\n%s", diff)
	}
	if first.sink.resyncs != 1 || second.sink.resyncs != 0 {
		t.Errorf("devices were read instead of events %d and %d times", first.sink.resyncs, second.sink.resyncs)
	}
}

func TestTheCheckpointStaysBeforeWhatIsNotPersisted(t *testing.T) {
	s, st := newSite(t), &store{}
	w := s.stream(t, st)
	w.reaches(t, eventstream.Reading)
	w.sink.set(func() {
		w.sink.missing = eventstream.Outstanding{First: map[string]eventstream.Mark{"0": {SequenceNumber: 3}}}
	})
	s.send(0, 0, 10)
	s.send(1, 0, 4)
	eventually(t, "the marks", func() bool { return st.mark("0") == 2 && st.mark("1") == 3 })
	w.sink.set(func() { w.sink.missing = eventstream.Outstanding{} })
	eventually(t, "the mark", func() bool { return st.mark("0") == 9 })
	saves := func() (n int) { st.set(func() { n = st.saves }); return n }
	before := saves()
	s.send(1, 4, 5)
	eventually(t, "one more", func() bool { return st.mark("1") == 4 })
	if after := saves(); after > before+2 {
		t.Errorf("%d writes for one event", after-before)
	}
}

func TestWhatBreaksEndsInAPhaseAndHealsWithoutARestart(t *testing.T) {
	for name, c := range map[string]struct {
		breakIt, mend func(*site)
		want          eventstream.Phase
	}{
		"the event hub is deleted": {
			func(s *site) { s.log.Delete(); s.server.Detach("amqp:not-found", "gone") }, func(s *site) { s.log.Recreate() }, eventstream.HubGone,
		},
		"the consumer group is deleted": {
			func(s *site) { s.log.RemoveGroup(group); s.server.Cut() }, func(s *site) { s.log.AddGroup(group) }, eventstream.GroupGone,
		},
		"the policy is disabled": {
			func(s *site) { _ = s.policies.Disable("service"); s.server.Cut() }, func(s *site) { _ = s.policies.Enable("service") }, eventstream.Unauthorized,
		},
		"the service is busy": {
			func(s *site) { s.server.RefuseAttach(1000, "com.microsoft:server-busy", "busy"); s.server.Cut() },
			func(s *site) { s.server.RefuseAttach(0, "", "") }, eventstream.Busy,
		},
		"the partitions lag": {
			func(s *site) { s.server.Stall(""); s.send(0, 0, 3) }, func(s *site) { s.server.Release() }, eventstream.Lagging,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, st := newSite(t), &store{}
			w := s.stream(t, st)
			w.reaches(t, eventstream.Reading)
			c.breakIt(s)
			w.reaches(t, c.want)
			c.mend(s)
			w.reaches(t, eventstream.Reading)
			before := w.sink.handled()
			s.send(1, 0, 3)
			eventually(t, "events", func() bool { return w.sink.handled() >= before+3 })
		})
	}
}

func TestAStreamClaimsItsGroupOnceItsCredentialIsAccepted(t *testing.T) {
	s, st := newSite(t), &store{}
	var claims, free atomic.Int64
	claim := func() bool { claims.Add(1); return free.Load() > 0 }
	if err := s.policies.Disable("service"); err != nil {
		t.Fatal(err)
	}
	w := s.stream(t, st, func(w *eventstream.Stream) { w.Claim = claim })
	w.reaches(t, eventstream.Unauthorized)
	if n := claims.Load(); n > 0 {
		t.Errorf("it claimed the group %d times", n)
	}
	if err := s.policies.Enable("service"); err != nil {
		t.Fatal(err)
	}
	w.reaches(t, eventstream.Shared)
	if w.sink.has(eventstream.Reading) || st.mark("0") != -2 {
		t.Error("it began to read, or wrote a checkpoint")
	}
	free.Store(1)
	w.reaches(t, eventstream.Reading)
}

// Two IoTHubs of one event hub and group are no fault of the network: one of them waits in silence.
func TestAStreamConnectsNoMoreWhileAnotherReaderHasItsGroup(t *testing.T) {
	s, st := newSite(t), &store{}
	var claims, asked, free atomic.Int64
	w := s.stream(t, st, func(w *eventstream.Stream) {
		w.Claim = func() bool { claims.Add(1); return free.Load() > 0 }
		w.Free = func() bool { asked.Add(1); return free.Load() > 0 }
	})
	w.reaches(t, eventstream.Shared)
	eventually(t, "look for a free group", func() bool { return asked.Load() >= 10 })
	if n := claims.Load(); n != 1 {
		t.Errorf("it connected %d times", n)
	}
	free.Store(1)
	w.reaches(t, eventstream.Reading)
}

func TestAStreamCountsAsReadOnceItHasReadWhatTheHubHeld(t *testing.T) {
	s, st := newSite(t), &store{}
	first := s.stream(t, st)
	first.reaches(t, eventstream.Reading)
	first.stop()
	s.send(0, 0, 10) // while nobody reads
	gate := make(chan struct{})
	second := s.stream(t, st, func(w *eventstream.Stream) {
		w.Sink.(*sink).block = gate
		w.Timing.Lag = time.Hour
	})
	open := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open)
	for range 9 {
		gate <- struct{}{}
	}
	second.reaches(t, eventstream.Lagging)
	if second.sink.has(eventstream.Reading) {
		t.Error("it counted as read before")
	}
	open()
	second.reaches(t, eventstream.Reading)
}

func TestNothingIsLostOrRepeatedWhileConnectionsBreak(t *testing.T) {
	s, st := newSite(t), &store{}
	w := s.stream(t, st)
	w.reaches(t, eventstream.Reading)
	breaks := []func(){
		s.server.Cut, s.server.Truncate, func() { s.server.ForceClose("amqp:connection:forced", "maintenance") },
		func() { s.server.Detach("com.microsoft:server-busy", "busy") }, func() { s.server.Detach("amqp:link:stolen", "by nobody") },
	}
	var want []string
	for i := range 25 {
		s.send(0, i*20, (i+1)*20)
		for n := i * 20; n < (i+1)*20; n++ {
			want = append(want, fmt.Sprintf("0/%d", n))
		}
		if i%5 == 4 {
			eventually(t, "some events", func() bool { return w.sink.handled() > i*10 })
			breaks[i/5]()
		}
	}
	eventually(t, "500 events", func() bool { return w.sink.handled() >= len(want) })
	if diff := cmp.Diff(want, w.sink.bodies); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHolesInTheStreamHaveEveryDeviceRead(t *testing.T) {
	for name, c := range map[string]struct {
		while func(*site, *store) // nobody reads
		want  int
	}{
		"nothing happened":                    {func(*site, *store) {}, 0},
		"events expired":                      {func(s *site, _ *store) { s.send(0, 10, 20); s.log.Partition("0").Expire(2) }, 1},
		"the event hub was made anew":         {func(s *site, _ *store) { s.log.Recreate(); s.send(0, 0, 30) }, 1},
		"the checkpoint is gone":              {func(_ *site, st *store) { st.c = nil }, 1},
		"the checkpoint is of another group":  {func(_ *site, st *store) { st.c.Stream.ConsumerGroup = "other" }, 1},
		"the checkpoint is ahead of the hub":  {func(_ *site, st *store) { st.c.Partitions["1"] = eventstream.Mark{SequenceNumber: 99} }, 1},
		"a resync was under way at the crash": {func(_ *site, st *store) { st.c.Resync = true }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, st := newSite(t), &store{}
			first := s.stream(t, st)
			first.reaches(t, eventstream.Reading)
			s.send(0, 0, 10)
			eventually(t, "ten events", func() bool { return first.sink.handled() == 10 })
			first.stop()
			c.while(s, st)
			second := s.stream(t, st)
			second.reaches(t, eventstream.Reading)
			if second.sink.resyncs != c.want {
				t.Errorf("%d resyncs, want %d", second.sink.resyncs, c.want)
			}
			s.send(0, 100, 103)
			eventually(t, "the newest event", func() bool {
				var ok bool
				second.sink.set(func() { ok = slices.Contains(second.sink.bodies, "0/102") })
				return ok
			})
		})
	}
}

// sendOldBacklog sends two events, the first of which is older than a stream reads after a start.
func (s *site) sendOldBacklog() {
	s.send(0, 0, 1)
	s.ahead.Add(int64(61 * time.Minute))
	s.send(0, 1, 2)
}

func TestABacklogThatIsTooOldIsJumpedOver(t *testing.T) {
	s, st := newSite(t), &store{}
	first := s.stream(t, st)
	first.reaches(t, eventstream.Reading)
	first.stop()
	s.sendOldBacklog()
	second := s.stream(t, st)
	eventually(t, "a resync", func() bool { var n int; second.sink.set(func() { n = second.sink.resyncs }); return n == 1 })
	s.send(0, 2, 3)
	eventually(t, "the event after it", func() bool { return second.sink.handled() == 1 })
	if got := second.sink.bodies[0]; got != "0/2" {
		t.Errorf("the first event is %s", got)
	}
}

func TestNoCheckpointIsPastABacklogThatIsNotKnownToBeLost(t *testing.T) {
	s, st := newSite(t), &store{}
	first := s.stream(t, st)
	first.reaches(t, eventstream.Reading)
	first.stop()
	s.sendOldBacklog()
	resyncs, goOn := make(chan struct{}), make(chan struct{})
	second := s.stream(t, st, func(w *eventstream.Stream) {
		w.Sink.(*sink).missing.Doubtful = []string{"changes the checkpoint"}
		w.Sink.(*sink).onResync = func() { close(resyncs); <-goOn }
	})
	<-resyncs
	eventually(t, "a checkpoint that is written meanwhile", func() bool {
		var doubtful []string
		st.set(func() { doubtful = st.c.Doubtful })
		return len(doubtful) > 0
	})
	if mark := st.mark("0"); mark != -1 {
		t.Errorf("a crash would have passed over the backlog up to %d", mark)
	}
	close(goOn)
	eventually(t, "the new place", func() bool { return st.mark("0") == 1 })
	second.stop()
}

func TestTheNewerReaderWinsAndTheOlderOneComesBackWhenItLeaves(t *testing.T) {
	s := newSite(t)
	older := s.stream(t, &store{})
	older.reaches(t, eventstream.Reading)
	newer := s.stream(t, &store{c: &eventstream.Checkpoint{OwnerLevel: time.Now().Unix() + 1000}})
	newer.reaches(t, eventstream.Reading)
	older.reaches(t, eventstream.Taken)
	s.send(0, 0, 3)
	eventually(t, "three events", func() bool { return newer.sink.handled() == 3 })
	newer.stop()
	older.reaches(t, eventstream.Reading)
	eventually(t, "three events", func() bool { return older.sink.handled() == 3 })
}

func TestAStoreThatFailsIsAPhaseAndHeals(t *testing.T) {
	s, st := newSite(t), &store{}
	w := s.stream(t, st)
	w.reaches(t, eventstream.Reading)
	st.set(func() { st.err = errors.New("no") })
	s.send(0, 0, 1)
	w.reaches(t, eventstream.StoreFailed)
	st.set(func() { st.err = nil })
	w.reaches(t, eventstream.Reading)
}

// taken is a store that another leader wrote since.
type taken struct{}

func (s taken) Load(context.Context) (*eventstream.Checkpoint, error) {
	return &eventstream.Checkpoint{OwnerLevel: time.Now().Unix() + 1000}, nil
}

func (s taken) Save(context.Context, *eventstream.Checkpoint) error { return errors.New("conflict") }

// handover is a store that another leader takes over.
type handover struct {
	*store

	to taken
	on bool
}

func (s *handover) Load(ctx context.Context) (*eventstream.Checkpoint, error) {
	if s.isTaken() {
		return s.to.Load(ctx)
	}
	return s.store.Load(ctx)
}

func (s *handover) Save(ctx context.Context, c *eventstream.Checkpoint) error {
	if s.isTaken() {
		return s.to.Save(ctx, c)
	}
	return s.store.Save(ctx, c)
}

func (s *handover) isTaken() (on bool) { s.set(func() { on = s.on }); return on }

func TestACheckpointOfANewerLeaderIsLeftAlone(t *testing.T) {
	s, st := newSite(t), &handover{store: &store{}}
	w := s.stream(t, st.store, func(w *eventstream.Stream) { w.Store = st })
	w.reaches(t, eventstream.Reading)
	st.set(func() { st.on = true })
	s.send(0, 0, 1)
	w.reaches(t, eventstream.Taken)
}

func TestAPoisonousEventIsCountedAndPassed(t *testing.T) {
	s, st := newSite(t), &store{}
	w := s.stream(t, st)
	w.reaches(t, eventstream.Reading)
	s.log.Append(0, eventhub.Message{
		Annotations: map[string]any{"iothub-connection-device-id": "d", "iothub-message-source": "twinChangeEvents"},
		Application: map[string]any{"iothub-message-schema": "twinChangeNotification", "opType": "updateTwin"}, Body: []byte(`{"version":`),
	})
	s.send(0, 1, 2)
	eventually(t, "the event behind it", func() bool { return w.sink.handled() == 1 })
	if w.sink.poison != 1 {
		t.Errorf("%d poisonous events", w.sink.poison)
	}
	eventually(t, "the mark behind it", func() bool { return st.mark("0") == 1 })
}

func TestASlowSinkHoldsTheHubBack(t *testing.T) {
	s, st := newSite(t), &store{}
	var behind atomic.Int64 // of partition 0
	w := s.stream(t, st, func(w *eventstream.Stream) {
		w.Sink.(*sink).block = make(chan struct{})
		w.Behind = func(partition string, events int64) {
			if partition == "0" {
				behind.Store(events)
			}
		}
	})
	w.reaches(t, eventstream.Reading)
	s.send(0, 0, 2000)
	next := func() (n int64) {
		for _, r := range s.server.Receivers() {
			if r.Partition == "0" {
				n = r.Next
			}
		}
		return n
	}
	unblock := sync.OnceFunc(func() { close(w.sink.block) })
	t.Cleanup(unblock)  // before the stream is stopped
	const prefetch = 64 // of each of the two partitions of an only stream
	eventually(t, "the client's own room to be filled", func() bool { return next() >= prefetch })
	eventually(t, "the stream to lag", func() bool { return w.sink.phase() == eventstream.Lagging })
	eventually(t, "all events to be counted as behind", func() bool { return behind.Load() == 2000 })
	if got := next(); got > 2*prefetch {
		t.Errorf("%d events were sent to a reader that handled none", got)
	}
	unblock()
	eventually(t, "all events", func() bool { return w.sink.handled() == 2000 })
	eventually(t, "none to be behind", func() bool { return behind.Load() == 0 })
}

// A partition that is attached and silent is not one that is caught up with.
func TestAStreamIsCaughtUpOnceAllIsHandledThatTheHubHeld(t *testing.T) {
	s, st := newSite(t), &store{}
	first := s.stream(t, st)
	eventually(t, "a stream of which nothing is left to handle", func() bool { return first.sink.caughtUp() > 0 })
	first.stop()
	s.send(1, 0, 3)
	s.server.Stall("1")
	began := time.Now()
	second := s.stream(t, st)
	s.send(0, 0, 1)
	eventually(t, "the event of the other partition", func() bool { return second.sink.handled() == 1 })
	second.reaches(t, eventstream.Lagging)
	if n := second.sink.caughtUp(); n != 0 {
		t.Errorf("caught up %d times while events are held back", n)
	}
	s.server.Release()
	eventually(t, "the end of the partition", func() bool { return second.sink.caughtUp() > 0 })
	if n, at := second.sink.handled(), second.sink.caught[0]; n != 4 || at.Before(began) {
		t.Errorf("caught up with %s after %d events", at, n)
	}
}
