package twin_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// scenario is a twin at the hub, and what one object declares and remembers.
type scenario struct {
	hub         *hub
	declaration twin.Declaration
	owned       twin.Ownership
	twin        *twin.Twin
	changes     []twin.Change
	released    []twin.Leaf
}

func drawScenario(t *rapid.T, anything bool) scenario {
	s := scenario{hub: hubs(anything).Draw(t, "hub")}
	s.declaration = declarations(s.hub, anything).Draw(t, "declaration")
	s.twin = parseDevice(t, s.hub)
	s.owned = ownerships(s.hub, s.twin, s.declaration).Draw(t, "owned")
	s.changes, s.released = s.plan(s.twin)
	return s
}

// plan is all that has to happen, sorted by leaf.
func (s *scenario) plan(read *twin.Twin) (changes []twin.Change, released []twin.Leaf) {
	removals, released := twin.Read{Twin: read}.Depart(s.owned, s.declaration)
	changes = append(twin.Diff(s.declaration, s.owned, read), removals...)
	slices.SortFunc(changes, func(a, b twin.Change) int { return twin.CompareLeaves(a.Leaf, b.Leaf) })
	return changes, released
}

func parseDevice(t *rapid.T, h *hub) *twin.Twin {
	tw, err := twin.ParseDeviceTwin(h.deviceJSON())
	if err != nil {
		t.Fatalf("ParseDeviceTwin: %v", err)
	}
	return tw
}

func parseDigital(t *rapid.T, h *hub) *twin.Twin {
	tw, err := twin.ParseDigitalTwin(h.digitalJSON(), `"`+h.etag()+`"`)
	if err != nil {
		t.Fatalf("ParseDigitalTwin: %v", err)
	}
	return tw
}

// want is the desired section that the hub has to end up with, spelled as it has to be: a value that is equal already stays
// as it is written, foreign leaves too.
func (s *scenario) want() map[twin.Leaf]any {
	held := s.hub.clone()
	for leaf := range s.declaration { // an object gets the marker, and so becomes a component
		if fields, isObject := held.desired[leaf.Component].(object); isObject && leaf.Component != "" {
			fields["__t"] = "c"
		}
	}
	want := held.leaves(held.desired)
	for leaf := range s.owned.Held {
		if _, declared := s.declaration[leaf]; !declared {
			delete(want, leaf)
		}
	}
	for leaf, v := range s.declaration {
		if held, ok := want[leaf]; !ok || !twin.Equal(held, v) || s.hub.lacksMarker(leaf.Component) {
			want[leaf] = v
		}
	}
	return want
}

// lacksMarker is true if desired has an object of a component's name without the marker.
func (h *hub) lacksMarker(component string) bool {
	fields, isObject := h.desired[component].(object)
	return component != "" && isObject && fields["__t"] != "c"
}

// conflictsByMerge is conflicts for a patch of the device twin, whose marker makes an object a component, unless that goes.
func (s *scenario) conflictsByMerge() bool {
	merging := *s
	merging.hub = s.hub.clone()
	going := map[string]bool{}
	for _, c := range s.changes {
		going[c.Leaf.Name] = going[c.Leaf.Name] || c.Leaf.Component == ""
	}
	for _, c := range s.changes {
		if name := c.Leaf.Component; c.Cause != twin.Removed && !going[name] && s.hub.lacksMarker(name) {
			merging.hub.desired[name].(object)["__t"] = "c"
		}
	}
	return merging.conflicts(merging.hub.desired)
}

// conflicts says whether a set meets a name that is held as the other kind.
func (s *scenario) conflicts(sections ...object) bool {
	return slices.ContainsFunc(s.changes, func(c twin.Change) bool {
		if c.Cause == twin.Removed {
			return false
		}
		if c.Leaf.Component == "" {
			return s.hub.isComponent(c.Leaf.Name)
		}
		return slices.ContainsFunc(sections, func(section object) bool {
			held, present := section[c.Leaf.Component]
			_, isObject := held.(object)
			return present && (!isObject || !s.hub.isComponent(c.Leaf.Component))
		})
	})
}

