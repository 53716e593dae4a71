package hub

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/finish"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/reasons"
)

// This file makes the texts of an IoTHub that is stopped, by a person or for want of messages.

const (
	suspendedText = "Nothing is written to the hub and no command is sent; reads, events and status go on. Set spec.suspend: false to go on"
	resumedText   = "The IoTHub is suspended no more: writes and commands go on"
	messagesText  = "There are messages of the day again: requests go on"
)

// describeSuspended has a condition be there as long as the IoTHub is suspended.
func describeSuspended(hub *v1alpha1.IoTHub) {
	conditions.SetOrRemove(hub, v1alpha1.ConditionSuspended, hub.Spec.Suspend, v1alpha1.ReasonSuspended, suspendedText)
}

// describeBudget says on the IoTHub what keeps work waiting, other than the rates of its budget.
func describeBudget(hub *v1alpha1.IoTHub, b *budget.Budget) {
	trouble, throttled := b.Trouble()
	if trouble == budget.NoTrouble {
		apimeta.RemoveStatusCondition(hub.GetConditions(), v1alpha1.ConditionThrottled)
		return
	}
	v := troubleVerdict(trouble, throttled, b.Daily(), client.ObjectKeyFromObject(hub))
	conditions.Set(hub, v1alpha1.ConditionThrottled, true, v.Reason, v.Message)
}

func troubleVerdict(trouble budget.Trouble, throttled []budget.Class, daily budget.Daily, hub types.NamespacedName) conditions.Verdict {
	switch trouble {
	case budget.HubThrottles:
		return conditions.Verdict{Reason: v1alpha1.ReasonHubThrottles, Message: throttledText(throttled)}
	case budget.SweepsStopped:
		return conditions.Verdict{Reason: v1alpha1.ReasonSweepsStopped, Message: halt.DailyText("80 percent of ", daily, hub) + " are used: sweeps wait until 00:00 UTC"}
	case budget.FollowUpsStopped:
		return conditions.Verdict{Reason: v1alpha1.ReasonFollowUpsStopped,
			Message: halt.DailyText("90 percent of ", daily, hub) + " are used: sweeps and reads that follow events or writes wait until 00:00 UTC"}
	case budget.AllStopped:
		return conditions.Verdict{Reason: v1alpha1.ReasonDailyMessagesUsed, Message: halt.DailyText("", daily, hub) + halt.AllWaitText}
	default:
		return conditions.Verdict{Reason: v1alpha1.ReasonQuotaExceeded, Message: halt.QuotaText}
	}
}

// throttledText is the same for as long as fewer requests are made, whether the hub still refuses some
// or not: with the time of the last refusal it would move.
func throttledText(throttled []budget.Class) string {
	return "The hub refused requests (429): fewer are made for now, of " + plurals(throttled)
}

func plurals(of []budget.Class) string {
	names := make([]string, len(of))
	for i, c := range of {
		names[i] = c.Plural()
	}
	return strings.Join(names, ", ")
}

// announceHub tells of a stop by a person or for want of messages, and of its end. Ready says
// nothing of either.
func announceHub(to events.EventRecorder, before, hub *v1alpha1.IoTHub) {
	switch was, is := conditions.IsTrue(before, v1alpha1.ConditionSuspended), conditions.IsTrue(hub, v1alpha1.ConditionSuspended); {
	case is && !was:
		to.Eventf(hub, nil, corev1.EventTypeNormal, v1alpha1.ReasonSuspended, finish.ActionReconcile, "%s", suspendedText)
	case was && !is:
		to.Eventf(hub, nil, corev1.EventTypeNormal, v1alpha1.ReasonResumed, finish.ActionReconcile, "%s", resumedText)
	}
	switch was, is := outOfMessages(before), outOfMessages(hub); {
	case is.Reason == was.Reason:
	case is.Reason != "":
		to.Eventf(hub, nil, corev1.EventTypeWarning, is.Reason, finish.ActionReconcile, "%s", is.Message)
	default:
		to.Eventf(hub, nil, corev1.EventTypeNormal, v1alpha1.ReasonMessagesLeft, finish.ActionReconcile, "%s", messagesText)
	}
}

// outOfMessages is the condition that nothing is asked of the hub until the next day, empty if that
// is not so.
func outOfMessages(hub *v1alpha1.IoTHub) metav1.Condition {
	c := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionThrottled)
	if c != nil && reasons.Of(c.Reason).IsWorthAnEvent(false) {
		return *c
	}
	return metav1.Condition{}
}
