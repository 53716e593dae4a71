package twin_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func TestOwnershipAfter(t *testing.T) {
	a := leaf("", "a")
	held := func(raw string, version, set int64) twin.Ownership {
		return twin.Ownership{Held: map[twin.Leaf]twin.Owned{a: {Value: value(raw), Version: version, SetVersion: set}}}
	}
	lost := func(v any) twin.Ownership { return twin.Ownership{Lost: map[twin.Leaf]any{a: v}} }
	sent := func(raw string, version int64, taken bool) twin.Sent {
		if raw == "" {
			return twin.Sent{Version: version, Taken: taken}
		}
		return twin.Sent{Value: value(raw), Version: version, Taken: taken}
	}
	tests := map[string]struct {
		before   twin.Ownership
		attempts []twin.Sent
		declared twin.Declaration
		twin     *twin.Twin // holds versions of 5
		observes bool
		want     twin.Ownership
	}{
		"a value of the version that is recorded is ours":            {before: held(`42`, 5, 5), twin: holding(`42.0`), want: held(`42`, 5, 5)},
		"an equal value of another version is someone else's":        {before: held(`42`, 4, 4), twin: holding(`42`), want: lost(value(`42`))},
		"another value of the same version is someone else's":        {before: held(`42`, 5, 5), twin: holding(`43`), want: lost(value(`42`))},
		"a value that is gone is lost":                               {before: held(`42`, 5, 5), twin: holding(``), want: lost(value(`42`))},
		"what was sent and arrived is ours":                          {attempts: []twin.Sent{sent(`42`, 5, false)}, twin: holding(`42`), want: held(`42`, 5, 5)},
		"what was sent is not ours at another version":               {attempts: []twin.Sent{sent(`42`, 4, false)}, twin: holding(`42`)},
		"what was sent is not ours with another value":               {attempts: []twin.Sent{sent(`42`, 5, false)}, twin: holding(`43`)},
		"what was sent and did not arrive leaves what is recorded":   {before: held(`41`, 5, 5), attempts: []twin.Sent{sent(`42`, 6, false)}, twin: holding(`41`), want: held(`41`, 5, 5)},
		"what was taken and overwritten since is lost":               {before: held(`41`, 3, 3), attempts: []twin.Sent{sent(`42`, 4, true)}, twin: holding(`43`), want: lost(value(`42`))},
		"what may have been taken and is not there leaves what was":  {before: held(`41`, 3, 3), attempts: []twin.Sent{sent(`42`, 4, false)}, twin: holding(`43`), want: lost(value(`41`))},
		"of two attempts the one that the hub shows counts":          {attempts: []twin.Sent{sent(`41`, 4, false), sent(`42`, 5, false)}, twin: holding(`42`), want: held(`42`, 5, 5)},
		"a removal of ours is no loss":                               {before: held(`42`, 5, 5), attempts: []twin.Sent{sent(``, 6, true)}, twin: holding(``)},
		"a removal whose answer was lost is no loss":                 {before: held(`42`, 5, 5), attempts: []twin.Sent{sent(``, 6, false)}, twin: holding(``)},
		"a removal that did not happen leaves what is recorded":      {before: held(`42`, 5, 5), attempts: []twin.Sent{sent(``, 6, false)}, twin: holding(`42`), want: held(`42`, 5, 5)},
		"an equal value becomes ours while it is declared":           {declared: one("a", `42`), twin: holding(`42`), want: held(`42`, 5, 5)},
		"an equal value stays whose it is in Observe mode":           {declared: one("a", `42`), twin: holding(`42`), observes: true},
		"another value does not become ours":                         {declared: one("a", `42`), twin: holding(`41`)},
		"a value written again by someone else keeps its answer":     {before: held(`42`, 3, 2), declared: one("a", `42`), twin: holding(`42`), want: held(`42`, 5, 2)},
		"a value written again by us asks for another answer":        {before: held(`42`, 3, 3), attempts: []twin.Sent{sent(`42`, 5, true)}, declared: one("a", `42`), twin: holding(`42`), want: held(`42`, 5, 5)},
		"a value that comes back after a drift asks for another one": {before: lost(nil), declared: one("a", `42`), twin: holding(`42`), want: held(`42`, 5, 5)},
		"a drift lasts": {before: lost(value(`42`)), declared: one("a", `42`), twin: holding(`43`), want: lost(value(`42`))},
		"of a leaf that a partial twin does not know nothing changes": {before: held(`42`, 3, 3), twin: &twin.Twin{Partial: true}, want: held(`42`, 3, 3)},
		"of a leaf that a partial twin knows to be gone something does": {
			before: held(`42`, 3, 3), twin: &twin.Twin{Partial: true, Properties: map[twin.Leaf]twin.Property{a: {}}}, want: lost(value(`42`)),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := tc.before.After(tc.twin, twin.Attempts{a: tc.attempts}, tc.declared, !tc.observes)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("After() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDepart(t *testing.T) {
	a, b, c := leaf("", "a"), leaf("", "b"), leaf("t1", "c")
	read := twin.Read{Twin: &twin.Twin{Properties: map[twin.Leaf]twin.Property{
		a: {Desired: &twin.Desired{Value: value(`1`), Version: 5}},
		b: {Desired: &twin.Desired{Value: value(`2`), Version: 6}},
		c: {Desired: &twin.Desired{Value: value(`3`), Version: 7}},
	}}}
	owned := twin.Ownership{
		Held: map[twin.Leaf]twin.Owned{a: {Value: value(`1`), Version: 5}, c: {Value: value(`3`), Version: 7}},
		Lost: map[twin.Leaf]any{b: value(`1`), leaf("", "gone"): nil},
	}
	removals, released := read.Depart(owned, one("a", `9`))
	if diff := cmp.Diff([]twin.Change{{Leaf: c, Cause: twin.Removed, Was: read.Properties[c].Desired}}, removals); diff != "" {
		t.Errorf("removals (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]twin.Leaf{b, leaf("", "gone")}, released); diff != "" {
		t.Errorf("released (-want +got):\n%s", diff)
	}
	stale := twin.Ownership{Held: map[twin.Leaf]twin.Owned{a: {Value: value(`1`), Version: 4}}}
	if removals, released := read.Depart(stale, nil); len(removals) > 0 || len(released) != 1 {
		t.Errorf("an ownership of another state of the twin removes %v and releases %v", removals, released)
	}
}

func TestLineage(t *testing.T) {
	at, later := time.Date(2026, 11, 29, 8, 0, 0, 100, time.UTC), time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	known := twin.Seen{DeviceETag: "a", Version: 9, DesiredVersion: 5, DesiredUpdated: at}
	tests := map[string]struct {
		seen twin.Seen
		now  twin.Twin
		want twin.Lineage
	}{
		"the same state":                             {known, twin.Twin{DeviceETag: "a", Version: 9, DesiredVersion: 5, DesiredUpdated: at}, twin.Successor},
		"a later state":                              {known, twin.Twin{DeviceETag: "a", Version: 12, DesiredVersion: 7, DesiredUpdated: later}, twin.Successor},
		"a state without a time":                     {known, twin.Twin{DeviceETag: "a", Version: 9, DesiredVersion: 5}, twin.Successor},
		"a hub that lost writes":                     {known, twin.Twin{DeviceETag: "a", Version: 8, DesiredVersion: 4, DesiredUpdated: at}, twin.Stranger},
		"a hub that lost a write and took another":   {known, twin.Twin{DeviceETag: "a", Version: 9, DesiredVersion: 5, DesiredUpdated: later}, twin.Stranger},
		"a rotated key":                              {known, twin.Twin{DeviceETag: "b", Version: 9, DesiredVersion: 5, DesiredUpdated: at}, twin.Successor},
		"a rotated key, times unknown":               {twin.Seen{DeviceETag: "a", Version: 9, DesiredVersion: 5}, twin.Twin{DeviceETag: "b", Version: 9, DesiredVersion: 5}, twin.Successor},
		"a rotated key and a write, or a new device": {known, twin.Twin{DeviceETag: "b", Version: 12, DesiredVersion: 7, DesiredUpdated: later}, twin.Uncertain},
		"a new device":                               {known, twin.Twin{DeviceETag: "b", Version: 2, DesiredVersion: 1}, twin.Stranger},
		"a new device with the same counters":        {known, twin.Twin{DeviceETag: "b", Version: 9, DesiredVersion: 5, DesiredUpdated: later}, twin.Stranger},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tc.seen.Lineage(&tc.now); got != tc.want {
				t.Errorf("Lineage() = %d, want %d", got, tc.want)
			}
		})
	}
}

// TestNothingForeignIsRemovedAndNothingOfOursStays plays a twin that several writers share, and an object whose status is
// written late or not at all. The judge knows who wrote what.
func TestNothingForeignIsRemovedAndNothingOfOursStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newGame()
		t.Repeat(map[string]func(*rapid.T){
			"someone else writes": g.foreign, "the declaration changes": g.edit, "the operator passes": g.pass, "": func(t *rapid.T) { g.check(t) },
		})
	})
}

