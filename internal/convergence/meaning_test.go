package convergence

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// machine is a model with a component whose interface has a duration and a text.
func machine(t *testing.T) *dtdl.Interface {
	t.Helper()
	i := dtdl.Parse([]byte(`[{"@context":"dtmi:dtdl:context;2","@id":"dtmi:test:Machine;1","@type":"Interface",
		"contents":[{"@type":"Component","name":"motor","schema":"dtmi:test:Motor;1"},
			{"@type":"Property","name":"label","writable":true,"schema":"string"}]},
		{"@context":"dtmi:dtdl:context;2","@id":"dtmi:test:Motor;1","@type":"Interface",
		"contents":[{"@type":"Property","name":"pause","writable":true,"schema":"duration"}]}]`)).Interface("dtmi:test:Machine;1")
	if i == nil {
		t.Fatal("the model is not sound")
	}
	return i
}

// TestTheModelTellsWhatALeafMeans looks in the interface of its component.
func TestTheModelTellsWhatALeafMeans(t *testing.T) {
	for name, c := range map[string]struct {
		leaf twin.Leaf
		held any
		same bool
	}{
		"a duration of a component, in other words": {twin.Leaf{Component: "motor", Name: "pause"}, "PT5M", true},
		"another duration":                          {twin.Leaf{Component: "motor", Name: "pause"}, "PT6M", false},
		"a text in other words is another text":     {twin.Leaf{Name: "label"}, "PT5M", false},
		"a name that is only in a component":        {twin.Leaf{Name: "pause"}, "PT5M", false},
		"a name that the component does not have":   {twin.Leaf{Component: "motor", Name: "label"}, "PT5M", false},
		"a component that the model does not have":  {twin.Leaf{Component: "pump", Name: "pause"}, "PT5M", false},
		"the same text of what no model has":        {twin.Leaf{Component: "pump", Name: "pause"}, "PT300S", true},
		"a value that status has no room for":       {twin.Leaf{Component: "motor", Name: "pause"}, twin.Omitted{Digest: twin.Digest("PT5M")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(nil, nil, func(s *State) {
				s.Model = func(string) (*dtdl.Interface, declaration.Conformity) { return machine(t), declaration.Conformity{} }
			})
			s.Twin = holding(nil)
			if got := s.isSame(c.leaf, "PT300S", c.held); got != c.same {
				t.Errorf("got %t, want %t", got, c.same)
			}
		})
	}
}

// TestTheModelThatIsAskedForIsTheDeclaredOne or the one that the device announced.
func TestTheModelThatIsAskedForIsTheDeclaredOne(t *testing.T) {
	for _, c := range []struct{ declared, announced, want string }{
		{"dtmi:a;1", "dtmi:b;1", "dtmi:a;1"}, {"", "dtmi:b;1", "dtmi:b;1"}, {"dtmi:a;1", "", "dtmi:a;1"}, {"", "", ""},
	} {
		var asked []string
		s := started(nil, nil, func(s *State) {
			s.Device.Spec.ModelID = c.declared
			s.Model = func(id string) (*dtdl.Interface, declaration.Conformity) {
				asked = append(asked, id)
				return nil, declaration.Conformity{}
			}
		})
		s.Twin = holding(nil)
		s.Twin.ModelID = c.announced
		s.schemaOf(speed)
		s.schemaOf(level)
		if diff := cmp.Diff([]string{c.want}, asked); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c, diff)
		}
	}
}

// TestWhatStatusHasOfADeclarationCountsWithoutAModel is told by states.
func TestWhatStatusHasOfADeclarationCountsWithoutAModel(t *testing.T) {
	for state, c := range map[twin.State]struct{ held, heard bool }{
		twin.StateAcknowledged: {true, true}, twin.StateApplied: {true, false}, twin.StateInProgress: {true, false},
		twin.StateRejected: {true, false}, twin.StateAdjusted: {true, false},
		twin.StatePending: {false, false}, twin.StateDrifted: {false, false}, twin.StateReported: {false, false},
	} {
		p := owning(speed, "5")
		p.State, p.Reported = StateOf(state), JSONOf(num("7"))
		s := started(nil, []v1alpha1.PropertyStatus{p})
		if got := s.wasHeld(speed, num("5")); got != c.held {
			t.Errorf("%s: it was held: %t", state, got)
		}
		if got := s.wasHeard(speed, num("7")); got != c.heard {
			t.Errorf("%s: it was heard: %t", state, got)
		}
		if s.wasHeld(speed, num("7")) || s.wasHeard(speed, num("5")) || s.wasHeld(level, num("5")) {
			t.Errorf("%s: another value, or another leaf, counts as well", state)
		}
	}
}

