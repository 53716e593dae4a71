package convergence

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// recorded is an entry of each kind that a status may have.
var recorded = Entries{
	{Name: "held"}:   {Name: "held", State: "Acknowledged", Owned: true, Desired: JSONOf(num("1")), DesiredVersion: 2, HeldVersion: 4},
	{Name: "lost"}:   {Name: "lost", State: "Drifted", Owned: true, Desired: JSONOf(num("9")), DesiredVersion: 3},
	{Name: "other"}:  {Name: "other", State: "Drifted", Desired: JSONOf(num("9")), DesiredVersion: 3},
	{Name: "sent"}:   {Name: "sent", State: "Pending", Sent: &v1alpha1.SentValue{Value: *JSONOf(num("6")), Version: 8}},
	{Name: "claim"}:  {Name: "claim", State: "Pending", Owned: true, Desired: JSONOf(num("7"))},
	{Name: "shown"}:  {Name: "shown", State: "Reported", Reported: JSONOf("x")},
	{Name: "waits"}:  {Name: "waits", State: "Pending"},
	{Component: "m"}: {State: "Drifted", Owned: true, Desired: JSONOf(num("3")), DesiredVersion: 1, HeldVersion: 5},
}

func TestOwnershipOfEntries(t *testing.T) {
	want := twin.Ownership{
		Held: map[twin.Leaf]twin.Owned{
			{Name: "held"}:   {Value: num("1"), Version: 4, SetVersion: 2},
			{Component: "m"}: {Value: num("3"), Version: 5, SetVersion: 1},
		},
		Lost: map[twin.Leaf]any{{Name: "lost"}: nil},
	}
	if diff := cmp.Diff(want, recorded.ownership()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOwnsAnything(t *testing.T) {
	for name, want := range map[string]bool{"held": true, "lost": true, "other": false, "sent": true, "claim": true, "shown": false, "waits": false} {
		leaf := twin.Leaf{Name: name}
		if got := (Entries{leaf: recorded[leaf]}).OwnsAnything(); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestIsKnown(t *testing.T) {
	for name, want := range map[string]bool{"held": true, "lost": false, "other": false, "sent": false, "claim": false, "shown": false, "waits": false, "none": false} {
		if got := recorded.isKnown(twin.Leaf{Name: name}); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestEntriesStayAsTheyAre goes from entries to a status and back.
func TestEntriesStayAsTheyAre(t *testing.T) {
	all := Entries{}
	for leaf, p := range recorded {
		p.Name = leaf.Name
		all[leaf] = p
	}
	status := &v1alpha1.PnPDeviceStatus{}
	all.writeTo(status, &twin.Twin{Components: map[string]bool{"m": true}})
	if diff := cmp.Diff(all, EntriesOf(status)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(status.Components) != 1 || !status.Components[0].Exists || status.Properties[0].Name != "claim" {
		t.Errorf("status has %+v", status)
	}
	seen := 0
	for range PropertiesOf(status) {
		if seen++; seen == 2 {
			break
		}
	}
	if seen != 2 {
		t.Errorf("%d were seen", seen)
	}
}

func TestSentOf(t *testing.T) {
	status := &v1alpha1.PnPDeviceStatus{Twin: &v1alpha1.TwinReference{DesiredVersion: 4}}
	recorded.writeTo(status, &twin.Twin{})
	want := map[twin.Leaf]twin.Sent{{Name: "sent"}: {Value: num("6"), Version: 8}, {Name: "claim"}: {Value: num("7"), Version: 5}}
	if diff := cmp.Diff(want, SentOf(status)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := SentOf(&v1alpha1.PnPDeviceStatus{}); got != nil {
		t.Errorf("of none: %v", got)
	}
}

// TestBelief rebuilds the twin from what status has of it.
func TestBelief(t *testing.T) {
	status := &v1alpha1.PnPDeviceStatus{
		Twin:    &v1alpha1.TwinReference{DeviceID: "press", Etag: "a", DeviceEtag: "b", Version: 5, DesiredVersion: 4},
		ModelID: "dtmi:a;1", ConnectionState: Disconnected, ConnectionStateSince: ago(time.Hour),
		DeviceStatus: Disabled, DeviceStatusReason: "stolen", DeviceStatusSince: ago(time.Minute),
	}
	recorded.writeTo(status, &twin.Twin{})
	got := Belief(status)
	want := &twin.Twin{
		Partial: true, DeviceID: "press", ETag: "a", DeviceETag: "b", Version: 5, DesiredVersion: 4, ModelID: "dtmi:a;1",
		ConnectionState: Disconnected, ConnectionStateSince: ago(time.Hour).Time, Status: "disabled", StatusReason: "stolen", StatusSince: ago(time.Minute).Time,
		Properties: map[twin.Leaf]twin.Property{
			{Name: "held"}: {Desired: &twin.Desired{Value: num("1"), Version: 4}}, {Name: "lost"}: {Desired: &twin.Desired{Value: num("9"), Version: 3}},
			{Name: "other"}: {Desired: &twin.Desired{Value: num("9"), Version: 3}}, {Name: "sent"}: {}, {Name: "claim"}: {},
			{Name: "shown"}: {Reported: &twin.Reported{Value: "x"}}, {Name: "waits"}: {}, {Component: "m"}: {Desired: &twin.Desired{Value: num("3"), Version: 5}},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestBelievedReported: where values are not mirrored, the state tells what the device said.
func TestBelievedReported(t *testing.T) {
	acked := func(state v1alpha1.PropertyState, reported any) v1alpha1.PropertyStatus {
		return v1alpha1.PropertyStatus{State: state, Desired: JSONOf(num("5")), Reported: JSONOf(reported), AckCode: 200, AckVersion: 2, AckDescription: "ok"}
	}
	ack := &twin.Ack{Version: 2, Code: 200, Description: "ok"}
	for name, c := range map[string]struct {
		p    v1alpha1.PropertyStatus
		want *twin.Reported
	}{
		"nothing":                     {v1alpha1.PropertyStatus{State: "Applied"}, nil},
		"a plain report":              {v1alpha1.PropertyStatus{State: "Reported", Reported: JSONOf("x")}, &twin.Reported{Value: "x"}},
		"an answer":                   {acked("Adjusted", num("4")), &twin.Reported{Value: num("4"), Ack: ack}},
		"an answer that is not shown": {acked("Acknowledged", nil), &twin.Reported{Value: num("5"), Ack: ack}},
		"a refusal that is not shown": {acked("Rejected", nil), &twin.Reported{Ack: ack}},
	} {
		if diff := cmp.Diff(c.want, believedReported(&c.p)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestRecall takes what status and memory know of an object.
func TestRecall(t *testing.T) {
	of := twin.Seen{DeviceETag: "identity", Version: 5, DesiredVersion: 3}
	for name, c := range map[string]struct {
		adopted   bool
		saved     *twin.Saved
		held      int
		inherited bool
	}{
		"status is about the device":       {true, nil, 1, false},
		"status is about another one":      {false, nil, 0, false},
		"memory knows of the same twin":    {true, &twin.Saved{Of: of}, 1, false},
		"memory knows of an older history": {true, &twin.Saved{Of: twin.Seen{DeviceETag: "other", Version: 9, DesiredVersion: 1}}, 0, true},
	} {
		s := started(twin.Declaration{}, []v1alpha1.PropertyStatus{owning(speed, "5")}, func(s *State) { s.Memory.Saved = c.saved })
		s = New(s.Facts)
		s.Recall(c.adopted)
		if len(s.recorded.Held) != c.held || s.isInherited != c.inherited || len(s.Entries) != c.held {
			t.Errorf("%s: %+v, inherited: %t", name, s.recorded, s.isInherited)
		}
	}
}

// TestTookSettlesWhoseValuesAre reads twins of each lineage.
func TestTookSettlesWhoseValuesAre(t *testing.T) {
	for name, c := range map[string]struct {
		edit      func(*twin.Twin)
		declared  twin.Declaration
		held      bool
		lost      bool
		inherited bool
		saves     bool
	}{
		"the same":                            {func(*twin.Twin) {}, twin.Declaration{speed: num("5")}, true, false, false, false},
		"a later state":                       {func(n *twin.Twin) { n.DesiredVersion = 9 }, twin.Declaration{speed: num("5")}, true, false, false, false},
		"another value":                       {func(n *twin.Twin) { n.Properties[speed].Desired.Value = num("9") }, twin.Declaration{speed: num("5")}, false, true, false, true},
		"another history, declared":           {func(n *twin.Twin) { n.DesiredVersion = 2 }, twin.Declaration{speed: num("5")}, true, false, true, true},
		"another history, not declared":       {func(n *twin.Twin) { n.DesiredVersion = 2 }, twin.Declaration{}, false, true, true, true},
		"a rotated key":                       {func(n *twin.Twin) { n.DeviceETag = "new" }, twin.Declaration{speed: num("5")}, true, false, false, true},
		"a rotated key, or another device":    {func(n *twin.Twin) { n.DeviceETag, n.DesiredVersion = "new", 9 }, twin.Declaration{}, false, true, true, true},
		"a rotated key, and what is declared": {func(n *twin.Twin) { n.DeviceETag, n.DesiredVersion = "new", 9 }, twin.Declaration{speed: num("5")}, true, false, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(c.declared, []v1alpha1.PropertyStatus{owning(speed, "5")})
			now := holding(map[twin.Leaf]any{speed: num("5")})
			c.edit(now)
			s.Took(now)
			_, held := s.Owned.Held[speed]
			_, lost := s.Owned.Lost[speed]
			d := s.TakeDuties()
			if held != c.held || lost != c.lost || s.isInherited != c.inherited || (d.Forget != nil) != c.inherited || (d.Saved != nil) != c.saves {
				t.Errorf("held: %t, lost: %t, inherited: %t, duties: %+v", held, lost, s.isInherited, d)
			}
		})
	}
}

// TestAWriteWhoseAnswerWasLostIsProvenByItsVersion reads what it made, or what another writer did.
func TestAWriteWhoseAnswerWasLostIsProvenByItsVersion(t *testing.T) {
	for name, c := range map[string]struct {
		version int64
		value   string
		held    bool
	}{
		"it was made":                          {4, "6", true},
		"another writer's, of another version": {5, "6", false},
		"another writer's, of that version":    {4, "9", false},
	} {
		s := started(twin.Declaration{}, nil, func(s *State) {
			s.Memory.Writes = []twin.Attempt{{Version: 4, ETag: "x", Values: map[twin.Leaf]any{speed: num("6")}}}
		})
		now := holding(map[twin.Leaf]any{speed: num(c.value)})
		now.DesiredVersion, now.Properties[speed].Desired.Version = c.version, c.version
		if got := s.Departing(); len(got) != 1 {
			t.Errorf("%s: before a read it leaves %v", name, got)
		}
		s.Took(now)
		if _, held := s.Owned.Held[speed]; held != c.held || len(s.Memory.Writes) != 0 {
			t.Errorf("%s: %+v, and %v are open", name, s.Owned, s.Memory.Writes)
		}
	}
}

// TestCarry has status show what memory alone knows, of a pass that has no session.
func TestCarry(t *testing.T) {
	owned := twin.Ownership{Held: map[twin.Leaf]twin.Owned{speed: {Value: num("6"), Version: 4, SetVersion: 4}}}
	base := twin.Recorded{Of: twin.Seen{DeviceETag: "identity", Version: 5, DesiredVersion: 3}}
	for name, c := range map[string]struct {
		memory      *twin.Remembered
		isThere     bool
		want        string
		sent        bool
		unconfirmed bool
	}{
		"the twin that was not shown":   {&twin.Remembered{Newest: holding(map[twin.Leaf]any{speed: num("6")}), Writes: []twin.Attempt{{Version: 2, Values: map[twin.Leaf]any{speed: num("6")}}}}, true, "6", false, true},
		"what is the object's, no more": {&twin.Remembered{Saved: &twin.Saved{Ownership: owned, Of: twin.Seen{DeviceETag: "identity", Version: 6, DesiredVersion: 4}, Base: base}}, true, "6", false, true},
		"a write that may be made":      {&twin.Remembered{Writes: []twin.Attempt{{Version: 4, Values: map[twin.Leaf]any{speed: num("6")}}}}, true, "", true, true},
		"nothing, of another place":     {&twin.Remembered{}, false, "", false, true},
		"nothing":                       {&twin.Remembered{}, true, "", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(twin.Declaration{speed: num("6")}, nil)
			s.Device.Spec.Properties = JSONOf(map[string]any{"speed": num("6")})
			if !s.Carries() {
				t.Fatal("it carries nothing")
			}
			s.Carry(c.memory, c.isThere)
			p := EntriesOf(&s.Device.Status)[speed]
			shown := ""
			if p.Owned {
				shown = string(p.Desired.Raw)
			}
			if shown != c.want || (p.Sent != nil) != c.sent || s.Device.Status.Twin.Unconfirmed != c.unconfirmed {
				t.Errorf("status says %+v, unconfirmed: %t", p, s.Device.Status.Twin.Unconfirmed)
			}
		})
	}
	s := started(nil, nil)
	if s.Took(holding(nil)); s.Carries() {
		t.Error("a pass that knows its twin carries another one")
	}
	s = started(nil, nil, func(s *State) { s.Device.Status.Twin.Etag = "" })
	if s.Carries() {
		t.Error("a status that is about no twin is carried")
	}
}

func TestWithheldIsWhatStatusRecordsAndWasNotSent(t *testing.T) {
	s := started(twin.Declaration{speed: num("6")}, []v1alpha1.PropertyStatus{{Name: "level", State: "Pending", Sent: &v1alpha1.SentValue{Value: *JSONOf(num("1")), Version: 2}}})
	s.Took(holding(nil))
	if !s.claim(twin.Diff(s.Declared, s.Owned, s.Twin)) {
		t.Fatal("nothing is claimed")
	}
	s.Describe()
	want := map[twin.Leaf]twin.Sent{speed: {Value: num("6"), Version: 4}}
	if diff := cmp.Diff(want, s.Withheld()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := started(nil, nil).Withheld(); got != nil {
		t.Errorf("of none: %v", got)
	}
}

// TestIsOfHost tells what status is about.
func TestIsOfHost(t *testing.T) {
	for name, c := range map[string]struct {
		ref         *v1alpha1.TwinReference
		host, there bool
	}{
		"nothing":             {nil, false, false},
		"not read yet":        {&v1alpha1.TwinReference{Hub: testHost, DeviceID: "press"}, false, false},
		"the device":          {&v1alpha1.TwinReference{Hub: testHost, DeviceID: "press", Etag: "a"}, true, true},
		"by another endpoint": {&v1alpha1.TwinReference{Hub: testHost + "@x", DeviceID: "press", Etag: "a"}, true, false},
		"another device":      {&v1alpha1.TwinReference{Hub: testHost, DeviceID: "other", Etag: "a"}, false, false},
		"another host":        {&v1alpha1.TwinReference{Hub: "other", DeviceID: "press", Etag: "a"}, false, false},
	} {
		device := started(nil, nil).Device
		device.Status.Twin = c.ref
		if got := IsOfHost(device, testHost); got != c.host {
			t.Errorf("%s: of the host: %t", name, got)
		}
		if got := IsAdopted(device, testHost); got != c.there {
			t.Errorf("%s: of the destination: %t", name, got)
		}
	}
}

func TestRequests(t *testing.T) {
	for name, c := range map[string]struct {
		asked, handled string
		resent, want   bool
	}{
		"none":              {"", "", false, false},
		"one":               {"a", "", false, true},
		"one that is":       {"a", "a", false, false},
		"another one":       {"b", "a", false, true},
		"one that went":     {"", "a", false, false},
		"one that did":      {"b", "a", true, false},
		"the same, cleaned": {"a\r", "a", false, false},
	} {
		s := started(nil, nil, func(s *State) {
			s.Device.Annotations = map[string]string{v1alpha1.AnnotationResendRequestedAt: c.asked, v1alpha1.AnnotationReconcileRequestedAt: c.asked}
			s.Device.Status.LastHandledResendAt, s.Device.Status.LastHandledReconcileAt = c.handled, c.handled
		})
		s.resent = c.resent
		if got := s.resendRequested(); got != c.want {
			t.Errorf("%s: to send again: %t", name, got)
		}
		if got := s.readRequested(); got != IsOpenRequest(Echoable(c.asked), c.handled) {
			t.Errorf("%s: to read: %t", name, got)
		}
	}
}

func TestResends(t *testing.T) {
	for state, want := range map[twin.State]int{twin.StateApplied: 1, twin.StateRejected: 1, twin.StateAcknowledged: 0, twin.StateInProgress: 0, twin.StateAdjusted: 0, twin.StatePending: 0} {
		p := owning(speed, "5")
		p.State = StateOf(state)
		s := started(twin.Declaration{speed: num("5")}, []v1alpha1.PropertyStatus{p}, annotated(v1alpha1.AnnotationResendRequestedAt, "x"))
		s.Took(holding(map[twin.Leaf]any{speed: num("5")}))
		if got := s.resends(); len(got) != want {
			t.Errorf("%s: %v", state, got)
		}
		s.Device.Annotations = nil
		if got := s.resends(); len(got) != 0 {
			t.Errorf("%s, not asked for: %v", state, got)
		}
	}
}

// TestHasResendArrived: an earlier pass sent the value again, and was not told.
func TestHasResendArrived(t *testing.T) {
	for name, c := range map[string]struct {
		version int64
		want    bool
	}{"by the write that status knows": {2, false}, "by a newer write of ours": {3, true}} {
		s := started(twin.Declaration{speed: num("5")}, []v1alpha1.PropertyStatus{owning(speed, "5")}, annotated(v1alpha1.AnnotationResendRequestedAt, "x"), func(s *State) {
			s.Memory.Writes = []twin.Attempt{{Version: 3, Values: map[twin.Leaf]any{speed: num("5")}}}
		})
		now := holding(map[twin.Leaf]any{speed: num("5")})
		now.Properties[speed].Desired.Version = c.version
		s.Took(now)
		if s.resent != c.want {
			t.Errorf("%s: %t", name, s.resent)
		}
	}
}
