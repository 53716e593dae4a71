// Package eventstream reads an IoT hub's Event Hub-compatible endpoint: it decodes what arrives and hands it on in order, keeps
// its place in checkpoints, and says how the stream is doing.
package eventstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
)

// Sink is what a stream's events are for.
type Sink interface {
	// Handle takes one event. Events of a partition come one after the other; while Handle runs the hub waits.
	Handle(ctx context.Context, e Event)
	// Poison counts an event that cannot be decoded.
	Poison(ctx context.Context, err error)
	// Resume takes up what a checkpoint says beside its marks: devices that have to be read.
	Resume(ctx context.Context, c Checkpoint)
	// Resync has every declared device read, whatever becomes of the connection: the stream has a hole.
	Resync(ctx context.Context)
	// Outstanding says what the effects of handled events still lack.
	Outstanding(now time.Time) Outstanding
	// CaughtUp says that every event was handled that the hub held at a time, by our own clock.
	CaughtUp(at time.Time)
}

// State is how a stream is doing: the worst phase of its partitions, and which ones are in it.
type State struct {
	Phase      Phase
	Partitions []string
}

func (s State) equal(other State) bool {
	return s.Phase == other.Phase && slices.Equal(s.Partitions, other.Partitions)
}

// Timing of a stream; zero fields have defaults.
type Timing struct {
	// Settle is how long an attached partition must not be refused to count as read: the service says nothing on success.
	Settle time.Duration // 2 s
	// Save is how often a changed checkpoint is written.
	Save time.Duration // 10 s
	// Lag is how old an unhandled event may be.
	Lag time.Duration // 1 min
	// MaxCatchUp is how old the oldest unread event may be after a start; beyond it devices are read instead of events.
	MaxCatchUp time.Duration // 1 h
	// Grow is how long a stream that was broken off for its share goes on before it reads twice as
	// much ahead.
	Grow time.Duration // 1 min
	// Retry is the longest pause between two tries.
	Retry time.Duration // DefaultRetry
}

// DefaultRetry is the longest pause between two tries to read a stream.
const DefaultRetry = 30 * time.Second

func (t Timing) withDefaults() Timing {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&t.Settle, 2 * time.Second}, {&t.Save, 10 * time.Second}, {&t.Lag, time.Minute}, {&t.MaxCatchUp, time.Hour}, {&t.Grow, time.Minute}, {&t.Retry, DefaultRetry}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return t
}

// Stream reads all partitions of one event hub, alone in its consumer group.
type Stream struct {
	Config Config
	Store  Store
	Sink   Sink
	// Claim, if set, asks whether this is the only reader of the consumer group in this process. It
	// is called once the event hub has accepted the credential, for each connection.
	Claim func() bool
	// Free, if set, asks whether Claim would be granted. While it would not, nothing is connected.
	Free func() bool
	// Report is told of every change of State.
	Report func(State)
	// Behind, if set, is told after a start and then every Timing.Lag how many events of a partition the hub holds that were not handled.
	Behind func(partition string, events int64)
	Log    logr.Logger
	Timing Timing

	level    int64 // owner level, chosen once: raising it while running would have two readers fight for ever
	identity Identity
	places   places
	phases   phases
	catchUp  catchUp
	ahead    ahead
	reading  time.Time // since when, zero: this try has not come to that
	storing  sync.Mutex
	saved    *Checkpoint // guarded by storing
}

// failure ends a connection with the phase that the stream is in until the next one.
type failure struct {
	phase Phase
	err   error
}

