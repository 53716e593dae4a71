package budget

import "testing"

// join has an owner state limits and prove its credential.
func join(h *Hosts, name, owner string, l Limits) *Budget {
	h.State(name, owner, l)
	return h.Trust(name, owner)
}

func TestIoTHubsOfOneHostShareABudget(t *testing.T) {
	var h Hosts
	first := join(&h, "Factory.azure-devices.net", "a/hub", lasting)
	second := join(&h, "factory.azure-devices.net", "b/hub", lasting)
	other := join(&h, "plant.azure-devices.net", "a/plant", lasting)
	if first != second || first == other {
		t.Error("the budget does not belong to the host, in lower case")
	}
	if n := len(h.All()); n != 2 {
		t.Errorf("%d budgets for 2 hosts", n)
	}
	h.Leave("a/hub")
	if again := join(&h, "factory.azure-devices.net", "a/hub", lasting); again != first {
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
	shared := join(&h, "hub", "a", a)
	join(&h, "hub", "b", b)
	if want := (Limits{10, 20, 30, 5, 500}); shared.limits != want {
		t.Errorf("the limits are %v, expected %v", shared.limits, want)
	}
	if _, changed := h.State("hub", "b", b); changed {
		t.Error("stated again, the limits changed")
	}
	b.DailyMessages = 400
	if same, changed := h.State("hub", "b", b); !changed || same != shared || shared.limits.DailyMessages != 400 {
		t.Errorf("another number (changed: %v) is not in force: %v", changed, shared.limits)
	}
	h.Leave("a")
	if shared.limits != b {
		t.Errorf("the limits are %v after the other has left, expected %v", shared.limits, b)
	}
}

func TestWhoeverOnlyNamesAHubDoesNotSlowItDown(t *testing.T) {
	var h Hosts
	tiny := Limits{1, 1, 1, 1, 10}
	shared := join(&h, "hub", "owner", lasting)
	guest, _ := h.State("hub", "stranger", tiny)
	if guest == shared || shared.limits != lasting {
		t.Fatalf("a stranger took part: %v", shared.limits)
	}
	guest.Done(Query, Outcome{Result: QuotaExceeded}) // by a server of its own
	if trouble, _ := shared.Trouble(); trouble != NoTrouble {
		t.Error("a stranger stopped the calls of others")
	}
	if h.Trust("hub", "stranger") != shared || shared.limits != tiny {
		t.Errorf("with a credential that the hub accepts it does not take part: %v", shared.limits)
	}
	h.Distrust("stranger")
	if shared.limits != lasting {
		t.Errorf("it takes part after its credential was refused: %v", shared.limits)
	}
	if again, _ := h.State("hub", "stranger", tiny); again == shared {
		t.Error("its calls are not its own affair after its credential was refused")
	}
}

func TestWhatWasUsedOutlivesARefusedCredential(t *testing.T) {
	var h Hosts
	before := join(&h, "hub", "owner", lasting)
	before.Done(TwinRead, Outcome{Messages: 100})
	h.Distrust("owner")
	guest, _ := h.State("hub", "owner", lasting)
	guest.Take(Request{Class: Query, Priority: PriorityEdit, Key: "probe", Size: 1, Messages: 1})
	after := h.Trust("hub", "owner")
	if stats := after.Stats(); after != before || stats.DailyMessages != 101 || stats.Classes[Query].Taken[PriorityEdit] != 1 {
		t.Errorf("the same budget: %v, with %d messages and %v queries", after == before, stats.DailyMessages, stats.Classes[Query].Taken)
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
