package eventstream

import (
	"context"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// place decides where to read from. A checkpoint holds as long as it is about this very stream and nothing after it was
// lost; where it does not hold, reading starts at the partition's present end, which is stored first, and every declared
// device is read. It never starts at "latest": that would attach at some later moment, and lose what came before it.
func (s *Stream) place(ctx context.Context, hub azeventhubs.EventHubProperties, ends map[string]azeventhubs.PartitionProperties) error {
	identity := Identity{Host: s.Config.Namespace, EventHub: hub.Name, CreatedAt: hub.CreatedOn.UTC(), ConsumerGroup: s.Config.ConsumerGroup}
	resync := false
	if s.level == 0 {
		stored, err := s.load(ctx)
		if err != nil {
			return err
		}
		resync = stored.Resync
		if !stored.Stream.same(identity) {
			stored.TwinChanges = false // that they come through another stream says nothing of this one
		}
		s.Sink.Resume(ctx, *stored)
		s.identity = stored.Stream
		for id, mark := range stored.Partitions {
			s.places.set(id, mark)
		}
	}
	known := s.identity.same(identity)
	s.identity = identity
	holes := map[string][]string{} // partitions by reason
	for _, id := range hub.PartitionIDs {
		at, ok := s.places.get(id)
		if why := hole(known && ok, at, ends[id]); why != "" {
			s.places.set(id, endOf(ends[id]))
			holes[why] = append(holes[why], id)
			resync = true
		}
	}
	for why, partitions := range holes {
		s.Log.Info("Reading devices instead of events", "partitions", partitions, "reason", why)
	}
	if resync {
		s.Sink.Resync(ctx)
	}
	return s.put(ctx, s.checkpoint(time.Now())) // where reading starts is stored before it does
}

// load reads the checkpoint and chooses the owner level: above that of every reader before us.
func (s *Stream) load(ctx context.Context) (*Checkpoint, error) {
	stored, err := s.Store.Load(ctx)
	if err != nil {
		return nil, &failure{StoreFailed, fmt.Errorf("reading the checkpoint: %w", err)}
	}
	if stored == nil {
		stored = &Checkpoint{}
	}
	s.level = max(stored.OwnerLevel+1, time.Now().Unix())
	return stored, nil
}

// hole says why events after the mark cannot be had, "" if they can.
func hole(known bool, at Mark, end azeventhubs.PartitionProperties) string {
	missing := end.LastEnqueuedSequenceNumber > at.SequenceNumber
	switch {
	case !known:
		return "no checkpoint of this stream"
	case end.LastEnqueuedSequenceNumber < at.SequenceNumber:
		return "the partition ends before the checkpoint"
	case missing && (end.IsEmpty || end.BeginningSequenceNumber > at.SequenceNumber+1):
		return "events after the checkpoint expired"
	}
	return ""
}

func endOf(end azeventhubs.PartitionProperties) Mark {
	return Mark{SequenceNumber: end.LastEnqueuedSequenceNumber, EnqueuedTime: end.LastEnqueuedOn.UTC()}
}

// checkpoint is what may be stored now. The marks are taken before what is outstanding: the other way round an event
// between the two would be stored as done.
func (s *Stream) checkpoint(now time.Time) *Checkpoint {
	handled := s.places.all()
	o := s.Sink.Outstanding(now)
	return &Checkpoint{
		Stream: s.identity, OwnerLevel: s.level, Partitions: o.marks(handled), Doubtful: o.Doubtful, Resync: o.Resync,
		TwinChanges: o.TwinChanges,
	}
}

func (s *Stream) saveRegularly(ctx context.Context) error {
	for pause(ctx, s.Timing.Save) {
		if err := s.put(ctx, s.checkpoint(time.Now())); err != nil {
			if phaseOf(err) == Taken {
				return err
			}
			s.Log.Error(err, "Checkpoint not written, trying again")
			s.phases.store(false)
			continue
		}
		s.phases.store(true)
	}
	return ctx.Err()
}

// save is the farewell: a stop that is announced loses nothing and repeats nothing.
func (s *Stream) save(ctx context.Context) {
	if s.level == 0 { // never began
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := s.put(ctx, s.checkpoint(time.Now())); err != nil {
		s.Log.Error(err, "Last checkpoint not written")
	}
}

// put stores a checkpoint that says something new. A store that someone with a higher owner level wrote since is theirs.
func (s *Stream) put(ctx context.Context, c *Checkpoint) error {
	s.storing.Lock()
	defer s.storing.Unlock()
	if c.equal(s.saved) {
		return nil
	}
	err := s.Store.Save(ctx, c)
	if err == nil {
		s.saved = c
		return nil
	}
	if stored, loadErr := s.Store.Load(ctx); loadErr == nil && stored != nil && stored.OwnerLevel > s.level {
		return &failure{Taken, fmt.Errorf("a reader with owner level %d took over: %w", stored.OwnerLevel, err)}
	}
	return &failure{StoreFailed, fmt.Errorf("writing the checkpoint: %w", err)}
}
