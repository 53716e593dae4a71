package convergence

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// TestAStatusStaysWithinItsRoom has the largest that each kind of entry can be.
func TestAStatusStaysWithinItsRoom(t *testing.T) {
	long := strings.Repeat("<", 4096)
	for name, c := range map[string]struct {
		declared, reported int
		value              any
	}{
		"as many declared properties as there may be": {declaration.MaxProperties, 0, "x"},
		"each with more than there is room for":       {declaration.MaxProperties, 0, long},
		"reported ones of one byte":                   {1, 20_000, ""},
		"reported ones of many bytes":                 {1, 20_000, long},
		"both":                                        {500, 20_000, long},
	} {
		t.Run(name, func(t *testing.T) {
			now := &twin.Twin{ETag: twin.ETagOf(7), DesiredVersion: 7, Version: 9, Properties: map[twin.Leaf]twin.Property{}, Components: map[string]bool{}}
			device := &v1alpha1.PnPDevice{Spec: v1alpha1.PnPDeviceSpec{Reported: v1alpha1.ReportedAll}}
			s := New(Facts{Device: device, Now: time.Now()})
			s.Declared = twin.Declaration{}
			for i := range c.declared {
				leaf := twin.Leaf{Component: fmt.Sprintf("c%d", i), Name: "p"}
				s.Declared[leaf] = c.value
				now.Properties[leaf] = twin.Property{
					Desired:  &twin.Desired{Value: c.value, Version: 1 << 60},
					Reported: &twin.Reported{Value: c.value, Ack: &twin.Ack{Version: 1 << 60, Code: -1 << 60, Description: long}},
				}
				s.Entries[leaf] = v1alpha1.PropertyStatus{CorrectedAt: []metav1.Time{{Time: s.Now}, {Time: s.Now}, {Time: s.Now}}}
			}
			for i := range c.reported {
				now.Properties[twin.Leaf{Component: fmt.Sprintf("r%d", i), Name: "p"}] = twin.Property{Reported: &twin.Reported{Value: c.value}}
			}
			s.adopt(now)
			s.Describe()
			raw, err := json.Marshal(device.Status)
			if err != nil {
				t.Fatal(err)
			}
			if limit := MaxStatusBytes + 4096; storable.Size(raw) > limit {
				t.Errorf("%d bytes, want at most %d", storable.Size(raw), limit)
			}
			shown := 0
			for leaf := range PropertiesOf(&device.Status) {
				if _, ok := s.Declared[leaf]; !ok {
					shown++
				}
			}
			if got := shown + int(device.Status.NotShown); got != c.reported {
				t.Errorf("%d are shown or counted, want %d", got, c.reported)
			}
			before := device.Status.DeepCopy()
			next := New(Facts{Device: device, Now: s.Now})
			next.Declared = s.Declared
			next.Recall(true)
			next.adopt(Belief(&device.Status))
			if next.Describe(); !conditions.IsSame(before, &device.Status) {
				t.Error("what status says is another status")
			}
		})
	}
}

// TestAStatusOfAnOlderOperatorHeals: it was filled to the brim of etcd, and held text as it came.
func TestAStatusOfAnOlderOperatorHeals(t *testing.T) {
	raw := func(v any) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: twin.EncodeValue(v)} }
	device := &v1alpha1.PnPDevice{Spec: v1alpha1.PnPDeviceSpec{Reported: v1alpha1.ReportedAll}}
	device.Status.Twin = &v1alpha1.TwinReference{Etag: twin.ETagOf(2), DesiredVersion: 2}
	device.Status.Properties = []v1alpha1.PropertyStatus{{
		Name: "escapes", State: StateOf(twin.StateAcknowledged), Owned: true, Desired: raw("a\u009bb"), Reported: raw("a\u009bb"), DesiredVersion: 2, AckVersion: 2, AckCode: 200,
	}}
	for i := range 60 {
		device.Status.Properties = append(device.Status.Properties, v1alpha1.PropertyStatus{
			Name: fmt.Sprintf("p%d", i), State: StateOf(twin.StateReported), Reported: raw(strings.Repeat("\x01", 4096)),
		})
	}
	s := New(Facts{Device: device, Now: time.Now()})
	s.Declared = twin.Declaration{{Name: "escapes"}: "a\u009bb"}
	s.Recall(true)
	s.adopt(Belief(&device.Status))
	s.Describe()
	status, err := json.Marshal(device.Status)
	if err != nil {
		t.Fatal(err)
	}
	if storable.Size(status) > MaxStatusBytes+4096 || !storable.IsPlain(status) || device.Status.NotShown == 0 {
		t.Errorf("%d bytes, %d not shown", len(status), device.Status.NotShown)
	}
	for leaf, p := range PropertiesOf(&device.Status) {
		if leaf.Name == "escapes" && (p.State != StateOf(twin.StateAcknowledged) || !p.Owned || string(p.Desired.Raw) != `{"$json":"\"a\\u009bb\""}`) {
			t.Errorf("got %+v", p)
		}
	}
}

