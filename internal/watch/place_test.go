package watch

import (
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
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
