package halt

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
)

const (
	slowText = "The hub answers slowly: as many requests wait for it as may at a time, and this one comes after them"
	// QuotaText says that the hub has used up its messages of the day.
	QuotaText = "The hub's own messages of the day are used up (403002): requests wait until 00:00 UTC. After adding units to the hub, change spec.requestBudget of the IoTHub to have it tried again"
)

// VerdictOnWait is what a call that has no token means for an object of an IoTHub, if that is
// known.
func VerdictOnWait(w budget.Wait, hub types.NamespacedName) conditions.Verdict {
	switch w.Why {
	case budget.WhyDailyBudget:
		return conditions.Verdict{Reason: v1alpha1.ReasonDailyMessagesUsed, Message: DailyText("", w.Daily, hub) + AllWaitText}
	case budget.WhyHubQuota:
		return conditions.Verdict{Reason: v1alpha1.ReasonQuotaExceeded, Message: QuotaText}
	case budget.WhySlow:
		return conditions.Verdict{Reason: v1alpha1.ReasonHubSlow, Message: slowText}
	case budget.WhyRate:
	}
	return conditions.Verdict{Reason: v1alpha1.ReasonWaitingForBudget, Message: "Waiting for its turn: spec.requestBudget of the IoTHub has no " + w.Class.Plural() + " left for now"}
}

// IsLong reports whether status speaks of a wait.
func IsLong(w budget.Wait, grace time.Duration) bool { return w.Lasts >= grace }

// WaitingFor halts until there may be a token, without a word unless that takes long.
func WaitingFor(w budget.Wait) *Error {
	if IsLong(w, DefaultGrace) {
		return &Error{Verdict: VerdictOnWait(w, types.NamespacedName{}), After: w.For}
	}
	return Quiet(w.For)
}

// DailyText names the number of messages that counts, and the IoTHub that states it: of several of
// one hub the lowest does. An IoTHub of another namespace is not named.
func DailyText(share string, daily budget.Daily, hub types.NamespacedName) string {
	whose := "another namespace's IoTHub of this hub"
	namespace, name, _ := strings.Cut(daily.Owner, string(types.Separator))
	switch {
	case daily.Owner == "":
		whose = "the IoTHub"
	case hub.Namespace == "":
		whose = "an IoTHub of this hub"
	case namespace == hub.Namespace:
		whose = fmt.Sprintf("IoTHub %q", name)
	}
	return fmt.Sprintf("%sspec.requestBudget.dailyMessages: %d of %s", share, daily.Messages, whose)
}

// AllWaitText ends what is said of a number of messages that is used up.
const AllWaitText = " are used: requests wait until 00:00 UTC, or until it is raised"
