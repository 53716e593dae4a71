package hub

import (
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

// describeSweeps says on the IoTHub what sweeps do not look after. Until the first sweep of a session is
// over, what was said stands. Without a session there are none, as Ready tells.
func describeSweeps(hub *v1alpha1.IoTHub, session *session.Session) {
	if session == nil {
		apimeta.RemoveStatusCondition(hub.GetConditions(), v1alpha1.ConditionSweepsIncomplete)
		return
	}
	coverage, known := session.Coverage()
	switch {
	case !known:
	case coverage.Failing:
		conditions.Set(hub, v1alpha1.ConditionSweepsIncomplete, true, v1alpha1.ReasonSweepsFailing,
			"Sweeps fail and are tried again: changes that no event tells of are not noticed meanwhile; the operator's log says why")
	case len(coverage.Aside) > 0:
		conditions.Set(hub, v1alpha1.ConditionSweepsIncomplete, true, v1alpha1.ReasonDevicesUnreadable, fmt.Sprintf(
			"Sweeps do not compare the values of %d devices, whose twins cannot be read by query: %s", len(coverage.Aside), conditions.SomeOf(coverage.Aside)))
	default:
		apimeta.RemoveStatusCondition(hub.GetConditions(), v1alpha1.ConditionSweepsIncomplete)
	}
}
