package convergence

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func ago(d time.Duration) *metav1.Time {
	at := metav1.NewTime(noon.Add(-d))
	return &at
}

// owing is a pass over a device that owes an answer since five seconds ago, within fifteen.
func owing(edits ...func(*State)) *State {
	s := started(twin.Declaration{speed: num("5")}, []v1alpha1.PropertyStatus{owning(speed, "5")}, edits...)
	if s.Twin == nil {
		s.Twin = holding(map[twin.Leaf]any{speed: num("5")})
	}
	return s
}

func offline(s *State) { s.Device.Status.ConnectionState = Disconnected }

func disabled(s *State) { s.Device.Status.DeviceStatus = Disabled }

func readyWhen(when v1alpha1.ReadyWhen) func(*State) {
	return func(s *State) { s.Device.Spec.ReadyWhen = when }
}

func acknowledged(s *State) { s.Device.Status.Properties[0].State = StateOf(twin.StateAcknowledged) }

// timedOut has status say that the device has been silent for too long, since a while ago.
func timedOut(since time.Duration) func(*State) {
	return func(s *State) {
		s.Device.Status.Conditions = []metav1.Condition{{
			Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAcknowledgementTimeout, LastTransitionTime: *ago(since),
		}}
	}
}

// TestDeadline counts the time that a device has to answer.
func TestDeadline(t *testing.T) {
	const within = 15 * time.Second
	for name, c := range map[string]struct {
		edits []func(*State)
		want  time.Duration
		runs  bool
	}{
		"it owes an answer":                       {nil, 10 * time.Second, true},
		"it has answered":                         {[]func(*State){acknowledged}, 0, false},
		"it works on it":                          {[]func(*State){func(s *State) { s.Device.Status.Properties[0].State = StateOf(twin.StateInProgress) }}, 10 * time.Second, true},
		"what is not declared is not owed":        {[]func(*State){func(s *State) { s.Declared = twin.Declaration{} }}, 0, false},
		"suspended":                               {[]func(*State){func(s *State) { s.Device.Spec.Suspend = true }}, 0, false},
		"disabled":                                {[]func(*State){disabled}, 0, false},
		"no answer is waited for":                 {[]func(*State){readyWhen(v1alpha1.ReadyWhenApplied)}, 0, false},
		"offline":                                 {[]func(*State){offline}, 0, false},
		"it came online after that":               {[]func(*State){func(s *State) { s.Device.Status.ConnectionStateSeenTime = ago(2 * time.Second) }}, 13 * time.Second, true},
		"it came online before that":              {[]func(*State){func(s *State) { s.Device.Status.ConnectionStateSeenTime = ago(time.Hour) }}, 10 * time.Second, true},
		"its time is up":                          {[]func(*State){func(s *State) { s.Now = noon.Add(time.Minute) }}, -50 * time.Second, true},
		"offline, and did something":              {[]func(*State){offline, func(s *State) { s.PresentSince = noon.Add(-time.Second) }}, 14 * time.Second, true},
		"offline, and did something before":       {[]func(*State){offline, func(s *State) { s.PresentSince = noon.Add(-time.Minute) }}, 0, false},
		"offline, and was called silent":          {[]func(*State){offline, longOwed, timedOut(time.Second)}, -time.Second, true},
		"offline, and was called silent earlier":  {[]func(*State){offline, timedOut(time.Hour)}, 0, false},
		"offline since it was called silent":      {[]func(*State){offline, longOwed, timedOut(time.Minute), func(s *State) { s.Device.Status.ConnectionStateSeenTime = ago(time.Second) }}, 0, false},
		"called silent, and its connection moved": {[]func(*State){offline, longOwed, timedOut(time.Second), func(s *State) { s.Device.Status.ConnectionStateSince = ago(2 * time.Second) }}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := owing(c.edits...)
			got, runs := s.deadline()
			if got != c.want || runs != c.runs {
				t.Errorf("%v are left (it runs: %t), want %v (%t) of %v", got, runs, c.want, c.runs, within)
			}
		})
	}
}

func longOwed(s *State) { s.Device.Status.Properties[0].LastTransitionTime = *ago(time.Hour) }

