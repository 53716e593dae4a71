package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

var (
	noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	key  = Key{Name: "c", Spec: "s"}
)

func at(d time.Duration) time.Time { return noon.Add(d) }

func claim(request, over string, proof Proof, when time.Duration) Claim {
	return Claim{UID: "1", Request: request, By: "p", At: at(when), Until: at(when + time.Minute), NotAfter: at(time.Hour), Over: over, Proof: proof}
}

func open(request string) *Entry {
	return &Entry{UID: "1", Request: request, By: "p", At: at(0), Until: at(time.Minute), NotAfter: at(time.Hour)}
}

func released(request string) *Entry {
	e := open(request)
	e.Released = true
	return e
}

func ended(request string, outcome v1alpha1.CommandOutcome) *Entry {
	e := open(request)
	e.Outcome = &Outcome{Outcome: outcome, At: at(2)}
	return e
}

// Every state of an entry, and every change that may be asked for of it.
func TestTransitions(t *testing.T) {
	const (
		succeeded, unknown = v1alpha1.CommandSucceeded, v1alpha1.CommandUnknown
		early, late        = time.Second, time.Hour
	)
	states := map[string]*Entry{
		"none": nil, "open": open("r1"), "released": released("r1"), "Succeeded": ended("r1", succeeded), "Unknown": ended("r1", unknown),
	}
	changes := map[string]func(Entries) error{
		"a first claim":                      func(s Entries) error { return s.Claim(key, claim("r2", "", "", early)) },
		"a claim over r1":                    func(s Entries) error { return s.Claim(key, claim("r2", "r1", "", early)) },
		"a claim over r1, released":          func(s Entries) error { return s.Claim(key, claim("r2", "r1", Released, early)) },
		"a claim over r1, retried at once":   func(s Entries) error { return s.Claim(key, claim("r2", "r1", Retried, early)) },
		"a claim over r1, retried later":     func(s Entries) error { return s.Claim(key, claim("r2", "r1", Retried, late)) },
		"a claim over another one":           func(s Entries) error { return s.Claim(key, claim("r2", "r0", Released, late)) },
		"the release of r1":                  func(s Entries) error { return s.Release(key, "r1", false) },
		"the release of another one":         func(s Entries) error { return s.Release(key, "r0", false) },
		"r1 Succeeded":                       func(s Entries) error { return s.Conclude(key, *ended("r1", succeeded)) },
		"r1 Unknown":                         func(s Entries) error { return s.Conclude(key, *ended("r1", unknown)) },
		"another one Succeeded":              func(s Entries) error { return s.Conclude(key, *ended("r0", succeeded)) },
		"another one is found to be Unknown": func(s Entries) error { return s.Conclude(key, *ended("r0", unknown)) },
	}
	allowed := map[string]map[string]string{ // what an entry becomes; all else is refused
		"none":      {"a first claim": "r2 open", "r1 Succeeded": "r1 Succeeded", "r1 Unknown": "r1 Unknown", "another one Succeeded": "r0 Succeeded", "another one is found to be Unknown": "r0 Unknown"},
		"open":      {"a claim over r1, released": "r2 open", "a claim over r1, retried later": "r2 open", "the release of r1": "r1 released", "r1 Succeeded": "r1 Succeeded", "r1 Unknown": "r1 Unknown"},
		"released":  {"a claim over r1": "r2 open", "a claim over r1, released": "r2 open", "a claim over r1, retried at once": "r2 open", "a claim over r1, retried later": "r2 open", "the release of r1": "r1 released", "r1 Unknown": "r1 Unknown"},
		"Succeeded": {},
		"Unknown":   {"r1 Succeeded": "r1 Succeeded"},
	}
	for state, e := range states {
		for what, change := range changes {
			t.Run(state+", "+what, func(t *testing.T) {
				s := Entries{}
				if e != nil {
					s[key] = *e
				}
				before := shown(s)
				err := change(s)
				want, ok := allowed[state][what]
				if !ok {
					want = before
				}
				if ok != (err == nil) || err != nil && !errors.Is(err, ErrChanged) || shown(s) != want {
					t.Errorf("%v, %s, want %s", err, shown(s), want)
				}
			})
		}
	}
}

func shown(s Entries) string {
	e, known := s[key]
	switch {
	case !known:
		return "none"
	case e.Outcome != nil:
		return fmt.Sprint(e.Request, " ", e.Outcome.Outcome)
	case e.Released:
		return e.Request + " released"
	}
	return e.Request + " open"
}

