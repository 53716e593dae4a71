package budget

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type taking struct {
	at   time.Time
	size float64
}

// Whatever is asked, in whatever order, and whatever the hub answers: in any span of time no more is let through than rate and burst allow.
func TestNoWindowHasMoreThanItsRateAndABurst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perSecond := rapid.Float64Range(0.1, 200).Draw(t, "per second")
		l := Limits{perSecond, perSecond, perSecond, perSecond, 1 << 40}
		b, c := start(l)
		var taken []taking
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				c.advance(time.Duration(rapid.Int64Range(-int64(time.Second), int64(time.Minute)).Draw(t, "long")))
			case 1, 2:
				c.advance(time.Duration(rapid.Int64Range(0, int64(100*time.Millisecond)).Draw(t, "short")))
			case 3:
				b.Done(TwinRead, Outcome{Result: Result(rapid.SampledFrom([]int{0, 1, 3}).Draw(t, "result")), Began: c.at})
			default:
				r := read(Priority(rapid.IntRange(0, 3).Draw(t, "priority")), fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "key")))
				r.Size = rapid.IntRange(1, max(1, int(perSecond/4))).Draw(t, "size")
				if _, ok := b.Take(r); ok {
					taken = append(taken, taking{c.at, float64(r.Size)})
				}
			}
		}
		for i := range taken {
			sum := 0.
			for _, one := range taken[i:] {
				sum += one.size
				passed := max(0, one.at.Sub(taken[i].at).Seconds())
				largest := max(1, perSecond/4) // a share lets one through that it pays for later
				if most := perSecond*passed + burstOf(l, TwinRead) + 3*(largest-1) + 1e-6; sum > most {
					t.Fatalf("%v tokens within %vs, expected at most %v", sum, passed, most)
				}
			}
		}
	})
}

func TestAnEditFindsATokenWhateverWaits(t *testing.T) {
	for _, waits := range []Priority{PrioritySweep, PriorityFollowUp, PriorityCommand} {
		t.Run(waits.String(), func(t *testing.T) {
			b, c := start(lasting)
			all := &crowd{b: b, c: c}
			for i := range 10_000 {
				all.add(read(waits, fmt.Sprint(i)), noon)
			}
			for second := range 10 {
				all.run(t, noon.Add(time.Duration(second)*time.Second))
				if wait, ok := b.Take(read(PriorityEdit, fmt.Sprint("edit ", second))); !ok {
					t.Errorf("after %d s an edit waits %s behind %s", second, wait.For, waits)
				}
			}
		})
	}
}

func TestAPriorityLeavesAReserveToThoseAboveIt(t *testing.T) {
	b, _ := start(lasting)
	for _, c := range []struct {
		p    Priority
		want int
	}{
		{PrioritySweep, 31}, {PriorityFollowUp, 6}, {PriorityCommand, 6}, {PriorityEdit, 7},
	} {
		if got := drain(b, TwinRead, c.p); got != c.want {
			t.Errorf("%s got %d tokens, expected %d", c.p, got, c.want)
		}
	}
}

// Edits that never end leave a tenth to each priority below them.
func TestNobodyStarves(t *testing.T) {
	b, c := start(lasting)
	all := &crowd{b: b, c: c}
	const seconds = 120
	for i := range seconds * 100 { // twice what the rate brings
		all.add(read(PriorityEdit, fmt.Sprint("edit ", i)), noon.Add(time.Duration(i)*10*time.Millisecond))
	}
	for i := range 1000 {
		all.add(read(PrioritySweep, fmt.Sprint("sweep ", i)), noon)
		all.add(read(PriorityFollowUp, fmt.Sprint("follow-up ", i)), noon)
	}
	all.run(t, noon.Add(seconds*time.Second))
	for _, p := range []Priority{PrioritySweep, PriorityFollowUp} {
		if got, want := len(all.of(p)), int(0.8*share*50*seconds); got < want {
			t.Errorf("%s got %d tokens in %d s beside edits, expected at least %d", p, got, seconds, want)
		}
	}
	if got, want := len(all.of(PriorityEdit)), 50*seconds*3/4; got < want {
		t.Errorf("edits got %d tokens, expected at least %d", got, want)
	}
}

// Who was turned away is not overtaken by those who come later, however many.
func TestNewcomersDoNotOvertake(t *testing.T) {
	b, c := start(lasting)
	all := &crowd{b: b, c: c, late: 50 * time.Millisecond}
	for i := range 200 {
		all.add(read(PriorityEdit, fmt.Sprint("old ", i)), noon)
	}
	for i := range 3000 { // as many as the rate brings
		all.add(read(PriorityEdit, fmt.Sprint("new ", i)), noon.Add(time.Duration(i)*20*time.Millisecond+time.Millisecond))
	}
	all.run(t, noon.Add(time.Hour))
	if got := len(all.served); got != 3200 {
		t.Fatalf("%d of 3200 were served", got)
	}
	var old []caller
	for _, one := range all.served {
		if one.since.Equal(noon) {
			old = append(old, one)
		}
	}
	// 200 ahead of everybody at 50 a second, with a full bucket at the beginning, and some delay in coming back.
	if got, most := longest(old), 6*time.Second; got > most {
		t.Errorf("one of the first 200 waited %s, expected at most %s", got, most)
	}
}

