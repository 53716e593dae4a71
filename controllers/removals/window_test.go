package removals

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

var aNoon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// removal of properties of an object, p0 to the last one.
func removal(object types.UID, leaves int) Request {
	one := Request{Object: object, Member: MemberOf(object, 2)}
	for i := range leaves {
		one.Leaves = append(one.Leaves, twin.Leaf{Name: fmt.Sprintf("p%d", i)})
	}
	return one
}

func TestWhatCountsAsOneSync(t *testing.T) {
	all := func(w *window, now time.Time, removals ...Request) {
		for _, one := range removals {
			w.count(one, now)
		}
	}
	for name, c := range map[string]struct {
		do      func(*window)
		after   time.Duration
		waiting []Request
		want    int
	}{
		"nothing":                   {do: func(*window) {}, want: 0},
		"what waits":                {do: func(*window) {}, waiting: []Request{removal("a", 3), removal("b", 4)}, want: 7},
		"what was removed":          {do: func(w *window) { all(w, aNoon, removal("a", 3), removal("b", 4)) }, want: 7},
		"for ten minutes":           {do: func(w *window) { all(w, aNoon, removal("a", 3)) }, after: brakeWindow - 1, want: 3},
		"and no longer":             {do: func(w *window) { all(w, aNoon, removal("a", 3)) }, after: brakeWindow, want: 0},
		"shown late, once":          {do: func(w *window) { all(w, aNoon, removal("a", 3)) }, waiting: []Request{removal("a", 3)}, want: 3},
		"an object's next ones too": {do: func(w *window) { all(w, aNoon, removal("a", 3)) }, waiting: []Request{removal("a", 5)}, want: 5},
		"tried twice, once":         {do: func(w *window) { all(w, aNoon, removal("a", 3), removal("a", 3)) }, want: 3},
		"taken back, not at all": {do: func(w *window) {
			w.takeBack("a", w.count(removal("a", 3), aNoon))
		}, want: 0},
		"the second try taken back, the first one all the same": {do: func(w *window) {
			all(w, aNoon, removal("a", 3))
			w.takeBack("a", w.count(removal("a", 4), aNoon))
		}, want: 3},
		"declared again, not at all": {do: func(w *window) {
			all(w, aNoon, removal("a", 3))
			w.declared("a", twin.Declaration{{Name: "p0"}: 1, {Name: "p2"}: 1})
			w.declared("b", twin.Declaration{{Name: "p1"}: 1})
		}, want: 1},
		"what others did": {do: func(w *window) { w.carried = reservation{count: 9, until: aNoon.Add(time.Minute)} }, waiting: []Request{removal("a", 3)}, want: 12},
		"until it is over": {do: func(w *window) { w.carried = reservation{count: 9, until: aNoon.Add(time.Minute)} }, after: time.Minute,
			waiting: []Request{removal("a", 3)}, want: 3},
		"what others began, once": {do: func(w *window) {
			w.carried = reservation{count: 9, until: aNoon.Add(time.Hour), members: membersFrom(slices.Values([]Member{MemberOf("a", 2), MemberOf("z", 2)}), 9)}
			all(w, aNoon, removal("a", 3))
		}, waiting: []Request{removal("a", 3), removal("b", 1)}, want: 10},
		"another generation of what others began": {do: func(w *window) {
			w.carried = reservation{count: 9, until: aNoon.Add(time.Hour), members: membersFrom(slices.Values([]Member{MemberOf("a", 1)}), 9)}
		}, waiting: []Request{removal("a", 3)}, want: 12},
	} {
		t.Run(name, func(t *testing.T) {
			w := &window{}
			c.do(w)
			w.expire(aNoon.Add(c.after))
			if got := w.with(slices.Values(c.waiting)); got != c.want {
				t.Errorf("%d count, expected %d", got, c.want)
			}
		})
	}
}

