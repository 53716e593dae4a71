package budget

import "testing"

func TestIoTHubsOfOneHostShareABudget(t *testing.T) {
	var h Hosts
	first, _ := h.State("Factory.azure-devices.net", "a/hub", lasting)
	second, _ := h.State("factory.azure-devices.net", "b/hub", lasting)
	other, _ := h.State("plant.azure-devices.net", "a/plant", lasting)
	if first != second || first == other {
		t.Error("the budget does not belong to the host, in lower case")
	}
	if n := len(h.All()); n != 2 {
		t.Errorf("%d budgets for 2 hosts", n)
	}
	h.Leave("a/hub")
	if again, _ := h.State("factory.azure-devices.net", "a/hub", lasting); again != first {
		t.Error("the budget went before the last of its IoTHubs")
	}
	h.Leave("a/hub")
	h.Leave("b/hub")
	if _, there := h.All()["factory.azure-devices.net"]; there {
		t.Error("the budget outlived its IoTHubs")
	}
}

func TestTheLowestOfEachNumberHolds(t *testing.T) {
	var h Hosts
	a := Limits{TwinReadsPerSecond: 10, TwinWritesPerSecond: 40, QueriesPerMinute: 30, CommandsPerSecond: 5, DailyMessages: 1000}
	b := Limits{TwinReadsPerSecond: 20, TwinWritesPerSecond: 20, QueriesPerMinute: 30, CommandsPerSecond: 9, DailyMessages: 500}
	shared, _ := h.State("hub", "a", a)
	_, changed := h.State("hub", "b", b)
	if want := (Limits{10, 20, 30, 5, 500}); shared.limits != want || !changed {
		t.Errorf("the limits are %v (changed: %v), expected %v", shared.limits, changed, want)
	}
	if _, changed = h.State("hub", "b", b); changed {
		t.Error("stated again, the limits changed")
	}
	h.Leave("a")
	if shared.limits != b {
		t.Errorf("the limits are %v after the other has left, expected %v", shared.limits, b)
	}
}

func TestLimitsHaveDefaults(t *testing.T) {
	if got := (Limits{}).Or(S1); got != S1 {
		t.Errorf("without numbers %v, expected %v", got, S1)
	}
	if got := (Limits{TwinReadsPerSecond: 7}).Or(S1).TwinReadsPerSecond; got != 7 {
		t.Errorf("7 reads a second became %v", got)
	}
}