func TestOwesWhileOffline(t *testing.T) {
	for name, c := range map[string]struct {
		edits []func(*State)
		want  bool
	}{
		"online":                  {nil, false},
		"offline":                 {[]func(*State){offline}, true},
		"offline, and answered":   {[]func(*State){offline, acknowledged}, false},
		"offline, and suspended":  {[]func(*State){offline, func(s *State) { s.Device.Spec.Suspend = true }}, false},
		"offline, and disabled":   {[]func(*State){offline, disabled}, false},
		"no answer is waited for": {[]func(*State){offline, readyWhen(v1alpha1.ReadyWhenApplied)}, false},
	} {
		since, got := owing(c.edits...).OwesWhileOffline()
		if got != c.want || got && !since.Equal(noon.Add(-5*time.Second)) {
			t.Errorf("%s: %t, since %s", name, got, since)
		}
	}
}

// TestAnswerVerdict is about a device that holds all that is declared.
func TestAnswerVerdict(t *testing.T) {
	overdue := func(s *State) { s.Now = noon.Add(time.Minute) }
	for name, c := range map[string]struct {
		edits          []func(*State)
		ready, stalled bool
		reason, says   string
	}{
		"acknowledged":               {[]func(*State){acknowledged}, true, false, v1alpha1.ReasonDeviceAcknowledged, "The device acknowledged every declared value"},
		"applied is enough":          {[]func(*State){readyWhen(v1alpha1.ReadyWhenApplied)}, true, false, v1alpha1.ReasonApplied, "The hub holds every declared value"},
		"it is waited for":           {nil, false, false, v1alpha1.ReasonAwaitingAcknowledgement, "Waiting for the device to acknowledge speed"},
		"its time is up":             {[]func(*State){overdue}, false, true, v1alpha1.ReasonAcknowledgementTimeout, "Waited more than 15 s for the device to acknowledge speed"},
		"up, and called offline":     {[]func(*State){overdue, offline, func(s *State) { s.PresentSince = noon }}, false, true, v1alpha1.ReasonAcknowledgementTimeout, "though the hub calls it disconnected"},
		"offline":                    {[]func(*State){offline}, false, false, v1alpha1.ReasonDeviceOffline, "Offline: waiting for the device to acknowledge speed"},
		"offline since":              {[]func(*State){offline, func(s *State) { s.Device.Status.ConnectionStateSince = ago(time.Hour) }}, false, false, v1alpha1.ReasonDeviceOffline, "Offline since 2026-11-30T11:00:00Z"},
		"offline is good enough":     {[]func(*State){offline, readyWhen(v1alpha1.ReadyWhenReachable)}, true, false, v1alpha1.ReasonDeviceOffline, "The hub holds every declared value. Offline"},
		"disabled":                   {[]func(*State){disabled}, false, false, v1alpha1.ReasonDeviceDisabled, "Disabled at the hub, enable it there: waiting for"},
		"disabled for a reason":      {[]func(*State){disabled, func(s *State) { s.Device.Status.DeviceStatusReason = "stolen" }}, false, false, v1alpha1.ReasonDeviceDisabled, "Disabled at the hub (stolen), enable it there"},
		"it reports, and plainly so": {[]func(*State){reportsPlainly}, false, false, v1alpha1.ReasonAwaitingAcknowledgement, "it reports speed without an acknowledgement: if it never acknowledges, set readyWhen: Applied"},
	} {
		t.Run(name, func(t *testing.T) {
			s := owing(c.edits...)
			got, _ := s.answerVerdict()
			if got.Ready != c.ready || got.Stalled != c.stalled || got.Reason != c.reason || !strings.Contains(got.Message, c.says) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// reportsPlainly has the twin hold a report without an acknowledgement.
func reportsPlainly(s *State) {
	s.Twin = holding(map[twin.Leaf]any{speed: num("5")})
	p := s.Twin.Properties[speed]
	p.Reported = &twin.Reported{Value: num("5")}
	s.Twin.Properties[speed] = p
}

// TestOutlook says when the next pass is due, and what reads are wanted.
func TestOutlook(t *testing.T) {
	blind := func(s *State) { s.EventsTrusted = false }
	wrote := func(s *State) { s.Written[speed] = true }
	onlineBefore := &v1alpha1.PnPDeviceStatus{ConnectionState: Connected}
	offlineBefore := &v1alpha1.PnPDeviceStatus{ConnectionState: Disconnected}
	for name, c := range map[string]struct {
		edits  []func(*State)
		before *v1alpha1.PnPDeviceStatus
		halt   *Halt
		want   Outlook
	}{
		"an answer is owed":                      {nil, onlineBefore, nil, Outlook{In: 10 * time.Second, FollowUps: true, Awaits: true, Want: Never}},
		"none is owed":                           {[]func(*State){acknowledged}, onlineBefore, nil, Outlook{FollowUps: true, Want: Never}},
		"claiming":                               {[]func(*State){func(s *State) { s.Claiming = true }}, onlineBefore, nil, Outlook{In: Soon}},
		"the pass halted":                        {[]func(*State){acknowledged}, onlineBefore, &Halt{After: time.Minute}, Outlook{In: time.Minute, FollowUps: true, Want: Never}},
		"the pass halted, and an answer is owed": {nil, onlineBefore, &Halt{After: time.Minute}, Outlook{In: 10 * time.Second, FollowUps: true, Awaits: true, Want: Never}},
		"suspended":                              {[]func(*State){func(s *State) { s.Device.Spec.Suspend = true }}, onlineBefore, nil, Outlook{}},
		"the pass has no memory":                 {[]func(*State){func(s *State) { s.Memory = nil }}, onlineBefore, nil, Outlook{}},
		"no events tell, written":                {[]func(*State){blind, wrote}, onlineBefore, nil, Outlook{In: 10 * time.Second, FollowUps: true, Awaits: true, Want: Anew}},
		"no events tell, not written":            {[]func(*State){blind}, onlineBefore, nil, Outlook{In: 10 * time.Second, FollowUps: true, Awaits: true, Want: Unless}},
		"no events tell, answered":               {[]func(*State){blind, acknowledged}, onlineBefore, nil, Outlook{FollowUps: true, Want: Never}},
		"no events tell, offline":                {[]func(*State){blind, offline}, offlineBefore, nil, Outlook{FollowUps: true, Awaits: true}},
		"no events tell, none is waited for":     {[]func(*State){blind, readyWhen(v1alpha1.ReadyWhenApplied)}, onlineBefore, nil, Outlook{FollowUps: true, Awaits: true}},
		"it began to work on it": {[]func(*State){blind, func(s *State) { s.Device.Status.Properties[0].State = StateOf(twin.StateInProgress) }}, onlineBefore, nil,
			Outlook{In: 10 * time.Second, FollowUps: true, Awaits: true, Want: Anew}},
		"it went offline":                    {[]func(*State){offline}, onlineBefore, nil, Outlook{FollowUps: true, Awaits: true, Want: Once}},
		"it went offline, and was read":      {[]func(*State){offline, func(s *State) { s.Memory.ReadAt = noon }}, onlineBefore, nil, Outlook{FollowUps: true, Awaits: true}},
		"it was offline":                     {[]func(*State){offline}, offlineBefore, nil, Outlook{FollowUps: true, Awaits: true}},
		"it was offline, and was written to": {[]func(*State){offline, wrote}, offlineBefore, nil, Outlook{FollowUps: true, Awaits: true, Want: Once}},
		"it is disabled":                     {[]func(*State){disabled}, &v1alpha1.PnPDeviceStatus{DeviceStatus: Disabled}, nil, Outlook{In: RetryTerminal, FollowUps: true, Awaits: true}},
		"a fight": {[]func(*State){func(s *State) { s.Device.Status.Properties = []v1alpha1.PropertyStatus{fought(noon.Add(-time.Minute))} }}, onlineBefore, nil,
			Outlook{In: 59 * time.Minute, FollowUps: true, Want: Never}},
	} {
		t.Run(name, func(t *testing.T) {
			s := owing(c.edits...)
			if got := s.outlook(c.halt, c.before); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestSooner(t *testing.T) {
	for _, c := range []struct{ a, b, want time.Duration }{{0, 0, 0}, {0, 1, 1}, {1, 0, 1}, {2, 1, 1}, {1, 2, 1}} {
		if got := Sooner(c.a, c.b); got != c.want {
			t.Errorf("of %d and %d: %d", c.a, c.b, got)
		}
	}
}

func TestConflictRetry(t *testing.T) {
	lost := fought(noon.Add(-30 * time.Minute))
	old := fought(noon.Add(-FightWindow))
	few := fought(noon.Add(-30 * time.Minute))
	few.CorrectedAt = few.CorrectedAt[:2]
	foreign := fought(noon.Add(-30 * time.Minute))
	foreign.Owned = false
	for name, c := range map[string]struct {
		p    v1alpha1.PropertyStatus
		want time.Duration
		due  bool
	}{
		"a fight":              {lost, 30 * time.Minute, false},
		"a fight long ago":     {old, 0, true},
		"too few corrections":  {few, 0, false},
		"not the object's":     {foreign, 0, false},
		"nothing of that kind": {owning(speed, "5"), 0, false},
	} {
		if got, due := (Entries{speed: c.p}).conflictRetry(noon); got != c.want || due != c.due {
			t.Errorf("%s: in %v, due: %t", name, got, due)
		}
	}
}

// TestStartClock gives a device all its time once its object is suspended no more.
func TestStartClock(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*State)
		want bool
	}{
		"resumed":                      {suspendedBefore, true},
		"never suspended":              {func(*State) {}, false},
		"suspended yet":                {func(s *State) { suspendedBefore(s); s.Device.Spec.Suspend = true }, false},
		"resumed, and never connected": {func(s *State) { suspendedBefore(s); s.Device.Status.ConnectionState = "" }, false},
	} {
		s := owing(c.edit)
		s.StartClock()
		if got := s.Device.Status.ConnectionStateSeenTime != nil; got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestQuiet says how soon a status has to be written.
func TestQuiet(t *testing.T) {
	answered := func(s *State) { acknowledged(s) }
	for name, c := range map[string]struct {
		edit                     func(*State)
		alone, waits, isAnswered bool
	}{
		"nothing moved":           {func(*State) {}, true, false, false},
		"the device reported":     {func(s *State) { s.Device.Status.Properties[0].AckDescription = "x" }, true, true, false},
		"the device answered":     {answered, true, false, true},
		"it was read":             {func(s *State) { s.WasRead = true; s.Device.Status.Summary = "x" }, false, false, false},
		"it was written":          {func(s *State) { s.Written[speed] = true; s.Device.Status.Summary = "x" }, false, false, false},
		"it claims":               {func(s *State) { s.Claiming = true; s.Device.Status.Summary = "x" }, false, false, false},
		"another writer wrote":    {func(s *State) { s.Device.Status.Twin = &v1alpha1.TwinReference{Etag: "x", DeviceEtag: "identity"} }, false, false, false},
		"another identity":        {func(s *State) { s.Device.Status.Twin = &v1alpha1.TwinReference{Etag: twin.ETagOf(3), DeviceEtag: "x"} }, false, false, false},
		"the twin is not known":   {func(s *State) { s.Twin = nil; s.Device.Status.Summary = "x" }, false, false, false},
		"nobody knows the device": {func(s *State) { s.Memory = nil; s.Device.Status.Summary = "x" }, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := owing()
			before := s.Device.DeepCopy()
			s.Device.Status = *s.Device.Status.DeepCopy()
			c.edit(s)
			if got := s.IsDeviceAlone(before); got != c.alone {
				t.Errorf("the device is alone: %t", got)
			}
			if got := s.MayWait(before); got != c.waits {
				t.Errorf("it may wait: %t", got)
			}
			if got := IsAnswered(before, s.Device); got != c.isAnswered {
				t.Errorf("it is answered: %t", got)
			}
			before.Generation++
			if s.IsDeviceAlone(before) {
				t.Error("an edit counts as the device's")
			}
		})
	}
}

func TestExpectsAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*State)
		want bool
	}{
		"a device that is there":    {func(*State) {}, true},
		"nothing was written":       {func(s *State) { clear(s.Written) }, false},
		"something was put back":    {func(s *State) { s.MustTell = true }, false},
		"it is offline":             {offline, false},
		"no answer is waited for":   {readyWhen(v1alpha1.ReadyWhenApplied), false},
		"no events tell":            {func(s *State) { s.EventsExpected = false }, false},
		"someone asked for a read":  {func(s *State) { s.Device.Status.LastHandledReconcileAt = "x" }, false},
		"someone asked for a write": {func(s *State) { s.Device.Status.LastHandledResendAt = "x" }, false},
	} {
		s := owing()
		before := s.Device.DeepCopy()
		s.Written[speed], s.EventsExpected = true, true
		c.edit(s)
		if got := s.ExpectsAnswer(before); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestDiffers(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*twin.Twin)
		want bool
	}{
		"the same twin":  {func(*twin.Twin) {}, false},
		"counters alone": {func(n *twin.Twin) { n.Version++; n.ETag = "x" }, false},
		"what nobody declared": {func(n *twin.Twin) {
			n.Properties[level] = twin.Property{Desired: &twin.Desired{Value: num("1"), Version: 3}}
		}, false},
		"another value":           {func(n *twin.Twin) { n.Properties[speed].Desired.Value = num("9") }, true},
		"the same, written again": {func(n *twin.Twin) { n.Properties[speed].Desired.Version = 3 }, true},
		"it went offline":         {func(n *twin.Twin) { n.ConnectionState = Disconnected }, true},
		"it announced a model":    {func(n *twin.Twin) { n.ModelID = "dtmi:a;1" }, true},
	} {
		s := owing()
		s.Device.Spec.Properties = JSONOf(map[string]any{"speed": num("5")})
		now := holding(map[twin.Leaf]any{speed: num("5")})
		c.edit(now)
		if got := Differs(s.Device, now); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	s := owing()
	s.Device.Spec.Properties = JSONOf("no object")
	if Differs(s.Device, holding(nil)) {
		t.Error("a declaration that cannot be read has its device looked at")
	}
}

// TestConclusion ends a pass in each way.
func TestConclusion(t *testing.T) {
	for name, c := range map[string]struct {
		edits  []func(*State)
		halt   *Halt
		isNew  bool
		reason string
		says   string
	}{
		"it went through":            {nil, nil, true, v1alpha1.ReasonAwaitingAcknowledgement, "Waiting"},
		"it halted":                  {nil, stalled("Because", "no", 0), true, "Because", "no"},
		"it claims":                  {[]func(*State){func(s *State) { s.Claiming = true }}, nil, true, v1alpha1.ReasonProgressing, "Writing the declared values"},
		"it fails at first":          {nil, &Halt{IsUnchanged: true}, true, v1alpha1.ReasonAwaitingAcknowledgement, "Waiting"},
		"it fails, and says so":      {[]func(*State){said}, &Halt{IsUnchanged: true}, false, "", ""},
		"it fails of a new spec":     {[]func(*State){said, func(s *State) { s.Device.Generation++ }}, &Halt{IsUnchanged: true}, true, v1alpha1.ReasonAwaitingAcknowledgement, "Waiting"},
		"it fails before a deletion": {[]func(*State){func(s *State) { s.Device.DeletionTimestamp = ago(0) }}, &Halt{IsUnchanged: true}, true, v1alpha1.ReasonProgressing, "Being deleted: speed is still to be removed; asking the hub for the device"},
		"what drifted is put back":   {[]func(*State){drifted}, &Halt{IsUnchanged: true}, true, v1alpha1.ReasonProgressing, "Putting back speed"},
		"unless it is left alone":    {[]func(*State){drifted, contesting}, &Halt{IsUnchanged: true}, true, v1alpha1.ReasonOwnershipConflict, "winter"},
		"unless nothing is written":  {[]func(*State){drifted, observing}, &Halt{IsUnchanged: true}, true, v1alpha1.ReasonDrifted, "speed: declared 5, the hub holds 9"},
		"suspended, and up to date":  {[]func(*State){acknowledged, func(s *State) { s.Device.Spec.Suspend = true }}, nil, true, v1alpha1.ReasonDeviceAcknowledged, "(suspended, as of 2026-11-30T12:00:00Z)"},
		"suspended, asked to resend": {[]func(*State){func(s *State) { s.Device.Spec.Suspend = true }, annotated(v1alpha1.AnnotationResendRequestedAt, "x")}, nil, true, v1alpha1.ReasonSuspended, "not sent again: speed"},
		"suspended, asked to read":   {[]func(*State){acknowledged, func(s *State) { s.Device.Spec.Suspend = true }, annotated(v1alpha1.AnnotationReconcileRequestedAt, "x")}, nil, true, v1alpha1.ReasonDeviceAcknowledged, "not read again, as was asked for, until it is resumed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := owing(c.edits...)
			got, isNew := s.conclusion(c.halt)
			if isNew != c.isNew || got.Reason != c.reason || !strings.Contains(got.Message, c.says) {
				t.Errorf("new: %t, %+v", isNew, got)
			}
		})
	}
}

// said has the conditions be about what the properties say.
func said(s *State) {
	conditions.SetVerdict(s.Device, conditions.Verdict{Reason: v1alpha1.ReasonAwaitingAcknowledgement})
	conditions.Set(s.Device, v1alpha1.ConditionSynced, true, v1alpha1.ReasonApplied, "")
	conditions.Set(s.Device, v1alpha1.ConditionAcknowledged, false, v1alpha1.ReasonAwaitingAcknowledgement, "")
}

func drifted(s *State) {
	s.Device.Status.Properties[0].State, s.Device.Status.Properties[0].Desired = StateOf(twin.StateDrifted), JSONOf(num("9"))
}

func TestBeingDeleted(t *testing.T) {
	for _, c := range []struct {
		left []twin.Leaf
		says string
		want string
	}{
		{nil, "The hub fails", "Being deleted; the hub fails"},
		{[]twin.Leaf{speed}, "Waiting for a token", "Being deleted: speed is still to be removed; waiting for a token"},
		{[]twin.Leaf{level, speed}, `IoTHub "h" is not ready`, `Being deleted: level, speed are still to be removed; IoTHub "h" is not ready`},
		{[]twin.Leaf{level, speed, {Name: "a"}, {Name: "b"}}, "One is", "Being deleted: level, speed, a and 1 more are still to be removed; one is"},
	} {
		got := beingDeleted(conditions.Verdict{Ready: true, Reason: "R", Message: c.says}, c.left)
		if got.Ready || got.Reason != "R" || got.Message != c.want {
			t.Errorf("got %+v, want %s", got, c.want)
		}
	}
}

func TestHubSuspendedText(t *testing.T) {
	edit := twin.Change{Leaf: speed, Cause: twin.Edited}
	removal := twin.Change{Leaf: level, Cause: twin.Removed}
	for want, changes := range map[string][]twin.Change{
		`IoTHub "factory" is suspended: not written: speed. Resume it to go on`:                     {edit},
		`IoTHub "factory" is suspended: not removed: level. Resume it to go on`:                     {removal},
		`IoTHub "factory" is suspended: not written: speed; not removed: level. Resume it to go on`: {edit, removal},
	} {
		if got := owing().hubSuspendedText(changes); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	s := owing(func(s *State) { s.Device.DeletionTimestamp = ago(0) })
	if got := s.hubSuspendedText([]twin.Change{removal}); !strings.Contains(got, "set deletionPolicy: Retain to leave the values at the device") {
		t.Errorf("of a deletion: %s", got)
	}
}

// TestSummariseOfAResumedObject: what changed while it was suspended is not known until the hub was
// asked.
func TestSummariseOfAResumedObject(t *testing.T) {
	for name, isKnown := range map[string]bool{"and the hub was not asked": false, "and it was": true} {
		s := owing(suspendedBefore)
		if s.Twin = nil; isKnown {
			s.Took(holding(map[twin.Leaf]any{speed: num("5")}))
		}
		s.Summarise(waiting(v1alpha1.ReasonHubNotReady, "no"))
		if s.Device.Status.Twin.Unconfirmed == isKnown || conditions.IsTrue(s.Device, v1alpha1.ConditionSuspended) {
			t.Errorf("%s: %+v, %+v", name, s.Device.Status.Twin, s.Device.Status.Conditions)
		}
	}
}

func TestTexts(t *testing.T) {
	leaves := []twin.Leaf{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Name: "e"}}
	s := owing()
	p := v1alpha1.PropertyStatus{AckCode: 400, AckDescription: "too hot", Reported: JSONOf(num("4")), Desired: JSONOf(num("9"))}
	for want, got := range map[string]string{
		"x: a, b, c and 2 more":       Listed("x: ", leaves),
		"a":                           Listed("", leaves[:1]),
		"; also a":                    alsoText(leaves[:1]),
		"":                            alsoText(nil),
		"is":                          isOrAre(1),
		"are":                         isOrAre(2),
		" since 2026-11-30T12:00:00Z": sinceText(ago(0)),
		"The device rejected speed with code 400: too hot":     rejectedText(speed, p),
		"The device took 4 for speed instead of 5":             s.adjustedText(speed, p),
		"The device took another value for speed instead of 5": s.adjustedText(speed, v1alpha1.PropertyStatus{}),
		"speed: declared 5, the hub holds 9":                   s.driftedText(speed, p),
		"speed: declared 5, the hub holds nothing":             s.driftedText(speed, v1alpha1.PropertyStatus{}),
		"speed (202: soon)":                                    s.workTextOf(202, "soon"),
		"speed (202)":                                          s.workTextOf(202, ""),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// workTextOf is what is said of speed once the device answered so.
func (s *State) workTextOf(code int64, text string) string {
	p := &s.Device.Status.Properties[0]
	p.AckCode, p.AckDescription = code, text
	return s.workText([]twin.Leaf{speed})
}
