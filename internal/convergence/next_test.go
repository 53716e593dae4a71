package convergence

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

var (
	noon  = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	speed = twin.Leaf{Name: "speed"}
	level = twin.Leaf{Name: "level"}
)

func num(text string) any { return json.Number(text) }

// holding is a twin of version 3 that holds desired values, each of version 2.
func holding(values map[twin.Leaf]any) *twin.Twin {
	t := &twin.Twin{
		DeviceID: "press", ETag: twin.ETagOf(3), DeviceETag: "identity", Version: 5, DesiredVersion: 3, ConnectionState: Connected,
		Properties: map[twin.Leaf]twin.Property{}, Components: map[string]bool{},
	}
	for leaf, value := range values {
		t.Properties[leaf] = twin.Property{Desired: &twin.Desired{Value: value, Version: 2}}
	}
	return t
}

// owning is what status says of a value that is the object's.
func owning(leaf twin.Leaf, value string) v1alpha1.PropertyStatus {
	return v1alpha1.PropertyStatus{
		Name: leaf.Name, State: StateOf(twin.StateApplied), Owned: true, Desired: JSONOf(num(value)), DesiredVersion: 2, LastTransitionTime: metav1.NewTime(noon.Add(-5 * time.Second)),
	}
}

// started is a pass over an object that declares values, whose status is about the twin of holding.
func started(declared twin.Declaration, status []v1alpha1.PropertyStatus, edits ...func(*State)) *State {
	device := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: "press", Generation: 2}}
	device.Spec.TwinAPI = v1alpha1.TwinAPIDeviceTwin
	device.Spec.AcknowledgeWithinSeconds = 15
	device.Status = v1alpha1.PnPDeviceStatus{
		Twin:            &v1alpha1.TwinReference{Hub: testHost, DeviceID: "press", DeviceEtag: "identity", Etag: twin.ETagOf(3), Version: 5, DesiredVersion: 3},
		ConnectionState: Connected, Properties: status, ObservedGeneration: 2,
	}
	s := New(Facts{
		Device: device, Now: noon, Destination: testHost, Memory: &twin.Remembered{}, EventsTrusted: true,
		Hub: &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Name: "factory"}, Spec: v1alpha1.IoTHubSpec{HostName: testHost}},
	})
	s.Declared, s.Conformity = declared, &declaration.Conformity{}
	for _, edit := range edits {
		edit(s)
	}
	s.Recall(IsOfHost(device, testHost))
	return s
}

// leaving makes the pass one that clears.
func leaving(s *State) { s.IsLeaving, s.Declared = true, twin.Declaration{} }

func names(changes []twin.Change) string {
	var all []string
	for _, c := range changes {
		all = append(all, string(c.Cause)+" "+c.Leaf.String())
	}
	return strings.Join(all, ", ")
}

