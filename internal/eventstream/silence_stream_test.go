package eventstream_test

import (
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
)

// peerOf is the connection that a partition is read over, "" if it is not.
func (s *site) peerOf(partition string) string {
	for _, r := range s.server.Receivers() {
		if r.Partition == partition {
			return r.Peer
		}
	}
	return ""
}

// A link may stay up and carry nothing.
func TestAStreamOpensASilentReceiverAnewAndLosesNothing(t *testing.T) {
	s, st := newSite(t), &store{}
	w := s.stream(t, st)
	w.reaches(t, eventstream.Reading)
	s.send(0, 0, 3)
	eventually(t, "events before", func() bool { return w.sink.handled() == 3 })
	connection := s.peerOf("1")
	s.server.Silence("0")
	s.send(0, 3, 6)
	eventually(t, "the events that were held back", func() bool { return w.sink.handled() == 6 })
	w.reaches(t, eventstream.Reading)
	if now := s.peerOf("1"); now != connection {
		t.Errorf("the other partition is read over %q, and was over %q", now, connection)
	}
	if w.sink.resyncs != 1 {
		t.Errorf("devices were read instead of events %d times, expected once, at the beginning", w.sink.resyncs)
	}
}

func TestAStreamConnectsAnewIfANewReceiverIsSilentAsWell(t *testing.T) {
	s, st := newSite(t), &store{}
	w := s.stream(t, st)
	w.reaches(t, eventstream.Reading)
	connection := s.peerOf("1")
	s.server.Stall("0")
	s.send(0, 0, 3)
	w.reaches(t, eventstream.Lagging)
	eventually(t, "another connection", func() bool { now := s.peerOf("1"); return now != "" && now != connection })
	s.send(1, 0, 3)
	eventually(t, "events of the other partition", func() bool { return w.sink.handled() >= 3 })
	s.server.Release()
	eventually(t, "all events", func() bool { return w.sink.handled() == 6 })
	w.reaches(t, eventstream.Reading)
}
