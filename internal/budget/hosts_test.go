package budget

import (
	"slices"
	"testing"
)

// join has an owner state limits and prove its credential.
func join(h *Hosts, hub, owner string, l Limits) *Budget {
	h.State(hub, owner, l)
	b, _ := h.Trust(hub, owner)
	return b
}

func TestIoTHubsOfOneHubShareABudget(t *testing.T) {
	var h Hosts
	first := join(&h, "factory.azure-devices.net", "a/hub", lasting)
	second := join(&h, "factory.azure-devices.net", "b/hub", lasting)
	other := join(&h, "plant.azure-devices.net", "a/plant", lasting)
	if first != second || first == other {
		t.Error("the budget does not belong to the hub")
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
	if _, affected := h.State("hub", "b", b); affected != nil {
		t.Error("stated again, the limits changed")
	}
	b.DailyMessages = 400
	if same, affected := h.State("hub", "b", b); affected == nil || same != shared || shared.limits.DailyMessages != 400 {
		t.Errorf("another number (affected: %v) is not in force: %v", affected, shared.limits)
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
	if b, _ := h.Trust("hub", "stranger"); b != shared || shared.limits != tiny {
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
	after, _ := h.Trust("hub", "owner")
	if stats := after.Stats(); after != before || stats.DailyMessages != 101 || stats.Classes[Query].Taken[PriorityEdit] != 1 {
		t.Errorf("the same budget: %v, with %d messages and %v queries", after == before, stats.DailyMessages, stats.Classes[Query].Taken)
	}
}

// Whoever waits for a number of the budget cannot know who states it.
func TestEveryOwnerHearsOfOtherLimits(t *testing.T) {
	tiny := lasting
	tiny.DailyMessages = 10
	both := []string{"a", "b"}
	for name, c := range map[string]struct {
		act  func(*Hosts) []string
		want []string
	}{
		"the low number is raised": {func(h *Hosts) []string { _, who := h.State("hub", "b", lasting); return who }, both},
		"it is lowered":            {func(h *Hosts) []string { _, who := h.State("hub", "b", Limits{1, 1, 1, 1, 1}); return who }, both},
		"a higher number changes": {func(h *Hosts) []string {
			more := lasting
			more.DailyMessages++
			_, who := h.State("hub", "a", more)
			return who
		}, nil},
		"whoever stated it leaves":      {func(h *Hosts) []string { return h.Leave("b") }, []string{"a"}},
		"its credential is refused":     {func(h *Hosts) []string { return h.Distrust("b") }, both},
		"it is accepted at another hub": {func(h *Hosts) []string { h.State("other", "b", tiny); _, who := h.Trust("other", "b"); return who }, []string{"a"}},
		"a third one with lower numbers comes": {func(h *Hosts) []string {
			h.State("hub", "c", Limits{1, 1, 1, 1, 1})
			_, who := h.Trust("hub", "c")
			return who
		}, []string{"a", "b", "c"}},
		"a third one only names the hub":                           {func(h *Hosts) []string { _, who := h.State("hub", "c", Limits{1, 1, 1, 1, 1}); return who }, nil},
		"a third one whose credential was not yet accepted leaves": {func(h *Hosts) []string { h.State("hub", "c", tiny); return h.Leave("c") }, nil},
		"whoever states no lowest number leaves":                   {func(h *Hosts) []string { return h.Leave("a") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var h Hosts
			join(&h, "hub", "a", lasting)
			join(&h, "hub", "b", tiny)
			if got := c.act(&h); !slices.Equal(got, c.want) {
				t.Errorf("%v hear of it, expected %v", got, c.want)
			}
		})
	}
}

func TestAnOwnerTakesPartAtTheHubThatAcceptedItOnly(t *testing.T) {
	var h Hosts
	tiny := Limits{1, 1, 1, 1, 10}
	victim := join(&h, "factory", "owner", lasting)
	join(&h, "factory", "mover", tiny)
	if victim.limits != tiny {
		t.Fatal("it did not take part")
	}
	own := join(&h, "factory@mallory", "mover", tiny)
	if own == victim || victim.limits != lasting {
		t.Errorf("one budget with the other hub: %t, its limits are %v", own == victim, victim.limits)
	}
	h.State("elsewhere", "mover", tiny) // it is not accepted there
	if back, _ := h.State("factory@mallory", "mover", lasting); back != own {
		t.Error("it has another budget after it was about to leave")
	}
	if again, _ := h.Trust("factory@mallory", "mover"); again != own || own.limits != lasting {
		t.Errorf("accepted again, it has the same budget %t, with limits %v", again == own, own.limits)
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

// TestTheOwnerOfTheDailyNumberIsNamed has several owners of one hub state how many messages a day
// may have.
func TestTheOwnerOfTheDailyNumberIsNamed(t *testing.T) {
	var hosts Hosts
	state := func(owner string, messages int64) *Budget {
		limits := S1
		limits.DailyMessages = messages
		b, _ := hosts.State("hub", owner, limits)
		return b
	}
	for _, owner := range []string{"factory/a", "factory/b"} {
		if got := state(owner, 100).Daily(); got != (Daily{Messages: 100}) {
			t.Errorf("before the hub accepted it: %+v", got)
		}
		hosts.Trust("hub", owner)
	}
	for _, c := range []struct {
		owner    string
		messages int64
		want     Daily
	}{
		{"factory/a", 100, Daily{100, "factory/a"}},
		{"factory/b", 10, Daily{10, "factory/b"}},
		{"factory/a", 5, Daily{5, "factory/a"}},
		{"factory/a", 10, Daily{10, "factory/a"}},
		{"factory/a", 20, Daily{10, "factory/b"}},
	} {
		if got := state(c.owner, c.messages).Daily(); got != c.want {
			t.Errorf("after %s stated %d: got %+v, want %+v", c.owner, c.messages, got, c.want)
		}
	}
	hosts.Leave("factory/b")
	if got := state("factory/a", 20).Daily(); got != (Daily{20, "factory/a"}) {
		t.Errorf("after the other one left: %+v", got)
	}
}

// A request that waits says whose number it is that holds.
func TestOwnersHearWhenTheOneThatIsNamedGoes(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(*Hosts) []string
		want []string
		of   string // the one that is named then
	}{
		"it leaves":                 {func(h *Hosts) []string { return h.Leave("a") }, []string{"b"}, "b"},
		"its credential is refused": {func(h *Hosts) []string { return h.Distrust("a") }, []string{"a", "b"}, "b"},
		"its number is raised": {func(h *Hosts) []string {
			more := lasting
			more.DailyMessages++
			_, who := h.State("hub", "a", more)
			return who
		}, []string{"a", "b"}, "b"},
		"another one leaves": {func(h *Hosts) []string { return h.Leave("b") }, nil, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			var h Hosts
			join(&h, "hub", "a", lasting)
			b := join(&h, "hub", "b", lasting)
			if got := c.act(&h); !slices.Equal(got, c.want) || b.Daily().Owner != c.of {
				t.Errorf("%v are to ask again, expected %v; %q is named", got, c.want, b.Daily().Owner)
			}
		})
	}
}