// TestNextBegins has each reason to read the hub, or not to, by itself.
func TestNextBegins(t *testing.T) {
	speedIs := func(value string) twin.Declaration { return twin.Declaration{speed: num(value)} }
	owns := []v1alpha1.PropertyStatus{owning(speed, "5")}
	for name, c := range map[string]struct {
		declared twin.Declaration
		status   []v1alpha1.PropertyStatus
		edit     func(*State)
		want     Do
	}{
		"status suffices":                               {speedIs("5"), owns, nil, Done},
		"an edit of what is known costs no read":        {speedIs("6"), owns, nil, Write},
		"a declared property that status does not know": {twin.Declaration{speed: num("5"), level: num("1")}, owns, nil, Read},
		"status is about another host":                  {speedIs("5"), owns, func(s *State) { s.Device.Status.Twin.Hub = "other.azure-devices.net" }, Read},
		"status is about another endpoint":              {speedIs("5"), owns, func(s *State) { s.Device.Status.Twin.Hub = testHost + "@elsewhere" }, Read},
		"status is about another device":                {speedIs("5"), owns, func(s *State) { s.Device.Spec.DeviceID = "other" }, Read},
		"status is unconfirmed":                         {speedIs("5"), owns, func(s *State) { s.Device.Status.Twin.Unconfirmed = true }, Read},
		"memory is in doubt":                            {speedIs("5"), owns, func(s *State) { s.Memory.IsDoubtful = true }, Read},
		"a read was made for this pass": {speedIs("5"), owns, func(s *State) {
			s.Memory.IsDoubtful, s.Resumes, s.Memory.Newest = true, true, holding(map[twin.Leaf]any{speed: num("5")})
		}, Done},
		"memory has a newer twin":         {speedIs("5"), owns, func(s *State) { s.Memory.Newest = holding(map[twin.Leaf]any{speed: num("7")}) }, Write},
		"a part of a newer twin suffices": {speedIs("5"), owns, func(s *State) { s.Memory.Newest = partial(holding(map[twin.Leaf]any{speed: num("5")})) }, Done},
		"a part of a newer twin does not": {twin.Declaration{level: num("1")}, owns, func(s *State) { s.Memory.Newest = partial(holding(nil)) }, Read},
		"someone asks for a read":         {speedIs("5"), owns, annotated(v1alpha1.AnnotationReconcileRequestedAt, "now"), Read},
		"someone asked for a read that was made": {speedIs("5"), owns, func(s *State) {
			annotated(v1alpha1.AnnotationReconcileRequestedAt, "now")(s)
			s.Device.Status.LastHandledReconcileAt = "now"
		}, Done},
		"the device is of another model":                     {speedIs("5"), owns, func(s *State) { s.Device.Spec.ModelID = "dtmi:a;1" }, Read},
		"a follow-up is due, and no events tell":             {speedIs("5"), owns, func(s *State) { s.EventsTrusted, s.FollowUpDue = false, true }, Read},
		"a follow-up is due, and events tell":                {speedIs("5"), owns, func(s *State) { s.FollowUpDue = true }, Done},
		"a follow-up is due of one that is offline":          {speedIs("5"), owns, func(s *State) { s.FollowUpDue, s.Device.Status.ConnectionState = true, Disconnected }, Read},
		"resumed, and no events told meanwhile":              {speedIs("5"), owns, func(s *State) { s.EventsTrusted = false; suspendedBefore(s) }, Read},
		"resumed, and events told":                           {speedIs("5"), owns, suspendedBefore, Done},
		"status records what an earlier process sent":        {speedIs("6"), []v1alpha1.PropertyStatus{sending("5", "6", 4)}, nil, Read},
		"status records what was certainly not sent":         {speedIs("6"), []v1alpha1.PropertyStatus{sending("5", "6", 4)}, func(s *State) { s.Memory.Withheld = map[twin.Leaf]twin.Sent{speed: {Value: num("6"), Version: 4}} }, Write},
		"status records what this process knows the fate of": {speedIs("5"), []v1alpha1.PropertyStatus{sending("5", "6", 4)}, func(s *State) { s.Memory.Resolved = map[twin.Leaf]twin.Sent{speed: {Value: num("6"), Version: 4}} }, Done},
		"status shows less than it is to":                    {speedIs("5"), owns, func(s *State) { s.Device.Spec.Reported = v1alpha1.ReportedAll }, Read},
		"the device is overdue, and was not read since":      {speedIs("5"), owns, func(s *State) { s.Now = noon.Add(time.Hour) }, Read},
		"the device is overdue, and was read since":          {speedIs("5"), owns, func(s *State) { s.Now = noon.Add(time.Hour); s.Memory.ReadAt = s.Now }, Done},
		"a fight may be taken up again":                      {speedIs("5"), []v1alpha1.PropertyStatus{fought(noon.Add(-FightWindow))}, nil, Read},
		"a fight is left alone":                              {twin.Declaration{}, []v1alpha1.PropertyStatus{fought(noon.Add(-time.Minute))}, nil, Read}, // it left the declaration
		"what is to be removed is looked at first":           {twin.Declaration{}, owns, nil, Read},
		"an object that leaves reads first":                  {speedIs("5"), owns, leaving, Read},
		"the DeviceModel is asked":                           {speedIs("5"), owns, func(s *State) { s.Conformity = nil }, Check},
	} {
		t.Run(name, func(t *testing.T) {
			edit := c.edit
			if edit == nil {
				edit = func(*State) {}
			}
			s := started(c.declared, c.status, edit)
			if got := s.Next(); got.Do != c.want {
				t.Errorf("got %+v, want %d", got, c.want)
			}
			if first, again := s.Next(), s.Next(); first.Do != again.Do {
				t.Errorf("asked twice, the steps are %d and %d", first.Do, again.Do)
			}
		})
	}
}

func partial(t *twin.Twin) *twin.Twin {
	t.Partial = true
	return t
}

func annotated(key, value string) func(*State) {
	return func(s *State) { s.Device.Annotations = map[string]string{key: value} }
}

func suspendedBefore(s *State) {
	s.Device.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSuspended, Status: metav1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon.Add(-time.Hour))}}
}

// sending is what status says of a value that is held while another one is about to be sent.
func sending(held, sent string, version int64) v1alpha1.PropertyStatus {
	p := owning(speed, held)
	p.Sent = &v1alpha1.SentValue{Value: *JSONOf(num(sent)), Version: version}
	return p
}

// fought is what status says of a value that others kept changing since a time.
func fought(since time.Time) v1alpha1.PropertyStatus {
	p := owning(speed, "9")
	p.State = StateOf(twin.StateDrifted)
	p.CorrectedAt = []metav1.Time{metav1.NewTime(since), metav1.NewTime(since), metav1.NewTime(since)}
	return p
}

