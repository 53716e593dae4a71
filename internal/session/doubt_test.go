package session

import (
	"slices"
	"testing"
	"time"
)

func TestABurstOfRefusalsIsOneDoubt(t *testing.T) {
	began := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }
	var d doubt
	if !d.raise(at(0), at(1)) || d.askAfter(at(1)) != 0 {
		t.Fatal("the first refusal is no news, or waits")
	}
	for range 100 {
		if d.raise(at(0.5), at(1.5)) {
			t.Fatal("another one is news")
		}
	}
	d.settle(at(2))
	if d.raise(at(1.9), at(2.5)) || d.isRaised() {
		t.Error("a call that began before the hub took the credential raises a doubt")
	}
	if !d.raise(at(2.1), at(3)) {
		t.Error("a call that began later raises none")
	}
}

// A role may let an identity query and nothing else: each device is refused then, again and again.
func TestDoubtsThatGoOnAreAskedAboutLessAndLess(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	var d doubt
	var waits []time.Duration
	for range 8 {
		d.raise(now, now)
		wait := d.askAfter(now)
		waits = append(waits, wait.Round(time.Second))
		now = now.Add(wait)
		d.settle(now)
		now = now.Add(time.Millisecond)
	}
	want := []time.Duration{0, 5 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, AskMost, AskMost, AskMost}
	if !slices.Equal(waits, want) {
		t.Fatalf("waits %v, want %v", waits, want)
	}
	now = now.Add(AskMost + time.Second)
	if d.raise(now, now); d.askAfter(now) != 0 {
		t.Error("a doubt waits although there was none for long")
	}
}
