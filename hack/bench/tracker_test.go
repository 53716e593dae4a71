package main

import (
	"context"
	"encoding/json"
	"testing"
)

func seeing(t *testing.T, to *tracker, raw string, gone bool) {
	t.Helper()
	var o object
	if err := json.Unmarshal([]byte(raw), &o); err != nil {
		t.Fatal(err)
	}
	to.see(o, gone)
}

func TestTrackerCountsWhatIsSettled(t *testing.T) {
	k := &tracker{objects: map[string]state{}, waiting: map[string][]chan struct{}{}}
	for _, step := range []struct {
		raw                string
		gone               bool
		objects, isSettled int
	}{
		{`{"metadata":{"name":"a","generation":1},"status":{"observedGeneration":-1}}`, false, 1, 0},
		{`{"metadata":{"name":"a","generation":1},"status":{"observedGeneration":1,"declared":2,"acknowledged":1}}`, false, 1, 0},
		{`{"metadata":{"name":"a","generation":1},"status":{"observedGeneration":1,"declared":2,"acknowledged":2}}`, false, 1, 1},
		{`{"metadata":{"name":"b","generation":1},"status":{"observedGeneration":1,"declared":2,"acknowledged":2}}`, false, 2, 2},
		{`{"metadata":{"name":"a","generation":2},"status":{"observedGeneration":1,"declared":2,"acknowledged":2}}`, false, 2, 1},
		{`{"metadata":{"name":"b","generation":1},"status":{"observedGeneration":1,"declared":2,"acknowledged":2}}`, true, 1, 0},
	} {
		seeing(t, k, step.raw, step.gone)
		if objects, settled, _, _ := k.counts(); objects != step.objects || settled != step.isSettled {
			t.Errorf("after %s: %d objects, %d settled; want %d, %d", step.raw, objects, settled, step.objects, step.isSettled)
		}
	}
}

func TestTrackerAwaitsTheGeneration(t *testing.T) {
	k := &tracker{objects: map[string]state{}, waiting: map[string][]chan struct{}{}}
	seeing(t, k, `{"metadata":{"name":"a","generation":1},"status":{"observedGeneration":1,"declared":1,"acknowledged":1}}`, false)
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := k.await(ended, "a", 2); err == nil {
		t.Error("the state before the edit was taken for the one after it")
	}
	seeing(t, k, `{"metadata":{"name":"a","generation":2},"status":{"observedGeneration":2,"declared":1,"acknowledged":1}}`, false)
	if at, err := k.await(t.Context(), "a", 2); err != nil || at.IsZero() {
		t.Error(at, err)
	}
}
