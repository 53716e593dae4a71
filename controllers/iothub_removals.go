package controllers

import (
	"context"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// brake keeps the RemovalsHalted condition: set when the brake was pulled, answered by the annotation, and gone when
// nothing is left to remove.
func (r *IoTHubReconciler) brake(ctx context.Context, hub *v1alpha1.IoTHub) error {
	key := client.ObjectKeyFromObject(hub)
	condition := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionRemovalsHalted)
	answer := echoable(hub.Annotations[v1alpha1.AnnotationConfirmRemovals])
	isNew := answer != "" && answer != hub.Status.LastConfirmedRemovals
	hub.Status.LastConfirmedRemovals = answer
	if condition == nil && !r.Brake.Halted(key) {
		return nil
	}
	c, err := takeCensus(ctx, r, hub, &window{})
	if err != nil {
		return err
	}
	switch {
	case len(c.waiting) == 0:
		apimeta.RemoveStatusCondition(&hub.Status.Conditions, v1alpha1.ConditionRemovalsHalted)
	case isNew:
		setCondition(hub, v1alpha1.ConditionRemovalsHalted, false, v1alpha1.ReasonConfirmed, "The removals were confirmed")
	case condition == nil || condition.Reason == v1alpha1.ReasonMassRemoval:
		setCondition(hub, v1alpha1.ConditionRemovalsHalted, true, v1alpha1.ReasonMassRemoval, massRemovalText)
		return nil
	default: // confirmed, and still going on
		return nil
	}
	hub.Status.Removals = nil
	r.Brake.Forget(key)
	return nil
}

const massRemovalText = "One sync would remove an unusually large share of the properties that PnPDevices own at this hub. Removals are halted. " +
	"Put the declarations back, or confirm by setting annotation " + v1alpha1.AnnotationConfirmRemovals + " on the IoTHub to a new value"
