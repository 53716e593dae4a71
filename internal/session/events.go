package session

import (
	"context"
	"slices"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
)

// EchoWithin says how long the event of a write of our own may take before it counts as missing.
func (s *Session) EchoWithin(d time.Duration) { s.memory.canary.within = d }

// judgeEvery is how often missing echoes are counted.
const judgeEvery = 5 * time.Second

// Watch reads the stream into the feed until the context ends.
func (s *Session) Watch(ctx context.Context, stream *eventstream.Stream, feed *Feed) {
	s.memory.streaming.Lock()
	defer s.memory.streaming.Unlock()
	feed.lifetime = ctx
	s.memory.canary.begin()
	stream.Sink = feed
	moved := make(chan struct{}, 1)
	stream.Report = func(state eventstream.State) {
		s.stream.Store(&streamState{state, time.Now()})
		feed.Changed()
		select {
		case moved <- struct{}{}:
		default: // it is to be looked at already
		}
	}
	go s.judge(ctx, feed, moved)
	stream.Run(ctx)
}

// judge looks for events that did not come, now and then and whenever the stream moved. Devices that
// relied on them, or on the stream, are looked after in another way from then on.
func (s *Session) judge(ctx context.Context, feed *Feed, moved <-chan struct{}) {
	for waitOr(ctx, judgeEvery, moved) {
		late, changed := s.memory.canary.judge(time.Now(), s.Reading())
		if changed {
			feed.Changed()
		}
		feed.missed(ctx, late)
		if !s.trusted() && s.relied.Swap(false) {
			feed.distrusted(ctx)
		}
	}
}

// Stream returns how the event stream is doing, false if none is read.
func (s *Session) Stream() (eventstream.State, bool) {
	if state := s.stream.Load(); state != nil {
		return state.State, true
	}
	return eventstream.State{}, false
}

// Reading reports whether the event stream is read and keeps up.
func (s *Session) Reading() bool {
	state, ok := s.Stream()
	return ok && state.Phase == eventstream.Reading
}

// HearsEvents reports whether the event stream is read, or is about to be.
func (s *Session) HearsEvents() bool {
	state, ok := s.Stream()
	if !ok {
		return s.HasStream
	}
	return slices.Contains([]eventstream.Phase{eventstream.Connecting, eventstream.Reading, eventstream.Lagging}, state.Phase)
}

// MayTellOf reports whether the event stream may yet tell of what happened before a time: it is
// being read, and was not read up to there.
func (s *Session) MayTellOf(t time.Time) bool {
	if !s.HearsEvents() {
		return false
	}
	heard := s.heard.Load()
	return heard == nil || heard.Before(t)
}

// EventsTrusted reports whether a change of a twin will be told by the stream: it is read, twin
// change events were seen to be routed to it, and the event of no write stayed away since. Whoever
// owes an answer is woken should that end.
func (s *Session) EventsTrusted() bool {
	if !s.trusted() {
		return false
	}
	s.relied.Store(true)
	return true
}

func (s *Session) trusted() bool { return s.Reading() && s.memory.canary.sure() }

// vouched reports whether the stream told of all changes so far.
func (s *Session) vouched() bool { return s.Reading() && s.memory.canary.vouches() }

// EventsExpected reports whether a change of a twin is likely to be told: it may be that the stream is just being opened, or that it is not known yet whether it was
// refused, as in the first two seconds after a start. It is for what waits a moment only.
func (s *Session) EventsExpected() bool {
	state, ok := s.Stream()
	return ok && (state.Phase == eventstream.Reading || state.Phase == eventstream.Connecting) && s.memory.canary.alive()
}

// EventsMissing reports whether our own writes did not come back as events.
func (s *Session) EventsMissing() bool { return s.memory.canary.dead() }

// EventsLate reports whether the event of a write stayed away, though twin changes came before.
func (s *Session) EventsLate() bool { return s.memory.canary.alive() && !s.memory.canary.sure() }

// writing expects the event of a write that is about to be made. The returned function says that it was not.
func (s *Session) writing(deviceID string, now time.Time) (failed func()) {
	if _, ok := s.Stream(); !ok {
		return func() {}
	}
	return s.memory.canary.expect(deviceID, s.Device(deviceID).desiredVersion(), now)
}
