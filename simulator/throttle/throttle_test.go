package throttle

import (
	"errors"
	"testing"
	"time"
)

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func TestAHubHoldsBackBeforeItRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		kind    Kind
		atOnce  int           // served without a delay
		held    int           // after them, before the first refusal
		between time.Duration // of those that are held
	}{
		"twin reads of S1":     {TwinRead, 100, 1000, 10 * time.Millisecond},
		"twin writes of S1":    {TwinWrite, 50, 500, 20 * time.Millisecond},
		"queries of S1":        {Query, 20, 3, 3 * time.Second},
		"direct methods of S1": {DirectMethod, 40, 400, 25 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			throttle := New((&clock{noon}).now, S1(1))
			for i := range c.atOnce {
				if hold, err := throttle.Admit(c.kind, 1, 1); hold != 0 || err != nil {
					t.Fatalf("request %d was held for %s: %v", i, hold, err)
				}
			}
			for i := range c.held {
				want := time.Duration(i+1) * c.between
				if hold, err := throttle.Admit(c.kind, 1, 1); (hold-want).Abs() > time.Microsecond || err != nil {
					t.Fatalf("request %d was held for %s: %v, expected %s", c.atOnce+i, hold, err, want)
				}
			}
			if _, err := throttle.Admit(c.kind, 1, 1); !errors.Is(err, ErrThrottled) {
				t.Errorf("the next one: %v, expected %v", err, ErrThrottled)
			}
		})
	}
}

func TestWhatIsRefusedCostsNothing(t *testing.T) {
	c := &clock{noon}
	throttle := New(c.now, Limits{TwinWritesPerSecond: 1, HoldSeconds: 1})
	for range 10 {
		_, _ = throttle.Admit(TwinWrite, 1, 1) // two of them pass
	}
	c.at = noon.Add(2 * time.Second)
	if hold, err := throttle.Admit(TwinWrite, 1, 1); hold != 0 || err != nil {
		t.Errorf("held for %s: %v", hold, err)
	}
	if got := throttle.Used(); got != 3 {
		t.Errorf("%d messages counted, expected 3", got)
	}
}

func TestMessagesEndAtMidnightUTC(t *testing.T) {
	c := &clock{time.Date(2026, 11, 27, 23, 59, 59, 0, time.UTC)}
	throttle := New(c.now, Limits{DailyMessages: 10})
	if _, err := throttle.Admit(TwinRead, 1, 1); err != nil {
		t.Fatal(err)
	}
	throttle.Add(9)
	if _, err := throttle.Admit(Query, 1, 1); !errors.Is(err, ErrQuota) {
		t.Errorf("the eleventh message: %v, expected %v", err, ErrQuota)
	}
	c.at = c.at.Add(time.Second)
	if _, err := throttle.Admit(Query, 1, 1); err != nil {
		t.Errorf("on the next day: %v", err)
	}
}

func TestWithoutLimitsEverythingPasses(t *testing.T) {
	throttle := New((&clock{noon}).now, Limits{})
	for range 10_000 {
		if hold, err := throttle.Admit(TwinWrite, 1, 1); hold != 0 || err != nil {
			t.Fatalf("held for %s: %v", hold, err)
		}
	}
	if _, err := throttle.Admit("RegistryRead", 1, 1); err != nil {
		t.Errorf("a kind without a limit: %v", err)
	}
}

func TestWhatNobodyAskedForIsCharged(t *testing.T) {
	c := &clock{noon}
	throttle := New(c.now, S1(1))
	throttle.Charge(60, 70) // ten updates more than a second brings
	if hold, err := throttle.Admit(TwinWrite, 1, 1); (hold-220*time.Millisecond).Abs() > time.Microsecond || err != nil {
		t.Errorf("a write is held for %s: %v, expected 220ms", hold, err)
	}
	if hold, err := throttle.Admit(TwinRead, 1, 1); hold != 0 || err != nil {
		t.Errorf("a read is held for %s: %v", hold, err)
	}
	if got := throttle.Used(); got != 72 {
		t.Errorf("%d messages of the day, expected 72", got)
	}
	New(c.now, Limits{}).Charge(1, 1) // without a limit
}
