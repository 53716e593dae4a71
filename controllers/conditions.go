package controllers

import (
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
)

// conditioned is an object of this API.
type conditioned interface {
	client.Object
	GetConditions() *[]metav1.Condition
}

// accessOf says whether the hub accepted the credential of an IoTHub when it was last tried. Status
// of an operator that did not say so apart has it in Ready.
func accessOf(hub *v1alpha1.IoTHub) metav1.Condition {
	if c := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionAuthenticated); c != nil {
		return *c
	}
	return conditions.ReadyOf(hub)
}
