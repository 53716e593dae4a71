package controllers

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/hubs"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// TestADisabledDeviceIsLookedAtNowAndThen: no event tells that it was enabled.
func TestADisabledDeviceIsLookedAtNowAndThen(t *testing.T) {
	for name, c := range map[string]struct {
		state     twin.State
		status    string
		readyWhen v1alpha1.ReadyWhen
		after     time.Duration
		want      bool
	}{
		"not before its time":              {twin.StateApplied, disabled, v1alpha1.ReadyWhenAcknowledged, retryTerminal - time.Minute, false},
		"once it was not read for long":    {twin.StateApplied, disabled, v1alpha1.ReadyWhenAcknowledged, retryTerminal + time.Minute, true},
		"nor if it is enabled":             {twin.StateApplied, "", v1alpha1.ReadyWhenAcknowledged, time.Hour, false},
		"nor if it has answered":           {twin.StateAcknowledged, disabled, v1alpha1.ReadyWhenAcknowledged, time.Hour, false},
		"nor if no answer is waited for":   {twin.StateApplied, disabled, v1alpha1.ReadyWhenApplied, time.Hour, false},
		"also if others may be offline":    {twin.StateInProgress, disabled, v1alpha1.ReadyWhenReachable, time.Hour, true},
		"and the pass before comes for it": {twin.StateApplied, disabled, v1alpha1.ReadyWhenAcknowledged, retryTerminal, true},
	} {
		t.Run(name, func(t *testing.T) {
			device := &v1alpha1.PnPDevice{Spec: v1alpha1.PnPDeviceSpec{ReadyWhen: c.readyWhen, AcknowledgeWithinSeconds: 1}}
			device.Status.DeviceStatus = c.status
			device.Status.Properties = []v1alpha1.PropertyStatus{{Name: "a", State: stateOf(c.state), DesiredVersion: 2, Desired: jsonOf(json.Number("1"))}}
			s := newScope(device, time.Now())
			s.memory = &hubs.Pass{Device: &hubs.Device{}}
			s.declared = twin.Declaration{{Name: "a"}: json.Number("1")}
			if _, err := s.memory.Read(func() (*twin.Twin, error) { return &twin.Twin{}, nil }); err != nil {
				t.Fatal(err)
			}
			s.now = time.Now().Add(c.after)
			if got := s.mayBeEnabled(); got != c.want {
				t.Errorf("is read: %t, want %t", got, c.want)
			}
			if left, runs := s.deadline(); c.status == disabled && runs {
				t.Errorf("its deadline runs, %v are left", left)
			}
		})
	}
}
