package hubs

import "sync"

// resync counts rounds of marking every declared device for reading. Once a round has marked them, each device that is
// still unread stands in the checkpoint by itself. The zero value is ready to use.
type resync struct {
	mu           sync.Mutex
	begun, ended int
}

func (r *resync) begin() (round int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun++
	return r.begun
}

func (r *resync) end(round int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = max(r.ended, round)
}

func (r *resync) underWay() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended < r.begun
}
