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
