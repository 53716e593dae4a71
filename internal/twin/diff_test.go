package twin_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// holding is a twin whose hub desires one value of leaf "a", set at version 5. raw "" is nothing.
func holding(raw string) *twin.Twin {
	tw := &twin.Twin{Properties: map[twin.Leaf]twin.Property{}}
	if raw != "" {
		tw.Properties[leaf("", "a")] = twin.Property{Desired: &twin.Desired{Value: value(raw), Version: 5}}
	}
	return tw
}

// owning is an ownership of leaf "a" with a value of version 5, or of an earlier one that is lost; raw "" is none.
func owning(held, lost string) twin.Ownership {
	o := twin.Ownership{Held: map[twin.Leaf]twin.Owned{}, Lost: map[twin.Leaf]any{}}
	if held != "" {
		o.Held[leaf("", "a")] = twin.Owned{Value: value(held), Version: 5, SetVersion: 5}
	}
	if lost != "" {
		o.Lost[leaf("", "a")] = value(lost)
	}
	return o
}

func TestDiff(t *testing.T) {
	a := leaf("", "a")
	was := func(raw string) *twin.Desired { return &twin.Desired{Value: value(raw), Version: 5} }
	unknown := twin.Ownership{Lost: map[twin.Leaf]any{a: nil}}
	tests := map[string]struct {
		declared twin.Declaration
		owned    twin.Ownership
		twin     *twin.Twin
		want     []twin.Change
	}{
		"an equal value is not written": {
			declared: one("a", `42`), twin: holding(`42.0`),
		},
		"a value that the hub lacks is new": {
			declared: one("a", `42`), twin: holding(``),
			want: []twin.Change{{Leaf: a, Cause: twin.New, Value: value(`42`)}},
		},
		"another writer's value is new to the object": {
			declared: one("a", `42`), twin: holding(`41`),
			want: []twin.Change{{Leaf: a, Cause: twin.New, Value: value(`42`), Was: was(`41`)}},
		},
		"a changed declaration is an edit": {
			declared: one("a", `42`), owned: owning(`41`, ``), twin: holding(`41`),
			want: []twin.Change{{Leaf: a, Cause: twin.Edited, Value: value(`42`), Was: was(`41`)}},
		},
		"a changed value at the hub is drift": {
			declared: one("a", `42`), owned: owning(``, `42.0`), twin: holding(`41`),
			want: []twin.Change{{Leaf: a, Cause: twin.Drifted, Value: value(`42`), Was: was(`41`)}},
		},
		"a changed value at the hub is drift though it is not known what was there": {
			declared: one("a", `42`), owned: unknown, twin: holding(`41`),
			want: []twin.Change{{Leaf: a, Cause: twin.Drifted, Value: value(`42`), Was: was(`41`)}},
		},
		"a declaration that changed as well is an edit": {
			declared: one("a", `42`), owned: owning(``, `40`), twin: holding(`41`),
			want: []twin.Change{{Leaf: a, Cause: twin.Edited, Value: value(`42`), Was: was(`41`)}},
		},
		"a removed value at the hub is drift": {
			declared: one("a", `42`), owned: owning(``, `42`), twin: holding(``),
			want: []twin.Change{{Leaf: a, Cause: twin.Drifted, Value: value(`42`)}},
		},
		"a foreign key inside an object value is drift": {
			declared: one("a", `{"x":1}`), owned: owning(``, `{"x":1}`), twin: holding(`{"x":1,"y":2}`),
			want: []twin.Change{{Leaf: a, Cause: twin.Drifted, Value: value(`{"x":1}`), Was: was(`{"x":1,"y":2}`)}},
		},
		"a value that is reported but not desired is written": {
			declared: one("a", `42`),
			twin: &twin.Twin{Properties: map[twin.Leaf]twin.Property{
				a: {Reported: &twin.Reported{Value: value(`42`), Ack: &twin.Ack{Version: 3, Code: 200}}},
			}},
			want: []twin.Change{{Leaf: a, Cause: twin.New, Value: value(`42`)}},
		},
		"a leaf that is not declared is not in it, owned or not": {
			owned: owning(`42`, ``), twin: holding(`42`),
		},
		"it is sorted, default component first": {
			declared: twin.Declaration{leaf("t1", "a"): "x", leaf("", "z"): "x", leaf("", "b"): "x"}, twin: holding(``),
			want: []twin.Change{
				{Leaf: leaf("", "b"), Cause: twin.New, Value: "x"},
				{Leaf: leaf("", "z"), Cause: twin.New, Value: "x"},
				{Leaf: leaf("t1", "a"), Cause: twin.New, Value: "x"},
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := twin.Diff(tc.declared, tc.owned, tc.twin)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Diff() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLeafNames(t *testing.T) {
	tests := map[string]struct {
		leaf twin.Leaf
		want string
	}{
		"a leaf of a component shows it":          {leaf: leaf("thermostat1", "targetTemperature"), want: "thermostat1/targetTemperature"},
		"a leaf of the default component is bare": {leaf: leaf("", "targetTemperature"), want: "targetTemperature"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tc.leaf.String(); got != tc.want {
				t.Errorf("String() = %q, want %q", got, tc.want)
			}
		})
	}
}
