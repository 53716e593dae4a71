package routing

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
)

// reports makes dev1 report a number n times, from 1 on.
func (f fixture) reports(n int) {
	f.t.Helper()
	for i := range n {
		f.must(f.hub.PatchReported("dev1", fmt.Sprintf(`{"n":%d}`, i+1)))
	}
}

// numbers are those of the reports that have been announced.
func (f fixture) numbers() []int {
	f.t.Helper()
	out := []int{}
	for _, m := range f.sink.of("dev1") {
		var body struct {
			Properties struct{ Reported struct{ N int } }
		}
		if json.Unmarshal(m.Body, &body) != nil {
			out = append(out, -1)
			continue
		}
		out = append(out, body.Properties.Reported.N)
	}
	return out
}

func TestFaults(t *testing.T) {
	tests := map[string]struct {
		faults []Fault
		want   []int // -1 is a body that is not JSON
	}{
		"none":                                   {nil, []int{1, 2, 3, 4}},
		"an event is lost":                       {[]Fault{{Kind: Lose, Nth: 2}}, []int{1, 3, 4}},
		"all are lost":                           {[]Fault{{Kind: Lose, Count: Forever}}, []int{}},
		"those of another device are lost":       {[]Fault{{Kind: Lose, Device: "other*", Count: Forever}}, []int{1, 2, 3, 4}},
		"those of another source are lost":       {[]Fault{{Kind: Lose, Source: Telemetry, Count: Forever}}, []int{1, 2, 3, 4}},
		"those of sources alike are lost":        {[]Fault{{Kind: Lose, Source: "*ChangeEvents", Count: 3}}, []int{4}},
		"an event is delivered twice":            {[]Fault{{Kind: Duplicate, Nth: 2}}, []int{1, 2, 2, 3, 4}},
		"a series is retransmitted":              {[]Fault{{Kind: Reorder}}, []int{1, 1, 2, 1, 2, 3, 4}},
		"a short series is retransmitted":        {[]Fault{{Kind: Reorder, Nth: 2, Series: 2}}, []int{1, 2, 2, 3, 4}},
		"series follow each other":               {[]Fault{{Kind: Reorder, Series: 2, Count: Forever}}, []int{1, 1, 2, 3, 3, 4}},
		"a series with a loss":                   {[]Fault{{Kind: Lose, Nth: 2}, {Kind: Reorder}}, []int{1, 1, 3, 1, 3, 4}},
		"a body is cut off":                      {[]Fault{{Kind: Poison, Nth: 3, Count: 1}}, []int{1, 2, -1, 4}},
		"an event is delayed, with those behind": {[]Fault{{Kind: Delay, Delay: time.Minute, Nth: 2}}, []int{1, 2, 3, 4}},
		"delays add up and do not overtake": {[]Fault{
			{Kind: Delay, Delay: time.Minute}, {Kind: Delay, Delay: time.Second, Count: 2}, {Kind: Duplicate, Nth: 4},
		}, []int{1, 2, 3, 4, 4}},
		"changes are merged": {[]Fault{{Kind: Coalesce, Nth: 2}}, []int{1, 4}},
		"a delayed merger":   {[]Fault{{Kind: Coalesce}, {Kind: Delay, Delay: time.Second}}, []int{4}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, Routes{TwinChanges: true})
				for _, fault := range test.faults {
					f.router.Faults().Add(fault)
				}
				f.must(f.hub.CreateDevice("dev1"))
				f.reports(4)
				f.must(f.router.Flush(t.Context()))
				if diff := cmp.Diff(test.want, f.numbers()); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}

func TestDelayHoldsOneDeviceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, DefaultRoutes())
		for _, id := range []string{"dev1", "dev2"} {
			f.must(f.hub.CreateDevice(id))
		}
		f.router.Faults().Add(Fault{Kind: Delay, Delay: time.Minute, Device: "dev1"})
		start := time.Now()
		f.must(f.router.PublishTelemetry("dev1", "", "", []byte(`1`)))
		f.must(f.hub.PatchReported("dev1", `{"n":1}`))
		f.must(f.hub.PatchReported("dev2", `{"n":1}`))
		time.Sleep(59 * time.Second) // of the bubble: nobody waits
		synctest.Wait()
		if one, two := len(f.sink.of("dev1")), len(f.sink.of("dev2")); one != 1 || two != 2 {
			t.Errorf("%d and %d events", one, two)
		}
		f.must(f.router.Flush(t.Context()))
		if one := len(f.sink.of("dev1")); one != 3 || time.Since(start) != time.Minute {
			t.Errorf("%d events after %s", one, time.Since(start))
		}
	})
}

