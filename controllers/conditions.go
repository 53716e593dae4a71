package controllers

import (
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/storable"
)

// maxMessage of a condition in bytes.
const maxMessage = 1024

// conditioned is an object of this API.
type conditioned interface {
	client.Object
	GetConditions() *[]metav1.Condition
}

// verdict is what one pass says about an object as a whole: the value of Ready, and who acts next.
type verdict struct {
	ready           bool
	stalled         bool // meaningless when ready
	reason, message string
}

// setVerdict writes Ready, and Reconciling or Stalled while they are true, the way kstatus reads them.
func setVerdict(o conditioned, v verdict) {
	setCondition(o, v1alpha1.ConditionReady, v.ready, v.reason, v.message)
	setOrRemove(o, v1alpha1.ConditionReconciling, !v.ready && !v.stalled, v.reason, v.message)
	setOrRemove(o, v1alpha1.ConditionStalled, !v.ready && v.stalled, v.reason, v.message)
}

func setOrRemove(o conditioned, kind string, on bool, reason, message string) {
	if on {
		setCondition(o, kind, true, reason, message)
		return
	}
	apimeta.RemoveStatusCondition(o.GetConditions(), kind)
}

func setCondition(o conditioned, kind string, on bool, reason, message string) {
	status := metav1.ConditionFalse
	if on {
		status = metav1.ConditionTrue
	}
	setConditionStatus(o, kind, status, reason, message)
}

func setConditionStatus(o conditioned, kind string, status metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(o.GetConditions(), metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: storable.Text(message, maxMessage), ObservedGeneration: o.GetGeneration(),
	})
}

func isTrue(o conditioned, kind string) bool {
	return apimeta.IsStatusConditionTrue(*o.GetConditions(), kind)
}

func readyOf(o conditioned) metav1.Condition {
	if c := apimeta.FindStatusCondition(*o.GetConditions(), v1alpha1.ConditionReady); c != nil {
		return *c
	}
	return metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionUnknown}
}

// accessOf says whether the hub accepted the credential of an IoTHub when it was last tried. Status
// of an operator that did not say so apart has it in Ready.
func accessOf(hub *v1alpha1.IoTHub) metav1.Condition {
	if c := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionAuthenticated); c != nil {
		return *c
	}
	return readyOf(hub)
}