// Ten thousand that wait come back one by one, and the rate is used all the same.
func TestNoThunderingHerd(t *testing.T) {
	b, c := start(lasting)
	b.random = func() float64 { return 0.5 }
	all := &crowd{b: b, c: c}
	const n = 10_000
	for i := range n {
		all.add(read(PrioritySweep, fmt.Sprint(i)), noon)
	}
	all.run(t, noon.Add(time.Hour))
	if len(all.served) != n {
		t.Fatalf("%d of %d were served", len(all.served), n)
	}
	took := all.served[n-1].at.Sub(noon)
	if most := time.Duration(1.1*n/50) * time.Second; took > most {
		t.Errorf("it took %s, expected at most %s", took, most)
	}
	// Each asks once, once or twice a minute while it is far behind, and a few times near the end.
	if most := 8 * n; all.asked > most {
		t.Errorf("asked %d times for %d tokens, expected at most %d", all.asked, n, most)
	}
}

// Those who do not come back hold up those behind them for no longer than a bucket takes to fill.
func TestTheOnesThatDoNotComeBackAreNotWaitedFor(t *testing.T) {
	b, c := start(lasting)
	drain(b, TwinRead, PriorityEdit)
	for i := range 500 {
		b.Take(read(PriorityEdit, fmt.Sprint("ghost ", i)))
	}
	all := &crowd{b: b, c: c}
	all.add(read(PriorityEdit, "alive"), c.at)
	all.run(t, noon.Add(time.Hour))
	if got := longest(all.served); got > 15*time.Second {
		t.Errorf("waited %s behind ghosts", got)
	}
}

func TestAWaiterThatBecomesAnEditGoesFirst(t *testing.T) {
	b, _ := start(lasting)
	drain(b, TwinRead, PrioritySweep)
	if _, ok := b.Take(read(PrioritySweep, "device")); ok {
		t.Fatal("the sweep got the reserve of the edits")
	}
	if _, ok := b.Take(read(PriorityEdit, "device")); !ok {
		t.Error("an edit found no token")
	}
	for _, c := range b.Stats().Classes {
		if c.Class == TwinRead && c.Waiting[PrioritySweep] != 1 { // the one that ended the draining
			t.Errorf("%d wait, expected one: the device was served", c.Waiting[PrioritySweep])
		}
	}
}

func TestAWaitLastsFromTheFirstTime(t *testing.T) {
	b, c := start(lasting)
	drain(b, TwinRead, PriorityEdit)
	first, _ := b.Take(read(PriorityEdit, "device"))
	drain(b, TwinRead, PriorityEdit)
	c.advance(first.For / 2)
	second, ok := b.Take(read(PriorityEdit, "device"))
	if ok {
		t.Fatal("let through before its time")
	}
	if want := first.For/2 + second.For; second.Lasts != want {
		t.Errorf("the wait lasts %s, expected %s", second.Lasts, want)
	}
}

func TestALargeRequestIsLetThroughAndPaidFor(t *testing.T) {
	b, c := start(lasting)
	large := Request{Class: Command, Priority: PriorityCommand, Key: "a", Size: 32} // 128 KB, beyond the burst of 20
	if _, ok := b.Take(large); !ok {
		t.Fatal("refused with a full bucket")
	}
	small := Request{Class: Command, Priority: PriorityCommand, Key: "b", Size: 1}
	if _, ok := b.Take(small); ok { // by the share of commands, of which there is one
		if _, ok = b.Take(Request{Class: Command, Priority: PriorityCommand, Key: "c", Size: 1}); ok {
			t.Error("let through what was not paid for")
		}
	}
	c.advance(time.Second)
	if _, ok := b.Take(small); !ok {
		t.Error("refused after it was paid for")
	}
}

func TestWhatIsGivenBackCanBeTakenAgain(t *testing.T) {
	b, _ := start(lasting)
	taken := read(PriorityEdit, "taken")
	b.Take(taken)
	drain(b, TwinRead, PriorityEdit)
	b.Take(read(PriorityEdit, "waits"))
	b.GiveBack(taken)
	if got := b.Stats(); got.DailyMessages != 0 || got.Classes[TwinRead].Taken[PriorityEdit] != 49 || got.Classes[TwinRead].GivenBack[PriorityEdit] != 1 {
		t.Errorf("%d messages and %v tokens counted, expected none and 49", got.DailyMessages, got.Classes[TwinRead].Taken)
	}
	if _, ok := b.Take(read(PriorityEdit, "comes later")); ok {
		t.Error("a newcomer took what belongs to those who wait")
	}
	if _, ok := b.Take(read(PriorityEdit, "drain 49")); !ok {
		t.Error("the first in line was refused what was given back")
	}
}
