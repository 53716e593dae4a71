package eventhub_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

// clock is set by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newLog(edits ...func(*eventhub.Options)) (*eventhub.Log, *clock) {
	c := &clock{at: noon}
	o := eventhub.Options{Name: "hub", Partitions: 3, Groups: []string{"readers"}, Clock: c.now}
	for _, edit := range edits {
		edit(&o)
	}
	return eventhub.New(o), c
}

// fill appends events of ten bytes to partition 0, one a second.
func fill(l *eventhub.Log, c *clock, n int) {
	for range n {
		c.at = c.at.Add(time.Second)
		l.Append(0, eventhub.Message{Body: []byte("ten bytes!")})
	}
}

func numbers(events []eventhub.Event) []int64 {
	var all []int64
	for _, e := range events {
		all = append(all, e.SequenceNumber)
	}
	return all
}

func TestPositions(t *testing.T) {
	// Events 0 to 4 are expired; 5 to 9 are there, with offsets 50 to 90, one a second.
	l, c := newLog()
	fill(l, c, 10)
	p := l.Partition("0")
	p.Expire(5)
	at := func(n int64) int64 { return noon.Add(time.Duration(n+1) * time.Second).UnixMilli() }
	for name, test := range map[string]struct {
		key       eventhub.Key
		value     int64
		inclusive bool
		want      int64
	}{
		"behind a sequence number":               {eventhub.BySequence, 6, false, 7},
		"at a sequence number":                   {eventhub.BySequence, 6, true, 6},
		"behind one that is expired":             {eventhub.BySequence, 2, false, 5},
		"behind the last one that expired":       {eventhub.BySequence, 4, false, 5},
		"behind the last one":                    {eventhub.BySequence, 9, false, 10},
		"at the last one":                        {eventhub.BySequence, 9, true, 9},
		"at one that is not there yet":           {eventhub.BySequence, 42, true, 10},
		"before all":                             {eventhub.BySequence, -1, false, 5},
		"behind an offset":                       {eventhub.ByOffset, 60, false, 7},
		"at an offset":                           {eventhub.ByOffset, 60, true, 6},
		"at an offset within an event":           {eventhub.ByOffset, 61, true, 7},
		"before all offsets":                     {eventhub.ByOffset, -1, false, 5},
		"behind all offsets":                     {eventhub.ByOffset, 90, false, 10},
		"behind a time":                          {eventhub.ByTime, at(6), false, 7},
		"at a time":                              {eventhub.ByTime, at(6), true, 6},
		"at a time between two events":           {eventhub.ByTime, at(6) + 1, true, 7},
		"at a time before all":                   {eventhub.ByTime, 0, true, 5},
		"at a time to come":                      {eventhub.ByTime, at(99), true, 10},
		"behind a time in the last one's second": {eventhub.ByTime, at(9) - 1, false, 9},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.Find(test.key, test.value, test.inclusive); got != test.want {
				t.Errorf("position %d, want %d", got, test.want)
			}
		})
	}
}

func TestTheEnd(t *testing.T) {
	l, c := newLog()
	p := l.Partition("0")
	ends := func() [2]int64 { return [2]int64{p.End(false), p.End(true)} }
	if got := ends(); got != [2]int64{0, 0} {
		t.Errorf("of an empty partition: %v", got)
	}
	fill(l, c, 3)
	if got := ends(); got != [2]int64{3, 2} {
		t.Errorf("behind three events: %v", got)
	}
	p.Expire(0)
	if got := ends(); got != [2]int64{3, 3} {
		t.Errorf("when all are expired: %v", got)
	}
}

func TestReadPassesOverWhatIsExpired(t *testing.T) {
	l, c := newLog()
	fill(l, c, 10)
	p := l.Partition("0")
	p.Expire(4)
	for name, test := range map[string]struct {
		from int64
		most int
		want []int64
	}{
		"from the beginning":        {0, 3, []int64{6, 7, 8}},
		"from within":               {8, 1, []int64{8}},
		"up to the end":             {8, 100, []int64{8, 9}},
		"from the end":              {10, 100, nil},
		"from behind the end":       {99, 100, nil},
		"nothing, if none is asked": {0, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, numbers(p.Read(test.from, test.most))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if has := test.from < 10; p.Has(test.from) != has {
				t.Errorf("Has(%d) is not %v", test.from, has)
			}
		})
	}
}

