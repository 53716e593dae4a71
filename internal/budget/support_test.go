package budget

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"testing"
	"time"
)

// clock is moved by tests.
type clock struct{ at time.Time }

func (c *clock) now() time.Time          { return c.at }
func (c *clock) advance(d time.Duration) { c.at = c.at.Add(d) }

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// lasting are limits whose daily messages do not end.
var lasting = Limits{TwinReadsPerSecond: 50, TwinWritesPerSecond: 25, QueriesPerMinute: 10, CommandsPerSecond: 20, DailyMessages: 1 << 40}

// start returns a budget at noon, without jitter.
func start(l Limits) (*Budget, *clock) {
	c := &clock{at: noon}
	b := New(c.now, l)
	b.random = func() float64 { return 0 }
	return b, c
}

func read(p Priority, key string) Request {
	return Request{Class: TwinRead, Priority: p, Key: key, Size: 1, Messages: 1}
}

// drain takes whatever a priority can get now, each time as somebody who does not come back.
func drain(b *Budget, c Class, p Priority) (n int) {
	for {
		if _, ok := b.Take(Request{Class: c, Priority: p, Key: fmt.Sprint("drain ", n), Size: 1}); !ok {
			return n
		}
		n++
	}
}

// crowd is callers that ask, come back when they are told to, and are done once they are let through.
type crowd struct {
	b      *Budget
	c      *clock
	due    dueFirst
	asks   int
	asked  int
	served []caller
	late   time.Duration // how long a caller takes to come back, at most
}

type caller struct {
	Request
	at, since time.Time
	n         int // of those that are due at once, the first comes first
}

// dueFirst is a heap.
type dueFirst []caller

func (d dueFirst) Len() int { return len(d) }
func (d dueFirst) Less(i, j int) bool {
	return cmp.Or(d[i].at.Compare(d[j].at), cmp.Compare(d[i].n, d[j].n)) < 0
}
func (d dueFirst) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *dueFirst) Push(x any)   { *d = append(*d, x.(caller)) }
func (d *dueFirst) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

func (c *crowd) add(r Request, at time.Time) {
	c.asks++
	heap.Push(&c.due, caller{r, at, at, c.asks})
}

// run lets time pass until nobody is left, or until then.
func (c *crowd) run(t testing.TB, until time.Time) {
	t.Helper()
	for len(c.due) > 0 {
		next := c.due[0]
		if next.at.After(until) {
			return
		}
		heap.Pop(&c.due)
		c.c.at = next.at
		c.asked++
		wait, ok := c.b.Take(next.Request)
		if ok {
			c.served = append(c.served, next)
			continue
		}
		if wait.For <= 0 {
			t.Fatalf("told to come back after %s", wait.For)
		}
		next.at = next.at.Add(wait.For + c.late*time.Duration(c.asked%7)/7)
		heap.Push(&c.due, next)
	}
}

func (c *crowd) of(p Priority) (served []caller) {
	for _, one := range c.served {
		if one.Priority == p {
			served = append(served, one)
		}
	}
	return served
}

func longest(served []caller) time.Duration {
	one := slices.MaxFunc(served, func(a, b caller) int { return cmp.Compare(a.at.Sub(a.since), b.at.Sub(b.since)) })
	return one.at.Sub(one.since)
}

// burstOf is the most that can be taken of a class at once, besides Limits' rate: its bucket, and what the shares of the lower priorities have saved.
func burstOf(l Limits, c Class) float64 {
	_, burst := l.of(c)
	return burst + float64(priorities-1)*shareBurst
}
