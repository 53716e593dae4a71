package eventstream

import (
	"context"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
)

func TestWhereTheEventsAfterAMarkCannotBeHad(t *testing.T) {
	end := func(begin, last int64, empty bool) azeventhubs.PartitionProperties {
		return azeventhubs.PartitionProperties{BeginningSequenceNumber: begin, LastEnqueuedSequenceNumber: last, IsEmpty: empty}
	}
	for name, c := range map[string]struct {
		known bool
		at    int64
		end   azeventhubs.PartitionProperties
		hole  bool
	}{
		"the next event is there":                      {true, 10, end(0, 20, false), false},
		"the next event is the oldest that is left":    {true, 10, end(11, 20, false), false},
		"the next event has expired":                   {true, 10, end(12, 20, false), true},
		"all events are handled and some have expired": {true, 20, end(15, 20, false), false},
		"all events are handled and all have expired":  {true, 20, end(21, 20, true), false},
		"events came and expired while nobody read":    {true, 10, end(21, 20, true), true},
		"the partition has never had an event":         {true, -1, end(0, -1, true), false},
		"the partition starts over":                    {true, 10, end(0, 3, false), true},
		"there is no checkpoint of this stream":        {false, 10, end(0, 20, false), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hole(c.known, Mark{SequenceNumber: c.at}, c.end); (got != "") != c.hole {
				t.Errorf("hole() = %q, want a hole: %v", got, c.hole)
			}
		})
	}
}

func TestMarksStayBeforeWhatIsOutstanding(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	handled := map[string]Mark{"0": {10, at}, "1": {20, at}, "2": {30, at}}
	o := Outstanding{First: map[string]Mark{"0": {7, at}, "2": {31, at}, "9": {1, at}}}
	want := map[string]Mark{"0": {6, at}, "1": {20, at}, "2": {30, at}}
	if diff := cmp.Diff(want, o.marks(handled)); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
	if handled["0"].SequenceNumber != 10 {
		t.Error("the handled marks were changed")
	}
}

func TestACheckpointIsWrittenOnlyIfItSaysSomethingNew(t *testing.T) {
	base := func() *Checkpoint {
		return &Checkpoint{
			Stream: Identity{Host: "h", EventHub: "e", ConsumerGroup: "g"}, OwnerLevel: 5,
			Partitions: map[string]Mark{"0": {SequenceNumber: 1}}, Doubtful: []string{"d"},
		}
	}
	for name, c := range map[string]struct {
		edit func(*Checkpoint)
		same bool
	}{
		"nothing":           {func(*Checkpoint) {}, true},
		"a mark":            {func(c *Checkpoint) { c.Partitions["0"] = Mark{SequenceNumber: 2} }, false},
		"another partition": {func(c *Checkpoint) { c.Partitions["1"] = Mark{} }, false},
		"a doubtful device": {func(c *Checkpoint) { c.Doubtful = append(c.Doubtful, "e") }, false},
		"a resync":          {func(c *Checkpoint) { c.Resync = true }, false},
		"a route":           {func(c *Checkpoint) { c.TwinChanges = true }, false},
		"the owner level":   {func(c *Checkpoint) { c.OwnerLevel++ }, false},
		"the stream":        {func(c *Checkpoint) { c.Stream.CreatedAt = time.Unix(1, 0) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			next := base()
			c.edit(next)
			if got := next.equal(base()); got != c.same {
				t.Errorf("equal() = %v, want %v", got, c.same)
			}
			if next.equal(nil) {
				t.Error("equal to none")
			}
		})
	}
}

// placing is a Store and a Sink that only placing needs.
type placing struct {
	Sink

	stored  *Checkpoint
	resumed Checkpoint
	resyncs int
}

func (p *placing) Load(context.Context) (*Checkpoint, error)   { return p.stored, nil }
func (p *placing) Save(_ context.Context, c *Checkpoint) error { p.stored = c; return nil }
func (p *placing) Resume(_ context.Context, c Checkpoint)      { p.resumed = c }
func (p *placing) Resync(context.Context)                      { p.resyncs++ }
func (p *placing) Outstanding(time.Time) Outstanding           { return Outstanding{} }
func (p *placing) stream() *Stream {
	return &Stream{Config: Config{Namespace: "n", ConsumerGroup: "g"}, Store: p, Sink: p, Log: logr.Discard()}
}

func TestThatTwinChangesArriveIsBelievedOfTheSameStreamOnly(t *testing.T) {
	created := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	ends := map[string]azeventhubs.PartitionProperties{"0": {LastEnqueuedSequenceNumber: 5}}
	hub := azeventhubs.EventHubProperties{Name: "e", CreatedOn: created, PartitionIDs: []string{"0"}}
	for name, c := range map[string]struct {
		edit  func(*Identity)
		known bool
	}{
		"the same stream":        {func(*Identity) {}, true},
		"another event hub":      {func(i *Identity) { i.EventHub = "other" }, false},
		"another namespace":      {func(i *Identity) { i.Host = "other" }, false},
		"another consumer group": {func(i *Identity) { i.ConsumerGroup = "other" }, false},
		"made anew":              {func(i *Identity) { i.CreatedAt = created.Add(-time.Hour) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &placing{stored: &Checkpoint{
				Stream: Identity{Host: "n", EventHub: "e", CreatedAt: created, ConsumerGroup: "g"}, TwinChanges: true,
				Partitions: map[string]Mark{"0": {SequenceNumber: 5}},
			}}
			c.edit(&p.stored.Stream)
			if err := p.stream().place(t.Context(), hub, ends); err != nil {
				t.Fatal(err)
			}
			if p.resumed.TwinChanges != c.known || (p.resyncs == 0) != c.known {
				t.Errorf("twin changes are believed: %v, %d resyncs; want believed: %v", p.resumed.TwinChanges, p.resyncs, c.known)
			}
		})
	}
}
