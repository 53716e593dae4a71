package budget

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestThePrioritiesDropOutOfTheDailyMessagesOneAfterTheOther(t *testing.T) {
	for _, c := range []struct {
		used    int
		stopped string
		trouble Trouble
	}{
		{79, "", NoTrouble}, {80, "Sweep", SweepsStopped}, {89, "Sweep", SweepsStopped}, {90, "Sweep FollowUp", FollowUpsStopped},
		{99, "Sweep FollowUp", FollowUpsStopped}, {100, "Sweep FollowUp Command Edit", AllStopped}, {150, "Sweep FollowUp Command Edit", AllStopped},
	} {
		t.Run(fmt.Sprint(c.used), func(t *testing.T) {
			l := lasting
			l.DailyMessages = 100
			b, _ := start(l)
			b.Done(TwinRead, Outcome{Messages: c.used})
			stopped := ""
			for p := range priorities {
				if wait, ok := b.Take(Request{Class: TwinRead, Priority: p, Key: p.String(), Size: 1}); !ok {
					stopped += " " + p.String()
					if wait.Why != WhyDailyBudget || wait.For > maxQuotaWait || wait.Lasts != 12*time.Hour {
						t.Errorf("%s was told %+v", p, wait)
					}
				}
			}
			if c.stopped != "" {
				c.stopped = " " + c.stopped
			}
			if trouble, _ := b.Trouble(); stopped != c.stopped || trouble != c.trouble {
				t.Errorf("stopped:%s with trouble %d, expected%s with %d", stopped, trouble, c.stopped, c.trouble)
			}
		})
	}
}

func TestADayEndsAtMidnightUTC(t *testing.T) {
	for name, stop := range map[string]func(*Budget) (changed bool){
		"by the budget":        func(b *Budget) bool { return b.Done(Query, Outcome{Messages: 1 << 41}) },
		"by the hub, 403002":   func(b *Budget) bool { return b.Done(Query, Outcome{Result: QuotaExceeded}) },
		"by the hub, it twice": func(b *Budget) bool { b.Done(Query, Outcome{Result: QuotaExceeded}); return true },
	} {
		t.Run(name, func(t *testing.T) {
			b, c := start(lasting)
			c.at = time.Date(2026, 11, 27, 23, 30, 0, 0, time.UTC).In(time.FixedZone("", 7*3600))
			b.random = func() float64 { return 0.5 }
			b.Stats() // of this day
			if !stop(b) {
				t.Error("the trouble was not told")
			}
			wait, ok := b.Take(read(PriorityEdit, "a"))
			if want := 30*time.Minute + afterMidnight/2; ok || wait.For != want {
				t.Fatalf("at 23:30 UTC an edit waits %s (%v), expected %s", wait.For, ok, want)
			}
			c.advance(30*time.Minute - time.Nanosecond)
			if _, ok := b.Take(read(PriorityEdit, "a")); ok {
				t.Error("let through before midnight")
			}
			c.advance(time.Nanosecond)
			if _, ok := b.Take(read(PrioritySweep, "a")); !ok {
				t.Error("refused at midnight")
			}
			if trouble, _ := b.Trouble(); trouble != NoTrouble || b.Stats().DailyMessages != 1 {
				t.Errorf("trouble %d and %d messages on the new day", trouble, b.Stats().DailyMessages)
			}
		})
	}
}

func TestEachNewTroubleIsToldOnce(t *testing.T) {
	l := lasting
	l.DailyMessages = 10
	b, c := start(l)
	var told []Trouble
	for i := range 12 {
		b.Take(Request{Class: TwinRead, Priority: PriorityEdit, Key: fmt.Sprint(i), Size: 1, Messages: 1})
		if b.Done(TwinRead, Outcome{Began: c.at}) {
			trouble, _ := b.Trouble()
			told = append(told, trouble)
		}
	}
	if diff := cmp.Diff([]Trouble{SweepsStopped, FollowUpsStopped, AllStopped}, told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAWaitForMidnightIsCutIntoHours(t *testing.T) {
	b, _ := start(lasting)
	b.Done(Query, Outcome{Result: QuotaExceeded})
	wait, _ := b.Take(read(PriorityEdit, "a"))
	if wait.For != maxQuotaWait || wait.Lasts != 12*time.Hour || wait.Why != WhyHubQuota {
		t.Errorf("told %+v at noon", wait)
	}
}

func TestOtherLimitsHaveTheHubAskedAgain(t *testing.T) {
	b, _ := start(lasting)
	b.Done(Query, Outcome{Result: QuotaExceeded})
	if b.Set(lasting) {
		t.Error("the same limits count as others")
	}
	if _, ok := b.Take(read(PriorityEdit, "a")); ok {
		t.Error("let through although nothing changed")
	}
	more := lasting
	more.DailyMessages *= 2
	if !b.Set(more) {
		t.Error("other limits do not count as such")
	}
	if _, ok := b.Take(read(PriorityEdit, "a")); !ok {
		t.Error("refused after the limits were changed")
	}
}

func TestMessagesAreCountedInBlocks(t *testing.T) {
	for bytes, want := range map[int]int{0: 1, 1: 1, 4096: 1, 4097: 2, 131072: 32} {
		if got := Blocks(bytes); got != want {
			t.Errorf("%d bytes are %d blocks, expected %d", bytes, got, want)
		}
	}
	b, _ := start(lasting)
	b.Take(Request{Class: TwinWrite, Priority: PriorityEdit, Key: "a", Size: 1, Messages: 3})
	b.Done(TwinWrite, Outcome{Messages: 7})
	if got := b.Stats().DailyMessages; got != 10 {
		t.Errorf("%d messages, expected 10", got)
	}
}