// checkRendered fails unless the renderer refused exactly what conflicts. It returns false if it refused.
func checkRendered(t *rapid.T, err error, conflict bool) bool {
	var kind *twin.KindConflictError
	if errors.As(err, &kind) != conflict || (err != nil) != conflict {
		t.Fatalf("render: %v, want a conflict: %v", err, conflict)
	}
	return err == nil
}

// checkHeld fails unless the hub holds exactly what it has to, and nothing is left to do.
func (s *scenario) checkHeld(t *rapid.T, after *hub, patch []byte) {
	if diff := cmp.Diff(s.want(), after.leaves(after.desired)); diff != "" {
		t.Fatalf("desired after %s (-want +got):\n%s", patch, diff)
	}
	if again, _ := s.plan(parseDevice(t, after)); len(again) > 0 {
		t.Fatalf("second plan after %s: %v", patch, again)
	}
}

// checkMarked fails unless desired marks every declared component.
func (s *scenario) checkMarked(t *rapid.T, after *hub) {
	for leaf := range s.declaration {
		if fields, ok := after.desired[leaf.Component].(object); leaf.Component != "" && (!ok || fields["__t"] != "c") {
			t.Fatalf("component %s has no marker in %v", leaf.Component, after.desired)
		}
	}
}

func TestADeviceTwinPatchMakesTheHubHoldTheDeclaration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScenario(t, true)
		patch, err := twin.RenderDeviceTwin(s.changes, s.twin)
		if !checkRendered(t, err, s.conflictsByMerge()) {
			return
		}
		after := s.hub.clone()
		after.patchDevice(patch)
		s.checkHeld(t, after, patch)
		s.checkMarked(t, after)
	})
}

func TestADigitalTwinPatchMakesTheHubHoldTheDeclaration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScenario(t, false)
		patch, err := twin.RenderDigitalTwin(s.changes, s.twin)
		if !checkRendered(t, err, s.conflicts(s.hub.desired, s.hub.reported)) {
			return
		}
		after := s.hub.clone()
		if err := after.patchDigital(patch); err != nil {
			t.Fatalf("%s: %v", patch, err)
		}
		s.checkHeld(t, after, patch)
		s.checkMarked(t, after)
		if s.hub.changesKind(after) {
			t.Skip("undocumented: a component goes that the device reports without a marker")
		}

		applied := s.twin.Apply(s.changes, `"`+after.etag()+`"`, after.desiredVersion)
		want := parseDevice(t, after)
		want.DesiredUpdated, want.Version = time.Time{}, s.twin.Version // the response does not say
		if diff := cmp.Diff(want, applied); diff != "" {
			t.Fatalf("Apply after %s (-hub +got):\n%s", patch, diff)
		}
		if diff := cmp.Diff(parseDevice(t, s.hub), s.twin); diff != "" {
			t.Fatalf("Apply changed the twin that it copied (-want +got):\n%s", diff)
		}
	})
}

func TestBothDialectsEndInTheSameDesiredSection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScenario(t, false)
		ops, err := twin.RenderDigitalTwin(s.changes, s.twin)
		if err != nil {
			t.Skip("conflict")
		}
		merge, err := twin.RenderDeviceTwin(s.changes, s.twin)
		if err != nil {
			t.Fatalf("RenderDeviceTwin refuses what RenderDigitalTwin takes: %v", err)
		}
		digital, device := s.hub.clone(), s.hub.clone()
		device.patchDevice(merge)
		if err := digital.patchDigital(ops); err != nil {
			t.Fatal(err)
		}
		want, got := markAll(digital), markAll(device)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("desired after %s and after %s (-digital +device):\n%s", ops, merge, diff)
		}
	})
}

// markAll evens out what the dialects do to markers: which components keep a bare one, and which get one back.
func markAll(h *hub) object {
	desired := cloneJSON(h.desired).(object)
	for name, v := range desired {
		if fields, ok := v.(object); ok && h.isComponent(name) {
			fields["__t"] = "c"
		}
	}
	return withoutBareComponents(desired)
}