func TestCoalesceMergesWhatAWindowHolds(t *testing.T) {
	type step func(*hub.Hub) error
	reported := func(patch string) step {
		return func(h *hub.Hub) error { return h.PatchReported("dev1", patch) }
	}
	desired := func(patch string) step {
		return func(h *hub.Hub) error { return h.PatchDesired("dev1", patch, "") }
	}
	tests := map[string]struct {
		steps []step
		want  []string
	}{
		"keys of one section": {
			[]step{reported(`{"a":1,"c":{"__t":"c","x":1}}`), reported(`{"b":2,"c":{"__t":"c","y":2}}`)},
			[]string{`{"reported":{"a":1,"b":2,"c":{"__t":"c","x":1,"y":2}}}`},
		},
		"the last value wins": {
			[]step{reported(`{"a":1}`), reported(`{"a":{"b":1}}`), reported(`{"a":null}`), reported(`{"a":3}`)},
			[]string{`{"reported":{"a":1}}`, `{"reported":{"a":3}}`},
		},
		"all sections": {
			[]step{func(h *hub.Hub) error { return h.SetTags("dev1", `{"t":1}`) }, desired(`{"d":1}`), reported(`{"r":1}`)},
			[]string{`{"desired":{"d":1},"reported":{"r":1},"tags":{"t":1}}`},
		},
		"a removal stays": {
			[]step{reported(`{"a":1}`), reported(`{"a":null}`)},
			[]string{`{"reported":{"a":null}}`},
		},
		"what was removed and comes back as an object": {
			[]step{reported(`{"a":null}`), reported(`{"a":{"b":1}}`)},
			[]string{`{"reported":{"a":null}}`, `{"reported":{"a":{"b":1}}}`},
		},
		"what was removed deep inside and comes back": {
			[]step{reported(`{"a":{"b":null}}`), reported(`{"a":{"b":{"c":1}}}`)},
			[]string{`{"reported":{"a":{"b":null}}}`, `{"reported":{"a":{"b":{"c":1}}}}`},
		},
		"a replacement ends a window": {
			[]step{reported(`{"a":1}`), func(h *hub.Hub) error { _, err := h.ReplaceTwin("dev1", nil, ""); return err }, reported(`{"b":1}`), reported(`{"c":1}`)},
			[]string{`{"reported":{"a":1}}`, `{"desired":{},"reported":{"a":1}}`, `{"reported":{"b":1,"c":1}}`},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, Routes{TwinChanges: true})
				f.must(f.hub.CreateDevice("dev1"))
				f.router.Faults().Add(Fault{Kind: Coalesce, Delay: time.Hour, Count: Forever})
				for _, step := range test.steps {
					f.must(step(f.hub))
				}
				if diff := cmp.Diff(test.want, f.changes()); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}

func TestAMergedChangeHasTheLastVersionsInBothDialects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Routes{TwinChanges: true, DigitalTwinChanges: true})
		f.must(f.hub.CreateDevice("dev1"))
		f.router.Faults().Add(Fault{Kind: Coalesce, Source: DigitalTwinChanges, Delay: time.Second})
		f.must(f.hub.PatchReported("dev1", `{"a":1}`))
		f.must(f.hub.PatchReported("dev1", `{"a":2}`))
		f.must(f.hub.PatchReported("dev1", `{"b":3}`))
		time.Sleep(time.Second) // of the bubble
		synctest.Wait()
		f.must(f.hub.PatchReported("dev1", `{"a":4}`))
		at := `"2026-01-02T04:01:00.1234567Z"`
		bodies := f.bodies("dev1")
		if len(bodies) != 4 {
			t.Fatalf("%d events", len(bodies))
		}
		wantJSON(t, `{"version":5,"properties":{"reported":{"a":2,"b":3,
			"$metadata":{"$lastUpdated":`+at+`,"a":{"$lastUpdated":`+at+`},"b":{"$lastUpdated":`+at+`}},"$version":4}}}`, bodies[0])
		wantJSON(t, `[{"op":"add","path":"/$metadata/a","value":{"lastUpdateTime":`+at+`}},
			{"op":"add","path":"/$metadata/b","value":{"lastUpdateTime":`+at+`}},
			{"op":"add","path":"/a","value":2},{"op":"add","path":"/b","value":3}]`, bodies[1])
	})
}

