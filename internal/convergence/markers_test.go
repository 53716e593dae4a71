package convergence

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// TestStatusRemembersMarkers: whether desired lacks the marker of a component, and whether that is worth a word.
func TestStatusRemembersMarkers(t *testing.T) {
	leaf := twin.Leaf{Component: "t1", Name: "a"}
	held := v1alpha1.PropertyStatus{Name: "a", Desired: &apiextensionsv1.JSON{Raw: []byte("42")}, DesiredVersion: 4}
	for name, c := range map[string]struct {
		entry            v1alpha1.PropertyStatus
		exists, unmarked bool // at the hub
		shown            bool
		believed         map[string]bool
	}{
		"desired holds it with the marker":       {held, true, false, false, nil},
		"desired holds it without":               {held, true, true, true, map[string]bool{"t1": true}},
		"the device alone has it":                {v1alpha1.PropertyStatus{Name: "a"}, true, true, false, map[string]bool{"t1": true}},
		"neither side has it":                    {v1alpha1.PropertyStatus{Name: "a"}, false, false, false, nil},
		"desired holds another one's value only": {v1alpha1.PropertyStatus{Name: "a"}, true, false, false, map[string]bool{"t1": true}},
	} {
		t.Run(name, func(t *testing.T) {
			tw := &twin.Twin{
				Properties: map[twin.Leaf]twin.Property{leaf: {Desired: believedDesired(&c.entry)}},
				Components: map[string]bool{"t1": c.exists},
			}
			if c.unmarked {
				tw.Unmarked = map[string]bool{"t1": true}
			}
			status := &v1alpha1.PnPDeviceStatus{Twin: &v1alpha1.TwinReference{}}
			Entries{leaf: c.entry}.writeTo(status, tw)
			if is := status.Components[0]; is.Exists != c.exists || is.Unmarked != c.shown {
				t.Errorf("status: %+v", is)
			}
			if diff := cmp.Diff(c.believed, Belief(status).Unmarked, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("believed (-want +got):\n%s", diff)
			}
		})
	}
}
