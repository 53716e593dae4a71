package convergence

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// attempt is a write of speed of which nobody knows what became.
func attempt(version int64, value any) twin.Attempt {
	return twin.Attempt{Version: version, Over: twin.Seen{DeviceETag: "identity", Version: 5, DesiredVersion: 3}, Values: map[twin.Leaf]any{speed: value}}
}

// TestClaim records what is new before it is sent.
func TestClaim(t *testing.T) {
	fresh := twin.Change{Leaf: speed, Cause: twin.New, Value: num("6")}
	records := func(value string, version int64) map[twin.Leaf]twin.Sent {
		return map[twin.Leaf]twin.Sent{speed: {Value: num(value), Version: version}}
	}
	for name, c := range map[string]struct {
		change twin.Change
		edit   func(*State)
		claims bool
	}{
		"a new value":                                  {fresh, func(*State) {}, true},
		"a new value that status records":              {fresh, func(s *State) { s.sent = records("6", 4) }, false},
		"a new value that status records in a form":    {fresh, func(s *State) { s.sent = records("6.0", 4) }, false},
		"another value is recorded":                    {fresh, func(s *State) { s.sent = records("7", 4) }, true},
		"another version is recorded":                  {fresh, func(s *State) { s.sent = records("6", 3) }, true},
		"a record that the API server dropped":         {fresh, func(s *State) { s.Memory.Withheld = records("6", 4) }, false},
		"a record of another version that was dropped": {fresh, func(s *State) { s.Memory.Withheld = records("6", 3) }, true},
		"without a memory":                             {fresh, func(s *State) { s.Memory = nil }, true},
		"an edit":                                      {twin.Change{Leaf: speed, Cause: twin.Edited, Value: num("6")}, func(*State) {}, false},
		"a drift":                                      {twin.Change{Leaf: speed, Cause: twin.Drifted, Value: num("6")}, func(*State) {}, false},
		"a removal":                                    {twin.Change{Leaf: speed, Cause: twin.Removed}, func(*State) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(twin.Declaration{speed: num("6")}, nil)
			s.Twin = holding(nil)
			c.edit(s)
			got := s.claim([]twin.Change{{Leaf: level, Cause: twin.Edited, Value: num("1")}, c.change})
			if got != c.claims || s.Claiming != c.claims || (len(s.claimed) == 1) != c.claims {
				t.Fatalf("it claims: %t, %v", got, s.claimed)
			}
			if is := s.sent[speed]; c.claims && (is.Version != 4 || !twin.Equal(is.Value, num("6"))) {
				t.Errorf("recorded is %+v", is)
			}
			if _, is := s.sent[level]; is {
				t.Error("an edit is recorded beside it")
			}
		})
	}
}

