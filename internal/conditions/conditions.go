// Package conditions writes the conditions of the objects of this API, and compares statuses. It
// does no I/O.
package conditions

import (
	"reflect"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/storable"
)

// MaxMessage is how long the message of a condition may be, in bytes.
const MaxMessage = 1024

// Object has conditions, and a generation that they are about.
type Object interface {
	GetConditions() *[]metav1.Condition
	GetGeneration() int64
}

// Verdict is what a pass says about an object as a whole: the value of Ready, and who acts next.
type Verdict struct {
	Ready bool
	// Stalled is true if a person has to act. It says nothing of an object that is Ready.
	Stalled         bool
	Reason, Message string
}

// SetVerdict writes Ready, and Reconciling or Stalled while they are true, the way kstatus reads
// them.
func SetVerdict(o Object, v Verdict) {
	Set(o, v1alpha1.ConditionReady, v.Ready, v.Reason, v.Message)
	SetOrRemove(o, v1alpha1.ConditionReconciling, !v.Ready && !v.Stalled, v.Reason, v.Message)
	SetOrRemove(o, v1alpha1.ConditionStalled, !v.Ready && v.Stalled, v.Reason, v.Message)
}

// SetOrRemove has a condition be True, or not be there.
func SetOrRemove(o Object, kind string, on bool, reason, message string) {
	if on {
		Set(o, kind, true, reason, message)
		return
	}
	apimeta.RemoveStatusCondition(o.GetConditions(), kind)
}

// Set has a condition be True or False.
func Set(o Object, kind string, on bool, reason, message string) {
	status := metav1.ConditionFalse
	if on {
		status = metav1.ConditionTrue
	}
	SetStatus(o, kind, status, reason, message)
}

// SetStatus has a condition have a status, as of the object's generation. A message that is too
// long is cut.
func SetStatus(o Object, kind string, status metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(o.GetConditions(), metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: storable.Text(message, MaxMessage), ObservedGeneration: o.GetGeneration(),
	})
}

// IsTrue reports whether a condition is there and True.
func IsTrue(o Object, kind string) bool {
	return apimeta.IsStatusConditionTrue(*o.GetConditions(), kind)
}

// ReadyOf returns the condition Ready, of status Unknown and without a reason if there is none.
func ReadyOf(o Object) metav1.Condition {
	if c := apimeta.FindStatusCondition(*o.GetConditions(), v1alpha1.ConditionReady); c != nil {
		return *c
	}
	return metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionUnknown}
}

// IsSame reports whether two values, or what two pointers point to, mean the same. Mostly they are
// alike to the last bit, which reflect finds many times as fast as apimachinery's comparison: that
// goes through the bytes of each JSON value one by one.
func IsSame(a, b any) bool {
	return reflect.DeepEqual(a, b) || equality.Semantic.DeepEqual(a, b)
}