// TestBelievedReportOfAValueThatIsOmitted: the state tells what it matched.
func TestBelievedReportOfAValueThatIsOmitted(t *testing.T) {
	large := strings.Repeat("x", storable.MaxValue)
	for state, want := range map[v1alpha1.PropertyState]bool{"Acknowledged": true, "Adjusted": false, "Rejected": false} {
		p := v1alpha1.PropertyStatus{State: state, Desired: JSONOf("short"), AckCode: 200, AckVersion: 2,
			Reported: &apiextensionsv1.JSON{Raw: storable.Omit(large, storable.TooLarge)}}
		got, isOmitted := believedReported(&p).Value.(twin.Omitted)
		if !isOmitted || got.Digest != twin.Digest(large) {
			t.Fatalf("%s: got %+v", state, got)
		}
		if isMatched := got.Matched != nil && twin.Equal(got.Matched, "short"); isMatched != want {
			t.Errorf("%s: it matches %v", state, got.Matched)
		}
	}
}

// TestValuesOfAnEntryCanBeReplaced has each value be another one, and the loop end anywhere.
func TestValuesOfAnEntryCanBeReplaced(t *testing.T) {
	full := func() v1alpha1.PropertyStatus {
		return v1alpha1.PropertyStatus{Desired: JSONOf("desired"), Reported: JSONOf("reported"), Sent: &v1alpha1.SentValue{Value: *JSONOf("sent"), Version: 7}}
	}
	text := func(p v1alpha1.PropertyStatus) (all []string) {
		for value := range ValuesOf(&p) {
			all = append(all, string(value.Raw))
		}
		return all
	}
	if diff := cmp.Diff([]string{`"sent"`, `"desired"`, `"reported"`}, text(full())); diff != "" {
		t.Errorf("those that facts rest on are not first (-want +got):\n%s", diff)
	}
	for most := 1; most <= 3; most++ {
		p, seen := full(), 0
		before := full()
		for _, set := range ValuesOf(&p) {
			if seen++; seen == most {
				set(JSONOf("other"))
				break
			}
		}
		want := text(before)
		want[most-1] = `"other"`
		if diff := cmp.Diff(want, text(p)); diff != "" || seen != most || p.Sent.Version != 7 {
			t.Errorf("value %d (-want +got):\n%s", most, diff)
		}
	}
	if got := text(v1alpha1.PropertyStatus{}); len(got) != 0 {
		t.Errorf("of none: %v", got)
	}
}

// TestReplacingWhatIsSentLeavesTheStatusThatItCameFrom as entries are shallow copies of it.
func TestReplacingWhatIsSentLeavesTheStatusThatItCameFrom(t *testing.T) {
	status := &v1alpha1.PnPDeviceStatus{Properties: sentAlone()}
	p := EntriesOf(status)[speed]
	for _, set := range ValuesOf(&p) {
		set(JSONOf("other"))
	}
	if got := string(status.Properties[0].Sent.Value.Raw); got != "6" || string(p.Sent.Value.Raw) != `"other"` {
		t.Errorf("status has %s, the entry %s", got, p.Sent.Value.Raw)
	}
}

// TestRoomAdmitsWhatHasACleanName and nothing once it is full.
func TestRoomAdmitsWhatHasACleanName(t *testing.T) {
	roomy := func() room { return room{bytes: 2000, entries: 2, components: map[string]bool{"motor": true}} }
	for name, c := range map[string]struct {
		leaf  twin.Leaf
		edit  func(*room)
		value any
		want  bool
	}{
		"a short one":                       {twin.Leaf{Name: "log"}, nil, "x", true},
		"one of a component that is there":  {twin.Leaf{Component: "motor", Name: "log"}, func(r *room) { r.bytes = shownBytes + 10 }, "x", true},
		"one of a component that is not":    {twin.Leaf{Component: "pumps", Name: "log"}, func(r *room) { r.bytes = shownBytes + 10 }, "x", false},
		"a name that is too long":           {twin.Leaf{Name: strings.Repeat("x", maxNameBytes+1)}, nil, "x", false},
		"a name that is as long as may be":  {twin.Leaf{Name: strings.Repeat("x", maxNameBytes)}, nil, "x", true},
		"a component that is too long":      {twin.Leaf{Component: strings.Repeat("x", maxNameBytes+1), Name: "a"}, func(r *room) { r.bytes = 1 << 20 }, "x", false},
		"a name that a terminal acts upon":  {twin.Leaf{Name: "a\x1bb"}, nil, "x", false},
		"a component that it acts upon":     {twin.Leaf{Component: "a\x1bb", Name: "a"}, nil, "x", false},
		"no entry is left":                  {twin.Leaf{Name: "log"}, func(r *room) { r.entries = 0 }, "x", false},
		"the last entry":                    {twin.Leaf{Name: "log"}, func(r *room) { r.entries = 1 }, "x", true},
		"no byte is left":                   {twin.Leaf{Name: "log"}, func(r *room) { r.bytes = 10 }, "x", false},
		"a value that is larger than it is": {twin.Leaf{Name: "log"}, nil, strings.Repeat("x", 3000), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := roomy()
			if c.edit != nil {
				c.edit(&r)
			}
			before := r
			got := r.admits(c.leaf, &v1alpha1.PropertyStatus{Reported: JSONOf(c.value)})
			if got != c.want {
				t.Fatalf("got %t", got)
			}
			if isTaken := r.bytes < before.bytes && r.entries == before.entries-1; isTaken != c.want {
				t.Errorf("left are %d bytes and %d entries of %d and %d", r.bytes, r.entries, before.bytes, before.entries)
			}
			if r.bytes < 0 || r.entries < 0 {
				t.Errorf("left are %d bytes, %d entries", r.bytes, r.entries)
			}
		})
	}
}

