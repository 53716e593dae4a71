package hub

import (
	"context"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/internal/budget"
)

// budgetOf is the budget for the calls of an IoTHub, with what it states: that of the hub, once the
// hub has accepted the credential. An object that waits for a number of it is woken if that changes the
// limits in force.
func (r *IoTHubReconciler) budgetOf(ctx context.Context, hub *v1alpha1.IoTHub) *budget.Budget {
	b, affected := r.Hubs.Budgets.State(cached.DestinationOf(hub), client.ObjectKeyFromObject(hub).String(), limitsOf(hub))
	r.limitsChanged(ctx, affected)
	return b
}

// limitsChanged wakes whoever may wait for a number of a budget, by the IoTHubs that take part in
// it: the number may have been another one's.
func (r *IoTHubReconciler) limitsChanged(ctx context.Context, affected []string) {
	for _, owner := range affected {
		namespace, name, _ := strings.Cut(owner, string(types.Separator))
		r.Wakes.MembersOf(ctx, types.NamespacedName{Namespace: namespace, Name: name})
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
		r.Wakes.MembersOf(ctx, client.ObjectKeyFromObject(hub))
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
