package calls

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestCountsAreExact(t *testing.T) {
	l := New()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for range 3000 {
				l.End(l.Begin(Call{Operation: "GetTwin", DeviceID: fmt.Sprint("d", w%2)}), 200, "", time.Millisecond)
			}
		})
	}
	wg.Wait()
	if l.Count("GetTwin") != 12000 || l.CountFor("GetTwin", "d1") != 6000 || l.Total() != 12000 || l.Counts()["GetTwin"] != 12000 {
		t.Errorf("got %v", l.Counts())
	}
	if l.Count("Query") != 0 || l.CountFor("GetTwin", "nobody") != 0 {
		t.Error("what was not called must count 0")
	}
}

func TestRingKeepsTheNewest(t *testing.T) {
	l := New()
	for range ringSize + 10 {
		l.End(l.Begin(Call{Operation: "GetTwin"}), 200, "", 0)
	}
	list := l.List(Filter{})
	if len(list) != ringSize || list[0].Seq != 11 || list[ringSize-1].Seq != ringSize+10 {
		t.Errorf("%d calls from %d", len(list), list[0].Seq)
	}
	l.End(5, 500, "", 0) // long overwritten
	for _, c := range l.List(Filter{}) {
		if c.Status != 200 {
			t.Fatalf("call %d was overwritten", c.Seq)
		}
	}
}

func TestFilter(t *testing.T) {
	l := New()
	for i := range 6 {
		l.Begin(Call{Operation: []string{"GetTwin", "PatchTwin"}[i%2], DeviceID: []string{"a", "b", "c"}[i%3]})
	}
	tests := map[string]struct {
		filter Filter
		want   string
	}{
		"all":          {Filter{}, "[1 2 3 4 5 6]"},
		"an operation": {Filter{Operation: "PatchTwin"}, "[2 4 6]"},
		"a device":     {Filter{DeviceID: "a"}, "[1 4]"},
		"both":         {Filter{Operation: "GetTwin", DeviceID: "a"}, "[1]"},
		"those behind": {Filter{AfterSeq: 4}, "[5 6]"},
		"the newest":   {Filter{Limit: 2}, "[5 6]"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []uint64
			for _, c := range l.List(test.filter) {
				got = append(got, c.Seq)
			}
			if fmt.Sprint(got) != test.want {
				t.Errorf("got %v want %s", got, test.want)
			}
		})
	}
}

func TestReset(t *testing.T) {
	l := New()
	old := l.Begin(Call{Operation: "GetTwin"})
	l.Reset()
	l.End(old, 200, "", 0) // it was still running
	if l.Total() != 0 || len(l.List(Filter{})) != 0 {
		t.Error("something is left")
	}
	if seq := l.Begin(Call{Operation: "Query"}); seq != old+1 {
		t.Errorf("sequence number %d after %d", seq, old)
	}
	if list := l.List(Filter{}); len(list) != 1 || list[0].Done || list[0].Operation != "Query" {
		t.Errorf("got %+v", list)
	}
}

func TestLongBodiesAreCut(t *testing.T) {
	l := New()
	l.Begin(Call{Body: strings.Repeat("x", bodyLimit+1)})
	if c := l.List(Filter{})[0]; len(c.Body) != bodyLimit || !c.Truncated {
		t.Errorf("%d bytes, truncated %v", len(c.Body), c.Truncated)
	}
}

func TestAwaitCount(t *testing.T) {
	l := New()
	go func() {
		for range 3 {
			l.Begin(Call{Operation: "Query"})
			l.Begin(Call{Operation: "GetTwin"})
		}
	}()
	if err := l.AwaitCount(t.Context(), "GetTwin", 3); err != nil || l.Count("Query") != 3 {
		t.Errorf("%v, %v", err, l.Counts())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.AwaitCount(ctx, "GetTwin", 4); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
