package twin_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// TestAValueWithoutTheMarkerIsWritten: a device takes it for anything but the component's.
func TestAValueWithoutTheMarkerIsWritten(t *testing.T) {
	a := leaf("t1", "a")
	const marked, unmarked = `{"t1":{"__t":"c","a":42}}`, `{"t1":{"a":42}}`
	tests := map[string]struct {
		desired, reported string
		owned             bool // status has the value as the object's
		declared          string
		want              twin.Cause // "" is not written
		isUnmarked        bool
		device            string // the patch of the device twin
		digital           string // "" is refused
	}{
		"with the marker":               {desired: marked, declared: `42`},
		"with the marker, owned":        {desired: marked, owned: true, declared: `42`},
		"without, and never ours":       {desired: unmarked, reported: marked, declared: `42`, want: twin.New, isUnmarked: true, device: `{"__t":"c","a":42}`, digital: `[{"op":"replace","path":"/t1/a","value":42}]`},
		"without, and ours":             {desired: unmarked, reported: marked, owned: true, declared: `42`, want: twin.Drifted, isUnmarked: true, device: `{"__t":"c","a":42}`, digital: `[{"op":"replace","path":"/t1/a","value":42}]`},
		"without, and edited":           {desired: unmarked, reported: marked, owned: true, declared: `43`, want: twin.Edited, isUnmarked: true, device: `{"__t":"c","a":43}`, digital: `[{"op":"replace","path":"/t1/a","value":43}]`},
		"with another marker":           {desired: `{"t1":{"__t":"d","a":42}}`, reported: marked, declared: `42`, want: twin.New, isUnmarked: true, device: `{"__t":"c","a":42}`, digital: `[{"op":"replace","path":"/t1/a","value":42}]`},
		"without, and nobody has it":    {desired: unmarked, declared: `42`, want: twin.New, isUnmarked: true, device: `{"__t":"c","a":42}`},
		"of an object, and nobody":      {desired: `{"t1":{"a":{"x":1,"y":2}}}`, declared: `{"x":1}`, want: twin.New, isUnmarked: true, device: `{"__t":"c","a":{"x":1,"y":null}}`},
		"another property of it":        {desired: `{"t1":{"b":1}}`, reported: marked, declared: `42`, want: twin.New, isUnmarked: true, device: `{"__t":"c","a":42}`, digital: `[{"op":"replace","path":"/t1/a","value":42}]`},
		"the device alone has it":       {desired: `{}`, reported: marked, declared: `42`, want: twin.New, device: `{"__t":"c","a":42}`, digital: `[{"op":"replace","path":"/t1/a","value":42}]`},
		"a scalar in a component's way": {desired: `{"t1":1}`, reported: marked, declared: `42`, want: twin.New},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tw := twinOf(tc.desired, cmpOr(tc.reported, `{}`))
			declared, before := twin.Declaration{a: value(tc.declared)}, twin.Ownership{}
			if tc.owned {
				held := tw.Properties[a].Desired
				before.Held = map[twin.Leaf]twin.Owned{a: {Value: held.Value, Version: held.Version, SetVersion: held.Version}}
			}
			changes := twin.Diff(declared, before.After(tw, nil, declared, true), tw)
			if tc.want == "" {
				if len(changes) > 0 || !tw.Holds(a, declared[a]) {
					t.Errorf("Diff() = %v", changes)
				}
				return
			}
			want := []twin.Change{{Leaf: a, Cause: tc.want, Value: declared[a], Was: tw.Properties[a].Desired, Unmarked: tc.isUnmarked}}
			if diff := cmp.Diff(want, changes); diff != "" {
				t.Errorf("Diff() (-want +got):\n%s", diff)
			}
			wantDevice := `{"properties":{"desired":{"t1":` + tc.device + `}}}`
			checkPatch(t, twin.RenderDeviceTwin, changes, tw, wantDevice, tc.device != "")
			checkPatch(t, twin.RenderDigitalTwin, changes, tw, tc.digital, tc.digital != "")
		})
	}
}

func checkPatch(t *testing.T, render func([]twin.Change, *twin.Twin) ([]byte, error), changes []twin.Change, tw *twin.Twin, want string, isTaken bool) {
	t.Helper()
	got, err := render(changes, tw)
	var conflict *twin.KindConflictError
	if isTaken != (err == nil) || isTaken && string(got) != want || !isTaken && !errors.As(err, &conflict) {
		t.Errorf("patch %s, %v, want %s", got, err, want)
	}
}

// TestMarkersAreFollowed: events and answers to digital-twin patches say as much of markers as a read.
func TestMarkersAreFollowed(t *testing.T) {
	tests := map[string]struct {
		desired, reported string // the twin before
		event             string // sections of a change, with versions from patch
		want              map[string]bool
	}{
		"a component that the device alone has": {desired: `{}`, reported: `{}`, event: `{"reported":` + patch(6, `{"t1":{"__t":"c","a":1}}`) + `}`, want: map[string]bool{"t1": true}},
		"a write without the marker":            {desired: `{}`, reported: `{"t1":{"__t":"c"}}`, event: `{"desired":` + patch(5, `{"t1":{"a":1}}`) + `}`, want: map[string]bool{"t1": true}},
		"a write with it":                       {desired: `{}`, reported: `{"t1":{"__t":"c"}}`, event: `{"desired":` + patch(5, `{"t1":{"__t":"c","a":1}}`) + `}`},
		"a write beside a marker":               {desired: `{"t1":{"__t":"c"}}`, reported: `{"t1":{"__t":"c"}}`, event: `{"desired":` + patch(5, `{"t1":{"a":1}}`) + `}`},
		"a new component":                       {desired: `{}`, reported: `{}`, event: `{"desired":` + patch(5, `{"t1":{"__t":"c","a":1}}`) + `}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := counted(7, 4, 5, tc.desired, tc.reported)
			after, err := before.Fold(notification(t, `{"version":13,"properties":`+tc.event+`}`))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, after.Unmarked, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Unmarked (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAMarkerThatGoesIsRead: an event does not tell on which side there is another one.
func TestAMarkerThatGoesIsRead(t *testing.T) {
	before := counted(7, 4, 5, `{"t1":{"__t":"c","a":1}}`, `{"t1":{"__t":"c"}}`)
	if _, err := before.Fold(notification(t, `{"version":13,"properties":{"desired":`+patch(5, `{"t1":{"__t":null}}`)+`}}`)); !errors.Is(err, twin.ErrDoubtful) {
		t.Errorf("Fold() = %v, want a doubt", err)
	}
}
