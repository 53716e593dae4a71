package metrics

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestMetricsShowTheOperatorThatBeganLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var leaders leading[string]
		first, second := "first", "second"
		start := func(one *string) context.CancelFunc {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { _ = leaders.WhileLeading(one)(ctx) }() // it returns nil alone
			synctest.Wait()
			return cancel
		}
		want := func(when string, one *string) {
			t.Helper()
			synctest.Wait()
			if got := leaders.latest(); got != one {
				t.Errorf("%s: %v, want %v", when, got, one)
			}
		}
		want("before any leads", nil)
		stopFirst := start(&first)
		want("one leads", &first)
		stopSecond := start(&second)
		want("another one began", &second)
		stopSecond()
		want("the other one ended", &first)
		stopSecond = start(&second)
		stopFirst()
		want("the first one ended before the second", &second)
		stopSecond()
		want("both ended", nil)
	})
}
