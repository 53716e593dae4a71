package eventstream

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestPrefetch(t *testing.T) {
	for name, c := range map[string]struct {
		partitions []int // of streams that begin one after the other
		want       []int
	}{
		"a stream of four partitions":         {[]int{4}, []int{32}},
		"one of a single partition":           {[]int{1}, []int{128}},
		"one of thirty-two":                   {[]int{32}, []int{4}},
		"the next ones have half of the rest": {[]int{4, 4, 4}, []int{32, 16, 8}},
		"those after many have one event":     {[]int{32, 32, 32, 32, 32, 32}, []int{4, 2, 1, 1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			a := &allowance{free: maxFetched / maxEvent}
			for i, n := range c.partitions {
				if each, _ := a.take(n); each != c.want[i] {
					t.Errorf("stream %d fetches %d events of a partition ahead, want %d", i, each, c.want[i])
				}
			}
		})
	}
}

// Whatever streams come and go, they hold no more than what there is, and an event of each partition beyond that.
func TestPrefetchIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const all = maxFetched / maxEvent
		a := &allowance{free: all}
		type stream struct {
			partitions, each int
			leave            func()
		}
		var streams []stream
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			if len(streams) > 0 && rapid.Bool().Draw(t, "ends") {
				streams[0].leave()
				streams[0].leave()
				streams = streams[1:]
				continue
			}
			n := rapid.IntRange(0, maxPartitions).Draw(t, "partitions")
			each, leave := a.take(n)
			streams = append(streams, stream{n, each, leave})
			sum, least := 0, 0
			for _, s := range streams {
				sum += s.partitions * s.each
				least += s.partitions
			}
			if each < 1 || each > maxPrefetch || sum > all+least {
				t.Fatalf("%d events are fetched ahead, %d by the last one of a partition, want at most %d and %d", sum, each, all, least)
			}
		}
		for _, s := range streams {
			s.leave()
		}
		if a.free != all {
			t.Fatalf("%d are left, want %d", a.free, all)
		}
	})
}

// A stream that was broken off for its share reads half as much ahead, down to one event, and more
// again with time.
func TestAStreamThatHeldTooMuchReadsLessAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &ahead{grow: time.Minute}
		want := func(n int) {
			t.Helper()
			if got := a.get(); got != n {
				t.Errorf("%d events are read ahead, want %d", got, n)
			}
		}
		a.begin(5)
		want(5)
		for _, n := range []int{2, 1, 1} {
			a.halve()
			want(n)
		}
		time.Sleep(time.Minute - 1)
		want(1)
		for _, n := range []int{2, 4, 5} {
			time.Sleep(time.Minute)
			want(n)
		}
		a.begin(32) // there is more room now
		want(32)
	})
}