func (f *failure) Error() string { return string(f.phase) + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

var errShared = errors.New("another reader of this process has the consumer group")

// Run reads until the context ends: connect, find the place, read; whatever breaks off is tried again.
func (s *Stream) Run(ctx context.Context) {
	s.Timing = s.Timing.withDefaults()
	s.phases.report, s.catchUp.done = s.Report, s.Sink.CaughtUp
	s.phases.all(Connecting)
	s.ahead.grow = s.Timing.Grow
	pauses := pauses{longest: s.Timing.Retry}
	for {
		s.reading = time.Time{}
		err := s.connection(ctx)
		if ctx.Err() != nil {
			s.save(context.WithoutCancel(ctx))
			return
		}
		s.Log.Info(brokeOff(phaseOf(err)), "reason", phaseOf(err), "error", err.Error())
		s.phases.all(phaseOf(err))
		if !pause(ctx, pauses.next(s.hasRead())) || phaseOf(err) == Shared && !s.untilFree(ctx) {
			s.save(context.WithoutCancel(ctx))
			return
		}
	}
}

// hasRead is how long the try that has ended did read.
func (s *Stream) hasRead() time.Duration {
	if s.reading.IsZero() {
		return 0
	}
	return time.Since(s.reading)
}

func brokeOff(phase Phase) string {
	if phase == Shared {
		return "Event stream waits for another reader of this process"
	}
	return "Event stream broke off, reconnecting"
}

// askFree is how often a stream that waits for a consumer group looks whether it is free. That costs
// no call.
const askFree = time.Second

// untilFree waits for the other reader of this process. It reports false if the context ended first.
func (s *Stream) untilFree(ctx context.Context) bool {
	for s.Free != nil && !s.Free() {
		if !pause(ctx, min(askFree, s.Timing.Retry)) {
			return false
		}
	}
	return true
}

// Settled is how long a try has to last for what ended it to be another incident.
const Settled = 5 * time.Second

// pauses are those between tries: each is longer than the one before it, up to the longest, until a try
// has lasted.
type pauses struct {
	longest time.Duration
	backoff *wait.Backoff
}

// next is the pause after a try that lasted for a time.
func (p *pauses) next(lasted time.Duration) time.Duration {
	if p.backoff == nil || lasted >= min(Settled, p.longest) {
		p.backoff = &wait.Backoff{Duration: min(500*time.Millisecond, p.longest), Factor: 2, Jitter: 0.2, Steps: 100, Cap: p.longest}
	}
	return p.backoff.Step()
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// connection reads until something breaks.
func (s *Stream) connection(ctx context.Context) error {
	clients, err := s.Config.connection()
	if err != nil {
		return &failure{Unavailable, err}
	}
	defer clients.close()
	hub, err := hubProperties(ctx, clients)
	if err != nil {
		return err
	}
	if s.Claim != nil && !s.Claim() {
		return &failure{Shared, errShared}
	}
	asked := time.Now()
	ends, err := s.ends(ctx, clients, hub.PartitionIDs)
	if err != nil {
		return err
	}
	if err := s.place(ctx, hub, ends); err != nil {
		return err
	}
	s.catchUp.forget()
	s.catchUp.begin(asked, ends, s.handled)
	s.reading = time.Now()
	return s.read(ctx, clients, hub.PartitionIDs, ends)
}

type closer interface {
	Close(ctx context.Context) error
}

// closing bounds the farewell: a peer that is gone does not answer it.
func closing(c closer) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

const managementTimeout = 30 * time.Second

// bounded ends a request for properties after a while, or with ctx, by closing its client: some of
// the client's requests wait for their answer whatever becomes of their context.
func bounded(ctx context.Context, client *azeventhubs.ProducerClient) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, managementTimeout)
	answered := context.AfterFunc(ctx, func() { closing(client) })
	return ctx, func() { answered(); cancel() }
}

func hubProperties(ctx context.Context, clients connection) (azeventhubs.EventHubProperties, error) {
	ctx, cancel := bounded(ctx, clients.properties)
	defer cancel()
	hub, err := clients.properties.GetEventHubProperties(ctx, nil)
	if err != nil {
		return hub, &failure{managementPhase(err), fmt.Errorf("reading the event hub's properties: %w", err)}
	}
	if err := checkPartitions(hub.PartitionIDs); err != nil {
		return hub, &failure{Unavailable, err}
	}
	return hub, nil
}

