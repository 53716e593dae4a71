package places

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func epoch() time.Time { return time.Unix(0, 0) }

// taker takes places and notes who was called.
type taker struct {
	*Pool

	called []string
}

func newTaker(total int) *taker { return &taker{Pool: New(total, epoch)} }

func (t *taker) take(host, tenant, key string, rank int) bool {
	_, ok := t.Take(Who{host, tenant, key, rank}, func() { t.called = append(t.called, key) })
	return ok
}

// fill has somebody take places until there are no more for it, and returns how many it got.
func (t *taker) fill(host, tenant string) (got int) {
	for n := 0; t.take(host, tenant, fmt.Sprint(host, tenant, n), 0); n++ {
		got++
	}
	return got
}

func TestShares(t *testing.T) {
	for name, c := range map[string]struct {
		total int
		takes []pair
		want  []int
	}{
		"one host has half of the places":          {32, []pair{{"a", "t"}}, []int{16}},
		"of two places, too":                       {2, []pair{{"a", "t"}}, []int{1}},
		"the next hosts have half of what is left": {32, []pair{{"a", "t"}, {"b", "u"}, {"c", "v"}, {"d", "w"}}, []int{16, 8, 4, 2}},
		"a tenant's other hosts find places":       {32, []pair{{"a", "t"}, {"b", "t"}}, []int{16, 8}},
		"a tenant has three quarters":              {32, []pair{{"a", "t"}, {"b", "t"}, {"c", "t"}}, []int{16, 8, 0}},
		"which leaves places for others":           {32, []pair{{"a", "t"}, {"b", "t"}, {"c", "u"}}, []int{16, 8, 4}},
		"another tenant of a slow host waits, too": {32, []pair{{"a", "t"}, {"a", "u"}}, []int{16, 0}},
		"one place is for whoever comes":           {1, []pair{{"a", "t"}, {"b", "u"}}, []int{1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTaker(c.total)
			for i, who := range c.takes {
				if got := p.fill(who.host, who.tenant); got != c.want[i] {
					t.Errorf("%v got %d places, want %d", who, got, c.want[i])
				}
			}
		})
	}
}

func TestWhoWaitsIsCalledInTurn(t *testing.T) {
	p := newTaker(2)
	p.take("a", "t", "first", 0)
	for key, rank := range map[string]int{"edit": 3} {
		for n := range 3 {
			p.take("a", "t", fmt.Sprint("sweep", n), 0)
			p.take("a", "t", fmt.Sprint(key, n), rank)
			p.take("a", "u", fmt.Sprint("other", n), 0)
		}
	}
	for _, leaves := range []string{"first", "edit0", "other0", "edit1", "other1", "edit2", "other2", "sweep0", "sweep1", "sweep2"} {
		p.Leave(leaves)
	}
	want := []string{"edit0", "other0", "edit1", "other1", "edit2", "other2", "sweep0", "sweep1", "sweep2"}
	if fmt.Sprint(p.called) != fmt.Sprint(want) {
		t.Errorf("called %v, want %v", p.called, want)
	}
}

func TestTheLowestRankIsNotStarved(t *testing.T) {
	p := newTaker(2)
	p.take("a", "t", "edit0", 3)
	p.take("a", "t", "sweep", 0)
	for n := range 8 {
		p.take("a", "t", fmt.Sprint("edit", n+1), 3)
		p.Leave(fmt.Sprint("edit", n))
		if p.called[n] == "sweep" {
			return
		}
	}
	t.Errorf("called %v", p.called)
}

func TestWhoLeavesTheLineIsNotCalled(t *testing.T) {
	p := newTaker(2)
	p.take("a", "t", "first", 0)
	p.take("a", "t", "gone", 0)
	p.take("a", "t", "second", 0)
	p.Leave("gone")
	p.Leave("first")
	if fmt.Sprint(p.called) != "[second]" {
		t.Errorf("called %v, want only the second", p.called)
	}
	p.Leave("second") // it was called, and does not want the place any more
	if len(p.held)+len(p.waiting)+len(p.lines)+len(p.hosts)+len(p.tenants)+len(p.order) > 0 {
		t.Errorf("something is left: %+v", p.Pool)
	}
}

func TestWaitingIsCountedFromTheFirstTime(t *testing.T) {
	now := epoch()
	p := New(2, func() time.Time { return now })
	p.Take(Who{Host: "a", Key: "first"}, nil)
	p.Take(Who{Host: "a", Key: "second"}, nil)
	now = now.Add(time.Minute)
	for _, rank := range []int{0, 1} {
		if waited, ok := p.Take(Who{Host: "a", Key: "second", Rank: rank}, nil); ok || waited != time.Minute {
			t.Errorf("rank %d: waited %s, got a place: %t", rank, waited, ok)
		}
	}
}

// Whatever happens: no host and no tenant has more than its share, nobody waits who could have a
// place, each of those who waits is called once all others have left, and nothing is left behind.
func TestPoolProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(1, 20).Draw(t, "total")
		p := New(total, epoch)
		called := map[string]bool{}
		check := func() {
			if len(p.held) > total {
				t.Fatalf("%d of %d places are held", len(p.held), total)
			}
			for _, of := range p.order {
				if p.admits(of) {
					t.Fatalf("%v waits and could have a place", of)
				}
			}
			if len(p.order) != len(p.lines) {
				t.Fatalf("%d lines are served of %d", len(p.order), len(p.lines))
			}
		}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"}).Draw(t, "key")
			if rapid.Bool().Draw(t, "leaves") {
				p.Leave(key)
				check()
				continue
			}
			who := Who{
				Host: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "host"), Tenant: rapid.SampledFrom([]string{"t", "u"}).Draw(t, "tenant"),
				Key: key, Rank: rapid.IntRange(0, 3).Draw(t, "rank"),
			}
			_, before := p.held[key]
			free, ofHost, ofTenant := total-len(p.held), p.hosts[who.Host], p.tenants[who.Tenant]
			_, ok := p.Take(who, func() { called[key] = true })
			if ok && !before && (ofHost >= free || ofTenant >= shareOfTenant*free) {
				t.Fatalf("%v got a place beyond its share: host %d, tenant %d, free %d", who, ofHost, ofTenant, free)
			}
			check()
		}
		for len(p.held) > 0 {
			for key := range p.held {
				p.Leave(key)
				check()
			}
		}
		if len(p.waiting)+len(p.lines)+len(p.hosts)+len(p.tenants) > 0 {
			t.Fatalf("somebody still waits: %+v", p)
		}
	})
}