// TestNextAfterARead has a pass that read the twin.
func TestNextAfterARead(t *testing.T) {
	by := func(configuration string) *twin.Twin {
		now := holding(map[twin.Leaf]any{speed: num("9")})
		now.Properties[speed].Desired.By = configuration
		return now
	}
	for name, c := range map[string]struct {
		declared twin.Declaration
		status   []v1alpha1.PropertyStatus
		edit     func(*State)
		read     *twin.Twin
		want     Do
		changes  string
		reason   string
	}{
		"all is as declared":          {declared: twin.Declaration{speed: num("5")}, read: holding(map[twin.Leaf]any{speed: num("5")}), want: Done},
		"a new leaf is claimed first": {declared: twin.Declaration{speed: num("5")}, read: holding(nil), want: Claim},
		"a new leaf that status records is written": {
			declared: twin.Declaration{speed: num("5")}, status: []v1alpha1.PropertyStatus{{Name: "speed", State: StateOf(twin.StatePending), Sent: &v1alpha1.SentValue{Value: *JSONOf(num("5")), Version: 4}}},
			read: holding(nil), want: Write, changes: "New speed",
		},
		"a new leaf that status records of another version is claimed anew": {
			declared: twin.Declaration{speed: num("5")}, status: []v1alpha1.PropertyStatus{{Name: "speed", State: StateOf(twin.StatePending), Sent: &v1alpha1.SentValue{Value: *JSONOf(num("5")), Version: 3}}},
			read: holding(nil), want: Claim,
		},
		"a new leaf whose record the API server dropped is written": {
			declared: twin.Declaration{speed: num("5")}, edit: func(s *State) { s.Memory.Withheld = map[twin.Leaf]twin.Sent{speed: {Value: num("5"), Version: 4}} },
			read: holding(nil), want: Write, changes: "New speed",
		},
		"what another writer changed is put back": {
			declared: twin.Declaration{speed: num("5")}, status: []v1alpha1.PropertyStatus{owning(speed, "5")}, read: holding(map[twin.Leaf]any{speed: num("9")}), want: Write, changes: "Drifted speed",
		},
		"what a configuration of the hub writes is left alone": {
			declared: twin.Declaration{speed: num("5")}, status: []v1alpha1.PropertyStatus{owning(speed, "5")}, read: by("winter"), want: Done,
		},
		"what was put back too often is left alone": {
			declared: twin.Declaration{speed: num("5")}, status: []v1alpha1.PropertyStatus{fought(noon.Add(-time.Minute))}, read: holding(map[twin.Leaf]any{speed: num("9")}), want: Done,
		},
		"what was put back too often as memory knows, too": {
			declared: twin.Declaration{speed: num("5")}, status: []v1alpha1.PropertyStatus{owning(speed, "5")}, read: holding(map[twin.Leaf]any{speed: num("9")}), want: Done,
			edit: func(s *State) {
				s.Memory.Corrections = map[twin.Leaf][]time.Time{speed: {noon.Add(-3), noon.Add(-2), noon.Add(-1)}}
			},
		},
		"what left the declaration needs a permit": {
			status: []v1alpha1.PropertyStatus{owning(speed, "5")}, read: holding(map[twin.Leaf]any{speed: num("5")}), want: Permit, changes: "Removed speed",
		},
		"what left the declaration and is another writer's is let go": {
			status: []v1alpha1.PropertyStatus{owning(speed, "5")}, read: holding(map[twin.Leaf]any{speed: num("9")}), want: Done,
		},
		"an IoTHub that is suspended": {
			declared: twin.Declaration{speed: num("6")}, status: []v1alpha1.PropertyStatus{owning(speed, "5")}, edit: func(s *State) { s.Hub.Spec.Suspend = true },
			read: holding(map[twin.Leaf]any{speed: num("5")}), want: End, reason: v1alpha1.ReasonHubSuspended,
		},
		"an IoTHub that is suspended, and nothing to write": {
			declared: twin.Declaration{speed: num("5")}, status: []v1alpha1.PropertyStatus{owning(speed, "5")}, edit: func(s *State) { s.Hub.Spec.Suspend = true },
			read: holding(map[twin.Leaf]any{speed: num("5")}), want: Done,
		},
		"a device of another model": {
			declared: twin.Declaration{speed: num("6")}, edit: func(s *State) { s.Device.Spec.ModelID = "dtmi:a;1" }, read: holding(nil), want: End, reason: v1alpha1.ReasonModelMismatch,
		},
		"a declaration that the model forbids": {
			declared: twin.Declaration{speed: num("6")}, edit: func(s *State) { s.Conformity = &declaration.Conformity{Model: "m", Violations: []string{"speed: no"}} },
			read: holding(nil), want: End, reason: v1alpha1.ReasonModelViolation,
		},
		"a model that only warns": {
			declared: twin.Declaration{speed: num("6")}, edit: func(s *State) {
				s.Conformity = &declaration.Conformity{Model: "m", Violations: []string{"speed: no"}, Warn: true}
			},
			read: holding(nil), want: Claim,
		},
		"a model that is not ready": {
			declared: twin.Declaration{speed: num("6")}, edit: func(s *State) {
				s.Conformity = &declaration.Conformity{Model: "m", Of: "a uid/1", NotReady: "it is fetched"}
			},
			read: holding(nil), want: End, reason: v1alpha1.ReasonModelNotReady,
		},
		"a model that is not ready any more": {
			declared: twin.Declaration{speed: num("6")}, edit: func(s *State) {
				s.Conformity = &declaration.Conformity{Model: "m", Of: "a uid/1", NotReady: "it is fetched"}
				s.Device.Status.CheckedGeneration, s.Device.Status.CheckedModel = 2, "a uid/1"
			},
			read: holding(nil), want: Claim,
		},
		"one that observes": {
			declared: twin.Declaration{speed: num("6")}, edit: func(s *State) { s.Device.Spec.Management = v1alpha1.ManagementObserve }, read: holding(nil), want: Done,
		},
		"a doubt of the model, beside a declared one": {
			declared: twin.Declaration{speed: num("6")}, status: []v1alpha1.PropertyStatus{owning(speed, "5")}, read: modelled(holding(map[twin.Leaf]any{speed: num("5")})), want: Read,
			edit: func(s *State) { s.Device.Spec.ModelID, s.Memory.IsModelInDoubt = "dtmi:a;1", true },
		},
		"a doubt of the model, beside none": {
			declared: twin.Declaration{speed: num("6")}, status: []v1alpha1.PropertyStatus{owning(speed, "5")}, read: holding(map[twin.Leaf]any{speed: num("5")}), want: Write, changes: "Edited speed",
			edit: func(s *State) { s.Memory.IsModelInDoubt = true },
		},
		"an unanswered value that is asked to be sent again": {
			declared: twin.Declaration{speed: num("5")}, status: []v1alpha1.PropertyStatus{owning(speed, "5")}, read: holding(map[twin.Leaf]any{speed: num("5")}), want: Write, changes: "Edited speed",
			edit: annotated(v1alpha1.AnnotationResendRequestedAt, "now"),
		},
		"a deletion of what is the object's": {
			status: []v1alpha1.PropertyStatus{owning(speed, "5")}, edit: leaving, read: holding(map[twin.Leaf]any{speed: num("5"), level: num("1")}), want: Permit, changes: "Removed speed",
		},
		"a deletion of one that nothing is left of": {
			status: []v1alpha1.PropertyStatus{owning(speed, "5")}, edit: leaving, read: holding(nil), want: Done,
		},
		"a deletion from a device of another model": {
			status: []v1alpha1.PropertyStatus{owning(speed, "5")}, edit: func(s *State) { leaving(s); s.Device.Spec.ModelID = "dtmi:a;1" },
			read: holding(map[twin.Leaf]any{speed: num("5")}), want: Permit, changes: "Removed speed",
		},
		"a deletion asks no DeviceModel": {
			status: []v1alpha1.PropertyStatus{owning(speed, "5")}, edit: func(s *State) { leaving(s); s.Conformity = nil },
			read: holding(map[twin.Leaf]any{speed: num("5")}), want: Permit, changes: "Removed speed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			edits := []func(*State){func(s *State) { s.Memory.IsDoubtful = true }}
			if c.edit != nil {
				edits = append(edits, c.edit)
			}
			s := started(c.declared, c.status, edits...)
			if got := s.Next(); got.Do != Read {
				t.Fatalf("got %+v, want a read", got)
			}
			s.Took(c.read)
			got := s.Next()
			reason := ""
			if got.Halt != nil {
				reason = got.Halt.Reason
			}
			if got.Do != c.want || names(got.Changes) != c.changes || reason != c.reason {
				t.Errorf("got %d %q %q, want %d %q %q", got.Do, names(got.Changes), reason, c.want, c.changes, c.reason)
			}
		})
	}
}