func TestEventsExpireWithAge(t *testing.T) {
	l, c := newLog(func(o *eventhub.Options) { o.Retention = time.Minute })
	fill(l, c, 10)
	p := l.Partition("0")
	c.at = noon.Add(time.Minute + 4*time.Second) // event 3 is one minute old, to the second
	if diff := cmp.Diff([]int64{3, 4, 5, 6, 7, 8, 9}, numbers(p.Read(0, 100))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c.at = noon.Add(time.Hour)
	want := eventhub.Info{Begin: 10, Last: 9, LastOffset: 90, LastTime: noon.Add(10 * time.Second), IsEmpty: true}
	if diff := cmp.Diff(want, p.Info()); diff != "" {
		t.Errorf("when all are expired (-want +got):\n%s", diff)
	}
	if n := l.Append(0, eventhub.Message{}); n != 10 {
		t.Errorf("the next one has sequence number %d", n)
	}
}

func TestMaxEventsTrimsOnceAQuarterTooManyAreThere(t *testing.T) {
	const keep = 100
	l, c := newLog(func(o *eventhub.Options) { o.MaxEvents = keep })
	p := l.Partition("0")
	trims, begin := 0, int64(0)
	for n := int64(1); n <= 1000; n++ {
		fill(l, c, 1)
		i := p.Info()
		if i.Begin != begin {
			begin = i.Begin
			trims++
		}
		if kept := n - i.Begin; kept > keep+keep/4 || kept < min(n, keep) {
			t.Fatalf("behind %d events, %d are kept", n, kept)
		}
	}
	if want := (1000 - keep) / (keep/4 + 1); trims != want {
		t.Errorf("trimmed %d times, want %d", trims, want)
	}
}

func TestAppendStampsEvents(t *testing.T) {
	l, c := newLog()
	p := l.Partition("0")
	l.Append(0, eventhub.Message{Body: []byte("12345")})
	c.at = noon.Add(-time.Hour) // a clock that is set back
	l.Append(0, eventhub.Message{})
	l.Append(0, eventhub.Message{Encoded: []byte("123")})
	c.at = noon.Add(time.Hour)
	l.Append(0, eventhub.Message{})
	type stamp struct {
		Sequence, Offset int64
		Enqueued         time.Time
	}
	var got []stamp
	for _, e := range p.Read(0, 10) {
		got = append(got, stamp{e.SequenceNumber, e.Offset, e.Enqueued})
	}
	want := []stamp{{0, 0, noon}, {1, 5, noon}, {2, 6, noon}, {3, 9, noon.Add(time.Hour)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRecreateStartsOver(t *testing.T) {
	l, c := newLog()
	fill(l, c, 3)
	created, generation := l.Created(), l.Generation()
	woken := 0
	l.Partition("2").OnAppend("reader", func() { woken++ })
	l.Recreate()
	if !l.Exists() || l.Generation() == generation || !l.Created().After(created) || woken != 1 {
		t.Errorf("exists %v, generation %d after %d, created %v after %v, readers woken %d times", l.Exists(), l.Generation(), generation, l.Created(), created, woken)
	}
	want := eventhub.Info{Begin: 0, Last: -1, LastOffset: -1, LastTime: time.UnixMilli(0).UTC(), IsEmpty: true}
	if diff := cmp.Diff(want, l.Partition("0").Info()); diff != "" {
		t.Errorf("the new partition (-want +got):\n%s", diff)
	}
	if n := l.Append(0, eventhub.Message{Body: []byte("x")}); n != 0 || l.Partition("0").Read(0, 1)[0].Offset != 0 {
		t.Errorf("the first event has sequence number %d", n)
	}
	again := l.Created()
	l.Recreate()
	if !l.Created().After(again) {
		t.Error("made anew at the same time, though the clock stood still")
	}
}

func TestDeleteLastsUntilRestoreOrRecreate(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*eventhub.Log)
		kept int
	}{
		"restored with its events": {(*eventhub.Log).Restore, 3},
		"made anew without":        {(*eventhub.Log).Recreate, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l, c := newLog()
			fill(l, c, 3)
			generation, woken := l.Generation(), 0
			l.Partition("1").OnAppend("reader", func() { woken++ })
			l.Delete()
			if l.Exists() || l.Generation() == generation || woken != 1 {
				t.Errorf("exists %v, generation %d after %d, readers woken %d times", l.Exists(), l.Generation(), generation, woken)
			}
			test.end(l)
			if got := len(l.Partition("0").Read(0, 10)); !l.Exists() || got != test.kept {
				t.Errorf("exists %v, with %d events, want %d", l.Exists(), got, test.kept)
			}
		})
	}
}

func TestReadersAreWokenUntilTheyLeave(t *testing.T) {
	l, _ := newLog()
	p := l.Partition("0")
	woken := map[string]int{}
	for _, name := range []string{"a", "b"} {
		p.OnAppend(name, func() { woken[name] += len(p.Read(0, 10)) }) // reads at once
	}
	l.Append(0, eventhub.Message{})
	l.Append(1, eventhub.Message{})
	p.OnAppend("a", nil)
	l.Append(0, eventhub.Message{})
	l.RemoveGroup("readers")
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 5}, woken); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPartitionsAreFoundByIDAndKey(t *testing.T) {
	l, _ := newLog()
	for _, id := range []string{"", "-1", "3", "00", "+1", "one", "99999999999999999999"} {
		if l.Partition(id) != nil {
			t.Errorf("partition %q exists", id)
		}
	}
	used := map[int]bool{}
	for i := range 100 {
		key := "device-" + strconv.Itoa(i)
		n := l.PartitionFor(key)
		if n != l.PartitionFor(key) || l.Partition(strconv.Itoa(n)) != l.Partitions()[n] {
			t.Errorf("key %q: partition %d", key, n)
		}
		used[n] = true
	}
	if len(used) != 3 {
		t.Errorf("100 keys share %d of 3 partitions", len(used))
	}
}

func TestConsumerGroupsHaveNoCase(t *testing.T) {
	l, _ := newLog()
	l.AddGroup("More")
	l.RemoveGroup("READERS")
	for name, want := range map[string]bool{"$default": true, "more": true, "readers": false, "": false} {
		if l.HasGroup(name) != want {
			t.Errorf("group %q: exists %v", name, !want)
		}
	}
}
