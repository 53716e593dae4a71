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
					if wait.Why != WhyDailyBudget || wait.For > MaxQuotaWait || wait.Lasts != 12*time.Hour {
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

// useUp has the hub say twice that it has no messages left.
func useUp(b *Budget) (told bool) {
	b.Done(Query, Outcome{Result: QuotaExceeded, Began: b.now()})
	return b.Done(Query, Outcome{Result: QuotaExceeded, Began: b.now()})
}

// A hub says now and then that it has no messages left, and has some.
func TestOneRefusalForWantOfMessagesDoesNotEndTheDay(t *testing.T) {
	const most = confirmAfter + whileAsked
	asked := func(t *testing.T) (*Budget, *clock) {
		t.Helper()
		b, c := start(lasting)
		told := b.Done(TwinRead, Outcome{Result: QuotaExceeded, Began: c.at.Add(-time.Second)})
		c.advance(time.Second)
		for range 20 { // those that were under way
			told = told || b.Done(TwinRead, Outcome{Result: QuotaExceeded, Began: c.at.Add(-2 * time.Second)})
		}
		if wait, ok := b.Take(read(PriorityEdit, "early")); ok || told || wait.For > most || wait.Lasts > most {
			t.Errorf("before the hub is asked again: let through %v, told %v, %+v", ok, told, wait)
		}
		c.advance(confirmAfter)
		if _, ok := b.Take(read(PriorityEdit, "the one that asks")); !ok {
			t.Fatal("nobody asks the hub again")
		}
		if wait, ok := b.Take(read(PriorityEdit, "another")); ok || wait.For > most {
			t.Errorf("meanwhile: %v, %+v", ok, wait)
		}
		return b, c
	}
	t.Run("it has some", func(t *testing.T) {
		b, c := asked(t)
		b.Done(TwinRead, Outcome{Began: c.at})
		if _, ok := b.Take(read(PriorityEdit, "another")); !ok {
			t.Error("refused after the hub answered")
		}
	})
	t.Run("it has none", func(t *testing.T) {
		b, c := asked(t)
		if !b.Done(TwinRead, Outcome{Result: QuotaExceeded, Began: c.at}) {
			t.Error("not told of the second refusal")
		}
		if wait, ok := b.Take(read(PriorityEdit, "another")); ok || wait.For < MaxQuotaWait*9/10 || wait.Lasts < 11*time.Hour {
			t.Errorf("after a second refusal: %v, %+v", ok, wait)
		}
	})
}

func TestADayEndsAtMidnightUTC(t *testing.T) {
	for name, stop := range map[string]func(*Budget) (changed bool){
		"by the budget":        func(b *Budget) bool { return b.Done(Query, Outcome{Messages: 1 << 41}) },
		"by the hub, 403002":   useUp,
		"by the hub, it twice": func(b *Budget) bool { useUp(b); useUp(b); return true },
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
	useUp(b)
	wait, _ := b.Take(read(PriorityEdit, "a"))
	if wait.For != MaxQuotaWait || wait.Lasts != 12*time.Hour || wait.Why != WhyHubQuota {
		t.Errorf("told %+v at noon", wait)
	}
}

func TestOtherLimitsHaveTheHubAskedAgain(t *testing.T) {
	b, _ := start(lasting)
	useUp(b)
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

// A hub whose clock is behind ours refuses the first calls of our day for yesterday's messages, and
// so does one whose answer comes after midnight.
func TestAQuotaIsThatOfTheDayOfTheCall(t *testing.T) {
	midnight := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		began  time.Duration // after midnight
		refuse bool
	}{
		"a call of yesterday":                {-time.Second, false},
		"a call of last night":               {-8 * time.Hour, false},
		"one just after midnight":            {time.Second, false},
		"one that the hub may have dated so": {clocksDiffer - 1, false},
		"one of today":                       {clocksDiffer, true},
	} {
		t.Run(name, func(t *testing.T) {
			b, clock := start(lasting)
			clock.at = midnight.Add(c.began)
			b.Take(read(PriorityEdit, "first"))
			clock.at = midnight.Add(max(c.began, 0))
			for range 2 {
				b.Done(TwinRead, Outcome{Result: QuotaExceeded, Began: midnight.Add(c.began)})
			}
			for _, after := range []time.Duration{time.Second, time.Minute, 12 * time.Hour} {
				next := *clock
				next.advance(after)
				b.now = next.now
				if _, ok := b.Take(read(PriorityEdit, "next")); ok == (c.refuse && after < probeEvery) {
					t.Errorf("%s later an edit is let through: %v", after, ok)
				}
			}
		})
	}
}

func TestOneCallFindsOutWhetherTheHubHasMessagesAgain(t *testing.T) {
	probe := func(t *testing.T) (*Budget, *clock) {
		t.Helper()
		b, c := start(lasting)
		useUp(b)
		c.advance(probeEvery - 1)
		if _, ok := b.Take(read(PriorityEdit, "early")); ok {
			t.Fatal("asked before its time")
		}
		c.advance(1)
		if _, ok := b.Take(read(PriorityEdit, "probe")); !ok {
			t.Fatal("nobody asks")
		}
		if _, ok := b.Take(read(PriorityEdit, "another")); ok {
			t.Fatal("two ask")
		}
		return b, c
	}
	for name, c := range map[string]struct {
		end  func(*Budget, *clock)
		want bool
	}{
		"it has":                        {func(b *Budget, c *clock) { b.Done(TwinRead, Outcome{Began: c.at}) }, true},
		"it has not":                    {func(b *Budget, c *clock) { b.Done(TwinRead, Outcome{Result: QuotaExceeded, Began: c.at}) }, false},
		"an answer of before":           {func(b *Budget, _ *clock) { b.Done(TwinRead, Outcome{Began: noon}) }, false},
		"no answer":                     {func(b *Budget, c *clock) { b.Done(TwinRead, Outcome{Result: Failed, Began: c.at}) }, false},
		"no answer, and the next one":   {func(b *Budget, c *clock) { c.advance(probeWithin) }, true},
		"not with a budget that is out": {func(b *Budget, c *clock) { b.Done(Query, Outcome{Messages: 1 << 41}); c.advance(probeWithin) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			b, clock := probe(t)
			c.end(b, clock)
			if _, ok := b.Take(read(PriorityEdit, "next")); ok != c.want {
				t.Errorf("the next call is let through: %v", ok)
			}
		})
	}
}

func TestWhatWasTakenYesterdayIsNotGivenBackToday(t *testing.T) {
	b, c := start(lasting)
	yesterday := read(PriorityEdit, "a")
	yesterday.Taken = c.at
	b.Take(yesterday)
	c.advance(13 * time.Hour)
	today := read(PriorityEdit, "b")
	today.Taken = c.at
	b.Take(today)
	b.Take(read(PriorityEdit, "c"))
	b.GiveBack(yesterday)
	if got := b.Stats().DailyMessages; got != 2 {
		t.Errorf("%d messages of today, expected 2", got)
	}
	b.GiveBack(today)
	if got := b.Stats().DailyMessages; got != 1 {
		t.Errorf("%d messages of today, expected 1", got)
	}
}

// An IoTHub whose credential the hub takes at last has asked now and then for days.
func TestWhatAGuestAskedLongAgoIsNotOwed(t *testing.T) {
	shared, c := start(lasting)
	guest := New(c.now, lasting)
	for range 50 {
		if _, ok := guest.Take(Request{Class: Query, Priority: PriorityEdit, Key: "probe", Size: 1, Messages: 1}); !ok {
			t.Fatal("refused")
		}
		c.advance(time.Hour)
	}
	guest.Take(Request{Class: Query, Priority: PriorityEdit, Key: "probe", Size: 1, Messages: 1})
	shared.absorb(guest)
	if got, want := shared.classes[Query].main.tokens, shared.classes[Query].main.burst-1; got != want {
		t.Errorf("%v tokens are left, expected %v", got, want)
	}
	if got := shared.Stats(); got.DailyMessages != 15 || got.Classes[Query].Taken[PriorityEdit] != 51 {
		t.Errorf("%d messages of today, expected 15; %d calls, expected 51", got.DailyMessages, got.Classes[Query].Taken[PriorityEdit])
	}
}

// An IoTHub whose limits were raised by the edit that gave it the right key.
func TestTokensThatAGuestNeverHadAreNotOwed(t *testing.T) {
	shared, c := start(lasting)
	guest := New(c.now, lasting)
	guest.Take(Request{Class: Query, Priority: PriorityEdit, Key: "probe", Size: 1, Messages: 1})
	raised := lasting
	raised.TwinReadsPerSecond, raised.QueriesPerMinute = 100_000, 1_000_000
	guest.Set(raised)
	shared.absorb(guest)
	for class, taken := range map[Class]float64{TwinRead: 0, Query: 1} {
		if got, want := shared.classes[class].main.tokens, shared.classes[class].main.burst-taken; got != want {
			t.Errorf("%v tokens of %s are left, expected %v", got, class, want)
		}
	}
}

// The one call that asks the hub again is one that is made: a caller that gets no token asks nobody.
func TestACallThatIsNotMadeDoesNotAskTheHubAgain(t *testing.T) {
	slow := lasting
	slow.TwinReadsPerSecond = 0.01
	b, c := start(slow)
	for i := 0; ; i++ { // until the bucket is empty
		if _, ok := b.Take(read(PriorityEdit, fmt.Sprint(i))); !ok {
			break
		}
	}
	b.Done(Query, Outcome{Result: QuotaExceeded, Began: c.at})
	c.advance(confirmAfter)
	if _, ok := b.Take(read(PriorityEdit, "without a token")); ok {
		t.Fatal("let through without a token")
	}
	if _, ok := b.Take(Request{Class: Query, Priority: PriorityEdit, Key: "with a token", Size: 1}); !ok {
		t.Error("nobody asks the hub again")
	}
}