// TestAValueThatHasNoRoomStandsForItself by its digest, in the order of leaves.
func TestAValueThatHasNoRoomStandsForItself(t *testing.T) {
	value := strings.Repeat("v", 60<<10)
	e := Entries{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"} {
		e[twin.Leaf{Name: name}] = v1alpha1.PropertyStatus{Name: name, Desired: &apiextensionsv1.JSON{Raw: twin.EncodeValue(value)}}
	}
	e.fit()
	isOver := false
	for _, leaf := range e.sorted() {
		raw := e[leaf].Desired.Raw
		switch isForm := storable.IsForm(raw); {
		case isOver && !isForm:
			t.Errorf("%s has room that a leaf before it had not", leaf)
		case isForm:
			isOver = true
			if !twin.Equal(FactOf(e[leaf].Desired), value) {
				t.Errorf("%s stands for another value: %s", leaf, raw)
			}
		}
	}
	if !isOver {
		t.Error("all of them have room")
	}
}

// TestInstantOf reads what identify writes.
func TestInstantOf(t *testing.T) {
	for text, want := range map[string]time.Time{
		"":                               {},
		"yesterday":                      {},
		"2026-11-30":                     {},
		"2026-11-30T12:00:00Z":           noon,
		"2026-11-30T12:00:00.000000001Z": noon.Add(1),
		"2026-11-30T13:00:00+01:00":      noon,
	} {
		if got := instantOf(text); !got.Equal(want) {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

// TestMarkersAreNamedWhereTheyAreMissing has texts say why a device takes no value.
func TestMarkersAreNamedWhereTheyAreMissing(t *testing.T) {
	inMotor := twin.Leaf{Component: "motor", Name: "speed"}
	s := started(twin.Declaration{inMotor: num("5")}, nil, func(s *State) { s.Device.Spec.TwinAPI = v1alpha1.TwinAPIDigitalTwin })
	s.Twin = holding(map[twin.Leaf]any{inMotor: num("5")})
	s.Twin.Components["motor"], s.Twin.Unmarked = true, map[string]bool{"motor": true}
	p := v1alpha1.PropertyStatus{Desired: JSONOf(num("5"))}
	const want = `the hub holds 5, in "motor" without the marker "__t": "c", by which devices tell a component`
	if got := s.driftedText(inMotor, p); !strings.Contains(got, want) {
		t.Errorf("got %s", got)
	}
	s.Twin.Unmarked = nil
	if got := s.driftedText(inMotor, p); strings.Contains(got, "marker") {
		t.Errorf("with its marker: %s", got)
	}
	object := holding(map[twin.Leaf]any{{Name: "motor"}: map[string]any{"speed": num("1")}})
	for name, c := range map[string]struct {
		conflict twin.KindConflictError
		api      v1alpha1.TwinAPI
		says     []string
		not      string
	}{
		"a component that is a plain object": {twin.KindConflictError{Name: "motor"}, v1alpha1.TwinAPIDigitalTwin, []string{"without the marker", "set twinAPI: DeviceTwin"}, ""},
		"the same through the device twin":   {twin.KindConflictError{Name: "motor"}, v1alpha1.TwinAPIDeviceTwin, []string{"without the marker"}, "set twinAPI"},
		"a property that is a component":     {twin.KindConflictError{Name: "motor", Component: true}, v1alpha1.TwinAPIDigitalTwin, []string{"set twinAPI"}, "without the marker"},
	} {
		s.Twin, s.IsUnconfirmed, s.Device.Spec.TwinAPI = object, false, c.api
		got := s.unrenderable(&c.conflict)
		for _, says := range c.says {
			if !strings.Contains(got.Message, says) {
				t.Errorf("%s: it says %s, and not %s", name, got.Message, says)
			}
		}
		if c.not != "" && strings.Contains(got.Message, c.not) || got.Because != Dialect || !s.IsUnconfirmed {
			t.Errorf("%s: it says %+v, unconfirmed: %t", name, got, s.IsUnconfirmed)
		}
	}
}

// TestShownValuesAreShort and fit on a line.
func TestShownValuesAreShort(t *testing.T) {
	for name, v := range map[string]any{
		"a long text": strings.Repeat("long", MaxShown), "a deep object": map[string]any{"a": map[string]any{"b": strings.Repeat("c", MaxShown)}},
		"a text of many lines": "a\nb\x1b[31m", "a number": num("5"), "nothing": nil, "a list": []any{num("1"), "x"},
	} {
		got := ShownValue(v)
		if len(got) > MaxShown+len("…") || strings.ContainsAny(got, "\n\x1b") || got == "" {
			t.Errorf("%s is shown as %q", name, got)
		}
	}
}

// TestCarryOfADeclarationThatCannotBeRead declares nothing, and loses nothing.
func TestCarryOfADeclarationThatCannotBeRead(t *testing.T) {
	s := started(twin.Declaration{}, []v1alpha1.PropertyStatus{owning(speed, "5")}, func(s *State) {
		s.Device.Spec.Properties = &apiextensionsv1.JSON{Raw: json.RawMessage(`"no object"`)}
	})
	s.Carry(&twin.Remembered{}, true)
	if p := EntriesOf(&s.Device.Status)[speed]; !p.Owned || string(p.Desired.Raw) != "5" || p.DesiredVersion != 2 {
		t.Errorf("status says %+v", p)
	}
}

// TestASuspendedObjectThatIsReadySaysWhatItDidNotSend beside what is well.
func TestASuspendedObjectThatIsReadySaysWhatItDidNotSend(t *testing.T) {
	s := owing(readyWhen(v1alpha1.ReadyWhenApplied), annotated(v1alpha1.AnnotationResendRequestedAt, "x"), func(s *State) { s.Device.Spec.Suspend = true })
	got, isNew := s.conclusion(nil)
	if !isNew || !got.Ready || got.Stalled || got.Message != "The hub holds every declared value (suspended, as of 2026-11-30T12:00:00Z; not sent again: speed)" {
		t.Errorf("got %+v", got)
	}
}

// TestOneThatObservesKeepsWhatItOwned: it declares another value than its own that the hub holds.
func TestOneThatObservesKeepsWhatItOwned(t *testing.T) {
	s := started(twin.Declaration{speed: num("6")}, []v1alpha1.PropertyStatus{owning(speed, "5")}, observing)
	s.Took(holding(map[twin.Leaf]any{speed: num("5")}))
	got := s.entry(speed)
	if got.State != StateOf(twin.StateDrifted) || !got.Owned || !IsHeld(&got) || HeldVersion(&got) != 2 {
		t.Errorf("got %+v", got)
	}
	next := started(twin.Declaration{}, []v1alpha1.PropertyStatus{got})
	next.read(t, holding(map[twin.Leaf]any{speed: num("5")}))
	if step := next.Next(); step.Do != Permit || names(step.Changes) != "Removed speed" {
		t.Errorf("once it manages its device again, the step is %+v", step)
	}
}

// TestAStatusOfAnotherHubShowsNoConnection until the one of the declaration was asked.
func TestAStatusOfAnotherHubShowsNoConnection(t *testing.T) {
	s := started(twin.Declaration{speed: num("5")}, []v1alpha1.PropertyStatus{owning(speed, "5")}, func(s *State) {
		s.Device.Status.Twin.Hub, s.Device.Status.ConnectionStateSince = "old", ago(time.Hour)
	})
	s.Summarise(waiting(v1alpha1.ReasonHubNotReady, "no"))
	st := s.Device.Status
	if st.ConnectionState != "" || st.ConnectionStateSince != nil || st.Twin.Hub != "old" || !st.Twin.Unconfirmed || len(st.Properties) != 1 || st.Summary != "0/1" {
		t.Errorf("status says %+v", st)
	}
}