// game is one leaf of a twin.
type game struct {
	leaf     twin.Leaf
	hub      twin.Twin
	ours     bool // by the judge: the hub's value was written by the object, or found equal while it was declared
	declared any
	status   twin.Ownership
	attempts []twin.Sent
	unsaved  *twin.Ownership
}

func newGame() *game { return &game{leaf: leaf("", "a"), hub: twin.Twin{DesiredVersion: 1}} }

func (g *game) write(v any) {
	g.hub.DesiredVersion++
	g.hub.Properties = nil
	if v != nil {
		g.hub.Properties = map[twin.Leaf]twin.Property{g.leaf: {Desired: &twin.Desired{Value: v, Version: g.hub.DesiredVersion}}}
	}
}

func (g *game) held() any {
	if d := g.hub.Properties[g.leaf].Desired; d != nil {
		return d.Value
	}
	return nil
}

var gameValues = rapid.SampledFrom([]any{nil, value(`1`), value(`2`)})

func (g *game) foreign(t *rapid.T) {
	v := gameValues.Draw(t, "value")
	for _, sent := range g.attempts {
		if sent.Version == g.hub.DesiredVersion+1 && twin.Equal(sent.Value, v) {
			return // nobody could tell it from the object's own write before a read
		}
	}
	g.write(v)
	g.ours = false
}

