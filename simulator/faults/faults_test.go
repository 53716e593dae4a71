package faults

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// strikes runs calls against a set and shows which of them were hit.
func strikes(s *Set, operation, device string, calls int) string {
	var b strings.Builder
	for range calls {
		if _, f := s.Strike(operation, device); f != nil {
			b.WriteByte('x')
		} else {
			b.WriteByte('.')
		}
	}
	return b.String()
}

func TestStrike(t *testing.T) {
	tests := map[string]struct {
		fault             Fault
		operation, device string
		want              string
	}{
		"once by default":               {Throttled(), "GetTwin", "d1", "x....."},
		"several times":                 {Throttled().Times(3), "GetTwin", "d1", "xxx..."},
		"for ever":                      {Throttled().Times(Forever), "GetTwin", "d1", "xxxxxx"},
		"from the nth call on":          {Fault{Kind: Hang, Nth: 3, Count: 2}, "GetTwin", "d1", "..xx.."},
		"on one operation":              {Throttled().On("GetTwin", ""), "GetTwin", "d1", "x....."},
		"not on another":                {Throttled().On("GetTwin", ""), "PatchTwin", "d1", "......"},
		"on operations by a pattern":    {Throttled().On("*Twin", ""), "PatchTwin", "d1", "x....."},
		"on a device":                   {Throttled().On("", "d1"), "GetTwin", "d1", "x....."},
		"not on another device":         {Throttled().On("", "d1"), "GetTwin", "d2", "......"},
		"on devices by a pattern":       {Throttled().On("", "line-*"), "GetTwin", "line-7", "x....."},
		"an id with special characters": {Throttled().On("", "a[b*"), "GetTwin", "x", "......"},
		"with a probability":            {Fault{Kind: Hang, Count: Forever, Probability: 0.5, Seed: 7}, "GetTwin", "d1", "SEEDED"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := New()
			if _, err := s.TryAdd(test.fault); err != nil {
				if strings.Contains(name, "special") {
					return // refused as a bad pattern
				}
				t.Fatal(err)
			}
			got := strikes(s, test.operation, test.device, 6)
			if test.want == "SEEDED" {
				again := New()
				again.Add(test.fault)
				test.want = strikes(again, test.operation, test.device, 6)
				if !strings.Contains(got, "x") || !strings.Contains(got, ".") {
					t.Errorf("seed 7 gives %s", got)
				}
			}
			if got != test.want {
				t.Errorf("got %s want %s", got, test.want)
			}
		})
	}
}

func TestLatenciesAddUpAndLeaveTheRestToTheNextFault(t *testing.T) {
	s := New()
	s.Add(Slow(time.Second).Times(Forever))
	s.Add(Slow(time.Second))
	s.Add(ServerError())
	latency, f := s.Strike("GetTwin", "d1")
	if latency != 2*time.Second || f == nil || f.Status != 500 {
		t.Errorf("got %s %+v", latency, f)
	}
	latency, f = s.Strike("GetTwin", "d1")
	if latency != time.Second || f != nil {
		t.Errorf("then %s %+v", latency, f)
	}
}

func TestManageFaults(t *testing.T) {
	s := New()
	id := s.Add(Throttled())
	named := s.Add(Fault{ID: "mine", Kind: Hang})
	s.Strike("GetTwin", "d1")
	list := s.List()
	if len(list) != 2 || list[0].Seen != 1 || list[0].Happened != 1 || list[1].Happened != 0 || named != "mine" {
		t.Errorf("got %+v", list)
	}
	if !s.Remove(id) || s.Remove(id) {
		t.Error("remove must report whether there was one")
	}
	s.Clear()
	if len(s.List()) != 0 {
		t.Error("something is left")
	}
}

func TestSenselessFaults(t *testing.T) {
	for name, f := range map[string]Fault{
		"no kind":                {},
		"an unknown kind":        {Kind: "Explode"},
		"a status that is none":  {Kind: Status},
		"a status of success":    {Kind: Status, Status: 200},
		"a probability above 1":  {Kind: Hang, Probability: 2},
		"a pattern that is none": {Kind: Hang, Device: "["},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New().TryAdd(f); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestFaultsInJSON(t *testing.T) {
	want := Fault{ID: "x", Kind: Latency, Latency: 250 * time.Millisecond, Count: Forever, Device: "a*"}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), `"latency":"250ms"`) {
		t.Errorf("got %s", data)
	}
	var got Fault
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{`{"kind":"Hang","typo":1}`, `{"latency":"soon"}`} {
		if json.Unmarshal([]byte(bad), &got) == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestFaultsOfQueriesStrikeTogetherAndNoCalls(t *testing.T) {
	s := New()
	s.Add(Fault{Kind: GhostRows, Device: "line-*", Count: Forever})
	s.Add(Fault{Kind: RefusedToken, Nth: 2})
	s.Add(Throttled().Times(Forever))
	for i, want := range []string{"GhostRows", "GhostRows", "GhostRows RefusedToken", "GhostRows"} {
		var hit []string
		for _, f := range s.StrikeQuery(i > 0) { // only those with a token count for RefusedToken
			hit = append(hit, string(f.Kind))
		}
		if got := strings.Join(hit, " "); got != want {
			t.Errorf("query %d: %s, want %s", i, got, want)
		}
	}
	if _, f := s.Strike("Query", ""); f == nil || f.Kind != Status {
		t.Errorf("the call is hit by %v", f)
	}
	if f := (Fault{Kind: GhostRows, Device: "line-*"}); !f.Hits("line-7") || f.Hits("press-7") {
		t.Error("the pattern of rows is not heeded")
	}
}
