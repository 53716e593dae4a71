package budget

import (
	"testing"
	"time"
)

// Callers that wait may ask again once limits are changed, or once the hub has messages again.
func TestWaitsEndWithLimits(t *testing.T) {
	for name, c := range map[string]struct {
		use   func(b *Budget, now time.Time)
		ended func(b *Budget, c *clock)
	}{
		"limits that are raised": {func(b *Budget, _ time.Time) {
			less := lasting
			less.DailyMessages = 1
			b.Set(less)
			b.Take(Request{Class: Query, Priority: PriorityEdit, Size: 1, Messages: 1})
		}, func(b *Budget, _ *clock) { b.Set(lasting) }},
		"the hub answers again": {func(b *Budget, now time.Time) {
			b.Done(Query, Outcome{Result: QuotaExceeded, Began: now})
		}, func(b *Budget, c *clock) { b.Done(Query, Outcome{Result: Answered, Began: c.now().Add(time.Second)}) }},
	} {
		b, clock := start(lasting)
		c.use(b, clock.now())
		wait, ok := b.Take(Request{Class: Query, Priority: PrioritySweep, Size: 1, Messages: 1, Key: "sweep"})
		if ok {
			t.Fatalf("%s: nothing waits", name)
		}
		select {
		case <-wait.Over:
			t.Errorf("%s: the wait is over before that", name)
		default:
		}
		c.ended(b, clock)
		select {
		case <-wait.Over:
		default:
			t.Errorf("%s: the wait goes on", name)
		}
	}
}
