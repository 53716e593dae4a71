package convergence

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// TestAnAnswerToADriftedValueIsNoneToOurs is what make chaos found: the operator put a drifted value back, and was killed before status said so. The
// next one found the hub in order, and took the other writer's version for the one that the device had to answer.
func TestAnAnswerToADriftedValueIsNoneToOurs(t *testing.T) {
	leaf := twin.Leaf{Name: "speed"}
	declared := json.Number("5")
	for name, c := range map[string]struct {
		state   v1alpha1.PropertyState // what status says of version 4
		value   string
		version int64
		want    v1alpha1.PropertyState
	}{
		"after a drift the answer to version 4 counts for nothing": {StateOf(twin.StateDrifted), `93`, 5, StateOf(twin.StateApplied)},
		"the same value written again leaves the answer as it was": {StateOf(twin.StateAcknowledged), `5`, 4, StateOf(twin.StateAcknowledged)},
	} {
		t.Run(name, func(t *testing.T) {
			device := &v1alpha1.PnPDevice{Status: v1alpha1.PnPDeviceStatus{Properties: []v1alpha1.PropertyStatus{{
				Name: leaf.Name, State: c.state, Owned: true, Desired: JSONOf(json.Number(c.value)), DesiredVersion: 4,
			}}}}
			s := New(Facts{Device: device, Now: time.Now()})
			s.Declared = twin.Declaration{leaf: declared}
			s.Recall(true)
			s.adopt(&twin.Twin{DesiredVersion: 5, Version: 9, Properties: map[twin.Leaf]twin.Property{leaf: {
				Desired:  &twin.Desired{Value: declared, Version: 5},
				Reported: &twin.Reported{Value: declared, Ack: &twin.Ack{Version: 4, Code: 200}},
			}}})
			got := s.entry(leaf)
			if got.State != c.want || got.DesiredVersion != c.version {
				t.Errorf("got %s of version %d, want %s of version %d", got.State, got.DesiredVersion, c.want, c.version)
			}
		})
	}
}

// TestWhatAPassThatCouldNotGoOnLeavesInStatus is what make chaos found: a leaf left the declaration and could not be dealt with
// at once. Status has to say whose the value is that the hub holds then.
func TestWhatAPassThatCouldNotGoOnLeavesInStatus(t *testing.T) {
	leaf := twin.Leaf{Name: "speed"}
	for name, c := range map[string]struct {
		held     string
		version  int64
		removed  bool
		released bool
	}{
		"our value is removed":                         {held: `5`, version: 2, removed: true},
		"our value in another form is ours":            {held: `5.0`, version: 2, removed: true},
		"someone else's value is let go":               {held: `93`, version: 3, released: true},
		"an equal value that someone else set is, too": {held: `5`, version: 3, released: true},
	} {
		t.Run(name, func(t *testing.T) {
			device := &v1alpha1.PnPDevice{Status: v1alpha1.PnPDeviceStatus{
				Twin: &v1alpha1.TwinReference{Etag: twin.ETagOf(2), DesiredVersion: 2},
				Properties: []v1alpha1.PropertyStatus{{
					Name: leaf.Name, State: StateOf(twin.StateAcknowledged), Owned: true, Desired: JSONOf(json.Number("5")), DesiredVersion: 2,
				}},
			}}
			now := &twin.Twin{ETag: twin.ETagOf(3), DesiredVersion: 3, Version: 5, Properties: map[twin.Leaf]twin.Property{
				leaf: {Desired: &twin.Desired{Value: json.Number(c.held), Version: c.version}},
			}}
			s := New(Facts{Device: device, Now: time.Now()})
			s.Recall(true)
			s.adopt(now)
			s.Describe()

			next := New(Facts{Device: device, Now: time.Now()})
			next.Recall(true)
			next.adopt(Belief(&device.Status))
			if got := next.Departing(); len(got) != 1 {
				t.Fatalf("the next pass is to settle %v, want %v", got, leaf)
			}
			next.WasRead = true
			next.adopt(now)
			reading, _ := next.reading()
			removals, released := reading.Depart(next.Owned, next.Declared)
			if got := len(removals) > 0; got != c.removed {
				t.Errorf("it removes the value: %t, want %t", got, c.removed)
			}
			if got := len(released) > 0; got != c.released {
				t.Errorf("it lets go of it: %t, want %t", got, c.released)
			}
		})
	}
}

// TestAValueThatIsAboutToBeSentIsNoValueAtTheHub is the gravest fault that an audit found: what was declared and never written
// was read back as what the hub holds, and another writer's value was removed with it.
func TestAValueThatIsAboutToBeSentIsNoValueAtTheHub(t *testing.T) {
	leaf := twin.Leaf{Name: "speed"}
	foreign := &twin.Desired{Value: json.Number("7"), Version: 3}
	read := &twin.Twin{ETag: twin.ETagOf(3), DesiredVersion: 3, Version: 5, Properties: map[twin.Leaf]twin.Property{leaf: {Desired: foreign}}}
	device := &v1alpha1.PnPDevice{Status: v1alpha1.PnPDeviceStatus{Twin: &v1alpha1.TwinReference{Etag: read.ETag, DesiredVersion: 3, Version: 5}}}
	s := New(Facts{Device: device, Now: time.Now()})
	s.Memory = &twin.Remembered{}
	s.Declared = twin.Declaration{leaf: json.Number("9")}
	s.Recall(true)
	s.adopt(read)
	if !s.claim(twin.Diff(s.Declared, s.Owned, s.Twin)) {
		t.Fatal("a new leaf is sent without a record")
	}
	s.Describe()
	is := device.Status.Properties[0]
	if is.Owned || string(is.Desired.Raw) != "7" || is.DesiredVersion != 3 || is.Sent == nil || string(is.Sent.Value.Raw) != "9" || is.Sent.Version != 4 {
		t.Fatalf("status says %+v, want what the hub holds, not owned, and what is sent beside it", is)
	}

	next := New(Facts{Device: device, Now: time.Now()}) // of another process, after the declaration was taken back
	next.Recall(true)
	next.adopt(Belief(&device.Status))
	if got := next.Departing(); len(got) != 1 {
		t.Errorf("a write of another process that may have happened is to be looked for, got %v", got)
	}
	next.WasRead = true
	next.adopt(read)
	reading, _ := next.reading()
	if removals, _ := reading.Depart(next.Owned, next.Declared); len(removals) > 0 {
		t.Errorf("removes %v", removals)
	}
	if next.Describe(); len(device.Status.Properties) > 0 {
		t.Errorf("status still says %+v", device.Status.Properties)
	}
}
