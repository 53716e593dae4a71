package amqp

import (
	"errors"
	"sync"
)

// faults are the refusals and stalls in force.
type faults struct {
	mu           sync.Mutex
	refuseAttach int
	attachWith   condition
	refuseTokens int
	stalls       map[string]bool // by partition, "" for all
	silenced     map[*receiver]bool
	ignoreReads  bool // of the properties of partitions
	happened     FaultCounts
}

// FaultCounts is how often faults happened.
type FaultCounts struct {
	Cut           int `json:"cut"`           // connections
	Closed        int `json:"closed"`        // connections
	Detached      int `json:"detached"`      // receivers, also because the event hub or the consumer group went
	Stalled       int `json:"stalled"`       // receivers that had something to receive
	Truncated     int `json:"truncated"`     // connections
	RefusedAttach int `json:"refusedAttach"` // links
	RefusedToken  int `json:"refusedToken"`  // tokens
}

// attach refuses a link if that is in force.
func (f *faults) attach() *condition {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuseAttach == 0 {
		return nil
	}
	f.refuseAttach--
	f.happened.RefusedAttach++
	why := f.attachWith
	return &why
}

var errRefused = errors.New("InvalidSignature: The token has an invalid signature")

// putToken refuses a token if that is in force.
func (f *faults) putToken() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuseTokens == 0 {
		return nil
	}
	f.refuseTokens--
	f.happened.RefusedToken++
	return errRefused
}

func (f *faults) ignores(r request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ignoreReads && r.text("type") == typePartition
}

func (f *faults) stalled(r *receiver) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stalls[r.partition.ID()] || f.stalls[""] || f.silenced[r]
}

func (f *faults) count(edit func(*FaultCounts)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(&f.happened)
}

// FaultCounts returns how often faults happened.
func (s *Server) FaultCounts() FaultCounts {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return s.faults.happened
}

// RefuseAttach refuses the next n links, those to $cbs excepted.
func (s *Server) RefuseAttach(n int, name, text string) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.refuseAttach, s.faults.attachWith = n, condition{name, text}
}

// RefuseTokens refuses the next n tokens.
func (s *Server) RefuseTokens(n int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.refuseTokens = n
}

// Stall holds back the events of a partition, of all with "", until Release. They wait in the log.
func (s *Server) Stall(partition string) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if s.faults.stalls == nil {
		s.faults.stalls = map[string]bool{}
	}
	s.faults.stalls[partition] = true
}

// Silence has the receivers that a partition has now, those of all with "", get nothing any more, until
// Release. New ones do.
func (s *Server) Silence(partition string) {
	receivers := s.receivers.list()
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.silenced = map[*receiver]bool{}
	for _, l := range receivers {
		if partition == "" || l.receiver.partition.ID() == partition {
			s.faults.silenced[l.receiver] = true
		}
	}
}

// IgnorePartitionReads leaves requests for the properties of partitions without an answer, or no longer.
func (s *Server) IgnorePartitionReads(on bool) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.ignoreReads = on
}

// Release ends all stalls.
func (s *Server) Release() {
	s.faults.mu.Lock()
	s.faults.stalls, s.faults.silenced = nil, nil
	s.faults.mu.Unlock()
	for _, c := range s.connections() {
		c.wakeUp()
	}
}

// Cut cuts all connections without a word.
func (s *Server) Cut() {
	for _, c := range s.connections() {
		s.faults.count(func(n *FaultCounts) { n.Cut++ })
		c.cut()
	}
}

// ForceClose closes all connections with an error, amqp:connection:forced for one.
func (s *Server) ForceClose(name, text string) {
	for _, c := range s.connections() {
		s.faults.count(func(n *FaultCounts) { n.Closed++ })
		c.close(&condition{name, text})
	}
}

// Detach ends all receivers with an error.
func (s *Server) Detach(name, text string) {
	for _, l := range s.receivers.list() {
		l.end(&condition{name, text})
	}
}

// Steal ends all receivers as a competing one with a higher epoch does.
func (s *Server) Steal() {
	for _, l := range s.receivers.list() {
		l.end(evicted(l.receiver, &receiver{name: "nil", epoch: max(l.receiver.epoch, 0) + 1}))
	}
}

// Truncate has every connection end in the middle of the next frame that is sent on it.
func (s *Server) Truncate() {
	for _, c := range s.connections() {
		c.mu.Lock()
		c.truncate = true
		c.mu.Unlock()
	}
}
