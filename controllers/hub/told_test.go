package hub

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/budget"
)

func TestWhatAnIoTHubSaysOfMessagesAndRefusals(t *testing.T) {
	hub := types.NamespacedName{Namespace: "factory", Name: "hub"}
	writes := []budget.Class{budget.TwinWrite}
	for name, c := range map[string]struct {
		trouble budget.Trouble
		owner   string
		want    string
	}{
		"refusals":                  {budget.HubThrottles, "", "The hub refused requests (429): fewer are made for now, of twin writes"}, // T20
		"a number of its own":       {budget.AllStopped, "factory/hub", `spec.requestBudget.dailyMessages: 10 of IoTHub "hub" are used: requests wait until 00:00 UTC, or until it is raised`},
		"the number of another one": {budget.AllStopped, "factory/other", `spec.requestBudget.dailyMessages: 10 of IoTHub "other" are used: requests wait until 00:00 UTC, or until it is raised`}, // T2
		"one of somebody else":      {budget.SweepsStopped, "line/press", "80 percent of spec.requestBudget.dailyMessages: 10 of another namespace's IoTHub of this hub are used: sweeps wait until 00:00 UTC"},
	} {
		if got := troubleVerdict(c.trouble, writes, budget.Daily{Messages: 10, Owner: c.owner}, hub).Message; got != c.want {
			t.Errorf("%s: got %s\nwant %s", name, got, c.want)
		}
	}
}