func TestDecide(t *testing.T) {
	for name, test := range map[string]struct {
		entry *Entry
		says  Object
		want  Kind
	}{
		"nothing is known": {nil, Object{}, Free},
		"an annotation and no record: restored elsewhere":   {nil, Object{Annotation: "r1"}, Unaccounted},
		"Running and no record":                             {nil, Object{Annotation: "r1", Request: "r1"}, Unaccounted},
		"Running, the annotation was taken":                 {nil, Object{Request: "r1"}, Unaccounted},
		"released and no record, as of an earlier operator": {nil, Object{Annotation: "r1", Request: "r1", Released: "r1"}, Free},
		"a second one in the annotation, no record":         {nil, Object{Annotation: "r2", Request: "r1", Released: "r1"}, Unaccounted},
		"claimed":                                               {open("r1"), Object{}, Open},
		"claimed, the object has the annotation":                {open("r1"), Object{Annotation: "r1"}, Open},
		"claimed and Running":                                   {open("r1"), Object{Annotation: "r1", Request: "r1"}, Open},
		"released in status, not yet in the ledger":             {open("r1"), Object{Annotation: "r1", Request: "r1", Released: "r1"}, Free},
		"released, the object was made anew":                    {released("r1"), Object{}, Free},
		"released, restored with the annotation":                {released("r1"), Object{Annotation: "r1"}, Free},
		"released, and in doubt after all":                      {released("r1"), Object{Annotation: "r1", Request: "r1"}, Open},
		"a second claim after a release":                        {open("r2"), Object{Annotation: "r1", Request: "r1", Released: "r1"}, Open},
		"the second was released, restored with an annotation":  {released("r2"), Object{Annotation: "r1"}, Unaccounted},
		"the second was released, the first is of no known end": {released("r2"), Object{Request: "r1"}, Unaccounted},
		"the second was not sent, the annotation is the first":  {released("r2"), Object{Annotation: "r1", Request: "r1", Released: "r1"}, Free},
		"ended":                               {ended("r1", v1alpha1.CommandSucceeded), Object{}, Known},
		"ended, whatever the object says":     {ended("r1", v1alpha1.CommandSucceeded), Object{Annotation: "r0", Request: "r0"}, Known},
		"ended, restored with the annotation": {ended("r1", v1alpha1.CommandUnknown), Object{Annotation: "r1"}, Known},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Decide(test.entry, test.says); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestAnEntrySurvivesNotAfterAndItsAttempt(t *testing.T) {
	for name, test := range map[string]struct {
		entry *Entry
		after time.Duration
	}{
		"after notAfter":   {open("r1"), time.Hour + slack},
		"after an outcome": {ended("r1", v1alpha1.CommandSucceeded), time.Hour + slack},
		"after a long one": {&Entry{Request: "r1", Until: at(2 * time.Hour), NotAfter: at(time.Hour)}, 2*time.Hour + slack},
	} {
		t.Run(name, func(t *testing.T) {
			s := Entries{key: *test.entry}
			if s.Forget(at(test.after - 1)); len(s) != 1 {
				t.Error("forgotten too early")
			}
			if s.Forget(at(test.after)); len(s) != 0 {
				t.Error("not forgotten")
			}
		})
	}
}

func TestAFullShardTakesNoClaimButEveryOutcome(t *testing.T) {
	s := Entries{}
	long := strings.Repeat("n", 253)
	nth := func(i int) Key { return Key{Name: fmt.Sprintf("%s%d", long[:240], i), Spec: "0123456789abcdef"} }
	n := 0
	var err error
	for ; err == nil; n++ {
		err = s.Claim(nth(n), claim("a0b1c2d3-0000-0000-0000-000000000000", "", "", 0))
	}
	full, ok := errors.AsType[*FullError](err)
	if !ok || !full.Until.Equal(at(time.Hour+slack)) || n < 500 {
		t.Fatalf("%v after %d claims", err, n)
	}
	if s.HasRoom(nth(n), at(0)) == nil || s.HasRoom(nth(0), at(0)) != nil || s.HasRoom(nth(n), at(2*time.Hour)) != nil {
		t.Error("who has room is another question")
	}
	for i := range n - 1 {
		e := *ended("a0b1c2d3-0000-0000-0000-000000000000", v1alpha1.CommandUnknown)
		e.Outcome.Message, e.Outcome.Response = strings.Repeat("é", 400), json.RawMessage(`"`+strings.Repeat("x", 500)+`"`)
		if err := s.Conclude(nth(i), e); err != nil {
			t.Fatal(err)
		}
	}
	text, err := s.Encode()
	if err != nil || len(text) > maxWeight+100 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

// What devices answered makes room for claims.
func TestResponsesMakeRoomForClaims(t *testing.T) {
	s := Entries{}
	response := json.RawMessage(`"` + strings.Repeat("x", 1000) + `"`)
	for i := range 280 {
		k := Key{Name: fmt.Sprint(i), Spec: "s"}
		e := *ended("r1", v1alpha1.CommandSucceeded)
		e.Outcome.Response = response
		if err := errors.Join(s.Claim(k, claim("r1", "", "", 0)), s.Conclude(k, e)); err != nil {
			t.Fatal(err)
		}
	}
	if e := s[Key{Name: "0", Spec: "s"}]; string(e.Outcome.Response) != string(response) {
		t.Errorf("response %.20s", e.Outcome.Response)
	}
	if e := s[Key{Name: "279", Spec: "s"}]; e.Outcome.Response != nil || !e.Outcome.Truncated {
		t.Errorf("response %.20s", e.Outcome.Response)
	}
}

func TestWhatIsStoredIsRead(t *testing.T) {
	code := int32(200)
	full := *ended("r3", v1alpha1.CommandSucceeded)
	full.Outcome = &Outcome{Outcome: v1alpha1.CommandSucceeded, Code: &code, Message: "m", Response: json.RawMessage(`{"a":null}`), Truncated: true, At: at(time.Second)}
	away := *released("r2")
	away.Offline = true
	want := Entries{{"a", "s"}: *open("r1"), {"a", "t"}: away, {"b.c", "s"}: full}
	text, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got)", diff)
	}
}

func spec(edit func(*v1alpha1.DeviceCommandSpec)) *v1alpha1.DeviceCommandSpec {
	s := &v1alpha1.DeviceCommandSpec{
		DeviceRef: v1alpha1.DeviceReference{Name: "d"}, Command: "reboot", NotAfter: metav1.NewTime(noon), ResponseTimeoutSeconds: 30, OnUnknownOutcome: v1alpha1.UnknownFail,
	}
	edit(s)
	return s
}

func payload(text string) func(*v1alpha1.DeviceCommandSpec) {
	return func(s *v1alpha1.DeviceCommandSpec) { s.Payload = &apiextensionsv1.JSON{Raw: []byte(text)} }
}

func nothing(*v1alpha1.DeviceCommandSpec) {}

func TestSpecsThatMeanTheSameAreOneInvocation(t *testing.T) {
	for name, test := range map[string]struct {
		a, b func(*v1alpha1.DeviceCommandSpec)
		same bool
	}{
		"equal":                 {nothing, nothing, true},
		"no payload and null":   {nothing, payload("null"), true},
		"keys in another order": {payload(`{"a":1,"b":[{"c":2,"d":3}]}`), payload(`{ "b": [{"d":3,"c":2}], "a": 1 }`), true},
		"a number with a point": {payload(`1`), payload(`1.0`), true},
		"with an exponent":      {payload(`1000`), payload(`1e3`), true},
		"another zone": {nothing, func(s *v1alpha1.DeviceCommandSpec) {
			s.NotAfter = metav1.NewTime(noon.In(time.FixedZone("z", 3600)))
		}, true},
		"without defaults": {nothing, func(s *v1alpha1.DeviceCommandSpec) { s.ResponseTimeoutSeconds, s.OnUnknownOutcome = 0, "" }, true},
		"another number":   {payload(`1`), payload(`2`), false},
		"great numbers":    {payload(`9007199254740993`), payload(`9007199254740992`), false},
		"a text":           {payload(`1`), payload(`"1"`), false},
		"another order":    {payload(`[1,2]`), payload(`[2,1]`), false},
		"another device":   {nothing, func(s *v1alpha1.DeviceCommandSpec) { s.DeviceRef.Name = "e" }, false},
		"a component":      {nothing, func(s *v1alpha1.DeviceCommandSpec) { s.Component = "c" }, false},
		"another command":  {nothing, func(s *v1alpha1.DeviceCommandSpec) { s.Command = "c" }, false},
		"a later notAfter": {nothing, func(s *v1alpha1.DeviceCommandSpec) { s.NotAfter = metav1.NewTime(noon.Add(time.Second)) }, false},
		"a time-out":       {nothing, func(s *v1alpha1.DeviceCommandSpec) { s.ConnectTimeoutSeconds = 1 }, false},
		"another time-out": {nothing, func(s *v1alpha1.DeviceCommandSpec) { s.ResponseTimeoutSeconds = 31 }, false},
		"a policy":         {nothing, func(s *v1alpha1.DeviceCommandSpec) { s.OnUnknownOutcome = v1alpha1.UnknownRetry }, false},
		"a time to live":   {nothing, func(s *v1alpha1.DeviceCommandSpec) { s.TTLSecondsAfterFinished = new(int32) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			if same := digest(spec(test.a)) == digest(spec(test.b)); same != test.same {
				t.Errorf("the same: %v", same)
			}
		})
	}
}

// Whatever processes do, in whatever order and with whatever they believe: an attempt follows
// another one only if that was released by its own ID, or is over and may be repeated; an outcome
// stays with the attempt that it is of; and nothing is forgotten before notAfter.
func TestNoTwoClaimsWithoutARelease(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := Entries{}, noon
		last := "" // the attempt on record
		isReleased, outcome := false, v1alpha1.CommandOutcome("")
		id := func(label string) string {
			return rapid.SampledFrom([]string{"", "r1", "r2", "r3", "r4"}).Draw(t, label)
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "seconds")) * time.Second)
			s.Forget(now)
			if _, known := s[key]; !known && last != "" && now.Before(at(time.Hour)) {
				t.Fatalf("%s is forgotten at %s", last, now)
			}
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				c := claim(id("claims")+"'", id("over")+"'", rapid.SampledFrom([]Proof{"", Retried}).Draw(t, "proof"), now.Sub(noon))
				if c.Over == "'" {
					c.Over = ""
				}
				until := s[key].Until
				if s.Claim(key, c) != nil {
					continue
				}
				if last != "" && (outcome != "" || c.Over != last || !isReleased && (c.Proof != Retried || now.Before(until))) {
					t.Fatalf("claimed over %s (released %v, %q): %+v", last, isReleased, outcome, c)
				}
				last, isReleased = c.Request, false
			case 1:
				request := id("releases") + "'"
				if s.Release(key, request, false) != nil {
					continue
				}
				if request != last || outcome != "" {
					t.Fatalf("%s is released, on record is %s, %q", request, last, outcome)
				}
				isReleased = true
			default:
				e := *ended(id("ends")+"'", rapid.SampledFrom([]v1alpha1.CommandOutcome{v1alpha1.CommandSucceeded, v1alpha1.CommandFailed, v1alpha1.CommandUnknown}).Draw(t, "outcome"))
				if s.Conclude(key, e) != nil {
					continue
				}
				if last != "" && e.Request != last || outcome != "" && outcome != v1alpha1.CommandUnknown {
					t.Fatalf("%s ends as %s, on record is %s, %q", e.Request, e.Outcome.Outcome, last, outcome)
				}
				last, isReleased, outcome = e.Request, false, e.Outcome.Outcome
			}
		}
		text, err := s.Encode()
		if err != nil || len(text) > 100+s.Weight() {
			t.Fatalf("%d bytes, weight %d, %v", len(text), s.Weight(), err)
		}
	})
}

// Whole seconds are stored. An attempt did not begin later than it did, and is not over before it
// is.
func TestTimesAreRoundedToTheSafeSide(t *testing.T) {
	at := time.Date(2026, 11, 29, 12, 0, 0, 500_000_000, time.UTC)
	text, err := Entries{key: {Request: "r", At: at, Until: at, NotAfter: at, Outcome: &Outcome{Outcome: v1alpha1.CommandUnknown, At: at}}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	all, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	e, down, up := all[key], at.Truncate(time.Second), at.Truncate(time.Second).Add(time.Second)
	if !e.At.Equal(down) || !e.Outcome.At.Equal(down) || !e.Until.Equal(up) || !e.NotAfter.Equal(up) {
		t.Errorf("claimed at %v, ended at %v, want %v; until %v and notAfter %v, want %v", e.At, e.Outcome.At, down, e.Until, e.NotAfter, up)
	}
}
