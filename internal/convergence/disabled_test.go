package convergence

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
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
		"not before its time":              {twin.StateApplied, Disabled, v1alpha1.ReadyWhenAcknowledged, RetryTerminal - time.Minute, false},
		"once it was not read for long":    {twin.StateApplied, Disabled, v1alpha1.ReadyWhenAcknowledged, RetryTerminal + time.Minute, true},
		"nor if it is enabled":             {twin.StateApplied, "", v1alpha1.ReadyWhenAcknowledged, time.Hour, false},
		"nor if it has answered":           {twin.StateAcknowledged, Disabled, v1alpha1.ReadyWhenAcknowledged, time.Hour, false},
		"nor if no answer is waited for":   {twin.StateApplied, Disabled, v1alpha1.ReadyWhenApplied, time.Hour, false},
		"also if others may be offline":    {twin.StateInProgress, Disabled, v1alpha1.ReadyWhenReachable, time.Hour, true},
		"and the pass before comes for it": {twin.StateApplied, Disabled, v1alpha1.ReadyWhenAcknowledged, RetryTerminal, true},
	} {
		t.Run(name, func(t *testing.T) {
			device := &v1alpha1.PnPDevice{Spec: v1alpha1.PnPDeviceSpec{ReadyWhen: c.readyWhen, AcknowledgeWithinSeconds: 1}}
			device.Status.DeviceStatus = c.status
			device.Status.Properties = []v1alpha1.PropertyStatus{{Name: "a", State: StateOf(c.state), DesiredVersion: 2, Desired: JSONOf(json.Number("1"))}}
			s := New(Facts{Device: device, Now: time.Now()})
			s.Memory = &twin.Remembered{}
			s.Declared = twin.Declaration{{Name: "a"}: json.Number("1")}
			s.Memory.ReadAt = time.Now()
			s.Now = time.Now().Add(c.after)
			if got := s.mayBeEnabled(); got != c.want {
				t.Errorf("is read: %t, want %t", got, c.want)
			}
			if left, runs := s.deadline(); c.status == Disabled && runs {
				t.Errorf("its deadline runs, %v are left", left)
			}
		})
	}
}