// checkPartitions refuses partitions that no event hub has. They are remembered, and each has a
// metric series: one that named others at each try would have them gather.
func checkPartitions(ids []string) error {
	if n := len(ids); n > maxPartitions {
		return fmt.Errorf("the event hub has %d partitions, expected at most %d", n, maxPartitions)
	}
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err != nil || n < 0 || n >= maxPartitionID || strconv.Itoa(n) != id {
			return fmt.Errorf("the event hub has partition %q, expected numbers below %d", cut(id), maxPartitionID)
		}
	}
	return nil
}

// ends are the partitions' properties: where each begins and ends now.
func (s *Stream) ends(ctx context.Context, clients connection, ids []string) (map[string]azeventhubs.PartitionProperties, error) {
	ends := make(map[string]azeventhubs.PartitionProperties, len(ids))
	for _, id := range ids {
		ctx, cancel := bounded(ctx, clients.properties)
		properties, err := clients.properties.GetPartitionProperties(ctx, id, nil)
		cancel()
		if err != nil {
			return nil, &failure{managementPhase(err), fmt.Errorf("reading the properties of partition %s: %w", id, err)}
		}
		clients.answers.handled("", 0)
		ends[id] = properties
	}
	return ends, nil
}

func (s *Stream) read(ctx context.Context, clients connection, ids []string, ends map[string]azeventhubs.PartitionProperties) error {
	s.phases.each(ids, Connecting)
	silence := &silence{}
	prefetch, leave := prefetches.take(len(ids))
	defer leave()
	clients.in.allow(prefetch * len(ids))
	s.ahead.begin(prefetch)
	g, ctx := errgroup.WithContext(ctx)
	for _, id := range ids {
		g.Go(func() error {
			return (&partition{Stream: s, clients: clients, silence: silence, id: id, prefetch: prefetch, end: ends[id]}).run(ctx)
		})
	}
	g.Go(func() error { return s.saveRegularly(ctx) })
	g.Go(func() error { return s.watchLag(ctx, clients, silence, ends) })
	err := g.Wait()
	if clients.in.isForShare() {
		s.ahead.halve()
	}
	return err
}

// watchLag finds partitions where what the hub held one interval ago is still not handled. Only the hub's own numbers
// are compared: clocks may differ. One of which nothing at all came meanwhile is opened anew.
func (s *Stream) watchLag(ctx context.Context, clients connection, silence *silence, ends map[string]azeventhubs.PartitionProperties) error {
	s.tellBehind(ends)
	ids, earlier, places := slices.Collect(maps.Keys(ends)), map[string]azeventhubs.PartitionProperties{}, s.places.all()
	var asked time.Time
	for pause(ctx, s.Timing.Lag) {
		for id, end := range earlier {
			isBehind := s.behind(id, end) > 0
			s.phases.lag(id, isBehind)
			if silence.judge(id, asked, isBehind, s.handled(id) != places[id].SequenceNumber) {
				return &failure{Lagging, fmt.Errorf("partition %s: %w", id, errSilent)}
			}
		}
		asked, places = time.Now(), s.places.all()
		now, err := s.ends(ctx, clients, ids)
		if err != nil {
			return err
		}
		earlier = now
		s.catchUp.begin(asked, now, s.handled)
		s.tellBehind(now)
	}
	return ctx.Err()
}

// handled is the sequence number of the last event of a partition that was handled.
func (s *Stream) handled(id string) int64 {
	at, _ := s.places.get(id)
	return at.SequenceNumber
}

// behind is how many events up to the end of a partition were not handled.
func (s *Stream) behind(id string, end azeventhubs.PartitionProperties) int64 {
	return max(0, end.LastEnqueuedSequenceNumber-s.handled(id))
}

func (s *Stream) tellBehind(ends map[string]azeventhubs.PartitionProperties) {
	if s.Behind == nil {
		return
	}
	for id, end := range ends {
		s.Behind(id, s.behind(id, end))
	}
}

// places are the marks of what was handed to the sink.
type places struct {
	mu    sync.Mutex
	marks map[string]Mark
}

func (p *places) get(id string) (Mark, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := p.marks[id]
	return m, ok
}

func (p *places) set(id string, m Mark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.marks == nil {
		p.marks = map[string]Mark{}
	}
	p.marks[id] = m
}

func (p *places) all() map[string]Mark {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.marks)
}