func TestStatusIsNotWrittenForEachRemoval(t *testing.T) {
	for removals, want := range map[int]int{1: 1, 2: 2, 5: 3, 20: 6, 1000: 23} {
		w, writes := &window{}, 0
		for i := range removals {
			one := removal(types.UID(fmt.Sprint(i)), 1)
			if !w.covers(one, aNoon) {
				w.own = w.reserve(one, aNoon)
				writes++
			}
			w.count(one, aNoon)
		}
		if writes != want || w.own.count < removals || w.own.count > removals+min(removals, max(brakeAhead, removals/4)) {
			t.Errorf("%d removals took %d writes, expected %d; status counts %d", removals, writes, want, w.own.count)
		}
	}
	w := &window{}
	if got := w.reserve(removal("a", 15), aNoon).count; got != 15 {
		t.Errorf("%d are reserved for 15", got)
	}
}

func TestSetsOfMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Uint32(), 0, 20).Draw(t, "all")
		set := membersFrom(func(yield func(Member) bool) {
			for _, m := range all {
				if !yield(Member(m)) {
					return
				}
			}
		}, 100)
		if other := rapid.Uint32().Draw(t, "other"); set.has(Member(other)) != slices.Contains(all, other) {
			t.Errorf("%d is in %v: %v", other, all, set.has(Member(other)))
		}
		for _, m := range all {
			if !set.has(Member(m)) {
				t.Errorf("%d is not in %v", m, all)
			}
		}
	})
	if set := membersFrom(slices.Values([]Member{3, 1, 2, 2}), 2); set.len() != 2 || !set.has(1) || !set.has(2) {
		t.Errorf("of 3, 1 and 2 the first two are %v", slices.Collect(set.all()))
	}
}

// Whoever comes next, whenever, counts no fewer removals than there were.
func TestStatusNeverCountsTooFew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now, stored, w := aNoon, reservation{}, &window{}
		done := map[string]time.Time{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 240).Draw(t, "seconds")) * time.Second)
			if rapid.IntRange(0, 4).Draw(t, "restarted") == 0 {
				w = &window{carried: stored}
			}
			w.expire(now)
			object := rapid.IntRange(0, 30).Draw(t, "object")
			one := removal(types.UID(fmt.Sprint(object)), 1+(object+int(now.Unix()))%3)
			one.Member = MemberOf(one.Object, now.Unix())
			if !w.covers(one, now) {
				stored = w.reserve(one, now)
				w.own = stored
			}
			counted := w.count(one, now)
			if rapid.IntRange(0, 5).Draw(t, "refused") == 0 {
				w.takeBack(one.Object, counted)
				continue
			}
			for _, leaf := range one.Leaves {
				done[string(one.Object)+leaf.Name] = now
			}
			truly := 0
			for _, at := range done {
				if now.Sub(at) < brakeWindow {
					truly++
				}
			}
			next := &window{carried: stored}
			next.expire(now)
			if next.size() < truly {
				t.Fatalf("%d were removed lately, the next process counts %d", truly, next.size())
			}
			if !now.Add(brakeWindow - time.Second).Before(stored.until) {
				t.Fatalf("what was removed at %s counts until %s", now, stored.until)
			}
		}
	})
}

// A removal that did not happen, and is named in status, leaves no room for another object's: the
// next process takes it for counted once it is tried again.
func TestWhatIsTakenBackIsNobodyElsesCount(t *testing.T) {
	w, again, other := &window{}, removal("again", 3), removal("other", 1)
	w.own = w.reserve(again, aNoon)
	w.takeBack(again.Object, w.count(again, aNoon))
	if !w.covers(again, aNoon) || w.covers(other, aNoon) {
		t.Fatalf("status has to be written for it: %t, for another one: %t", !w.covers(again, aNoon), !w.covers(other, aNoon))
	}
	w.own = w.reserve(other, aNoon)
	w.count(other, aNoon)
	next := &window{carried: w.own}
	next.own = next.reserve(again, aNoon)
	next.count(again, aNoon)
	if got := (&window{carried: next.own}).size(); got < 4 {
		t.Errorf("%d are counted of 4", got)
	}
}
