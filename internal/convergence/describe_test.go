package convergence

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// TestIdentify has status be about a twin, or stay about the one before.
func TestIdentify(t *testing.T) {
	known := &v1alpha1.TwinReference{Hub: "old", DeviceID: "press", Etag: "a", DeviceEtag: "identity", DesiredUpdated: "2026-11-30T11:00:00Z"}
	now := func(edit func(*twin.Twin)) *twin.Twin {
		n := &twin.Twin{ETag: "b", DeviceETag: "identity", Version: 7, DesiredVersion: 4}
		edit(n)
		return n
	}
	for name, c := range map[string]struct {
		was         *v1alpha1.TwinReference
		now         *twin.Twin
		destination string
		hub         *v1alpha1.IoTHub
		want        *v1alpha1.TwinReference
	}{
		"nothing is known":                 {nil, nil, "", nil, &v1alpha1.TwinReference{DeviceID: "press"}},
		"the IoTHub is":                    {nil, nil, "", &v1alpha1.IoTHub{Spec: v1alpha1.IoTHubSpec{HostName: "h"}}, &v1alpha1.TwinReference{Hub: "h", DeviceID: "press"}},
		"the session is":                   {nil, nil, "h@x", &v1alpha1.IoTHub{Spec: v1alpha1.IoTHubSpec{HostName: "h"}}, &v1alpha1.TwinReference{Hub: "h@x", DeviceID: "press"}},
		"not read yet, at another hub now": {&v1alpha1.TwinReference{Hub: "old", DeviceID: "press"}, nil, "h", nil, &v1alpha1.TwinReference{Hub: "h", DeviceID: "press"}},
		"read before, at another hub now":  {known, nil, "h", nil, known},
		"read": {known, now(func(n *twin.Twin) { n.DesiredUpdated = noon }), "h", nil,
			&v1alpha1.TwinReference{Hub: "h", DeviceID: "press", DeviceEtag: "identity", Etag: "b", Version: 7, DesiredVersion: 4, DesiredUpdated: "2026-11-30T12:00:00Z"}},
		"believed, as status has it": {known, now(func(n *twin.Twin) { n.ETag = "a" }), "h", nil,
			&v1alpha1.TwinReference{Hub: "h", DeviceID: "press", DeviceEtag: "identity", Etag: "a", Version: 7, DesiredVersion: 4, DesiredUpdated: "2026-11-30T11:00:00Z"}},
		"known by an etag alone": {known, now(func(*twin.Twin) {}), "h", nil,
			&v1alpha1.TwinReference{Hub: "h", DeviceID: "press", DeviceEtag: "identity", Etag: "b", Version: 7, DesiredVersion: 4}},
		"another device of that etag": {known, now(func(n *twin.Twin) { n.ETag, n.DeviceETag = "a", "other" }), "h", nil,
			&v1alpha1.TwinReference{Hub: "h", DeviceID: "press", DeviceEtag: "other", Etag: "a", Version: 7, DesiredVersion: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			device := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: "press"}, Status: v1alpha1.PnPDeviceStatus{Twin: c.was}}
			s := New(Facts{Device: device, Hub: c.hub, Destination: c.destination})
			s.Twin = c.now
			s.identify()
			if diff := cmp.Diff(c.want, device.Status.Twin); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestKeepVersion has a change of counters alone cost no write of status.
func TestKeepVersion(t *testing.T) {
	was := v1alpha1.TwinReference{Hub: "h", Etag: "a", Version: 5, DesiredVersion: 3, DesiredUpdated: "2026-11-30T11:00:00Z"}
	later := v1alpha1.TwinReference{Hub: "h", Etag: "b", Version: 8, DesiredVersion: 4, DesiredUpdated: "2026-11-30T12:00:00Z"}
	reported := was
	reported.Version = 8
	for name, c := range map[string]struct {
		now  v1alpha1.TwinReference
		edit func(*State)
		kept bool
	}{
		"a report, by an event":                 {reported, nil, true},
		"another writer's tags, by an event":    {later, nil, true},
		"another writer's tags, by a read":      {later, func(s *State) { s.WasRead = true }, false},
		"a report, by a read":                   {reported, func(s *State) { s.WasRead = true }, true},
		"a write":                               {later, func(s *State) { s.Wrote = true }, false},
		"a report that status shows":            {reported, func(s *State) { s.Device.Status.Properties = []v1alpha1.PropertyStatus{{Name: "speed"}} }, false},
		"a component that status shows":         {reported, func(s *State) { s.Device.Status.Components = []v1alpha1.ComponentStatus{{Name: "motor"}} }, false},
		"a device that went offline":            {reported, func(s *State) { s.Device.Status.ConnectionState = Disconnected }, false},
		"a device that was disabled":            {reported, func(s *State) { s.Device.Status.DeviceStatus = Disabled }, false},
		"a device that announced a model":       {reported, func(s *State) { s.Device.Status.ModelID = "dtmi:a;1" }, false},
		"another twin of that etag":             {reported, func(s *State) { s.isInherited = true }, false},
		"the time of the write, for once":       {later, func(s *State) { s.WasRead = true; s.previous.Twin.DesiredUpdated, s.previous.Twin.Etag = "", "b" }, false},
		"another hub, by an event of that twin": {v1alpha1.TwinReference{Hub: "g", Etag: "a", Version: 5, DesiredVersion: 3}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			before, now := was, c.now
			s := New(Facts{Device: &v1alpha1.PnPDevice{Status: v1alpha1.PnPDeviceStatus{Twin: &now}}})
			s.previous = v1alpha1.PnPDeviceStatus{Twin: &before}
			if c.edit != nil {
				c.edit(s)
			}
			s.keepVersion(&s.previous)
			if kept := s.Device.Status.Twin.Version == was.Version && s.Device.Status.Twin.Etag == s.previous.Twin.Etag && s.Device.Status.Twin.Hub == was.Hub; kept != c.kept {
				t.Errorf("status is about %+v, kept: %t", s.Device.Status.Twin, kept)
			}
		})
	}
}

func TestUnconfirmed(t *testing.T) {
	other := &v1alpha1.TwinReference{Hub: "other", DeviceID: "press", Etag: "a"}
	was := &v1alpha1.PnPDeviceStatus{Twin: &v1alpha1.TwinReference{Unconfirmed: true}}
	for name, c := range map[string]struct {
		edit     func(*State)
		previous *v1alpha1.PnPDeviceStatus
		want     bool
	}{
		"all is known":                     {func(s *State) { s.Twin = holding(nil) }, nil, false},
		"a call left it open":              {func(s *State) { s.Twin, s.IsUnconfirmed = holding(nil), true }, nil, true},
		"it was open, and stays so":        {func(s *State) { s.Twin = holding(nil) }, was, true},
		"it was open, and was read":        {func(s *State) { s.Twin, s.WasRead = holding(nil), true }, was, false},
		"it was open, and was written":     {func(s *State) { s.Twin, s.Wrote = holding(nil), true }, was, false},
		"the declaration moved":            {func(s *State) { s.Device.Status.Twin = other }, nil, true},
		"the IoTHub is not there":          {func(s *State) { s.Hub = nil }, nil, true},
		"the IoTHub is there, and no more": {func(*State) {}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(nil, nil, c.edit)
			previous := c.previous
			if previous == nil {
				previous = &v1alpha1.PnPDeviceStatus{}
			}
			if got := s.unconfirmed(previous); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}

// TestDescribeConnection has the hub call a device one thing after another.
func TestDescribeConnection(t *testing.T) {
	at := func(minutes int) *metav1.Time {
		when := metav1.NewTime(noon.Add(time.Duration(minutes) * time.Minute))
		return &when
	}
	type connection struct {
		State, Status, Reason    string
		Since, Seen, StatusSince *metav1.Time
	}
	for name, c := range map[string]struct {
		was  connection
		now  twin.Twin
		want connection
	}{
		"seen for the first time": {connection{}, twin.Twin{ConnectionState: Connected}, connection{State: Connected, Seen: at(0)}},
		"the same again":          {connection{State: Connected, Since: at(-9), Seen: at(-8)}, twin.Twin{ConnectionState: Connected}, connection{State: Connected, Since: at(-9), Seen: at(-8)}},
		"another one, by a read":  {connection{State: Connected, Since: at(-9), Seen: at(-8)}, twin.Twin{ConnectionState: Disconnected}, connection{State: Disconnected, Seen: at(0)}},
		"another one, by an event": {connection{State: Connected, Since: at(-9), Seen: at(-8)}, twin.Twin{ConnectionState: Disconnected, ConnectionStateSince: at(-1).Time},
			connection{State: Disconnected, Since: at(-1), Seen: at(0)}},
		"disabled": {connection{State: Connected, Seen: at(-8)}, twin.Twin{ConnectionState: Connected, Status: "disabled", StatusReason: "stolen\n", StatusSince: at(-3).Time},
			connection{State: Connected, Seen: at(-8), Status: Disabled, Reason: storable.Text("stolen\n", 100), StatusSince: at(-3)}},
		"enabled again": {connection{State: Connected, Seen: at(-8), Status: Disabled, Reason: "stolen"}, twin.Twin{ConnectionState: Connected, Status: "enabled"},
			connection{State: Connected, Seen: at(0)}},
	} {
		t.Run(name, func(t *testing.T) {
			device := &v1alpha1.PnPDevice{Status: v1alpha1.PnPDeviceStatus{
				ConnectionState: c.was.State, ConnectionStateSince: c.was.Since, ConnectionStateSeenTime: c.was.Seen,
				DeviceStatus: c.was.Status, DeviceStatusReason: c.was.Reason,
			}}
			s := New(Facts{Device: device, Now: noon.Add(time.Millisecond)})
			s.Twin = &c.now
			s.describeConnection()
			st := device.Status
			got := connection{st.ConnectionState, st.DeviceStatus, st.DeviceStatusReason, st.ConnectionStateSince, st.ConnectionStateSeenTime, st.DeviceStatusSince}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestDescribeAbsence takes back what only the hub can tell.
func TestDescribeAbsence(t *testing.T) {
	seen := metav1.NewTime(noon)
	acknowledged := owning(speed, "5")
	acknowledged.State, acknowledged.Reported, acknowledged.AckCode, acknowledged.AckVersion = StateOf(twin.StateAcknowledged), JSONOf(num("5")), 200, 2
	status := []v1alpha1.PropertyStatus{fought(noon), {Name: "log", State: StateOf(twin.StateReported), Reported: JSONOf("x")}}
	status[0].Name = "level"
	for name, c := range map[string]struct {
		edit func(*State)
		want string
	}{
		"the hub does not know it":      {func(s *State) { s.Gone = true }, "level Drifted, speed Pending"},
		"the declaration is of another": {func(s *State) { s.Device.Status.Twin.Hub = "other" }, "level Drifted, log Reported, speed Acknowledged"},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(nil, append([]v1alpha1.PropertyStatus{*acknowledged.DeepCopy()}, status...), func(s *State) {
				s.Device.Status.ConnectionStateSeenTime, s.Device.Status.NotShown = &seen, 3
			})
			c.edit(s)
			s.describeAbsence()
			var got []string
			for leaf, p := range PropertiesOf(&s.Device.Status) {
				got = append(got, leaf.Name+" "+string(p.State))
				if s.Gone && (p.Reported != nil || p.AckCode != 0 || !p.Owned) {
					t.Errorf("%s: %+v", leaf, p)
				}
			}
			slices.Sort(got)
			if strings.Join(got, ", ") != c.want || s.Device.Status.ConnectionState != "" || s.Device.Status.ConnectionStateSeenTime != nil {
				t.Errorf("got %q, %q", got, s.Device.Status.ConnectionState)
			}
		})
	}
}

// TestEntry says how far one declared leaf has come.
func TestEntry(t *testing.T) {
	reporting := func(value string, version, code int64) func(*State) {
		return func(s *State) {
			p := s.Twin.Properties[speed]
			p.Reported = &twin.Reported{Value: num(value), Ack: &twin.Ack{Version: version, Code: code, Description: "ok"}}
			s.Twin.Properties[speed] = p
		}
	}
	owns := []v1alpha1.PropertyStatus{owning(speed, "5")}
	for name, c := range map[string]struct {
		status []v1alpha1.PropertyStatus
		held   any
		edits  []func(*State)
		want   v1alpha1.PropertyStatus // less times and reports
	}{
		"nothing is there yet":                               {nil, nil, nil, v1alpha1.PropertyStatus{State: "Pending"}},
		"as it was found":                                    {nil, num("5"), nil, v1alpha1.PropertyStatus{State: "Applied", Owned: true, DesiredVersion: 2}},
		"as it was found by one that observes":               {nil, num("5"), []func(*State){observing}, v1alpha1.PropertyStatus{State: "Applied", DesiredVersion: 2}},
		"another value that is there before the first write": {nil, num("9"), nil, v1alpha1.PropertyStatus{State: "Pending", DesiredVersion: 2}},
		"another value, to one that observes":                {nil, num("9"), []func(*State){observing}, v1alpha1.PropertyStatus{State: "Drifted", DesiredVersion: 2}},
		"another value in place of ours":                     {owns, num("9"), nil, v1alpha1.PropertyStatus{State: "Drifted", Owned: true, DesiredVersion: 2}},
		"another writer's that is left alone":                {owns, num("9"), []func(*State){contesting}, v1alpha1.PropertyStatus{State: "Drifted", Owned: true, DesiredVersion: 2}},
		"ours is gone":                                       {owns, nil, nil, v1alpha1.PropertyStatus{State: "Drifted", Owned: true}},
		"the device has answered":                            {owns, num("5"), []func(*State){reporting("5", 2, 200)}, v1alpha1.PropertyStatus{State: "Acknowledged", Owned: true, DesiredVersion: 2}},
		"it has answered to an earlier version":              {owns, num("5"), []func(*State){reporting("5", 1, 200)}, v1alpha1.PropertyStatus{State: "Applied", Owned: true, DesiredVersion: 2}},
		"it has answered to a later one than there is":       {owns, num("5"), []func(*State){reporting("5", 9, 200)}, v1alpha1.PropertyStatus{State: "Applied", Owned: true, DesiredVersion: 2}},
		"it works on it":                                     {owns, num("5"), []func(*State){reporting("1", 2, 202)}, v1alpha1.PropertyStatus{State: "InProgress", Owned: true, DesiredVersion: 2}},
		"it took another value":                              {owns, num("5"), []func(*State){reporting("4", 2, 200)}, v1alpha1.PropertyStatus{State: "Adjusted", Owned: true, DesiredVersion: 2}},
		"it refused it":                                      {owns, num("5"), []func(*State){reporting("4", 2, 400)}, v1alpha1.PropertyStatus{State: "Rejected", Owned: true, DesiredVersion: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			values := map[twin.Leaf]any{}
			if c.held != nil {
				values[speed] = c.held
			}
			s := started(twin.Declaration{speed: num("5")}, c.status, func(s *State) {
				for _, edit := range c.edits {
					if s.Twin == nil {
						s.Twin = holding(values)
					}
					edit(s)
				}
			})
			now := s.Twin
			if now == nil {
				now = holding(values)
			}
			s.Took(now)
			got := s.entry(speed)
			if got.Reported != nil && got.AckDescription != "ok" {
				t.Errorf("the report is shown as %+v", got)
			}
			got = v1alpha1.PropertyStatus{State: got.State, Owned: got.Owned, DesiredVersion: got.DesiredVersion, HeldVersion: got.HeldVersion}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func observing(s *State) { s.Device.Spec.Management = v1alpha1.ManagementObserve }

func contesting(s *State) { s.Conflicts[speed] = "winter" }

// TestEntryOfAValueThatWasWrittenAgain: the device has answered, and need not do so once more.
func TestEntryOfAValueThatWasWrittenAgain(t *testing.T) {
	s := started(twin.Declaration{speed: num("5")}, []v1alpha1.PropertyStatus{owning(speed, "5")})
	now := holding(map[twin.Leaf]any{speed: num("5")})
	now.Properties[speed].Desired.Version = 3
	s.Took(now)
	if got := s.entry(speed); got.DesiredVersion != 2 || got.HeldVersion != 3 || HeldVersion(&got) != 3 || !got.Owned {
		t.Errorf("got %+v", got)
	}
}

func TestRecordedSent(t *testing.T) {
	sent := twin.Sent{Value: num("6"), Version: 4}
	for name, c := range map[string]struct {
		declared twin.Declaration
		edit     func(*State)
		want     bool
	}{
		"none is recorded":                      {twin.Declaration{speed: num("6")}, func(s *State) { s.sent = nil }, false},
		"the next write":                        {twin.Declaration{speed: num("6")}, func(*State) {}, true},
		"the next write, after a read":          {twin.Declaration{speed: num("6")}, func(s *State) { s.WasRead = true }, true},
		"another version, after a read":         {twin.Declaration{speed: num("6")}, func(s *State) { s.WasRead, s.Twin.DesiredVersion = true, 4 }, false},
		"another version, without one":          {twin.Declaration{speed: num("6")}, func(s *State) { s.Twin.DesiredVersion = 4 }, true},
		"another value is declared":             {twin.Declaration{speed: num("7")}, func(*State) {}, true},
		"another value, and a read":             {twin.Declaration{speed: num("7")}, func(s *State) { s.WasRead = true }, false},
		"another value, and it was not sent":    {twin.Declaration{speed: num("7")}, func(s *State) { s.Memory.Withheld = s.sent }, false},
		"nothing is declared":                   {twin.Declaration{}, func(*State) {}, true},
		"it is the object's already":            {twin.Declaration{speed: num("6")}, func(s *State) { s.Owned.Held = map[twin.Leaf]twin.Owned{speed: {Version: 4}} }, false},
		"it is carried, and an older one owned": {twin.Declaration{speed: num("6")}, func(s *State) { s.isCarried = true; s.Owned.Held = map[twin.Leaf]twin.Owned{speed: {Version: 2}} }, true},
		"it is carried, and owned":              {twin.Declaration{speed: num("6")}, func(s *State) { s.isCarried = true; s.Owned.Held = map[twin.Leaf]twin.Owned{speed: {Version: 4}} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(c.declared, nil)
			s.Twin, s.sent = holding(nil), map[twin.Leaf]twin.Sent{speed: sent}
			c.edit(s)
			got := s.recordedSent(speed)
			if (got != nil) != c.want {
				t.Fatalf("got %+v", got)
			}
			if got != nil && (got.Version != 4 || string(got.Value.Raw) != "6") {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestDepartingEntry(t *testing.T) {
	for name, c := range map[string]struct {
		status []v1alpha1.PropertyStatus
		held   any
		want   v1alpha1.PropertyState
		owned  bool
	}{
		"the object's":                     {[]v1alpha1.PropertyStatus{owning(speed, "5")}, num("5"), "Applied", true},
		"another writer's in its place":    {[]v1alpha1.PropertyStatus{owning(speed, "5")}, num("9"), "Drifted", true},
		"none in its place":                {[]v1alpha1.PropertyStatus{owning(speed, "5")}, nil, "Drifted", true},
		"one that was fought for, and won": {[]v1alpha1.PropertyStatus{holdsAgain()}, num("9"), "Pending", true},
	} {
		t.Run(name, func(t *testing.T) {
			values := map[twin.Leaf]any{}
			if c.held != nil {
				values[speed] = c.held
			}
			s := started(twin.Declaration{}, c.status)
			s.Took(holding(values))
			got := s.departingEntry(speed)
			if got.State != c.want || got.Owned != c.owned || got.Name != "speed" || (got.Desired != nil) != (c.held != nil) {
				t.Errorf("got %+v, want %s", got, c.want)
			}
		})
	}
}

// holdsAgain is what status says of a value of an object that declared another one and observed.
func holdsAgain() v1alpha1.PropertyStatus {
	p := owning(speed, "9")
	p.State, p.HeldVersion = StateOf(twin.StateDrifted), 2
	return p
}

func TestMirror(t *testing.T) {
	long := strings.Repeat("x", 2*MaxAckDescription)
	report := &twin.Reported{Value: num("5"), Ack: &twin.Ack{Version: 2, Code: 200, Description: long}}
	for scope, isShown := range map[v1alpha1.ReportedScope]bool{v1alpha1.ReportedNone: false, v1alpha1.ReportedDeclared: true, v1alpha1.ReportedAll: true, "": true} {
		s := started(nil, nil, func(s *State) { s.Device.Spec.Reported = scope })
		var e v1alpha1.PropertyStatus
		s.mirror(&e, v1alpha1.PropertyStatus{}, report)
		if (e.Reported != nil) != isShown || e.AckCode != 200 || e.AckVersion != 2 || len(e.AckDescription) > MaxAckDescription || e.AckDescription == "" {
			t.Errorf("%s: %+v", scope, e)
		}
		none := v1alpha1.PropertyStatus{}
		s.mirror(&none, e, nil)
		if diff := cmp.Diff(v1alpha1.PropertyStatus{}, none); diff != "" {
			t.Errorf("%s: of no report:\n%s", scope, diff)
		}
	}
}

func TestSameJSON(t *testing.T) {
	raw := func(text string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(text)} }
	for name, c := range map[string]struct {
		previous *apiextensionsv1.JSON
		now      any
		want     string
	}{
		"none before":                  {nil, num("5"), "5"},
		"none now":                     {raw("5"), nil, ""},
		"the same":                     {raw("5"), num("5"), "5"},
		"the same in another form":     {raw("42"), num("42.0"), "42"},
		"another one":                  {raw("42"), num("43"), "43"},
		"an object whose keys changed": {raw(`{"a":1,"b":2}`), map[string]any{"b": num("2"), "a": num("1")}, `{"a":1,"b":2}`},
	} {
		got := sameJSON(c.previous, c.now)
		text := ""
		if got != nil {
			text = string(got.Raw)
		}
		if text != c.want {
			t.Errorf("%s: got %s, want %s", name, text, c.want)
		}
	}
}

func TestCorrections(t *testing.T) {
	ago := func(minutes ...int) (times []metav1.Time) {
		for _, m := range minutes {
			times = append(times, metav1.NewTime(noon.Add(-time.Duration(m)*time.Minute)))
		}
		return times
	}
	plain := func(times []metav1.Time) (all []time.Time) {
		for _, at := range times {
			all = append(all, at.Time)
		}
		return all
	}
	for name, c := range map[string]struct {
		recorded  []metav1.Time
		known     []metav1.Time
		corrected bool
		want      []metav1.Time
	}{
		"none":                       {nil, nil, false, nil},
		"as status says":             {ago(90, 20, 10), ago(20, 10), false, ago(90, 20, 10)},
		"memory knows more":          {ago(20), ago(20, 10), false, ago(20, 10)},
		"corrected in this pass":     {ago(90, 20), ago(20, 0), true, ago(20, 0)},
		"no more than make a fight":  {ago(40), ago(50, 40, 30, 20), true, ago(40, 30, 20)},
		"corrected without a memory": {ago(20), nil, true, ago(20)},
	} {
		t.Run(name, func(t *testing.T) {
			previous := owning(speed, "5")
			previous.CorrectedAt = c.recorded
			s := started(nil, []v1alpha1.PropertyStatus{previous})
			s.Memory.Corrections = map[twin.Leaf][]time.Time{speed: plain(c.known)}
			s.corrected[speed] = c.corrected
			if diff := cmp.Diff(c.want, s.corrections(speed, previous)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTransition(t *testing.T) {
	before := v1alpha1.PropertyStatus{State: "Applied", LastTransitionTime: metav1.NewTime(noon.Add(-time.Hour))}
	for name, c := range map[string]struct {
		state   v1alpha1.PropertyState
		written bool
		moves   bool
	}{
		"the same state":              {"Applied", false, false},
		"the same state, written":     {"Applied", true, true},
		"another state":               {"Acknowledged", false, true},
		"another state that is wrote": {"Pending", true, true},
	} {
		s := started(nil, nil)
		e := v1alpha1.PropertyStatus{State: c.state}
		s.transition(&e, before, c.written)
		if moved := e.LastTransitionTime.Time.Equal(noon); moved != c.moves {
			t.Errorf("%s: %s", name, e.LastTransitionTime)
		}
	}
}

func TestEcho(t *testing.T) {
	for name, c := range map[string]struct {
		edit          func(*State)
		read, resends string
	}{
		"nothing was done": {func(*State) {}, "", ""},
		"it was read":      {func(s *State) { s.WasRead = true }, "r", ""},
		"it was sent":      {func(s *State) { s.resent = true }, "", "s"},
		"the request went": {func(s *State) { s.WasRead, s.Device.Annotations = true, nil }, "", ""},
	} {
		s := started(nil, nil, func(s *State) {
			s.Device.Annotations = map[string]string{v1alpha1.AnnotationReconcileRequestedAt: "r", v1alpha1.AnnotationResendRequestedAt: "s"}
		})
		c.edit(s)
		s.echo()
		if got := s.Device.Status; got.LastHandledReconcileAt != c.read || got.LastHandledResendAt != c.resends {
			t.Errorf("%s: got %q and %q", name, got.LastHandledReconcileAt, got.LastHandledResendAt)
		}
	}
}

func TestAcknowledged(t *testing.T) {
	acknowledged := owning(speed, "5")
	acknowledged.State = StateOf(twin.StateAcknowledged)
	for name, c := range map[string]struct {
		declared twin.Declaration
		edit     func(*State)
		want     int32
	}{
		"as properties say":                {twin.Declaration{speed: num("5"), level: num("1")}, func(s *State) { s.Twin = holding(nil) }, 1},
		"what is not declared does not":    {twin.Declaration{level: num("1")}, func(s *State) { s.Twin = holding(nil) }, 0},
		"as status said, of this spec":     {twin.Declaration{speed: num("6")}, func(s *State) { s.Device.Status.Acknowledged = 7 }, 7},
		"the same value, of another spec":  {twin.Declaration{speed: num("5")}, func(s *State) { s.Device.Generation++ }, 1},
		"another value, of another spec":   {twin.Declaration{speed: num("6")}, func(s *State) { s.Device.Generation++ }, 0},
		"none of a device at another hub":  {twin.Declaration{speed: num("5")}, func(s *State) { s.Device.Status.Twin.Hub = "other" }, 0},
		"the hub does not know the device": {twin.Declaration{speed: num("5")}, func(s *State) { s.Gone, s.Device.Status.Acknowledged = true, 7 }, 1},
	} {
		s := started(c.declared, []v1alpha1.PropertyStatus{acknowledged}, c.edit)
		if got := s.acknowledged(); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

// TestMirrored says how much of what the device reports status shows now.
func TestMirrored(t *testing.T) {
	for name, c := range map[string]struct {
		was, wants v1alpha1.ReportedScope
		partial    bool
		want       v1alpha1.ReportedScope
	}{
		"what is usual is not written":       {"", v1alpha1.ReportedDeclared, false, ""},
		"all, of a twin that was read":       {"", v1alpha1.ReportedAll, false, v1alpha1.ReportedAll},
		"all, of a part of a twin":           {"", v1alpha1.ReportedAll, true, ""},
		"less than before":                   {v1alpha1.ReportedAll, v1alpha1.ReportedNone, true, v1alpha1.ReportedNone},
		"more, of a part of a twin":          {v1alpha1.ReportedNone, v1alpha1.ReportedDeclared, true, v1alpha1.ReportedNone},
		"as much, of a part that has it all": {v1alpha1.ReportedAll, v1alpha1.ReportedAll, true, v1alpha1.ReportedAll},
	} {
		s := started(nil, nil, func(s *State) { s.Device.Spec.Reported, s.Device.Status.Mirrored = c.wants, c.was })
		s.Twin = &twin.Twin{Partial: c.partial}
		if got := s.mirrored(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		if got, want := s.mirrorsTooLittle(), breadth(c.was) < breadth(c.wants); got != want {
			t.Errorf("%s: too little: %t", name, got)
		}
	}
}

func TestDescribeReportedIsBounded(t *testing.T) {
	now := holding(nil)
	for i := range maxShownEntries + 3 {
		now.Properties[twin.Leaf{Name: "p" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)}] = twin.Property{Reported: &twin.Reported{Value: num("1")}}
	}
	now.Properties[twin.Leaf{Name: "bad\x01name"}] = twin.Property{Reported: &twin.Reported{Value: num("1")}}
	now.Properties[level] = twin.Property{Desired: &twin.Desired{Value: num("1"), Version: 2}}
	s := started(twin.Declaration{}, nil, func(s *State) { s.Device.Spec.Reported = v1alpha1.ReportedAll })
	s.Took(now)
	s.Describe()
	if got := len(s.Device.Status.Properties); got != maxShownEntries || s.Device.Status.NotShown != 4 {
		t.Errorf("%d are shown, %d are not", got, s.Device.Status.NotShown)
	}
}

// TestDescribeConformity says what the DeviceModel of a device has to say.
func TestDescribeConformity(t *testing.T) {
	for name, c := range map[string]struct {
		found   *declaration.Conformity
		want    string // status and reason of the condition
		checked string
	}{
		"not asked":        {nil, "True/Old", "old"},
		"no model":         {&declaration.Conformity{Of: "a"}, "", "a"},
		"it conforms":      {&declaration.Conformity{Model: "m", Of: "a uid/1"}, "True/Conforms", "a uid/1"},
		"it does not":      {&declaration.Conformity{Model: "m", Of: "a uid/1", Violations: []string{"no"}}, "False/ModelViolation", ""},
		"a warning":        {&declaration.Conformity{Model: "m", Of: "a uid/1", Violations: []string{"no"}, Warn: true}, "False/ModelViolation", "a uid/1"},
		"it is not ready":  {&declaration.Conformity{Model: "m", Of: "a uid/1", NotReady: "it is fetched"}, "Unknown/ModelNotReady", "old"},
		"a number rounded": {&declaration.Conformity{Of: "a", Rounded: []string{"speed"}}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(nil, nil, func(s *State) { s.Device.Status.CheckedModel = "old" })
			conditions.Set(s.Device, v1alpha1.ConditionConformsToModel, true, "Old", "")
			s.Conformity = c.found
			s.describeConformity()
			got := ""
			for _, is := range s.Device.Status.Conditions {
				got = string(is.Status) + "/" + is.Reason
			}
			if got != c.want || s.Device.Status.CheckedModel != c.checked {
				t.Errorf("got %q of %q, want %q of %q", got, s.Device.Status.CheckedModel, c.want, c.checked)
			}
		})
	}
}

// TestSetDetails writes Synced and Acknowledged.
func TestSetDetails(t *testing.T) {
	trouble := conditions.Verdict{Reason: v1alpha1.ReasonHubUnavailable, Message: "it fails"}
	ready := conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonApplied, Message: "all is well"}
	state := func(state twin.State) []v1alpha1.PropertyStatus {
		p := owning(speed, "5")
		p.State = StateOf(state)
		return []v1alpha1.PropertyStatus{p}
	}
	known := func(s *State) { s.Twin = holding(nil) }
	for name, c := range map[string]struct {
		status               []v1alpha1.PropertyStatus
		verdict              conditions.Verdict
		edit                 func(*State)
		synced, acknowledged string
	}{
		"acknowledged":            {state(twin.StateAcknowledged), ready, known, "True/Applied", "True/DeviceAcknowledged"},
		"applied, and that is it": {state(twin.StateApplied), ready, known, "True/Applied", "False/AwaitingAcknowledgement"},
		"pending":                 {state(twin.StatePending), trouble, known, "False/HubUnavailable", "False/HubUnavailable"},
		"drifted":                 {state(twin.StateDrifted), trouble, known, "False/HubUnavailable", "False/HubUnavailable"},
		"rejected":                {state(twin.StateRejected), trouble, known, "True/Applied", "False/HubUnavailable"},
		"being deleted":           {state(twin.StateAcknowledged), trouble, func(s *State) { known(s); at := metav1.NewTime(noon); s.Device.DeletionTimestamp = &at }, "False/HubUnavailable", "False/HubUnavailable"},
		"gone":                    {state(twin.StateAcknowledged), trouble, func(s *State) { s.Gone = true }, "False/DeviceNotFound", "False/DeviceNotFound"},
		"not known, and was true": {state(twin.StateAcknowledged), trouble, func(s *State) {
			conditions.Set(s.Device, v1alpha1.ConditionSynced, true, "Applied", "")
			conditions.Set(s.Device, v1alpha1.ConditionAcknowledged, true, "DeviceAcknowledged", "")
		}, "True/Applied", "True/DeviceAcknowledged"},
		"not known, and was not":   {state(twin.StateAcknowledged), trouble, func(*State) {}, "False/HubUnavailable", "False/HubUnavailable"},
		"what is left to remove":   {append(state(twin.StateAcknowledged), owning(level, "1")), trouble, known, "False/HubUnavailable", "True/DeviceAcknowledged"},
		"what others have to show": {append(state(twin.StateAcknowledged), v1alpha1.PropertyStatus{Name: "x", State: "Reported"}), ready, known, "True/Applied", "True/DeviceAcknowledged"},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(twin.Declaration{speed: num("5")}, c.status, c.edit)
			s.setDetails(c.verdict)
			got := map[string]string{}
			for _, is := range s.Device.Status.Conditions {
				got[is.Type] = string(is.Status) + "/" + is.Reason
			}
			if got[v1alpha1.ConditionSynced] != c.synced || got[v1alpha1.ConditionAcknowledged] != c.acknowledged {
				t.Errorf("got %v, want %s and %s", got, c.synced, c.acknowledged)
			}
		})
	}
}

// TestWasKnown: of another generation, properties tell what has the same value.
func TestWasKnown(t *testing.T) {
	for name, c := range map[string]struct {
		declared twin.Declaration
		edit     func(*State)
		want     bool
	}{
		"of this generation":          {twin.Declaration{speed: num("6")}, func(*State) {}, true},
		"of another, the same value":  {twin.Declaration{speed: num("5")}, func(s *State) { s.Device.Generation++ }, true},
		"of another, another value":   {twin.Declaration{speed: num("6")}, func(s *State) { s.Device.Generation++ }, false},
		"of another, one that is new": {twin.Declaration{level: num("6")}, func(s *State) { s.Device.Generation++ }, false},
		"status is about another hub": {twin.Declaration{speed: num("5")}, func(s *State) { s.Device.Status.Twin.Hub = "other" }, false},
		"it was never said":           {twin.Declaration{speed: num("5")}, func(s *State) { s.Device.Status.Conditions = nil }, false},
		"it was false":                {twin.Declaration{speed: num("5")}, func(s *State) { conditions.Set(s.Device, v1alpha1.ConditionSynced, false, "No", "") }, false},
		"it was false of another value": {twin.Declaration{speed: num("5")}, func(s *State) {
			conditions.Set(s.Device, v1alpha1.ConditionSynced, false, "No", "")
			s.Device.Generation++
		}, true},
	} {
		s := started(c.declared, []v1alpha1.PropertyStatus{owning(speed, "5")})
		conditions.Set(s.Device, v1alpha1.ConditionSynced, true, "Applied", "")
		c.edit(s)
		if got := s.wasKnown(v1alpha1.ConditionSynced); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestUnsettleConformity(t *testing.T) {
	trouble := conditions.Verdict{Reason: v1alpha1.ReasonHubUnavailable}
	for name, c := range map[string]struct {
		was, now int64 // generations
		verdict  conditions.Verdict
		asked    bool
		want     metav1.ConditionStatus
	}{
		"of this generation":          {2, 2, trouble, false, metav1.ConditionTrue},
		"of an earlier one":           {1, 2, trouble, false, metav1.ConditionUnknown},
		"of an earlier one, asked":    {1, 2, trouble, true, metav1.ConditionTrue},
		"of an earlier one, and well": {1, 2, conditions.Verdict{Ready: true}, false, metav1.ConditionTrue},
		"it was never said":           {0, 2, trouble, false, ""},
	} {
		s := started(nil, nil)
		s.Conformity = nil
		if c.asked {
			s.Conformity = &declaration.Conformity{}
		}
		if s.Device.Generation = c.was; c.was > 0 {
			conditions.Set(s.Device, v1alpha1.ConditionConformsToModel, true, "Conforms", "")
		}
		s.Device.Generation = c.now
		s.unsettleConformity(c.verdict)
		got := metav1.ConditionStatus("")
		for _, is := range s.Device.Status.Conditions {
			got = is.Status
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestDeclarationThatDoesNotDecodeCountsAsNothing ends a pass before the declaration was checked.
func TestDeclarationThatDoesNotDecodeCountsAsNothing(t *testing.T) {
	for text, want := range map[string]string{`{"speed": 5}`: "0/1", `{"speed":`: "0/0"} {
		s := started(nil, nil, func(s *State) { s.Device.Spec.Properties = &apiextensionsv1.JSON{Raw: json.RawMessage(text)} })
		s.Summarise(stalled(v1alpha1.ReasonInvalidDeclaration, "no", 0))
		if got := s.Device.Status.Summary; got != want || conditions.ReadyOf(s.Device).Reason != v1alpha1.ReasonInvalidDeclaration {
			t.Errorf("%s: got %s, %+v", text, got, conditions.ReadyOf(s.Device))
		}
	}
}

// TestConformityIsOfTheModelThatIsThere ends passes before the declaration was checked.
func TestConformityIsOfTheModelThatIsThere(t *testing.T) {
	trouble := conditions.Verdict{Reason: v1alpha1.ReasonDeviceNotFound}
	for name, c := range map[string]struct {
		checked string
		is      declaration.Conformity
		verdict conditions.Verdict
		want    string
	}{
		"it is the same":           {"a uid/1", declaration.Conformity{Model: "m", Of: "a uid/1"}, trouble, "True/Conforms"},
		"it is gone":               {"a uid/1", declaration.Conformity{Of: "a"}, trouble, ""},
		"it is gone, and all well": {"a uid/1", declaration.Conformity{Of: "a"}, conditions.Verdict{Ready: true}, ""},
		"it was edited":            {"a uid/1", declaration.Conformity{Model: "m", Of: "a uid/2"}, trouble, "Unknown/DeviceNotFound"},
		"it was edited badly":      {"a uid/1", declaration.Conformity{Model: "m", Of: "a uid/2", NotReady: "no"}, trouble, "Unknown/DeviceNotFound"},
		"it cannot be asked":       {"a uid/1", declaration.Conformity{Of: "a uid/1", NotReady: "no"}, trouble, "True/Conforms"},
		"no model is known":        {"", declaration.Conformity{}, trouble, "True/Conforms"},
	} {
		s := started(nil, nil)
		s.Conformity, s.Twin, s.Device.Spec.ModelID = nil, nil, "a"
		s.Model = func(string) (*dtdl.Interface, declaration.Conformity) { return nil, c.is }
		s.Device.Status.CheckedModel = c.checked
		conditions.Set(s.Device, v1alpha1.ConditionConformsToModel, true, v1alpha1.ReasonConforms, "")
		s.unsettleConformity(c.verdict)
		got := ""
		for _, is := range s.Device.Status.Conditions {
			got = string(is.Status) + "/" + is.Reason
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
