package eventstream

import (
	"cmp"
	"sync"
	"time"
)

// Bounds of what streams hold in memory: events that were fetched and not handled, beyond which the hub waits.
const (
	// maxEvent is the size of the largest event of an IoT hub, in bytes.
	maxEvent = 256 << 10
	// maxFetched is how many bytes of events all streams of the process fetch ahead, in the worst case.
	maxFetched = 64 << 20
	// maxPrefetch is how many events are fetched ahead of a partition; more make nothing faster.
	maxPrefetch = 128
	// maxPartitions is how many an event hub may have: the built-in endpoint has at most 32, or 128 on request.
	maxPartitions = 128
	// maxPartitionID is above all their numbers, which begin with 0.
	maxPartitionID = 1024
)

// prefetches shares what may be fetched ahead between all streams of the process.
var prefetches = &allowance{free: maxFetched / maxEvent}

// allowance is a number of events. Each stream takes up to half of what is left, so that there is some for the next one,
// and one event a partition in any case: without that it could not read.
type allowance struct {
	mu   sync.Mutex
	free int
}

// take returns how many events may be fetched ahead of each partition of a stream, and how to give them back.
func (a *allowance) take(partitions int) (each int, leave func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	each = min(maxPrefetch, max(1, a.free/2/max(1, partitions)))
	taken := each * partitions
	a.free -= taken
	return each, sync.OnceFunc(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.free += taken
	})
}

// ahead is how many events a stream fetches ahead of each partition, which are fewer after it was
// broken off for its share: values take more memory than their bytes. The zero value has no such
// limit.
type ahead struct {
	grow time.Duration // until there are twice as many again

	mu      sync.Mutex
	allowed int // by what all streams share
	most    int // 0: as many as are allowed
	since   time.Time
}

// begin is called with what all streams leave to this one.
func (a *ahead) begin(allowed int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.allowed = allowed
}

// halve is called after the stream was broken off for its share.
func (a *ahead) halve() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.most, a.since = max(1, a.now()/2), time.Now()
}

// get is how many there are now.
func (a *ahead) get() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.most > 0 && time.Since(a.since) >= a.grow {
		if a.most, a.since = 2*a.most, time.Now(); a.most >= a.allowed {
			a.most = 0
		}
	}
	return a.now()
}

// now is called with the lock held.
func (a *ahead) now() int { return min(a.allowed, cmp.Or(a.most, a.allowed)) }
