package eventstream

import (
	"maps"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// catchUp finds out when all is handled that the hub held at one time. That a partition is
// attached, or that nothing comes, says nothing of it: only the hub's own numbers do. The zero
// value waits for nothing.
type catchUp struct {
	done func(asked time.Time)

	mu    sync.Mutex
	asked time.Time        // when the hub said where its partitions end
	left  map[string]int64 // the last events of the partitions that are behind
}

// begin waits until all is handled up to the ends of the partitions, as the hub said them after a
// time. While it waits for earlier ends it goes on with those.
func (c *catchUp) begin(asked time.Time, ends map[string]azeventhubs.PartitionProperties, handled func(id string) int64) {
	c.mu.Lock()
	waits := len(c.left) > 0
	if !waits {
		c.asked, c.left = asked, make(map[string]int64, len(ends))
		for id, end := range ends {
			c.left[id] = end.LastEnqueuedSequenceNumber
		}
	}
	partitions := maps.Clone(c.left)
	c.mu.Unlock()
	for id := range partitions {
		c.reached(id, handled(id))
	}
}

// forget waits no more: under another connection sequence numbers may have begun anew.
func (c *catchUp) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = nil
}

// reached says how far a partition is handled.
func (c *catchUp) reached(id string, sequence int64) {
	c.mu.Lock()
	last, behind := c.left[id]
	if !behind || sequence < last {
		c.mu.Unlock()
		return
	}
	delete(c.left, id)
	asked, done := c.asked, len(c.left) == 0
	c.mu.Unlock()
	if done {
		c.done(asked)
	}
}
