package conditions

import (
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// AccessOf says whether the hub accepted the credential of an IoTHub when it was last tried. Status
// of an operator that did not say so apart has it in Ready.
func AccessOf(hub *v1alpha1.IoTHub) metav1.Condition {
	if c := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionAuthenticated); c != nil {
		return *c
	}
	return ReadyOf(hub)
}
