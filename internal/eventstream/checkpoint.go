package eventstream

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Identity names the stream that a checkpoint is about. Under another identity positions mean nothing: sequence numbers
// start over when an event hub is made anew, for example by a failover of its IoT hub.
type Identity struct {
	Host          string    `json:"host"`
	EventHub      string    `json:"eventHub"`
	CreatedAt     time.Time `json:"createdAt"`
	ConsumerGroup string    `json:"consumerGroup"`
}

func (i Identity) same(other Identity) bool {
	return i.Host == other.Host && i.EventHub == other.EventHub && i.ConsumerGroup == other.ConsumerGroup && i.CreatedAt.Equal(other.CreatedAt)
}

// Mark is a place in a partition: everything up to it, inclusive, is dealt with.
type Mark struct {
	SequenceNumber int64     `json:"sequenceNumber"`
	EnqueuedTime   time.Time `json:"enqueuedTime"`
}

// Checkpoint is how far the effects of a stream's events are persisted. It vouches for every device that is not
// doubtful: nothing that the stream said of it up to the marks is missing in Kubernetes.
type Checkpoint struct {
	Stream     Identity        `json:"stream"`
	OwnerLevel int64           `json:"ownerLevel"`
	Partitions map[string]Mark `json:"partitions"`
	// Doubtful devices have to be read before they are believed.
	Doubtful []string `json:"doubtful,omitempty"`
	// Resync means that every declared device has to be read.
	Resync bool `json:"resync,omitempty"`
	// TwinChanges is true if twin changes were seen to be routed to the stream. Without them it vouches for nothing.
	TwinChanges bool `json:"twinChanges,omitempty"`
}

func (c *Checkpoint) equal(other *Checkpoint) bool {
	return other != nil && c.Stream.same(other.Stream) && c.OwnerLevel == other.OwnerLevel && c.Resync == other.Resync && c.TwinChanges == other.TwinChanges &&
		slices.Equal(c.Doubtful, other.Doubtful) && maps.EqualFunc(c.Partitions, other.Partitions, func(a, b Mark) bool {
		return a.SequenceNumber == b.SequenceNumber
	})
}

// Store keeps the checkpoint of one stream.
type Store interface {
	// Load returns the checkpoint, nil if there is none.
	Load(ctx context.Context) (*Checkpoint, error)
	// Save replaces it. It fails if someone else replaced it since Load.
	Save(ctx context.Context, c *Checkpoint) error
}

// Outstanding is what the effects of handled events still lack.
type Outstanding struct {
	// First is, by partition, the first event whose effect is not persisted.
	First map[string]Mark
	// Doubtful devices are not waited for: they are to be read after a restart. Sorted.
	Doubtful []string
	// Resync is true until every declared device was read after a hole in the stream.
	Resync bool
	// TwinChanges is true if twin changes are known to be routed to the stream.
	TwinChanges bool
}

// marks are the places up to which everything is dealt with and persisted.
func (o Outstanding) marks(handled map[string]Mark) map[string]Mark {
	marks := maps.Clone(handled)
	for partition, first := range o.First {
		if at, ok := marks[partition]; ok && first.SequenceNumber <= at.SequenceNumber {
			marks[partition] = Mark{SequenceNumber: first.SequenceNumber - 1, EnqueuedTime: first.EnqueuedTime}
		}
	}
	return marks
}
