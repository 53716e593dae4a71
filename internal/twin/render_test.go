package twin_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// twinOf is a twin by its two sections.
func twinOf(desired, reported string) *twin.Twin {
	tw, err := twin.ParseDeviceTwin([]byte(`{"deviceId":"dev1","version":9,"properties":{"desired":` + desired + `,"reported":` + reported + `}}`))
	if err != nil {
		panic(err)
	}
	return tw
}

func set(component, name, raw string) twin.Change {
	return twin.Change{Leaf: leaf(component, name), Cause: twin.Edited, Value: value(raw)}
}

func remove(component, name string) twin.Change {
	return twin.Change{Leaf: leaf(component, name), Cause: twin.Removed}
}

func TestRenderDeviceTwin(t *testing.T) {
	tests := map[string]struct {
		twin    *twin.Twin
		changes []twin.Change
		want    string // of desired
	}{
		"no changes are an empty patch": {
			twin: twinOf(`{}`, `{}`), want: `{}`,
		},
		"a removal is null": {
			twin: twinOf(`{"a":1}`, `{}`), changes: []twin.Change{remove("", "a")}, want: `{"a":null}`,
		},
		"a component carries its marker, in a removal too": {
			twin:    twinOf(`{"t1":{"__t":"c","a":1,"foreign":2}}`, `{}`),
			changes: []twin.Change{remove("t1", "a"), set("t2", "a", `1.0`), set("t2", "b", `"<x>"`)},
			want:    `{"t1":{"__t":"c","a":null},"t2":{"__t":"c","a":1.0,"b":"<x>"}}`,
		},
		"inner keys that the hub has and the value lacks are null": {
			twin:    twinOf(`{"a":{"keep":1,"drop":2,"in":{"keep":1,"drop":{"x":1}}}}`, `{}`),
			changes: []twin.Change{set("", "a", `{"keep":1,"in":{"keep":3}}`)},
			want:    `{"a":{"drop":null,"in":{"drop":null,"keep":3},"keep":1}}`,
		},
		"an empty object empties the hub's": {
			twin: twinOf(`{"a":{"x":1}}`, `{}`), changes: []twin.Change{set("", "a", `{}`)}, want: `{"a":{"x":null}}`,
		},
		"an object over a scalar has no nulls": {
			twin: twinOf(`{"a":1}`, `{"a":{"x":1}}`), changes: []twin.Change{set("", "a", `{"y":1}`)}, want: `{"a":{"y":1}}`,
		},
		"a scalar over an object is sent as it is": {
			twin: twinOf(`{"a":{"x":1}}`, `{}`), changes: []twin.Change{set("", "a", `1`)}, want: `{"a":1}`,
		},
		"an array is sent whole": {
			twin: twinOf(`{"a":[{"x":1}]}`, `{}`), changes: []twin.Change{set("", "a", `[{"y":1}]`)}, want: `{"a":[{"y":1}]}`,
		},
		"a component that a device reports without a marker gets one": {
			twin: twinOf(`{}`, `{"t1":{"a":1}}`), changes: []twin.Change{set("t1", "a", `2`)}, want: `{"t1":{"__t":"c","a":2}}`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := twin.RenderDeviceTwin(tc.changes, tc.twin)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(`{"properties":{"desired":`+tc.want+`}}`, string(got)); diff != "" {
				t.Errorf("RenderDeviceTwin() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRenderDigitalTwin(t *testing.T) {
	tests := map[string]struct {
		twin    *twin.Twin
		changes []twin.Change
		want    string
	}{
		"no changes are an empty patch": {
			twin: twinOf(`{}`, `{}`), want: `[]`,
		},
		"what the hub lacks is added, what it desires or the device reports is replaced": {
			twin:    twinOf(`{"b":1}`, `{"c":1}`),
			changes: []twin.Change{set("", "a", `1`), set("", "b", `2.0`), set("", "c", `{"x":"<"}`)},
			want:    `[{"op":"add","path":"/a","value":1},{"op":"replace","path":"/b","value":2.0},{"op":"replace","path":"/c","value":{"x":"<"}}]`,
		},
		"a component that exists is patched by property": {
			twin:    twinOf(`{"t1":{"__t":"c","foreign":1}}`, `{"t2":{"__t":"c"}}`),
			changes: []twin.Change{set("t1", "a", `1`), set("t2", "a", `2`)},
			want:    `[{"op":"add","path":"/t1/a","value":1},{"op":"add","path":"/t2/a","value":2}]`,
		},
		"a component that does not exist is added whole, with empty metadata": {
			twin:    twinOf(`{}`, `{}`),
			changes: []twin.Change{set("t1", "a", `1`), set("t1", "b", `2`), set("t2", "a", `3`)},
			want:    `[{"op":"add","path":"/t1","value":{"$metadata":{},"a":1,"b":2}},{"op":"add","path":"/t2","value":{"$metadata":{},"a":3}}]`,
		},
		"removals come last, so that no component goes in between": {
			twin:    twinOf(`{"t1":{"__t":"c","a":1},"z":1}`, `{}`),
			changes: []twin.Change{remove("", "z"), remove("t1", "a"), set("t1", "b", `1`)},
			want:    `[{"op":"add","path":"/t1/b","value":1},{"op":"remove","path":"/z"},{"op":"remove","path":"/t1/a"}]`,
		},
		"names are escaped": {
			twin: twinOf(`{"a/b":1}`, `{}`), changes: []twin.Change{remove("", "a/b"), set("c~d", "e/~f", `1`)},
			want: `[{"op":"add","path":"/c~0d","value":{"$metadata":{},"e/~f":1}},{"op":"remove","path":"/a~1b"}]`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := twin.RenderDigitalTwin(tc.changes, tc.twin)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("RenderDigitalTwin() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNamesHeldAsTheOtherKind(t *testing.T) {
	tests := map[string]struct {
		twin            *twin.Twin
		change          twin.Change
		device, digital *twin.KindConflictError
	}{
		"a component over a desired property": {
			twin: twinOf(`{"x":1}`, `{}`), change: set("x", "a", `1`),
			device: &twin.KindConflictError{Name: "x"}, digital: &twin.KindConflictError{Name: "x"},
		},
		"a component over a desired object stops the digital twin only": {
			twin: twinOf(`{"x":{"a":1}}`, `{}`), change: set("x", "a", `1`),
			digital: &twin.KindConflictError{Name: "x"},
		},
		"a component over a reported property stops the digital twin only": {
			twin: twinOf(`{}`, `{"x":1}`), change: set("x", "a", `1`),
			digital: &twin.KindConflictError{Name: "x"},
		},
		"a property over a component": {
			twin: twinOf(`{}`, `{"x":{"__t":"c"}}`), change: set("", "x", `1`),
			device: &twin.KindConflictError{Name: "x", Component: true}, digital: &twin.KindConflictError{Name: "x", Component: true},
		},
		"a removal is never in conflict": {
			twin: twinOf(`{"x":1}`, `{"x":{"__t":"c"}}`), change: remove("", "x"),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, deviceErr := twin.RenderDeviceTwin([]twin.Change{tc.change}, tc.twin)
			_, digitalErr := twin.RenderDigitalTwin([]twin.Change{tc.change}, tc.twin)
			checkKindConflict(t, tc.device, deviceErr)
			checkKindConflict(t, tc.digital, digitalErr)
		})
	}
}

func checkKindConflict(t *testing.T, want *twin.KindConflictError, err error) {
	t.Helper()
	var got *twin.KindConflictError
	if err != nil && !errors.As(err, &got) {
		t.Fatalf("not a KindConflictError: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("conflict (-want +got):\n%s", diff)
	}
}

func TestASetToNullIsRefusedSinceItWouldDelete(t *testing.T) {
	changes := []twin.Change{{Leaf: leaf("t1", "a"), Cause: twin.New}}
	if got, err := twin.RenderDeviceTwin(changes, twinOf(`{}`, `{}`)); err == nil {
		t.Errorf("RenderDeviceTwin() = %s", got)
	}
	if got, err := twin.RenderDigitalTwin(changes, twinOf(`{}`, `{}`)); err == nil {
		t.Errorf("RenderDigitalTwin() = %s", got)
	}
}

func TestApply(t *testing.T) {
	before := twinOf(
		`{"a":1,"gone":2,"shown":3,"t1":{"__t":"c","only":1},"t2":{"__t":"c","mine":1,"foreign":2},"$version":4}`,
		`{"shown":{"value":3,"ac":200,"av":4}}`)
	changes := []twin.Change{
		set("", "a", `10`), remove("", "gone"), remove("", "shown"), remove("t1", "only"), remove("t2", "mine"), set("t3", "new", `1`),
	}
	want := twinOf(
		`{"a":10,"t2":{"__t":"c","foreign":2},"t3":{"__t":"c","new":1},"$version":5,"$metadata":{"a":{"$lastUpdatedVersion":5},"t3":{"new":{"$lastUpdatedVersion":5}}}}`,
		`{"shown":{"value":3,"ac":200,"av":4}}`)
	want.ETag, want.Version = "AAAAAAAAAAU=", before.Version

	if diff := cmp.Diff(want, before.Apply(changes, `"AAAAAAAAAAU="`, 5)); diff != "" {
		t.Errorf("Apply() (-want +got):\n%s", diff)
	}
	if before.DesiredVersion != 4 || len(before.Properties) != 6 {
		t.Errorf("Apply changed the original: %+v", before)
	}
}

func TestApplyOnATwinWithoutVersionOrProperties(t *testing.T) {
	got := new(twin.Twin).Apply([]twin.Change{set("t1", "a", `1`), remove("t2", "b")}, "AAAAAAAAAAI=", 2)
	want := &twin.Twin{
		ETag: "AAAAAAAAAAI=", DesiredVersion: 2,
		Properties: map[twin.Leaf]twin.Property{leaf("t1", "a"): {Desired: &twin.Desired{Value: value(`1`), Version: 2}}},
		Components: map[string]bool{"t1": true},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Apply() (-want +got):\n%s", diff)
	}
}