func (g *game) edit(t *rapid.T) { g.declared = gameValues.Draw(t, "declared") }

func (g *game) declaration() twin.Declaration {
	if g.declared == nil {
		return twin.Declaration{}
	}
	return twin.Declaration{g.leaf: g.declared}
}

// pass reads, writes, and stores status, unless an answer is lost or the API server refuses.
func (g *game) pass(t *rapid.T) {
	d := g.declaration()
	seen := g.hub
	owned := g.own(&seen)
	if g.declared != nil && twin.Equal(g.declared, g.held()) {
		g.ours = true
	}
	removals, released := twin.Read{Twin: &seen}.Depart(owned, d)
	for _, change := range append(twin.Diff(d, owned, &seen), removals...) {
		if change.Cause == twin.Removed && !g.ours {
			t.Fatalf("removes %v, which someone else wrote", g.held())
		}
		sent := twin.Sent{Value: change.Value, Version: g.hub.DesiredVersion + 1}
		outcome := rapid.SampledFrom([]string{"taken", "answer lost", "lost", "refused"}).Draw(t, "outcome")
		if outcome == "taken" || outcome == "answer lost" {
			g.write(change.Value)
			g.ours = change.Value != nil
		}
		if sent.Taken = outcome == "taken"; outcome != "refused" {
			g.attempts = append(g.attempts, sent)
		}
		if outcome != "taken" {
			return
		}
	}
	now := g.hub
	owned = g.own(&now)
	for _, leaf := range released {
		if delete(owned.Lost, leaf); g.ours {
			t.Fatalf("lets go of %v, which is the object's", g.held())
		}
	}
	if rapid.Bool().Draw(t, "stored") {
		g.status, g.unsaved = owned, nil
	}
}

// own is what the operator does with each state of the twin that it reads, or that answers a write.
func (g *game) own(seen *twin.Twin) twin.Ownership {
	before := g.status
	if g.unsaved != nil {
		before = *g.unsaved
	}
	owned := before.After(seen, twin.Attempts{g.leaf: g.attempts}, g.declaration(), true)
	g.unsaved, g.attempts = &owned, nil
	return owned
}

// check has the operator pass in peace: the hub holds the declaration, or nothing of the object's.
func (g *game) check(t *rapid.T) {
	now := *g
	seen := now.hub
	owned := now.own(&seen)
	removals, _ := twin.Read{Twin: &seen}.Depart(owned, now.declaration())
	if now.declared == nil && now.held() != nil && now.ours != (len(removals) == 1) {
		t.Fatalf("the hub holds %v, the object's: %t, to be removed: %v", now.held(), now.ours, removals)
	}
}