func TestAnyOrderOfChangesRendersTheSamePatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScenario(t, true)
		shuffled := rapid.Permutation(s.changes).Draw(t, "shuffled")
		for name, render := range map[string]func([]twin.Change, *twin.Twin) ([]byte, error){
			"device": twin.RenderDeviceTwin, "digital": twin.RenderDigitalTwin,
		} {
			want, wantErr := render(s.changes, s.twin)
			got, gotErr := render(shuffled, s.twin)
			if string(want) != string(got) || (wantErr == nil) != (gotErr == nil) {
				t.Fatalf("%s: %s (%v) and %s (%v)", name, want, wantErr, got, gotErr)
			}
		}
	})
}

func TestBothDialectsReadTheSameTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := hubs(true).Draw(t, "hub")
		if h.hasMixedName() {
			t.Skip("undocumented: a component here, a scalar there")
		}
		device, digital := parseDevice(t, h), parseDigital(t, h)

		// What the digital twin does not show.
		device.DeviceETag, device.Version, device.ReportedVersion = "", 0, 0
		device.ConnectionState, device.Status = "", ""
		device.DesiredUpdated, device.ReportedUpdated = time.Time{}, time.Time{}
		device.DesiredVersion, device.Unmarked = 0, nil
		for leaf, p := range device.Properties {
			if p.Desired != nil {
				p.Desired.By = ""
				device.DesiredVersion = max(device.DesiredVersion, p.Desired.Version)
			}
			device.Properties[leaf] = p
		}
		if diff := cmp.Diff(device, digital); diff != "" {
			t.Fatalf("(-device twin +digital twin):\n%s", diff)
		}
		if limit := digital.AckLimit(); limit < h.desiredVersion {
			t.Fatalf("AckLimit() = %d, below the desired version %d", limit, h.desiredVersion)
		}
	})
}

// changesKind is true if a write made an object of the reported section a component, or no longer one.
func (h *hub) changesKind(after *hub) bool {
	for name, v := range h.reported {
		if _, isObject := v.(object); isObject && h.isComponent(name) != after.isComponent(name) {
			return true
		}
	}
	return false
}

// hasMixedName is true if one side holds a component where the other holds something else than an object.
func (h *hub) hasMixedName() bool {
	for _, section := range []object{h.desired, h.reported} {
		for name, v := range section {
			if _, isObject := v.(object); !isObject && h.isComponent(name) {
				return true
			}
		}
	}
	return false
}

func TestNonConformantNamesWhatTheHubRefuses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := hubs(true).Draw(t, "hub")
		want := h.nonConformant()
		slices.Sort(want)
		if diff := cmp.Diff(slices.Compact(want), twin.NonConformant(parseDevice(t, h)), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("NonConformant() (-want +got):\n%s", diff)
		}
	})
}

func TestAPlanNamesEachOwnedLeafOnceAndNoForeignOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScenario(t, true)
		seen := map[twin.Leaf]bool{}
		for _, leaf := range slices.Concat(changed(s.changes), s.released) {
			_, declared := s.declaration[leaf]
			_, held := s.owned.Held[leaf]
			_, lost := s.owned.Lost[leaf]
			if seen[leaf] || !declared && !held && !lost {
				t.Fatalf("%s does not belong into %v and %v", leaf, s.changes, s.released)
			}
			seen[leaf] = true
		}
		if !slices.IsSortedFunc(s.released, twin.CompareLeaves) {
			t.Fatalf("what is released is not sorted: %v", s.released)
		}
	})
}

func changed(changes []twin.Change) []twin.Leaf {
	leaves := make([]twin.Leaf, 0, len(changes))
	for _, c := range changes {
		leaves = append(leaves, c.Leaf)
	}
	return leaves
}

func TestWhatTheHubHoldsInTheSameWordsIsValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := twin.Declaration(rapid.MapOf(leaves(false), values(3, false)).Draw(t, "declaration"))
		maps.DeleteFunc(d, func(leaf twin.Leaf, _ any) bool { return leaf.Component == "" && leaf.Name == "both" })
		if got := twin.Validate(d, twin.DigitalTwin); len(got) > 0 {
			t.Fatalf("Validate() = %v", got)
		}
		d[twin.Leaf{Name: "array"}] = []any{json.Number("1")}
		if got := twin.Validate(d, twin.DeviceTwin); len(got) > 0 {
			t.Fatalf("Validate() = %v", got)
		}
	})
}
