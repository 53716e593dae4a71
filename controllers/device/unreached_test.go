package device

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// A device without a session says what is so of its IoTHub, and nothing where it said nothing of
// that.
func TestADeviceWithoutASessionSaysNothingOfAnEarlierIoTHub(t *testing.T) {
	isConnecting, isRefused := `IoTHub "hub" is being connected`, `IoTHub "hub" is not ready: Unauthorized: no`
	for name, test := range map[string]struct {
		said   string
		access metav1.ConditionStatus
		want   string // empty: status stays as it is
	}{
		"it was not there, and is new":            {v1alpha1.ReasonHubNotFound, "", isConnecting},
		"it was not there, and was put back":      {v1alpha1.ReasonHubNotFound, metav1.ConditionTrue, isConnecting},
		"another one was not ready":               {v1alpha1.ReasonHubNotReady, "", isConnecting},
		"it was not there, and is refused":        {v1alpha1.ReasonHubNotFound, metav1.ConditionFalse, isRefused},
		"the device is new as well":               {"", "", ""},
		"all was well when the operator stopped":  {v1alpha1.ReasonDeviceAcknowledged, metav1.ConditionTrue, ""},
		"the device was rejected, and it started": {v1alpha1.ReasonRejected, metav1.ConditionTrue, ""},
	} {
		device, hub := &v1alpha1.PnPDevice{}, &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Name: "hub"}}
		if test.said != "" {
			conditions.SetVerdict(device, conditions.Verdict{Reason: test.said, Message: "what was so"})
		}
		if test.access != "" {
			conditions.Set(hub, v1alpha1.ConditionAuthenticated, test.access == metav1.ConditionTrue, v1alpha1.ReasonUnauthorized, "no")
		}
		h, ok := errors.AsType[*halt.Error](unreached(device, hub))
		if !ok || h.KeepStatus != (test.want == "") || h.Message != test.want || h.After != waits.SafetyNet && test.access != metav1.ConditionFalse {
			t.Errorf("%s: %+v", name, h)
		}
	}
}