func TestUnknownSchema(t *testing.T) {
	f := newFixture(t, allRoutes)
	f.must(f.hub.CreateDevice("dev1"))
	f.events("dev1")
	f.router.Faults().Add(Fault{Kind: UnknownSchema, Count: 2})
	f.must(f.router.PublishTelemetry("dev1", "", "", []byte(`1`)))
	f.must(f.hub.PatchReported("dev1", `{"n":1}`))
	var got []any
	for _, m := range f.events("dev1")[1:] {
		got = append(got, m.Application["iothub-message-schema"])
	}
	want := []any{"unheardOfNotification", "unheardOfNotification", "digitalTwinChangeNotification"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsAreCounted(t *testing.T) {
	f := newFixture(t, DefaultRoutes())
	faults := f.router.Faults()
	lose := Fault{Kind: Lose, Nth: 3}.On(TwinChanges, "dev*").Times(2)
	lose.ID = faults.Add(lose)
	merge := Fault{ID: "mine", Kind: Coalesce, Delay: time.Nanosecond, Device: "nobody"}
	faults.Add(merge)
	f.must(f.hub.CreateDevice("dev1"))
	f.reports(6)
	if got := f.changes(); len(got) != 5 { // with the creation
		t.Errorf("got %q", got)
	}
	want := []State{{Fault: lose, Seen: 6, Happened: 2}, {Fault: merge}}
	if diff := cmp.Diff(want, faults.List()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !faults.Remove("mine") || faults.Remove("mine") {
		t.Error("removed not exactly once")
	}
	faults.Clear()
	if len(faults.List()) > 0 {
		t.Error("not cleared")
	}
}

func TestChanceIsRepeatable(t *testing.T) {
	lost := func() []int {
		f := newFixture(t, Routes{TwinChanges: true})
		f.router.Faults().Add(Fault{Kind: Lose, Probability: 0.5, Seed: 7, Count: Forever})
		f.must(f.hub.CreateDevice("dev1"))
		f.reports(50)
		f.must(f.router.Flush(t.Context()))
		return f.numbers()
	}
	first := lost()
	if diff := cmp.Diff(first, lost()); diff != "" || len(first) < 10 || len(first) > 40 {
		t.Errorf("%v %s", first, diff)
	}
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	for name, f := range map[string]Fault{
		"no kind":                    {},
		"an unknown kind":            {Kind: "Explode"},
		"a delay of nothing":         {Kind: Delay},
		"a delay into the past":      {Kind: Coalesce, Delay: -1},
		"a misspelt source":          {Kind: Lose, Source: "twinChanges"},
		"telemetry is never merged":  {Kind: Coalesce, Source: Telemetry},
		"a bad pattern of devices":   {Kind: Lose, Device: "["},
		"a bad pattern of sources":   {Kind: Lose, Source: "["},
		"a probability of certainty": {Kind: Lose, Probability: 2},
	} {
		t.Run(name, func(t *testing.T) {
			if id, err := new(Faults).TryAdd(f); err == nil {
				t.Errorf("accepted as %s", id)
			}
		})
	}
}

func TestFaultInJSON(t *testing.T) {
	want := Fault{Kind: Delay, Source: TwinChanges, Delay: 250 * time.Millisecond, Count: Forever}
	data, err := json.Marshal(want)
	if err != nil || string(data) != `{"kind":"Delay","source":"twinChangeEvents","count":-1,"delay":"250ms"}` {
		t.Fatalf("%s, %v", data, err)
	}
	var got Fault
	if err := json.Unmarshal(data, &got); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{`{"typo":1}`, `{"delay":"soon"}`} {
		if json.Unmarshal([]byte(bad), &got) == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
