package session

import (
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
)

func TestWhenEventsAreExpectedAndWhenTheyAreTrusted(t *testing.T) {
	for name, c := range map[string]struct {
		phase             eventstream.Phase
		heard             bool
		expected, trusted bool
	}{
		"the stream is read, and twin changes were seen": {eventstream.Reading, true, true, true},
		"it is being opened":                             {eventstream.Connecting, true, true, false},
		"it is read, and no twin change was seen":        {eventstream.Reading, false, false, false},
		"it was refused":                                 {eventstream.Taken, true, false, false},
		"it lags behind":                                 {eventstream.Lagging, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSession(nil, "h", "")
			s.stream.Store(&streamState{State: eventstream.State{Phase: c.phase}})
			s.memory.canary.resume(c.heard)
			if s.EventsExpected() != c.expected || s.EventsTrusted() != c.trusted {
				t.Errorf("expected: %v, trusted: %v; want %v, %v", s.EventsExpected(), s.EventsTrusted(), c.expected, c.trusted)
			}
		})
	}
	if s := NewSession(nil, "h", ""); s.EventsExpected() || s.EventsTrusted() {
		t.Error("without a stream nothing can be expected")
	}
}