func modelled(t *twin.Twin) *twin.Twin {
	t.ModelID = "dtmi:a;1"
	return t
}

// read takes the first read of a pass.
func (s *State) read(t *testing.T, now *twin.Twin) {
	t.Helper()
	s.Memory.IsDoubtful = true
	if got := s.Next(); got.Do != Read {
		t.Fatalf("got %+v, want a read", got)
	}
	s.Took(now)
}

func TestNextReleasesWhatIsAnotherWriters(t *testing.T) {
	s := started(twin.Declaration{}, []v1alpha1.PropertyStatus{owning(speed, "5"), owning(level, "1")})
	s.read(t, holding(map[twin.Leaf]any{speed: num("9")}))
	got := s.Next()
	if diff := cmp.Diff([]twin.Leaf{level, speed}, got.Released); got.Do != Done || !got.IsSettled || diff != "" {
		t.Errorf("got %+v (-want +got):\n%s", got, diff)
	}
	if len(s.Owned.Lost) != 0 {
		t.Errorf("%v still count as the object's", s.Owned.Lost)
	}
}

// TestPermits has the brake decide about removals beside an edit.
func TestPermits(t *testing.T) {
	for name, c := range map[string]struct {
		declared twin.Declaration
		decide   func(*State)
		want     Do
		changes  string
	}{
		"allowed, alone":           {twin.Declaration{}, (*State).Permitted, Write, "Removed speed"},
		"allowed, beside an edit":  {twin.Declaration{level: num("2")}, (*State).Permitted, Write, "Edited level, Removed speed"},
		"withheld, alone":          {twin.Declaration{}, func(s *State) { s.NotPermitted("too many") }, End, ""},
		"withheld, beside an edit": {twin.Declaration{level: num("2")}, func(s *State) { s.NotPermitted("too many") }, Write, "Edited level"},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(c.declared, []v1alpha1.PropertyStatus{owning(level, "1"), owning(speed, "5")})
			s.read(t, holding(map[twin.Leaf]any{speed: num("5"), level: num("1")}))
			if len(c.declared) == 0 { // level leaves as well
				delete(s.Owned.Held, level)
			}
			if got := s.Next(); got.Do != Permit || names(got.Changes) != "Removed speed" {
				t.Fatalf("got %+v, want to ask for a permit", got)
			}
			c.decide(s)
			got := s.Next()
			if got.Do != c.want || names(got.Changes) != c.changes {
				t.Errorf("got %d %q, want %d %q", got.Do, names(got.Changes), c.want, c.changes)
			}
			if got.Do == End && (got.Halt.Reason != v1alpha1.ReasonMassRemoval || got.Halt.Message != "too many" || !got.Halt.Stalled) {
				t.Errorf("it says %+v", got.Halt)
			}
		})
	}
}

