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

func TestDiff(t *testing.T) {
	a := leaf("", "a")
	was := func(raw string) *twin.Desired { return &twin.Desired{Value: value(raw), Version: 5} }
	tests := map[string]struct {
		declared twin.Declaration
		claims   twin.Claims
		twin     *twin.Twin
		want     twin.Plan
	}{
		"an equal value is not written, claimed or not": {
			declared: one("a", `42`), twin: holding(`42.0`),
		},
		"an equal value is not written even if the claim says another one": {
			declared: one("a", `42`), claims: twin.Claims{a: {Value: value(`1`), Version: 3}}, twin: holding(`42`),
		},
		"a value that the hub lacks is new": {
			declared: one("a", `42`), twin: holding(``),
			want: twin.Plan{Changes: []twin.Change{{Leaf: a, Cause: twin.New, Value: value(`42`)}}},
		},
		"a value that the hub holds differently is new without a claim": {
			declared: one("a", `42`), twin: holding(`41`),
			want: twin.Plan{Changes: []twin.Change{{Leaf: a, Cause: twin.New, Value: value(`42`), Was: was(`41`)}}},
		},
		"a claim that was never written keeps the leaf new": {
			declared: one("a", `42`), claims: twin.Claims{a: {Value: value(`42`)}}, twin: holding(`41`),
			want: twin.Plan{Changes: []twin.Change{{Leaf: a, Cause: twin.New, Value: value(`42`), Was: was(`41`)}}},
		},
		"a changed declaration is an edit": {
			declared: one("a", `42`), claims: twin.Claims{a: {Value: value(`41`), Version: 5}}, twin: holding(`41`),
			want: twin.Plan{Changes: []twin.Change{{Leaf: a, Cause: twin.Edited, Value: value(`42`), Was: was(`41`)}}},
		},
		"a changed value at the hub is drift": {
			declared: one("a", `42`), claims: twin.Claims{a: {Value: value(`42.0`), Version: 4}}, twin: holding(`41`),
			want: twin.Plan{Changes: []twin.Change{{Leaf: a, Cause: twin.Drifted, Value: value(`42`), Was: was(`41`)}}},
		},
		"a removed value at the hub is drift": {
			declared: one("a", `42`), claims: twin.Claims{a: {Value: value(`42`), Version: 4}}, twin: holding(``),
			want: twin.Plan{Changes: []twin.Change{{Leaf: a, Cause: twin.Drifted, Value: value(`42`)}}},
		},
		"a foreign key inside an object value is drift": {
			declared: one("a", `{"x":1}`), claims: twin.Claims{a: {Value: value(`{"x":1}`), Version: 4}}, twin: holding(`{"x":1,"y":2}`),
			want: twin.Plan{Changes: []twin.Change{{Leaf: a, Cause: twin.Drifted, Value: value(`{"x":1}`), Was: was(`{"x":1,"y":2}`)}}},
		},
		"a value that is reported but not desired is written": {
			declared: one("a", `42`),
			twin: &twin.Twin{Properties: map[twin.Leaf]twin.Property{
				a: {Reported: &twin.Reported{Value: value(`42`), Ack: &twin.Ack{Version: 3, Code: 200}}},
			}},
			want: twin.Plan{Changes: []twin.Change{{Leaf: a, Cause: twin.New, Value: value(`42`)}}},
		},
		"a leaf that is no longer declared is removed while the hub holds our value": {
			claims: twin.Claims{a: {Value: value(`42`), Version: 4}}, twin: holding(`42.0`),
			want: twin.Plan{Changes: []twin.Change{{Leaf: a, Cause: twin.Removed, Was: was(`42.0`)}}},
		},
		"a leaf that is no longer declared is released if the hub holds another value": {
			claims: twin.Claims{a: {Value: value(`42`), Version: 4}}, twin: holding(`43`),
			want: twin.Plan{Released: []twin.Leaf{a}},
		},
		"a leaf that is no longer declared and gone needs nothing": {
			claims: twin.Claims{a: {Value: value(`42`), Version: 4}}, twin: holding(``),
		},
		"a foreign leaf is not in the plan": {
			declared: twin.Declaration{}, claims: twin.Claims{leaf("t1", "a"): {Value: value(`42`), Version: 4}}, twin: holding(`42`),
		},
		"the plan is sorted, default component first": {
			declared: twin.Declaration{leaf("t1", "a"): "x", leaf("", "z"): "x", leaf("", "b"): "x"},
			claims: twin.Claims{
				a: {Value: value(`42`), Version: 4}, leaf("t2", "r"): {Value: "x", Version: 1}, leaf("", "r"): {Value: "x", Version: 1},
			},
			twin: &twin.Twin{Properties: map[twin.Leaf]twin.Property{
				a:               {Desired: was(`42`)},
				leaf("", "r"):   {Desired: was(`"other"`)},
				leaf("t2", "r"): {Desired: was(`"other"`)},
			}},
			want: twin.Plan{
				Changes: []twin.Change{
					{Leaf: a, Cause: twin.Removed, Was: was(`42`)},
					{Leaf: leaf("", "b"), Cause: twin.New, Value: "x"},
					{Leaf: leaf("", "z"), Cause: twin.New, Value: "x"},
					{Leaf: leaf("t1", "a"), Cause: twin.New, Value: "x"},
				},
				Released: []twin.Leaf{leaf("", "r"), leaf("t2", "r")},
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := twin.Diff(tc.declared, tc.claims, tc.twin)
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
