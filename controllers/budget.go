package controllers

import (
	"context"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
)

// budgetOf is the budget for the calls of an IoTHub, with what it states: that of the hub, once the
// hub has accepted the credential. An object that waits for a number of it is woken if that changes the
// limits in force.
func (r *IoTHubReconciler) budgetOf(ctx context.Context, hub *v1alpha1.IoTHub) *budget.Budget {
	b, affected := r.Hubs.Budgets.State(destinationOf(hub), client.ObjectKeyFromObject(hub).String(), limitsOf(hub))
	r.limitsChanged(ctx, affected)
	return b
}

// limitsChanged wakes whoever may wait for a number of a budget, by the IoTHubs that take part in
// it: the number may have been another one's.
func (r *IoTHubReconciler) limitsChanged(ctx context.Context, affected []string) {
	for _, owner := range affected {
		namespace, name, _ := strings.Cut(owner, string(types.Separator))
		r.Wakes.membersOf(ctx, types.NamespacedName{Namespace: namespace, Name: name})
	}
}

// quotaEnded wakes whoever waits for messages of the hub once it has some again: no number was
// changed for that.
func (r *IoTHubReconciler) quotaEnded(ctx context.Context, before, hub *v1alpha1.IoTHub) {
	usedUp := func(of *v1alpha1.IoTHub) bool {
		c := apimeta.FindStatusCondition(of.Status.Conditions, v1alpha1.ConditionThrottled)
		return c != nil && c.Reason == v1alpha1.ReasonQuotaExceeded
	}
	if usedUp(before) && !usedUp(hub) {
		r.Wakes.membersOf(ctx, client.ObjectKeyFromObject(hub))
	}
}

// limitsOf are those of spec.requestBudget. A CRD of an earlier version has none.
func limitsOf(hub *v1alpha1.IoTHub) budget.Limits {
	stated := hub.Spec.RequestBudget
	return budget.Limits{
		TwinReadsPerSecond: float64(stated.TwinReadsPerSecond), TwinWritesPerSecond: float64(stated.TwinWritesPerSecond),
		QueriesPerMinute: float64(stated.QueriesPerMinute), CommandsPerSecond: float64(stated.CommandsPerSecond), DailyMessages: stated.DailyMessages,
	}.Or(budget.S1)
}

const (
	slowText  = "The hub answers slowly: as many requests wait for it as may at a time, and this one comes after them"
	quotaText = "The hub's own messages of the day are used up (403002): requests wait until 00:00 UTC. After adding units to the hub, change spec.requestBudget of the IoTHub to have it tried again"
)

// waitVerdict is what a call that has no token means for an object of an IoTHub, if that is known.
func waitVerdict(w budget.Wait, hub types.NamespacedName) conditions.Verdict {
	switch w.Why {
	case budget.WhyDailyBudget:
		return conditions.Verdict{Reason: v1alpha1.ReasonDailyMessagesUsed, Message: dailyText("", w.Daily, hub) + allWaitText}
	case budget.WhyHubQuota:
		return conditions.Verdict{Reason: v1alpha1.ReasonQuotaExceeded, Message: quotaText}
	case budget.WhySlow:
		return conditions.Verdict{Reason: v1alpha1.ReasonHubSlow, Message: slowText}
	case budget.WhyRate:
	}
	return conditions.Verdict{Reason: v1alpha1.ReasonWaitingForBudget, Message: "Waiting for its turn: spec.requestBudget of the IoTHub has no " + w.Class.Plural() + " left for now"}
}

// isLong reports whether status speaks of a wait.
func isLong(w budget.Wait, grace time.Duration) bool { return w.Lasts >= grace }

// waitingFor halts until there may be a token, without a word unless that takes long.
func waitingFor(w budget.Wait) *halt {
	if isLong(w, DefaultGrace) {
		return &halt{Verdict: waitVerdict(w, types.NamespacedName{}), after: w.For}
	}
	return quietly(w.For)
}