// TestAPermitIsOfOneRound has a removal meet another writer.
func TestAPermitIsOfOneRound(t *testing.T) {
	s := started(twin.Declaration{}, []v1alpha1.PropertyStatus{owning(speed, "5")})
	s.read(t, holding(map[twin.Leaf]any{speed: num("5")}))
	s.Permitted()
	if got := s.Next(); got.Do != Write {
		t.Fatalf("got %+v, want a write", got)
	}
	s.NotWritten(Failure{DidNothing: true, IsStale: true})
	if got := s.Next(); got.Do != Read {
		t.Fatalf("got %+v, want a read", got)
	}
	s.Took(holding(map[twin.Leaf]any{speed: num("5")}))
	if got := s.Next(); got.Do != Permit {
		t.Errorf("got %+v, want to ask for a permit once more", got)
	}
}

// TestRoundsEnd has another writer be faster each time.
func TestRoundsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		last string // what the hub holds in the end
		want Do
	}{
		"and the twin is still another one":         {"9", Contended},
		"and another writer wrote what is declared": {"6", Done},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(twin.Declaration{speed: num("6")}, []v1alpha1.PropertyStatus{owning(speed, "5")})
			s.read(t, holding(map[twin.Leaf]any{speed: num("5")}))
			for round := range maxRounds {
				if got := s.Next(); got.Do != Write {
					t.Fatalf("round %d: got %+v, want a write", round, got)
				}
				s.NotWritten(Failure{DidNothing: true, IsStale: true})
				if got := s.Next(); got.Do != Read {
					t.Fatalf("round %d: got %+v, want a read", round, got)
				}
				value := "5"
				if round == maxRounds-1 {
					value = c.last
				}
				s.Took(holding(map[twin.Leaf]any{speed: num(value)}))
			}
			if got := s.Next(); got.Do != c.want {
				t.Errorf("got %+v, want %d", got, c.want)
			}
		})
	}
}

