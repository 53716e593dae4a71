package budget

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// factor is the part of its limit that a class may use.
func factor(b *Budget, c Class) float64 {
	perSecond, _ := b.limits.of(c)
	return b.Stats().Classes[c].PerSecond / perSecond
}

func answer(b *Budget, c Class, r Result, began time.Time) {
	b.Done(c, Outcome{Result: r, Began: began})
}

func TestARefusalHalvesTheRateAtOnceAndEmptiesTheBucket(t *testing.T) {
	b, c := start(lasting)
	answer(b, TwinWrite, Throttled, c.at)
	if got := factor(b, TwinWrite); got != 0.5 {
		t.Errorf("%v of the rate is left, expected half", got)
	}
	if got := factor(b, TwinRead); got != 1 {
		t.Errorf("%v of the rate of another class is left", got)
	}
	if wait, ok := b.Take(Request{Class: TwinWrite, Priority: PriorityEdit, Key: "a", Size: 1}); ok || wait.For < 70*time.Millisecond {
		t.Errorf("the next write waits %s (%v), expected 80 ms at 12.5 a second", wait.For, ok)
	}
}

func TestRefusalsOfCallsUnderWayCountOnce(t *testing.T) {
	b, c := start(lasting)
	began := c.at
	c.advance(time.Second)
	for range 16 {
		answer(b, TwinRead, Throttled, began)
	}
	if got := factor(b, TwinRead); got != 0.5 {
		t.Errorf("%v of the rate is left after the answers to one burst, expected half", got)
	}
}

func TestTheRateHasAFloor(t *testing.T) {
	b, c := start(lasting)
	for range 100 {
		c.advance(time.Millisecond)
		answer(b, TwinRead, Throttled, c.at)
	}
	if got := factor(b, TwinRead); got != slowest {
		t.Errorf("%v of the rate is left, expected %v", got, slowest)
	}
	if got := b.Stats().Classes[TwinRead].Throttled; got != 100 {
		t.Errorf("%d refusals counted", got)
	}
}

func TestSuccessRestoresTheRateSlowly(t *testing.T) {
	b, c := start(lasting)
	before := c.at
	answer(b, TwinRead, Throttled, c.at)
	answer(b, TwinRead, Answered, before.Add(-time.Second)) // began before the refusal
	for _, want := range []float64{0.5 + 5./120, 0.5 + 10./120, 0.5 + 15./120} {
		c.advance(5 * time.Second)
		answer(b, TwinRead, Answered, c.at)
		answer(b, TwinRead, Failed, c.at)
		if got := factor(b, TwinRead); got < want-1e-9 || got > want+1e-9 {
			t.Errorf("%v of the rate is left, expected %v", got, want)
		}
	}
	c.advance(time.Hour)
	answer(b, TwinRead, Answered, c.at)
	if got := factor(b, TwinRead); got > 0.75 {
		t.Errorf("one success after an hour brought the rate to %v", got)
	}
	for range 20 {
		c.advance(10 * time.Second)
		answer(b, TwinRead, Answered, c.at)
	}
	if got := factor(b, TwinRead); got != 1 {
		t.Errorf("%v of the rate is left in the end", got)
	}
}

func TestTheRateStaysWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, c := start(lasting)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			c.advance(time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "passed")))
			took := time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "took"))
			answer(b, TwinRead, Result(rapid.IntRange(0, 3).Draw(t, "result")), c.at.Add(-took))
			if got := factor(b, TwinRead); got < slowest-1e-9 || got > 1 {
				t.Fatalf("the rate is %v of the limit", got)
			}
		}
	})
}

func TestLatencyReducesTheRate(t *testing.T) {
	for name, c := range map[string]struct {
		class             Class
		usual, later, end time.Duration
		want              bool
	}{
		"a hub that holds requests back":                {TwinWrite, 50 * time.Millisecond, 2 * time.Second, 0, true},
		"answers twice as slow":                         {TwinWrite, 400 * time.Millisecond, 800 * time.Millisecond, 0, false},
		"answers of a few milliseconds that take forty": {TwinWrite, 4 * time.Millisecond, 160 * time.Millisecond, 0, false},
		"commands, which wait for devices":              {Command, 50 * time.Millisecond, 30 * time.Second, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			b, clock := start(lasting)
			for _, took := range []time.Duration{c.usual, c.later} {
				for range 2 * window {
					clock.advance(time.Millisecond)
					answer(b, c.class, Answered, clock.at.Add(-took))
				}
			}
			if got := factor(b, c.class) < 1; got != c.want {
				t.Errorf("%v of the rate is left", factor(b, c.class))
			}
		})
	}
}

func TestLatencyAloneStopsNothing(t *testing.T) {
	b, c := start(lasting)
	for range window {
		answer(b, TwinRead, Answered, c.at.Add(-time.Millisecond))
	}
	for range 50 * window {
		c.advance(time.Millisecond)
		answer(b, TwinRead, Answered, c.at.Add(-time.Minute))
	}
	if got := factor(b, TwinRead); got < slowestByLatency-1e-9 {
		t.Errorf("%v of the rate is left, expected at least %v", got, slowestByLatency)
	}
}