// TestDeparting is what may be the object's and left its declaration.
func TestDeparting(t *testing.T) {
	owns := []v1alpha1.PropertyStatus{owning(speed, "5")}
	for name, c := range map[string]struct {
		declared twin.Declaration
		status   []v1alpha1.PropertyStatus
		edit     func(*State)
		read     map[twin.Leaf]any // nil: it is not read
		want     []twin.Leaf
	}{
		"what is declared stays":                              {declared: twin.Declaration{speed: num("6")}, status: owns},
		"what is the object's":                                {status: owns, want: []twin.Leaf{speed}},
		"what another writer put in its place":                {status: []v1alpha1.PropertyStatus{fought(noon)}, want: []twin.Leaf{speed}},
		"what an earlier process may have sent":               {status: []v1alpha1.PropertyStatus{sending("5", "6", 4)}, want: []twin.Leaf{speed}},
		"what it may have sent, and a read shows it":          {status: sentAlone(), read: map[twin.Leaf]any{speed: num("6")}, edit: setVersionOf(4), want: []twin.Leaf{speed}},
		"what it may have sent, and a read shows another":     {status: sentAlone(), read: map[twin.Leaf]any{speed: num("7")}},
		"what it may have sent, and a read does not show":     {status: sentAlone(), read: map[twin.Leaf]any{}},
		"what it may have sent, before a read":                {status: sentAlone(), want: []twin.Leaf{speed}},
		"what was certainly not sent":                         {status: sentAlone(), edit: func(s *State) { s.Memory.Withheld = s.sent }},
		"what this process may have sent":                     {edit: func(s *State) { s.Memory.Writes = []twin.Attempt{attempt(4, num("6"))} }, want: []twin.Leaf{speed}},
		"what this process may have removed":                  {edit: func(s *State) { s.Memory.Writes = []twin.Attempt{attempt(4, num("6")), attempt(5, nil)} }},
		"what this process may have removed and sent again":   {edit: func(s *State) { s.Memory.Writes = []twin.Attempt{attempt(4, nil), attempt(5, num("6"))} }, want: []twin.Leaf{speed}},
		"both, each once, and sorted":                         {status: []v1alpha1.PropertyStatus{owning(level, "1"), sending("5", "6", 4)}, want: []twin.Leaf{level, speed}},
		"what is declared, and was sent with another value":   {declared: twin.Declaration{speed: num("7")}, status: sentAlone()},
		"what only shows what the device reports is no one's": {status: []v1alpha1.PropertyStatus{{Name: "log", State: "Reported", Reported: JSONOf("x")}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(c.declared, c.status)
			if c.read != nil {
				now := holding(c.read)
				s.Twin = now
				if c.edit != nil {
					c.edit(s)
				}
				s.Took(now)
			} else {
				if c.edit != nil {
					c.edit(s)
				}
				s.adopt(Belief(&s.Device.Status))
			}
			if diff := cmp.Diff(c.want, s.Departing()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// sentAlone is what status says of a value that is about to be sent where the hub holds none.
func sentAlone() []v1alpha1.PropertyStatus {
	return []v1alpha1.PropertyStatus{{Name: "speed", State: "Pending", Sent: &v1alpha1.SentValue{Value: *JSONOf(num("6")), Version: 4}}}
}

// setVersionOf has the twin hold speed by the write of a version.
func setVersionOf(version int64) func(*State) {
	return func(s *State) { s.Twin.DesiredVersion, s.Twin.Properties[speed].Desired.Version = version, version }
}

// TestAttemptsAreOfStatusAndMemory has what an earlier process may have sent come first.
func TestAttemptsAreOfStatusAndMemory(t *testing.T) {
	s := started(nil, sentAlone(), func(s *State) { s.Memory.Writes = []twin.Attempt{attempt(5, num("7")), attempt(6, nil)} })
	want := twin.Attempts{speed: {{Value: num("6"), Version: 4}, {Value: num("7"), Version: 5}, {Version: 6}}}
	if diff := cmp.Diff(want, s.attempts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.Memory.Withheld = map[twin.Leaf]twin.Sent{speed: {Value: num("6"), Version: 4}}
	if got := s.attempts()[speed]; len(got) != 2 || got[0].Version != 5 {
		t.Errorf("of one that was not sent: %+v", got)
	}
	if got := len(s.Memory.Writes); got != 2 {
		t.Errorf("memory knows of %d writes", got)
	}
}

// TestInherit drops what was recorded of a twin that this one may not be.
func TestInherit(t *testing.T) {
	for name, c := range map[string]struct {
		lineage  twin.Lineage
		declared twin.Declaration
		lost     []twin.Leaf
		entries  []twin.Leaf
	}{
		"a stranger, nothing is declared":     {twin.Stranger, twin.Declaration{}, []twin.Leaf{level, speed}, []twin.Leaf{level, speed}},
		"a stranger, one is declared":         {twin.Stranger, twin.Declaration{speed: num("5")}, []twin.Leaf{level}, []twin.Leaf{level}},
		"a stranger, both are":                {twin.Stranger, twin.Declaration{speed: num("5"), level: num("1")}, nil, nil},
		"perhaps another one, one is":         {twin.Uncertain, twin.Declaration{speed: num("5")}, []twin.Leaf{level}, []twin.Leaf{level, speed}},
		"perhaps another one, neither is":     {twin.Uncertain, twin.Declaration{}, []twin.Leaf{level, speed}, []twin.Leaf{level, speed}},
		"perhaps another one, of a new value": {twin.Uncertain, twin.Declaration{speed: num("6")}, []twin.Leaf{level}, []twin.Leaf{level, speed}},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(c.declared, []v1alpha1.PropertyStatus{owning(level, "1"), sending("5", "6", 4)}, func(s *State) {
				s.Memory.Writes = []twin.Attempt{attempt(9, num("6"))}
				s.Memory.Writes[0].Over.DeviceETag = "an earlier one"
			})
			s.Memory.Withheld = map[twin.Leaf]twin.Sent{speed: {Value: num("6"), Version: 4}}
			now := holding(nil)
			now.DeviceETag, now.DesiredVersion = "a new one", 20
			got := s.inherit(now, s.recorded, c.lineage)
			if len(got.Held) != 0 || s.sent != nil || !s.isInherited || s.duties.Forget != now {
				t.Errorf("held are %v, sent are %v, inherited: %t", got.Held, s.sent, s.isInherited)
			}
			if diff := cmp.Diff(c.lost, twin.Ownership{Lost: got.Lost}.Departing(nil)); diff != "" {
				t.Errorf("to be let go of (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.entries, s.Entries.sorted()); diff != "" {
				t.Errorf("known by status (-want +got):\n%s", diff)
			}
			if len(s.Memory.Writes) != 0 || s.Memory.Withheld != nil {
				t.Errorf("memory still knows of %+v, %+v", s.Memory.Writes, s.Memory.Withheld)
			}
		})
	}
}

// TestSave has memory keep what status does not have, and no more.
func TestSave(t *testing.T) {
	for name, c := range map[string]struct {
		declared twin.Declaration
		edit     func(*twin.Twin)
		keeps    bool
		isOther  bool
	}{
		"as status has it":                  {twin.Declaration{speed: num("5")}, func(*twin.Twin) {}, false, false},
		"counters alone":                    {twin.Declaration{speed: num("5")}, func(n *twin.Twin) { n.Version, n.ETag = 9, twin.ETagOf(9) }, false, false},
		"a value of another version":        {twin.Declaration{speed: num("5")}, func(n *twin.Twin) { n.Properties[speed].Desired.Version = 3 }, true, false},
		"one that was found there":          {twin.Declaration{speed: num("5"), level: num("1")}, withLevel, true, false},
		"one that nobody declares":          {twin.Declaration{speed: num("5")}, withLevel, false, false},
		"one that is gone":                  {twin.Declaration{speed: num("5")}, func(n *twin.Twin) { delete(n.Properties, speed) }, true, false},
		"a key that was rotated":            {twin.Declaration{speed: num("5")}, func(n *twin.Twin) { n.DeviceETag = "new" }, true, false},
		"a device that was created anew":    {twin.Declaration{speed: num("5")}, func(n *twin.Twin) { n.DeviceETag, n.DesiredVersion, n.Version = "new", 1, 1 }, true, true},
		"a hub that has failed over":        {twin.Declaration{speed: num("5")}, func(n *twin.Twin) { n.DesiredVersion = 1 }, true, true},
		"a device whose twin is of the old": {twin.Declaration{speed: num("5")}, func(n *twin.Twin) { n.DeviceETag, n.Version = "new", 4 }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(c.declared, []v1alpha1.PropertyStatus{owning(speed, "5")})
			now := holding(map[twin.Leaf]any{speed: num("5")})
			c.edit(now)
			s.Took(now)
			got := s.Memory.Saved
			if (got != nil) != c.keeps {
				t.Fatalf("memory keeps %+v", got)
			}
			if d := s.TakeDuties(); !d.Keep || d.Saved != got {
				t.Errorf("and is told %+v", d)
			}
			if got != nil && (got.IsOther != c.isOther || got.Of != now.Seen() || !got.Equal(s.Owned) || got.Base.Of.DesiredVersion != 3) {
				t.Errorf("memory keeps %+v", got)
			}
		})
	}
	s := started(twin.Declaration{speed: num("5")}, nil, func(s *State) { s.Memory = nil })
	if s.Took(holding(nil)); s.TakeDuties().Keep {
		t.Error("a pass without a memory has it keep something")
	}
}

// withLevel has the twin hold one value more.
func withLevel(n *twin.Twin) {
	n.Properties[level] = twin.Property{Desired: &twin.Desired{Value: num("1"), Version: 3}}
}

// TestCorrect has a newer status say more than memory kept, or be about a hub before its failover.
func TestCorrect(t *testing.T) {
	const newer = 9 // the desired version that status is about, where it is a newer one
	held := func(version int64) map[twin.Leaf]twin.Owned {
		return map[twin.Leaf]twin.Owned{speed: {Value: num("5"), Version: version, SetVersion: version}}
	}
	for name, c := range map[string]struct {
		status    int64 // the desired version that status is about
		base      int64 // the one that memory was settled by
		now       int64 // the twin's
		read      bool
		want      int64 // the version of speed that is the object's; 0: none
		inherited bool
	}{
		"status is the one that memory was settled by":     {status: 3, base: 3, now: 4, want: 1},
		"status is newer, and has a newer value":           {status: newer, base: 3, now: newer, want: 2},
		"status is newer, and so is the twin that is read": {status: newer, base: 3, now: newer, read: true, want: 2},
		"a read shows that status is of before a failover": {status: newer, base: 3, now: 6, read: true, want: 1, inherited: true},
		"without a read that is not known":                 {status: newer, base: 3, now: 6, want: 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(twin.Declaration{}, []v1alpha1.PropertyStatus{owning(speed, "5")}, func(s *State) { s.Device.Status.Twin.DesiredVersion = c.status })
			saved := &twin.Saved{
				Ownership: twin.Ownership{Held: held(1)}, Of: twin.Seen{DeviceETag: "identity", Version: 5, DesiredVersion: 4},
				Base: twin.Recorded{Of: twin.Seen{DeviceETag: "identity", Version: 5, DesiredVersion: c.base}, Ownership: twin.Ownership{Held: held(1)}},
			}
			if c.status == c.base {
				saved.Base = s.base
			}
			now := holding(nil)
			now.DesiredVersion, s.WasRead = c.now, c.read
			got := s.correct(saved, now)
			if got.Held[speed].Version != c.want || s.isInherited != c.inherited {
				t.Errorf("got %+v, inherited: %t", got.Held, s.isInherited)
			}
			if isDropped := len(s.Entries) == 0 && len(s.recorded.Held) == 0; isDropped != c.inherited {
				t.Errorf("status has %v, recorded are %v", s.Entries, s.recorded)
			}
		})
	}
}

// TestNewest is what is known without a read.
func TestNewest(t *testing.T) {
	whole := holding(map[twin.Leaf]any{speed: num("8")})
	saved := func(isOther bool) *twin.Saved {
		return &twin.Saved{
			Ownership: twin.Ownership{
				Held: map[twin.Leaf]twin.Owned{level: {Value: num("1"), Version: 7}}, Lost: map[twin.Leaf]any{{Name: "mode"}: nil},
			},
			Of: twin.Seen{DeviceETag: "new", Version: 20, DesiredVersion: 7}, IsOther: isOther,
		}
	}
	for name, c := range map[string]struct {
		newest *twin.Twin
		saved  *twin.Saved
		holds  map[string]string
		doubt  bool
		of     int64
	}{
		"what memory has":                     {newest: whole, holds: map[string]string{"speed": "8"}, of: 3},
		"what memory has, and owns":           {newest: whole, saved: saved(false), holds: map[string]string{"speed": "8"}, of: 3},
		"what status has":                     {holds: map[string]string{"speed": "5", "mode": "2"}, of: 3},
		"what status has, and memory owns":    {saved: saved(false), holds: map[string]string{"speed": "5", "level": "1"}, doubt: true, of: 7},
		"what memory owns of another device":  {saved: saved(true), holds: map[string]string{"level": "1"}, doubt: true, of: 7},
		"what memory knows of nothing but is": {saved: &twin.Saved{IsOther: true}, holds: map[string]string{}, doubt: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(nil, []v1alpha1.PropertyStatus{owning(twin.Leaf{Name: "mode"}, "2"), owning(speed, "5")})
			s.Memory.Newest, s.Memory.Saved = c.newest, c.saved
			got := s.newest()
			holds := map[string]string{}
			for leaf, p := range got.Properties {
				if p.Desired != nil {
					holds[leaf.Name] = ShownValue(p.Desired.Value)
				}
			}
			if diff := cmp.Diff(c.holds, holds); diff != "" || got.DesiredVersion != c.of || s.IsUnconfirmed != c.doubt {
				t.Errorf("of version %d, unconfirmed: %t, holds (-want +got):\n%s", got.DesiredVersion, s.IsUnconfirmed, diff)
			}
		})
	}
}

// TestRecordAttempts has status say which writes may have been made, for the next process.
func TestRecordAttempts(t *testing.T) {
	for name, c := range map[string]struct {
		status []v1alpha1.PropertyStatus
		writes []twin.Attempt
		want   map[twin.Leaf]twin.Sent
	}{
		"none":                                {want: nil},
		"one":                                 {writes: []twin.Attempt{attempt(4, num("6"))}, want: map[twin.Leaf]twin.Sent{speed: {Value: num("6"), Version: 4}}},
		"the last one of two":                 {writes: []twin.Attempt{attempt(4, num("6")), attempt(5, num("7"))}, want: map[twin.Leaf]twin.Sent{speed: {Value: num("7"), Version: 5}}},
		"a removal, which a read shows":       {writes: []twin.Attempt{attempt(4, nil)}, want: nil},
		"a value that was removed after that": {writes: []twin.Attempt{attempt(4, num("6")), attempt(5, nil)}, want: nil},
		"one in place of what status records": {status: sentAlone(), writes: []twin.Attempt{attempt(5, num("7"))}, want: map[twin.Leaf]twin.Sent{speed: {Value: num("7"), Version: 5}}},
		"what status records stays":           {status: sentAlone(), want: map[twin.Leaf]twin.Sent{speed: {Value: num("6"), Version: 4}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(nil, c.status, func(s *State) { s.Memory.Writes = c.writes })
			before := s.sent
			s.recordAttempts()
			if diff := cmp.Diff(c.want, s.sent); diff != "" || !s.isCarried {
				t.Errorf("carried: %t (-want +got):\n%s", s.isCarried, diff)
			}
			if is, ok := before[speed]; ok && is.Version != 4 {
				t.Errorf("what was recorded before is %v now", before)
			}
		})
	}
}

// TestWithheldEndsWithTheWrite has a pass record a value, and the next one send it.
func TestWithheldEndsWithTheWrite(t *testing.T) {
	first := started(twin.Declaration{speed: num("6")}, nil)
	first.read(t, holding(nil))
	if step := first.Next(); step.Do != Claim {
		t.Fatalf("got %+v, want a claim", step)
	}
	first.Summarise(nil)
	withheld := first.Withheld()
	if len(withheld) != 1 {
		t.Fatalf("withheld are %v", withheld)
	}
	second := New(Facts{Device: first.Device, Now: noon, Destination: testHost, Hub: first.Hub, Memory: &twin.Remembered{Withheld: withheld, Newest: holding(nil)}})
	second.Declared, second.Conformity = first.Declared, first.Conformity
	second.Recall(true)
	step := second.Next()
	if step.Do != Write || names(step.Changes) != "New speed" {
		t.Fatalf("got %+v, want a write", step)
	}
	now := second.Applied(step.Changes, twin.ETagOf(4))
	second.Memory.Withheld = nil
	second.Accepted(step.Changes, now)
	second.Summarise(nil)
	p := EntriesOf(&second.Device.Status)[speed]
	if p.Sent != nil || !p.Owned || p.DesiredVersion != 4 || p.State != StateOf(twin.StateApplied) || second.Withheld() != nil {
		t.Errorf("status says %+v, withheld are %v", p, second.Withheld())
	}
}
