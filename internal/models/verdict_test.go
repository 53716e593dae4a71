package models

import (
	"testing"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func TestWhatAnEarlierCheckCovers(t *testing.T) {
	valve, pump := inline("valve", valveDTDL), inline("pump", pumpDTDL)
	edited := func(m *v1alpha1.DeviceModel) *v1alpha1.DeviceModel {
		m = m.DeepCopy()
		m.Generation++
		return m
	}
	anew := func(m *v1alpha1.DeviceModel) *v1alpha1.DeviceModel {
		m = m.DeepCopy()
		m.UID = "anew"
		return m
	}
	of := func(t *testing.T, modelID string, objects ...*v1alpha1.DeviceModel) Verdict {
		t.Helper()
		l, _ := newTestLibrary(objects...)
		return l.device(t, modelID, twin.Declaration{})
	}
	for name, c := range map[string]struct {
		earlier, now Verdict
		covered      bool
	}{
		"the same":                               {of(t, valveID, valve), of(t, valveID, valve), true},
		"another model":                          {of(t, valveID, valve, pump), of(t, pumpID, valve, pump), false},
		"the DeviceModel was edited":             {of(t, valveID, valve), of(t, valveID, edited(valve)), false},
		"the DeviceModel was made anew":          {of(t, valveID, valve), of(t, valveID, anew(valve)), false},
		"there was none, and now there is":       {of(t, valveID), of(t, valveID, valve), true},
		"there was none, of another model":       {of(t, pumpID), of(t, valveID, valve), false},
		"the device had not announced any model": {of(t, ""), of(t, valveID, valve), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.now.IsCoveredBy(c.earlier.Of); got != c.covered {
				t.Errorf("%q covers %q: %t, want %t", c.earlier.Of, c.now.Of, got, c.covered)
			}
		})
	}
}
