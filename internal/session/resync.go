package session

import "sync"

// resync counts rounds of marking every declared device for reading. Once a round has marked them, each device that is
// still unread stands in the checkpoint by itself. One round runs at a time, whoever asks: all share the hub's reads. The zero
// value is ready to use.
type resync struct {
	mu            sync.Mutex
	wanted, ended int
	running       bool
}

// begin asks for a round. It reports whether the caller has to run it.
func (r *resync) begin() (run bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted++
	run, r.running = !r.running, true
	return run
}

// round is the newest one that was asked for: running it now serves all before it.
func (r *resync) round() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wanted
}

// end says how a round went, and reports whether another one was asked for meanwhile.
func (r *resync) end(round int, done bool) (again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if done {
		r.ended = round
	}
	r.running = done && r.wanted > round
	return r.running
}

func (r *resync) underWay() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended < r.wanted
}
