package routing

import (
	"encoding/json"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// patches are what a device may report: keys come, go and turn from values into objects and back.
var patches = []string{
	`{"a":1}`, `{"a":2,"b":3}`, `{"a":null}`, `{"a":{"x":1}}`, `{"a":{"x":null}}`, `{"a":{"x":{"y":1}}}`, `{"a":{"z":2}}`,
	`{"c":{"__t":"c","p":1}}`, `{"c":{"__t":"c","q":2}}`, `{"c":{"p":null}}`, `{"c":null}`, `{}`,
}

// TestWhoeverAppliesEventsInOrderKnowsTheTwin checks that faults which lose nothing take nothing away: whoever skips what
// is not newer and applies the rest arrives at the hub's own state.
func TestWhoeverAppliesEventsInOrderKnowsTheTwin(t *testing.T) {
	faults := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) Fault {
		kind := rapid.SampledFrom([]FaultKind{Duplicate, Reorder, Coalesce, Delay}).Draw(r, "kind")
		return Fault{Kind: kind, Delay: time.Second, Probability: 0.5, Count: Forever, Seed: rapid.Uint64().Draw(r, "seed")}
	}), 0, 4)
	reports := rapid.SliceOfN(rapid.SampledFrom(patches), 1, 12)
	pauses := rapid.SampledFrom([]time.Duration{0, 100 * time.Millisecond, 400 * time.Millisecond})
	rapid.Check(t, func(r *rapid.T) {
		faults, reports, pause := faults.Draw(r, "faults"), reports.Draw(r, "reports"), pauses.Draw(r, "pause")
		var want, got any
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, Routes{TwinChanges: true})
			for _, fault := range faults {
				f.router.Faults().Add(fault)
			}
			f.must(f.hub.CreateDevice("dev1"))
			for _, patch := range reports {
				f.must(f.hub.PatchReported("dev1", patch))
				time.Sleep(pause) // of the bubble: nobody waits
			}
			twin, err := f.hub.Get("dev1")
			f.must(err)
			want, got = parse(t, encode(t, twin.Reported())), f.applied()
		})
		if diff := cmp.Diff(want, got); diff != "" {
			r.Errorf("(-hub +events)\n%s", diff)
		}
	})
}

// applied is what the events of dev1 add up to.
func (f fixture) applied() map[string]any {
	f.t.Helper()
	state, newest := map[string]any{}, 0
	for _, body := range f.bodies("dev1") {
		var n struct {
			Version    int
			Properties struct{ Reported map[string]any }
		}
		f.must(json.Unmarshal([]byte(body), &n))
		if n.Version > newest {
			newest = n.Version
			delete(n.Properties.Reported, "$metadata")
			delete(n.Properties.Reported, "$version")
			state = merged(state, n.Properties.Reported)
		}
	}
	return state
}

// merged is RFC 7396.
func merged(state, patch map[string]any) map[string]any {
	out := maps.Clone(state)
	if out == nil {
		out = map[string]any{}
	}
	for name, v := range patch {
		inner, isObject := v.(map[string]any)
		was, _ := out[name].(map[string]any)
		switch {
		case v == nil:
			delete(out, name)
		case isObject:
			out[name] = merged(was, inner)
		default:
			out[name] = v
		}
	}
	return out
}

func encode(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
