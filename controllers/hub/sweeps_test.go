package hub

import (
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

// "Sweeps fail and are tried again" is no longer so once the Secret is gone, for example.
func TestWhatSweepsLackEndsWithTheirSession(t *testing.T) {
	for name, test := range map[string]struct {
		session *session.Session
		stands  bool
	}{
		"no session": {nil, false},
		"a session whose first sweep is under way": {session.NewSession(nil, "h", ""), true},
	} {
		hub := &v1alpha1.IoTHub{}
		conditions.Set(hub, v1alpha1.ConditionSweepsIncomplete, true, v1alpha1.ReasonSweepsFailing, "Sweeps fail and are tried again")
		describeSweeps(hub, test.session)
		if got := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionSweepsIncomplete) != nil; got != test.stands {
			t.Errorf("%s: it stands: %t", name, got)
		}
	}
}
