package eventstream

import (
	"slices"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

func TestCatchUp(t *testing.T) {
	const a, b, first, second = "a", "b", 1, 2 // seconds at which ends are asked for
	begin := func(asked int, ends map[string]int64, handled int64) func(*catchUp) {
		properties := map[string]azeventhubs.PartitionProperties{}
		for id, last := range ends {
			properties[id] = azeventhubs.PartitionProperties{LastEnqueuedSequenceNumber: last}
		}
		return func(c *catchUp) {
			c.begin(time.Unix(int64(asked), 0), properties, func(string) int64 { return handled })
		}
	}
	reached := func(id string, sequence int64) func(*catchUp) { return func(c *catchUp) { c.reached(id, sequence) } }
	for name, test := range map[string]struct {
		steps []func(*catchUp)
		done  []int64 // what was caught up with
	}{
		"all was handled before":             {[]func(*catchUp){begin(first, map[string]int64{a: 3, b: 2}, 3)}, []int64{first}},
		"there never was an event":           {[]func(*catchUp){begin(first, map[string]int64{a: -1}, -1)}, []int64{first}},
		"one event is left":                  {[]func(*catchUp){begin(first, map[string]int64{a: 3, b: 4}, 3)}, nil},
		"it is handled":                      {[]func(*catchUp){begin(first, map[string]int64{a: 3, b: 4}, 3), reached(b, 4)}, []int64{first}},
		"it is passed, since others came":    {[]func(*catchUp){begin(first, map[string]int64{a: 3, b: 4}, 3), reached(b, 9), reached(b, 10)}, []int64{first}},
		"one partition of two":               {[]func(*catchUp){begin(first, map[string]int64{a: 4, b: 4}, 3), reached(a, 4), reached(a, 5)}, nil},
		"earlier ends are waited for first":  {[]func(*catchUp){begin(first, map[string]int64{a: 4}, 3), begin(second, map[string]int64{a: 9}, 3), reached(a, 4)}, []int64{first}},
		"and then later ones":                {[]func(*catchUp){begin(first, map[string]int64{a: 4}, 4), begin(second, map[string]int64{a: 9}, 4), reached(a, 9)}, []int64{first, second}},
		"after a new connection new numbers": {[]func(*catchUp){begin(first, map[string]int64{a: 99}, 3), (*catchUp).forget, begin(second, map[string]int64{a: 1}, 0), reached(a, 1)}, []int64{second}},
	} {
		t.Run(name, func(t *testing.T) {
			var done []int64
			c := &catchUp{done: func(at time.Time) { done = append(done, at.Unix()) }}
			for _, step := range test.steps {
				step(c)
			}
			if !slices.Equal(done, test.done) {
				t.Errorf("caught up with %v, want %v", done, test.done)
			}
		})
	}
}