// TestAnOmittedValueIsOurs: what status has no room for is removed and let go as if it had.
func TestAnOmittedValueIsOurs(t *testing.T) {
	leaf := twin.Leaf{Name: "large"}
	ours, foreign := strings.Repeat("<", storable.MaxValue), strings.Repeat(">", storable.MaxValue)
	for name, c := range map[string]struct {
		held    string
		version int64
		removed bool
	}{
		"our value is removed":                         {ours, 2, true},
		"another one of that version is let go":        {foreign, 2, false},
		"an equal one that someone else set is, too":   {ours, 3, false},
		"the digest itself is another value":           {twin.Digest(ours), 2, false},
		"what status has in place of it is, too":       {string(storable.Omit(ours, storable.TooLarge)), 2, false},
		"another one that someone else set is let go ": {foreign, 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			device := &v1alpha1.PnPDevice{}
			at := func(value string, version int64) *twin.Twin {
				return &twin.Twin{ETag: twin.ETagOf(uint64(version)), DesiredVersion: version, Version: version, Properties: map[twin.Leaf]twin.Property{
					leaf: {Desired: &twin.Desired{Value: value, Version: version}},
				}}
			}
			s := New(Facts{Device: device, Now: time.Now()})
			s.Declared = twin.Declaration{leaf: ours}
			s.adopt(at(ours, 2))
			s.Describe()
			if p := device.Status.Properties[0]; !p.Owned || p.State != StateOf(twin.StateApplied) || !storable.IsForm(p.Desired.Raw) {
				t.Fatalf("status says %+v", p)
			}

			same := New(Facts{Device: device, Now: time.Now()})
			same.Declared = twin.Declaration{leaf: ours}
			same.Recall(true)
			same.adopt(Belief(&device.Status))
			if changes := twin.Diff(same.Declared, same.Owned, same.Twin); len(changes) > 0 {
				t.Errorf("the value is written again: %v", changes)
			}

			next := New(Facts{Device: device, Now: time.Now()})
			next.Recall(true)
			next.WasRead = true
			next.adopt(at(c.held, c.version))
			reading, _ := next.reading()
			removals, released := reading.Depart(next.Owned, next.Declared)
			if len(removals)+len(released) != 1 || len(removals) == 1 != c.removed {
				t.Errorf("removes %d, lets go of %d", len(removals), len(released))
			}
		})
	}
}

// TestWhatADeviceSaysTakesNoRoomOfWhatIsAskedOfIt: an edit rests on what the hub holds.
func TestWhatADeviceSaysTakesNoRoomOfWhatIsAskedOfIt(t *testing.T) {
	e, asked := Entries{}, &apiextensionsv1.JSON{Raw: twin.EncodeValue(strings.Repeat("a", 1024))}
	for i := range 200 {
		name := fmt.Sprintf("p%d", i)
		e[twin.Leaf{Name: name}] = v1alpha1.PropertyStatus{
			Name: name, Desired: asked, AckDescription: strings.Repeat("d", MaxAckDescription),
			Reported: &apiextensionsv1.JSON{Raw: twin.EncodeValue(strings.Repeat("r", 16<<10))},
		}
	}
	e.fit()
	for leaf, p := range e {
		if string(p.Desired.Raw) != string(asked.Raw) {
			t.Fatalf("%s: what is asked for is %s", leaf, p.Desired.Raw)
		}
	}
}
