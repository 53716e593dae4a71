package convergence

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// notFound has status say that the hub did not know the device.
func notFound(s *State) {
	conditions.Set(s.Device, v1alpha1.ConditionSynced, false, v1alpha1.ReasonDeviceNotFound, NotFoundText)
}

// TestFollowsUp has events make reads after a write needless.
func TestFollowsUp(t *testing.T) {
	blind := func(s *State) { s.EventsTrusted = false }
	for name, c := range map[string]struct {
		edits []func(*State)
		want  bool
	}{
		"events tell":    {nil, false},
		"no events tell": {[]func(*State){blind}, true},
		"the device is offline, and why no one can": {[]func(*State){offline}, true},
		"the device is disabled":                    {[]func(*State){disabled}, true},
		"offline, and no events tell":               {[]func(*State){blind, offline}, true},
	} {
		if got := owing(c.edits...).FollowsUp(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestWasGoneThere is about the hub that said that it does not know the device.
func TestWasGoneThere(t *testing.T) {
	for name, c := range map[string]struct {
		edits       []func(*State)
		gone, there bool
	}{
		"it was known":               {nil, false, false},
		"it was not":                 {[]func(*State){notFound}, true, true},
		"it was not, without a hub":  {[]func(*State){notFound, func(s *State) { s.Destination = "" }}, true, true},
		"it was not, at another hub": {[]func(*State){notFound, func(s *State) { s.Destination = "other" }}, true, false},
		"another reason is given": {[]func(*State){func(s *State) {
			conditions.Set(s.Device, v1alpha1.ConditionSynced, false, v1alpha1.ReasonHubUnavailable, "it fails")
		}}, false, false},
	} {
		s := started(nil, nil, c.edits...)
		if got := WasGone(s.Device); got != c.gone {
			t.Errorf("%s: it was gone: %t", name, got)
		}
		if got := s.wasGoneThere(); got != c.there {
			t.Errorf("%s: it was gone there: %t", name, got)
		}
	}
}

// TestBelieved chooses what is taken for the twin without a read.
func TestBelieved(t *testing.T) {
	newer := func(edit func(*twin.Twin)) func(*State) {
		return func(s *State) {
			s.Memory.Newest = holding(map[twin.Leaf]any{speed: num("7")})
			edit(s.Memory.Newest)
		}
	}
	whole, part := newer(func(*twin.Twin) {}), newer(func(n *twin.Twin) { n.Partial = true })
	showsAll := func(s *State) { s.Device.Spec.Reported = v1alpha1.ReportedAll }
	unknown := func(s *State) { s.Declared[level] = num("1") }
	for name, c := range map[string]struct {
		edits []func(*State)
		want  string // the value of speed, empty: it has to be read
	}{
		"status has it":                               {nil, "5"},
		"memory has a newer one":                      {[]func(*State){whole}, "7"},
		"memory has a newer part":                     {[]func(*State){part}, "7"},
		"status lacks a leaf":                         {[]func(*State){unknown}, ""},
		"status lacks a leaf, and memory has it all":  {[]func(*State){unknown, whole}, "7"},
		"status lacks a leaf, and memory has a part":  {[]func(*State){unknown, part}, ""},
		"status shows too little":                     {[]func(*State){showsAll}, ""},
		"status shows too little, memory has it all":  {[]func(*State){showsAll, whole}, "7"},
		"status shows too little, memory has a part":  {[]func(*State){showsAll, part}, ""},
		"memory is in doubt of it":                    {[]func(*State){whole, func(s *State) { s.Memory.IsDoubtful = true }}, ""},
		"memory was in doubt until this pass read it": {[]func(*State){whole, func(s *State) { s.Memory.IsDoubtful, s.Resumes = true, true }}, "7"},
		"status is about no twin":                     {[]func(*State){func(s *State) { s.Device.Status.Twin.Etag = "" }}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(twin.Declaration{speed: num("5")}, []v1alpha1.PropertyStatus{owning(speed, "5")}, c.edits...)
			got := ""
			if is := s.believed(); is != nil {
				got = ShownValue(is.Properties[speed].Desired.Value)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestBelievedHasTheCountersOfMemory: an etag that is older than the hub's would cost a read.
func TestBelievedHasTheCountersOfMemory(t *testing.T) {
	s := started(twin.Declaration{speed: num("5")}, []v1alpha1.PropertyStatus{owning(speed, "5")}, func(s *State) {
		s.Memory.ETag, s.Memory.Position = twin.ETagOf(8), twin.Position{Version: 12, DesiredVersion: 4}
	})
	got := s.believed()
	if got == nil || got.ETag != twin.ETagOf(8) || got.Version != 12 || got.DesiredVersion != 4 || !got.Partial {
		t.Errorf("got %+v", got)
	}
	if is := s.Device.Status.Twin; is.Etag != twin.ETagOf(3) || is.Version != 5 {
		t.Errorf("and status is about %+v now", is)
	}
}

// TestOtherModel compares what a device announced with what its object asks for.
func TestOtherModel(t *testing.T) {
	for name, c := range map[string]struct{ wants, has, says string }{
		"none is asked for, none announced": {"", "", ""},
		"none is asked for":                 {"", "dtmi:a;1", ""},
		"the one that is asked for":         {"dtmi:a;1", "dtmi:a;1", ""},
		"another one":                       {"dtmi:a;1", "dtmi:b;1", `The device announced "dtmi:b;1"; spec.modelID is "dtmi:a;1"`},
		"another version of it":             {"dtmi:a;2", "dtmi:a;1", `The device announced "dtmi:a;1"; spec.modelID is "dtmi:a;2"`},
		"one that differs by its case":      {"dtmi:a;1", "dtmi:A;1", `The device announced "dtmi:A;1"; spec.modelID is "dtmi:a;1"`},
		"none was announced":                {"dtmi:a;1", "", `The device has not announced any model; spec.modelID is "dtmi:a;1"`},
	} {
		s := started(nil, nil, func(s *State) { s.Device.Spec.ModelID = c.wants })
		s.Twin = holding(nil)
		s.Twin.ModelID = c.has
		switch got := s.otherModel(); {
		case (got == nil) != (c.says == ""):
			t.Errorf("%s: %+v", name, got)
		case got != nil && (got.Message != c.says || got.Reason != v1alpha1.ReasonModelMismatch || !got.Stalled || got.After != RetryAbsent):
			t.Errorf("%s: it says %+v", name, got)
		}
	}
}

// TestNonConformity has the DeviceModel of a device answer in each way.
func TestNonConformity(t *testing.T) {
	checked := func(generation int64, model string) func(*State) {
		return func(s *State) { s.Device.Status.CheckedGeneration, s.Device.Status.CheckedModel = generation, model }
	}
	for name, c := range map[string]struct {
		found  declaration.Conformity
		was    func(*State)
		reason string
		stalls bool
	}{
		"there is no model":                  {found: declaration.Conformity{Of: "a"}},
		"it allows it":                       {found: declaration.Conformity{Model: "m", Of: "a uid/1"}},
		"it forbids it":                      {found: declaration.Conformity{Model: "m", Violations: []string{"no"}}, reason: v1alpha1.ReasonModelViolation, stalls: true},
		"it only warns":                      {found: declaration.Conformity{Model: "m", Violations: []string{"no"}, Warn: true}},
		"it is not ready":                    {found: declaration.Conformity{Model: "m", Of: "a uid/1", NotReady: "soon"}, reason: v1alpha1.ReasonModelNotReady},
		"it was, and allowed this very spec": {found: declaration.Conformity{Model: "m", Of: "a uid/1", NotReady: "soon"}, was: checked(2, "a uid/1")},
		"it was, and allowed an older spec":  {found: declaration.Conformity{Model: "m", Of: "a uid/1", NotReady: "soon"}, was: checked(1, "a uid/1"), reason: v1alpha1.ReasonModelNotReady},
		"it was another one":                 {found: declaration.Conformity{Model: "m", Of: "a uid/1", NotReady: "soon"}, was: checked(2, "b uid/1"), reason: v1alpha1.ReasonModelNotReady},
		"it forbids what it allowed before":  {found: declaration.Conformity{Model: "m", Of: "a uid/1", Violations: []string{"no"}}, was: checked(2, "a uid/1"), reason: v1alpha1.ReasonModelViolation, stalls: true},
	} {
		s := started(nil, nil)
		if c.was != nil {
			c.was(s)
		}
		s.Conformity = &c.found
		got := s.nonConformity()
		switch {
		case (got == nil) != (c.reason == ""):
			t.Errorf("%s: %+v", name, got)
		case got != nil && (got.Reason != c.reason || got.Stalled != c.stalls || got.Message == "" || got.After != 0):
			t.Errorf("%s: it says %+v", name, got)
		}
	}
}

// TestIsOverdue has a device not be called silent without a look at the hub.
func TestIsOverdue(t *testing.T) {
	late := func(s *State) { s.Now = noon.Add(time.Minute) }
	readAt := func(at time.Time) func(*State) { return func(s *State) { s.Memory.ReadAt = at } }
	for name, c := range map[string]struct {
		edits []func(*State)
		want  bool
	}{
		"it has time left": {nil, false},
		"its time is up":   {[]func(*State){late}, true},
		"its time is up, and it was read before that":  {[]func(*State){late, readAt(noon)}, true},
		"its time is up, and it was read at that time": {[]func(*State){late, readAt(noon.Add(10 * time.Second))}, false},
		"its time is up, and it was read after that":   {[]func(*State){late, readAt(noon.Add(50 * time.Second))}, false},
		"it has answered":         {[]func(*State){late, acknowledged}, false},
		"it is offline":           {[]func(*State){late, offline}, false},
		"its object is suspended": {[]func(*State){late, func(s *State) { s.Device.Spec.Suspend = true }}, false},
	} {
		if got := owing(c.edits...).isOverdue(); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

// TestHasUnsettledRecords is about what an earlier process may have sent.
func TestHasUnsettledRecords(t *testing.T) {
	records := func(value string, version int64) map[twin.Leaf]twin.Sent {
		return map[twin.Leaf]twin.Sent{speed: {Value: num(value), Version: version}}
	}
	for name, c := range map[string]struct {
		edit func(*State)
		want bool
	}{
		"nobody knows of it":                      {func(*State) {}, true},
		"this process did not send it":            {func(s *State) { s.Memory.Withheld = records("6", 4) }, false},
		"this process knows what became of it":    {func(s *State) { s.Memory.Resolved = records("6", 4) }, false},
		"this process did not send another value": {func(s *State) { s.Memory.Withheld = records("7", 4) }, true},
		"this process settled another version":    {func(s *State) { s.Memory.Resolved = records("6", 5) }, true},
		"this pass records it":                    {func(s *State) { s.claimed = []twin.Leaf{speed} }, false},
		"nothing is recorded":                     {func(s *State) { s.sent = nil }, false},
	} {
		s := started(nil, []v1alpha1.PropertyStatus{sending("5", "6", 4)})
		c.edit(s)
		if got := s.hasUnsettledRecords(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestASuspendedObjectSaysWhatItLacks and never asks the hub.
func TestASuspendedObjectSaysWhatItLacks(t *testing.T) {
	const unknown = "it is not known whether the hub holds the declared values"
	for name, c := range map[string]struct {
		edits []func(*State)
		says  string // empty: nothing
		gone  bool
	}{
		"all is there":                        {nil, "", false},
		"a value is to be written":            {[]func(*State){func(s *State) { s.Declared[speed] = num("6") }}, "not written: speed", false},
		"a value that no status knows":        {[]func(*State){func(s *State) { s.Declared[level] = num("6") }}, "not written: level", false},
		"a value is to be removed":            {[]func(*State){func(s *State) { delete(s.Declared, speed) }}, "not removed: speed", false},
		"an event told of another writer":     {[]func(*State){func(s *State) { s.Memory.Newest = holding(map[twin.Leaf]any{speed: num("9")}) }}, "not written: speed", false},
		"the hub did not know the device":     {[]func(*State){notFound}, "the hub does not know the device", true},
		"memory has it that the hub does not": {[]func(*State){func(s *State) { s.Memory.IsAbsent = true }}, "the hub does not know the device", true},
		"another hub did not":                 {[]func(*State){notFound, func(s *State) { s.Destination = "other" }}, unknown, false},
		"status is about another hub":         {[]func(*State){func(s *State) { s.Destination = "other" }}, unknown, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(twin.Declaration{speed: num("5")}, []v1alpha1.PropertyStatus{owning(speed, "5")}, append(c.edits, func(s *State) { s.Device.Spec.Suspend = true })...)
			got := s.rest()
			switch {
			case (got == nil) != (c.says == ""):
				t.Errorf("got %+v", got)
			case got != nil && (!strings.Contains(got.Message, c.says) || got.Reason != v1alpha1.ReasonSuspended || !got.Stalled || got.After != 0):
				t.Errorf("it says %+v, want %s", got, c.says)
			}
			if s.Gone != c.gone || s.IsUnconfirmed != c.gone || s.WasRead {
				t.Errorf("gone: %t, unconfirmed: %t, read: %t", s.Gone, s.IsUnconfirmed, s.WasRead)
			}
		})
	}
}

// TestTheClockOfAResumedObjectStartsOnASecond as status has no parts of one.
func TestTheClockOfAResumedObjectStartsOnASecond(t *testing.T) {
	s := owing(suspendedBefore, func(s *State) { s.Now = noon.Add(1700 * time.Millisecond) })
	s.StartClock()
	want := metav1.NewTime(noon.Add(time.Second))
	if got := s.Device.Status.ConnectionStateSeenTime; got == nil || !got.Equal(&want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if left, runs := s.deadline(); !runs || left != 14300*time.Millisecond {
		t.Errorf("%v are left (it runs: %t)", left, runs)
	}
}