// TestAfterAFailedWrite has each kind of failure.
func TestAfterAFailedWrite(t *testing.T) {
	for name, c := range map[string]struct {
		dialect     v1alpha1.TwinAPI
		identity    bool // of a workload
		failure     Failure
		want        Do
		blocked     bool
		unconfirmed bool
		reason      string
	}{
		"it may have been done":           {v1alpha1.TwinAPIDeviceTwin, false, Failure{}, Fail, false, true, ""},
		"it was not done":                 {v1alpha1.TwinAPIDeviceTwin, false, Failure{DidNothing: true}, Fail, false, false, ""},
		"another writer was faster":       {v1alpha1.TwinAPIDeviceTwin, false, Failure{DidNothing: true, IsStale: true}, Read, false, false, ""},
		"the patch was invalid":           {v1alpha1.TwinAPIDeviceTwin, false, Failure{DidNothing: true, IsInvalid: true, IsTerminal: true}, Read, false, false, ""},
		"it is refused":                   {v1alpha1.TwinAPIDeviceTwin, false, Failure{DidNothing: true, IsTerminal: true}, Fail, true, true, ""},
		"the device is not known":         {v1alpha1.TwinAPIDeviceTwin, false, Failure{DidNothing: true, IsTerminal: true, IsNotFound: true}, Read, true, true, ""},
		"the credential is refused":       {v1alpha1.TwinAPIDigitalTwin, false, Failure{DidNothing: true, IsTerminal: true, IsUnauthorized: true}, Fail, true, true, ""},
		"no tokens for digital twins":     {v1alpha1.TwinAPIDigitalTwin, true, Failure{DidNothing: true, IsTerminal: true, RefusesCredential: true}, End, true, true, v1alpha1.ReasonHubRefused},
		"a token is refused for the rest": {v1alpha1.TwinAPIDeviceTwin, true, Failure{DidNothing: true, IsTerminal: true, RefusesCredential: true}, Fail, true, true, ""},
		"a digital twin that conforms":    {v1alpha1.TwinAPIDigitalTwin, false, Failure{DidNothing: true, IsTerminal: true}, Fail, true, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(twin.Declaration{speed: num("6")}, []v1alpha1.PropertyStatus{owning(speed, "5")}, func(s *State) {
				s.Device.Spec.TwinAPI = c.dialect
				if c.identity {
					s.Hub.Spec.Authentication.WorkloadIdentity = &v1alpha1.WorkloadIdentity{}
				}
			})
			s.read(t, holding(map[twin.Leaf]any{speed: num("5")}))
			if got := s.Next(); got.Do != Write {
				t.Fatalf("got %+v, want a write", got)
			}
			s.NotWritten(c.failure)
			got := s.Next()
			if got.Do != c.want || got.IsBlocked != c.blocked || s.IsUnconfirmed != c.unconfirmed {
				t.Errorf("got %+v, unconfirmed: %t", got, s.IsUnconfirmed)
			}
			if got.Do == End && (got.Halt.Reason != c.reason || got.Halt.Because != Refusal || got.Halt.After != RetryTerminal) {
				t.Errorf("it says %+v", got.Halt)
			}
			if again := s.Next(); again.Do != got.Do {
				t.Errorf("asked twice, the step is %d", again.Do)
			}
		})
	}
}

// TestAPatchIsRenderedAnewOnce has the hub find two patches invalid.
func TestAPatchIsRenderedAnewOnce(t *testing.T) {
	s := started(twin.Declaration{speed: num("6")}, []v1alpha1.PropertyStatus{owning(speed, "5")})
	invalid := Failure{DidNothing: true, IsInvalid: true, IsTerminal: true}
	for _, want := range []Do{Write, Read, Write, Fail} {
		got := s.Next()
		if got.Do != want {
			t.Fatalf("got %+v, want %d", got, want)
		}
		switch got.Do {
		case Write:
			s.NotWritten(invalid)
		case Read:
			s.Took(holding(map[twin.Leaf]any{speed: num("5")}))
		}
	}
}

// TestARefusalIsExplainedByARead has a twin that was believed hold what a digital twin cannot.
func TestARefusalIsExplainedByARead(t *testing.T) {
	odd := holding(map[twin.Leaf]any{speed: num("5"), {Name: "no name"}: num("1")})
	for name, c := range map[string]struct {
		notFound bool
		read     *twin.Twin
		want     Do
		blame    []string
	}{
		"it does":                  {false, odd, End, []string{"no name"}},
		"it does not":              {false, holding(map[twin.Leaf]any{speed: num("5")}), Fail, nil},
		"the device is back again": {true, odd, Fail, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(twin.Declaration{speed: num("6")}, []v1alpha1.PropertyStatus{owning(speed, "5")}, func(s *State) { s.Device.Spec.TwinAPI = v1alpha1.TwinAPIDigitalTwin })
			if got := s.Next(); got.Do != Write {
				t.Fatalf("got %+v, want a write", got)
			}
			s.NotWritten(Failure{DidNothing: true, IsTerminal: true, IsNotFound: c.notFound})
			if got := s.Next(); got.Do != Read {
				t.Fatalf("got %+v, want a read", got)
			}
			s.Took(c.read)
			got := s.Next()
			if diff := cmp.Diff(c.blame, got.Blame); got.Do != c.want || !got.IsBlocked || diff != "" {
				t.Errorf("got %+v (-want +got):\n%s", got, diff)
			}
			if got.Do == End && (got.Halt.Because != Dialect || got.Halt.Reason != v1alpha1.ReasonTwinNotConformant || !strings.Contains(got.Halt.Message, "no name")) {
				t.Errorf("it says %+v", got.Halt)
			}
		})
	}
}

// TestADeletionGoesThroughTheOtherDialect has the digital twin not be patched.
func TestADeletionGoesThroughTheOtherDialect(t *testing.T) {
	odd := holding(map[twin.Leaf]any{speed: num("5"), {Name: "no name"}: num("1")})
	s := started(twin.Declaration{}, []v1alpha1.PropertyStatus{owning(speed, "5")}, leaving, func(s *State) { s.Device.Spec.TwinAPI = v1alpha1.TwinAPIDigitalTwin })
	s.read(t, odd)
	for range 2 {
		if got := s.Next(); got.Do != Permit {
			t.Fatalf("got %+v, want to ask for a permit", got)
		}
		s.Permitted()
		if got := s.Next(); got.Do != Write {
			t.Fatalf("got %+v, want a write", got)
		}
		if s.Dialect() == twin.DeviceTwin {
			return
		}
		s.NotWritten(Failure{DidNothing: true, IsTerminal: true})
	}
	t.Error("it goes through the digital twin once more")
}

