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

// verdict is what one pass says about an object as a whole: the value of Ready, and who acts next.
type verdict struct {
	ready           bool
	stalled         bool // meaningless when ready
	reason, message string
}

func (v verdict) exported() conditions.Verdict {
	return conditions.Verdict{Ready: v.ready, Stalled: v.stalled, Reason: v.reason, Message: v.message}
}

// setVerdict writes Ready, and Reconciling or Stalled while they are true.
func setVerdict(o conditioned, v verdict) { conditions.SetVerdict(o, v.exported()) }

func setOrRemove(o conditioned, kind string, on bool, reason, message string) {
	conditions.SetOrRemove(o, kind, on, reason, message)
}

func setCondition(o conditioned, kind string, on bool, reason, message string) {
	conditions.Set(o, kind, on, reason, message)
}

func isTrue(o conditioned, kind string) bool { return conditions.IsTrue(o, kind) }

func readyOf(o conditioned) metav1.Condition { return conditions.ReadyOf(o) }

// accessOf says whether the hub accepted the credential of an IoTHub when it was last tried. Status
// of an operator that did not say so apart has it in Ready.
func accessOf(hub *v1alpha1.IoTHub) metav1.Condition {
	if c := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionAuthenticated); c != nil {
		return *c
	}
	return readyOf(hub)
}
