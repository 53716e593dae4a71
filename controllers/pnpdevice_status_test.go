package controllers

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// TestAnAnswerToADriftedValueIsNoneToOurs is what make chaos found: the operator put a drifted value back, and was killed before status said so. The
// next one found the hub in order, and took the other writer's version for the one that the device had to answer.
func TestAnAnswerToADriftedValueIsNoneToOurs(t *testing.T) {
	leaf := twin.Leaf{Name: "speed"}
	declared := json.Number("5")
	for name, c := range map[string]struct {
		state   v1alpha1.PropertyState // what status says of version 4
		value   string
		version int64
		want    v1alpha1.PropertyState
	}{
		"after a drift the answer to version 4 counts for nothing":       {stateOf(twin.StateDrifted), `93`, 5, stateOf(twin.StateApplied)},
		"the same value written again leaves the answer as it was":       {stateOf(twin.StateAcknowledged), `5`, 4, stateOf(twin.StateAcknowledged)},
		"a claim that is not known to be written is judged by the hub's": {stateOf(twin.StatePending), `5`, 5, stateOf(twin.StateApplied)},
	} {
		t.Run(name, func(t *testing.T) {
			version := int64(4)
			if c.state == stateOf(twin.StatePending) {
				version = 0
			}
			device := &v1alpha1.PnPDevice{Status: v1alpha1.PnPDeviceStatus{Properties: []v1alpha1.PropertyStatus{{
				Name: leaf.Name, State: c.state, Owned: true, Desired: jsonOf(json.Number(c.value)), DesiredVersion: version,
			}}}}
			s := newScope(device, time.Now())
			s.declared = twin.Declaration{leaf: declared}
			s.claims = s.entries.claims(s.declared)
			s.twin = &twin.Twin{DesiredVersion: 5, Version: 9, Properties: map[twin.Leaf]twin.Property{leaf: {
				Desired:  &twin.Desired{Value: declared, Version: 5},
				Reported: &twin.Reported{Value: declared, Ack: &twin.Ack{Version: 4, Code: 200}},
			}}}
			got := s.entry(leaf)
			if got.State != c.want || got.DesiredVersion != c.version {
				t.Errorf("got %s of version %d, want %s of version %d", got.State, got.DesiredVersion, c.want, c.version)
			}
		})
	}
}

// TestADriftIsRememberedOfALeafThatIsNotDeclaredAnyMore is what make chaos found: a leaf drifted, left the declaration, and could not be dealt with
// at once. Status kept the old value beside the new etag, so the next pass removed the other writer's value in the belief that it was ours.
func TestADriftIsRememberedOfALeafThatIsNotDeclaredAnyMore(t *testing.T) {
	leaf := twin.Leaf{Name: "speed"}
	for name, c := range map[string]struct {
		held     string
		removed  bool
		released bool
	}{
		"our value is removed":              {held: `5`, removed: true},
		"someone else's value is let go":    {held: `93`, released: true},
		"our value in another form is ours": {held: `5.0`, removed: true},
	} {
		t.Run(name, func(t *testing.T) {
			device := &v1alpha1.PnPDevice{Status: v1alpha1.PnPDeviceStatus{
				Twin: &v1alpha1.TwinReference{Etag: twin.ETagOf(2), DesiredVersion: 2},
				Properties: []v1alpha1.PropertyStatus{{
					Name: leaf.Name, State: stateOf(twin.StateAcknowledged), Owned: true, Desired: jsonOf(json.Number("5")), DesiredVersion: 2,
				}},
			}}
			s := newScope(device, time.Now())
			s.declared = twin.Declaration{}
			s.claims = s.entries.claims(s.declared)
			s.twin = &twin.Twin{ETag: twin.ETagOf(3), DesiredVersion: 3, Version: 5, Properties: map[twin.Leaf]twin.Property{
				leaf: {Desired: &twin.Desired{Value: json.Number(c.held), Version: 3}},
			}}
			s.describe() // of a pass that could not go on

			next := newScope(device, time.Now())
			plan := twin.Diff(twin.Declaration{}, next.entries.claims(twin.Declaration{}), belief(&device.Status))
			if got := len(plan.Changes) > 0; got != c.removed {
				t.Errorf("the next pass removes it: %t, want %t", got, c.removed)
			}
			if got := len(plan.Released) > 0; got != c.released {
				t.Errorf("the next pass releases it: %t, want %t", got, c.released)
			}
		})
	}
}