func TestAfterAReadThatFailed(t *testing.T) {
	for name, isGone := range map[string]bool{"the hub failed": false, "the hub does not know the device": true} {
		t.Run(name, func(t *testing.T) {
			s := started(twin.Declaration{speed: num("5")}, []v1alpha1.PropertyStatus{owning(speed, "5")})
			s.Twin = holding(nil)
			s.NotRead(isGone)
			if !s.IsUnconfirmed || s.Gone != isGone || s.WasRead != isGone || (s.Twin == nil) != isGone {
				t.Errorf("unconfirmed: %t, gone: %t, read: %t, twin: %v", s.IsUnconfirmed, s.Gone, s.WasRead, s.Twin)
			}
		})
	}
}

// TestSuspended has a pass over a suspended object. It never asks the hub.
func TestSuspended(t *testing.T) {
	owns := []v1alpha1.PropertyStatus{owning(speed, "5")}
	for name, c := range map[string]struct {
		declared twin.Declaration
		edit     func(*State)
		want     Do
		says     string
	}{
		"nothing is left to do":            {twin.Declaration{speed: num("5")}, nil, Done, ""},
		"something is left to write":       {twin.Declaration{speed: num("6")}, nil, End, "Suspended since 2026-11-30T12:00:00Z: not written: speed. Resume the object to go on"},
		"something is left to remove":      {twin.Declaration{}, nil, End, "not removed: speed"},
		"both":                             {twin.Declaration{level: num("1")}, nil, End, "not written: level; not removed: speed"},
		"the hub did not know the device":  {twin.Declaration{speed: num("5")}, func(s *State) { s.Memory.IsAbsent = true }, End, "the hub does not know the device"},
		"status is about another endpoint": {twin.Declaration{speed: num("5")}, func(s *State) { s.Device.Status.Twin.Hub += "@other" }, End, "it is not known whether the hub holds the declared values"},
		"one that observes something else": {twin.Declaration{speed: num("6")}, func(s *State) { s.Device.Spec.Management = v1alpha1.ManagementObserve }, Done, ""},
		"one that observes what is not known": {twin.Declaration{level: num("6")}, func(s *State) { s.Device.Spec.Management = v1alpha1.ManagementObserve }, End,
			"it is not known whether the hub holds the declared values"},
		"doubts are no matter": {twin.Declaration{speed: num("5")}, func(s *State) { s.Memory.IsDoubtful = true }, Done, ""},
		"the model is compared": {twin.Declaration{speed: num("5")}, func(s *State) { s.Device.Spec.ModelID = "dtmi:a;1" }, End,
			`The device has not announced any model; spec.modelID is "dtmi:a;1"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(c.declared, owns, func(s *State) {
				s.Device.Spec.Suspend = true
				if c.edit != nil {
					c.edit(s)
				}
			})
			for range 2 {
				got := s.Next()
				if got.Do != c.want {
					t.Fatalf("got %+v, want %d", got, c.want)
				}
				if got.Do == End && !strings.Contains(got.Halt.Message, c.says) {
					t.Errorf("it says %q, want %q", got.Halt.Message, c.says)
				}
			}
		})
	}
}

// TestRender has names that are a component on one side and a property on the other.
func TestRender(t *testing.T) {
	inComponent := twin.Leaf{Component: "motor", Name: "speed"}
	plain := twin.Leaf{Name: "motor"}
	write := twin.Change{Leaf: inComponent, Cause: twin.New, Value: num("1")}
	removal := twin.Change{Leaf: plain, Cause: twin.Removed, Was: &twin.Desired{Value: num("7"), Version: 2}}
	for name, c := range map[string]struct {
		changes []twin.Change
		holds   map[twin.Leaf]any
		api     v1alpha1.TwinAPI
		want    string // causes of what is sent, empty: nothing
		says    string
	}{
		"a value":                             {[]twin.Change{{Leaf: speed, Cause: twin.New, Value: num("1")}}, nil, v1alpha1.TwinAPIDeviceTwin, "New speed", ""},
		"a value through the digital twin":    {[]twin.Change{{Leaf: speed, Cause: twin.New, Value: num("1")}}, nil, v1alpha1.TwinAPIDigitalTwin, "New speed", ""},
		"ours is in the way, and goes first":  {[]twin.Change{write, removal}, map[twin.Leaf]any{plain: num("7")}, v1alpha1.TwinAPIDigitalTwin, "Removed motor", ""},
		"another writer's is, and it is said": {[]twin.Change{write}, map[twin.Leaf]any{plain: num("7")}, v1alpha1.TwinAPIDigitalTwin, "", "if that is meant, set twinAPI: DeviceTwin"},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(twin.Declaration{}, nil, func(s *State) { s.Device.Spec.TwinAPI = c.api })
			s.Took(holding(c.holds))
			patch, isRendered, err := s.Render(c.changes)
			if err != nil || isRendered != (c.want != "") || names(patch.Changes) != c.want {
				t.Fatalf("got %q, rendered: %t, %v", names(patch.Changes), isRendered, err)
			}
			if isRendered {
				if len(patch.Body) == 0 || patch.ETag != s.Twin.ETag || patch.Dialect != s.Dialect() {
					t.Errorf("got %+v", patch)
				}
				return
			}
			got := s.Next()
			if got.Do != End || !got.IsBlocked || got.Halt.Because != Dialect || !strings.Contains(got.Halt.Message, c.says) || !s.IsUnconfirmed {
				t.Errorf("got %+v: %+v", got, got.Halt)
			}
		})
	}
}

func TestAppliedOnlyIfNothingElseHappened(t *testing.T) {
	s := started(twin.Declaration{speed: num("6")}, nil)
	s.Took(holding(map[twin.Leaf]any{speed: num("5")}))
	changes := []twin.Change{{Leaf: speed, Cause: twin.Edited, Value: num("6")}}
	now := s.Applied(changes, twin.ETagOf(4))
	if now == nil || now.DesiredVersion != 4 || !now.Holds(speed, num("6")) {
		t.Errorf("one step further: %+v", now)
	}
	for name, etag := range map[string]string{"two steps further": twin.ETagOf(5), "no step": twin.ETagOf(3), "no counter": "x"} {
		if now := s.Applied(changes, etag); now != nil {
			t.Errorf("%s: %+v", name, now)
		}
	}
}

// TestAccepted has the hub take changes of each cause.
func TestAccepted(t *testing.T) {
	for cause, c := range map[twin.Cause]struct{ written, corrected, tells bool }{
		twin.New:     {true, false, false},
		twin.Edited:  {true, false, false},
		twin.Drifted: {true, true, true},
		twin.Removed: {false, false, true},
	} {
		t.Run(string(cause), func(t *testing.T) {
			s := started(twin.Declaration{speed: num("6")}, []v1alpha1.PropertyStatus{owning(speed, "5")})
			s.Took(holding(map[twin.Leaf]any{speed: num("5")}))
			s.Accepted([]twin.Change{{Leaf: speed, Cause: cause, Value: num("6")}}, holding(map[twin.Leaf]any{speed: num("6")}))
			if s.Written[speed] != c.written || s.corrected[speed] != c.corrected || s.MustTell != c.tells || !s.Wrote || !s.resent {
				t.Errorf("written: %t, corrected: %t, tells: %t", s.Written[speed], s.corrected[speed], s.MustTell)
			}
			if got := len(s.CorrectionsOf(speed)); (got == 1) != c.corrected {
				t.Errorf("%d corrections are known", got)
			}
			if d := s.TakeDuties(); !d.Settle || !d.Keep || s.TakeDuties().Settle {
				t.Errorf("memory is told %+v", d)
			}
		})
	}
	s := started(twin.Declaration{speed: num("6")}, []v1alpha1.PropertyStatus{owning(speed, "5")})
	s.Took(holding(map[twin.Leaf]any{speed: num("5")}))
	s.Accepted([]twin.Change{{Leaf: speed, Cause: twin.Edited, Value: num("6")}}, nil)
	if got := s.Next(); got.Do != Read {
		t.Errorf("an answer that does not tell is followed by %+v, want a read", got)
	}
}

// TestWhatIsMergedIsSeenFirst has an object be merged into a value that status has no room for.
func TestWhatIsMergedIsSeenFirst(t *testing.T) {
	omitted := JSONOf(storable.Decode(storable.Omit(map[string]any{"a": "b"}, storable.TooLarge)))
	for name, c := range map[string]struct {
		value any
		held  string
		api   v1alpha1.TwinAPI
		want  bool
	}{
		"an object into one that is not seen": {map[string]any{"a": "c"}, "omitted", v1alpha1.TwinAPIDeviceTwin, true},
		"an object into one that is":          {map[string]any{"a": "c"}, "", v1alpha1.TwinAPIDeviceTwin, false},
		"a text":                              {"c", "omitted", v1alpha1.TwinAPIDeviceTwin, false},
		"through the digital twin":            {map[string]any{"a": "c"}, "omitted", v1alpha1.TwinAPIDigitalTwin, false},
	} {
		t.Run(name, func(t *testing.T) {
			var was any = map[string]any{"a": "b"}
			if c.held == "omitted" {
				was = FactOf(omitted)
			}
			s := started(twin.Declaration{}, nil, func(s *State) { s.Device.Spec.TwinAPI = c.api })
			if got := s.needsRead([]twin.Change{{Leaf: speed, Value: c.value, Was: &twin.Desired{Value: was}}}); got != c.want {
				t.Errorf("is read first: %t, want %t", got, c.want)
			}
		})
	}
}
