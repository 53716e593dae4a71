package convergence

import (
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// durationModel has a writable property "pause".
func durationModel(t *testing.T) *dtdl.Interface {
	t.Helper()
	i := dtdl.Parse([]byte(`{"@context":"dtmi:dtdl:context;2","@id":"dtmi:test:Thing;1","@type":"Interface",
		"contents":[{"@type":"Property","name":"pause","writable":true,"schema":"duration"}]}`)).Interface("dtmi:test:Thing;1")
	if i == nil {
		t.Fatal("the model is not sound")
	}
	return i
}

// TestWordsOfAPass has the model asked for only where texts differ, and once a pass. While it cannot be used, status counts with
// what it says of this declaration.
func TestWordsOfAPass(t *testing.T) {
	leaf := twin.Leaf{Name: "pause"}
	const of = "dtmi:test:Thing;1 uid/1"
	usable := func(t *testing.T) (*dtdl.Interface, declaration.Conformity) {
		return durationModel(t), declaration.Conformity{Of: of}
	}
	unusable := func(*testing.T) (*dtdl.Interface, declaration.Conformity) {
		return nil, declaration.Conformity{Of: of, NotReady: "x"}
	}
	absent := func(*testing.T) (*dtdl.Interface, declaration.Conformity) {
		return nil, declaration.Conformity{Of: "dtmi:test:Thing;1"}
	}
	edited := func(*testing.T) (*dtdl.Interface, declaration.Conformity) {
		return nil, declaration.Conformity{Of: "dtmi:test:Thing;1 uid/2", NotReady: "x"}
	}
	for name, c := range map[string]struct {
		held, reported string
		was            v1alpha1.PropertyState
		wasReported    string
		checked        int64
		model          func(*testing.T) (*dtdl.Interface, declaration.Conformity)
		want           v1alpha1.PropertyState
		asked          int
	}{
		"the same texts cost nothing":                          {"PT300S", "PT300S", "Acknowledged", "PT300S", 7, usable, "Acknowledged", 0},
		"other words that mean the same":                       {"PT5M", "PT300.0S", "", "", 0, usable, "Acknowledged", 1},
		"another value":                                        {"PT300S", "PT6M", "", "", 0, usable, "Adjusted", 1},
		"words without a model":                                {"PT300S", "PT5M", "", "", 0, absent, "Adjusted", 1},
		"known from status while the model cannot be used":     {"PT5M", "PT300.0S", "Acknowledged", "PT300.0S", 7, unusable, "Acknowledged", 1},
		"known of the hub, and new of the device":              {"PT5M", "PT5M", "Applied", "", 7, unusable, "Acknowledged", 1},
		"nothing is known of a declaration that was edited":    {"PT300S", "PT5M", "Acknowledged", "PT5M", 6, unusable, "Adjusted", 1},
		"nothing is known of a model that was edited":          {"PT300S", "PT5M", "Acknowledged", "PT5M", 7, edited, "Adjusted", 1},
		"a value that status has as another one stays another": {"PT300S", "PT6M", "Adjusted", "PT6M", 7, unusable, "Adjusted", 1},
	} {
		t.Run(name, func(t *testing.T) {
			device := &v1alpha1.PnPDevice{Status: v1alpha1.PnPDeviceStatus{CheckedGeneration: c.checked, CheckedModel: of}}
			device.Generation = 7
			if c.was != "" {
				p := v1alpha1.PropertyStatus{Name: leaf.Name, State: c.was, Desired: JSONOf(c.held), DesiredVersion: 2, Owned: true}
				if c.wasReported != "" {
					p.Reported = JSONOf(c.wasReported)
				}
				device.Status.Properties = []v1alpha1.PropertyStatus{p}
			}
			s := New(Facts{Device: device, Now: time.Now()})
			asked := 0
			s.Model = func(string) (*dtdl.Interface, declaration.Conformity) { asked++; return c.model(t) }
			s.Declared = twin.Declaration{leaf: "PT300S"}
			s.Recall(true)
			for range 2 { // a pass may read more than once
				s.adopt(&twin.Twin{DesiredVersion: 2, Version: 9, Properties: map[twin.Leaf]twin.Property{leaf: {
					Desired:  &twin.Desired{Value: c.held, Version: 2},
					Reported: &twin.Reported{Value: c.reported, Ack: &twin.Ack{Version: 2, Code: 200}},
				}}})
			}
			if got := s.entry(leaf); got.State != c.want {
				t.Errorf("got %s, want %s", got.State, c.want)
			}
			if asked != c.asked {
				t.Errorf("the model was asked for %d times, want %d", asked, c.asked)
			}
		})
	}
}

// TestTheAnswerOfADeviceIsNoWordOfTheHub has another writer set what the device answered in part, while the model cannot be used.
func TestTheAnswerOfADeviceIsNoWordOfTheHub(t *testing.T) {
	leaf := twin.Leaf{Name: "pause"}
	const of = "dtmi:test:Thing;1 uid/1"
	device := &v1alpha1.PnPDevice{Status: v1alpha1.PnPDeviceStatus{CheckedModel: of, Properties: []v1alpha1.PropertyStatus{{
		Name: leaf.Name, State: "Acknowledged", Desired: JSONOf("PT300S"), Reported: JSONOf("PT5M"), DesiredVersion: 2, Owned: true,
	}}}}
	s := New(Facts{Device: device, Now: time.Now()})
	device.Status.CheckedGeneration = 1
	device.Generation = 1
	s.Model = func(string) (*dtdl.Interface, declaration.Conformity) {
		return nil, declaration.Conformity{Of: of, NotReady: "x"}
	}
	s.Declared = twin.Declaration{leaf: "PT300S"}
	s.Recall(true)
	s.adopt(&twin.Twin{DesiredVersion: 3, Version: 9, Properties: map[twin.Leaf]twin.Property{leaf: {Desired: &twin.Desired{Value: "PT5M", Version: 3}}}})
	if s.isSame(leaf, "PT300S", "PT5M") || len(s.inWordsOf(s.Twin)) != 1 || s.inWordsOf(s.Twin)[leaf] != "PT300S" {
		t.Error("what the device answered counts as what the hub holds of the declaration")
	}
}

// TestOtherWordsAskForNoOtherAnswer has another writer respell a value that the device has acknowledged.
func TestOtherWordsAskForNoOtherAnswer(t *testing.T) {
	leaf := twin.Leaf{Name: "pause"}
	for name, c := range map[string]struct {
		held string
		want v1alpha1.PropertyState
		set  int64
	}{
		"in other words":   {"PT5M", "Acknowledged", 2},
		"to another value": {"PT6M", "Drifted", 3},
	} {
		for _, owned := range []bool{true, false} {
			device := &v1alpha1.PnPDevice{Status: v1alpha1.PnPDeviceStatus{Properties: []v1alpha1.PropertyStatus{{
				Name: leaf.Name, State: "Acknowledged", Desired: JSONOf("PT300S"), DesiredVersion: 2, Owned: owned,
			}}}}
			device.Spec.Management = v1alpha1.ManagementObserve
			s := New(Facts{Device: device, Now: time.Now()})
			s.Model = func(string) (*dtdl.Interface, declaration.Conformity) {
				return durationModel(t), declaration.Conformity{}
			}
			s.Declared = twin.Declaration{leaf: "PT300S"}
			s.Recall(true)
			s.adopt(&twin.Twin{DesiredVersion: 3, Version: 9, Properties: map[twin.Leaf]twin.Property{leaf: {
				Desired:  &twin.Desired{Value: c.held, Version: 3},
				Reported: &twin.Reported{Value: "PT300S", Ack: &twin.Ack{Version: 2, Code: 200}},
			}}})
			if got := s.entry(leaf); got.State != c.want || got.DesiredVersion != c.set {
				t.Errorf("%s, owned %t: got %s of version %d, want %s of %d", name, owned, got.State, got.DesiredVersion, c.want, c.set)
			}
		}
	}
}
