package main

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestEveryFactIsWhole(t *testing.T) {
	known := map[string]bool{}
	for _, c := range allFacts() {
		if c.id == "" || c.fact == "" || c.expected == "" || c.play == nil {
			t.Errorf("%q lacks something", c.id)
		}
		if known[c.id] {
			t.Errorf("%q is there twice", c.id)
		}
		known[c.id] = true
	}
}

func TestJudging(t *testing.T) {
	c := check{id: "x", expected: "200"}
	for name, test := range map[string]struct {
		seen string
		err  error
		want verdict
		code int
	}{
		"as expected":    {"200", nil, agrees, allAgree},
		"otherwise":      {"400", nil, differs, someDiffer},
		"not possible":   {"", skipf("no route"), notPlayed, allAgree},
		"gone wrong":     {"200", errors.New("connection reset"), failed, couldNotRun},
		"skipped inside": {"", errors.Join(skipf("no route"), nil), notPlayed, allAgree},
	} {
		r := judge(c, test.seen, test.err)
		if r.verdict != test.want || exitCode([]row{r}) != test.code {
			t.Errorf("%s: %s, exit code %d", name, r.verdict, exitCode([]row{r}))
		}
	}
	different, broken := row{verdict: differs}, row{verdict: failed}
	if got := exitCode([]row{broken, different, {verdict: agrees}}); got != someDiffer {
		t.Errorf("a difference beside a failure: exit code %d", got)
	}
}

func TestWhatAFactNeeds(t *testing.T) {
	s := &site{}
	played := false
	c := check{id: "x", expected: "yes", needs: aDevice | someEvents, play: func(context.Context, *site) (string, error) { played = true; return "yes", nil }}
	for allowed, want := range map[needs]string{
		0: "--service-only is given", aDevice: "needs EVENTS_CONNECTION_STRING_FILE", aDevice | someEvents: "yes", aDevice | someEvents | theThrottle: "yes",
	} {
		s.allowed, played = allowed, false
		if r := s.playOne(t.Context(), c); r.seen != want || played != (want == "yes") {
			t.Errorf("allowed %b: saw %q", allowed, r.seen)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.allowed = c.needs
	if r := s.playOne(ctx, c); r.verdict != notPlayed || r.seen != "interrupted" {
		t.Errorf("after an interrupt: %s, %s", r.verdict, r.seen)
	}
}

func TestTheTable(t *testing.T) {
	rows := []row{
		{check: check{id: "short", fact: "A fact", expected: "200"}, seen: "200", verdict: agrees, remark: "after 2s"},
		{check: check{id: "longer.id", fact: "Another fact", expected: strings.Repeat("x", 70)}, seen: "400", verdict: differs},
	}
	m := &meter{}
	m.spend(513)
	want := `FACT       EXPECTED                                                      SEEN  AGREES
short      200                                                           200   yes
    A fact (after 2s)
longer.id  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx  400   NO
    Another fact

1 agree, 1 differ, 0 failed, 0 were not played
messages: about 2 of the hub's day on the free tier (blocks of 0.5 KB), 1 on any other (4 KB)
`
	if got := table(rows) + summary(rows, m); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSecretsAreHidden(t *testing.T) {
	var h hider
	h.add("key/1=", "", "HostName=h;SharedAccessKey=key/1=")
	if got := h.hide("failed: key/1= of h"); got != "failed: (hidden) of h" {
		t.Errorf("got %q", got)
	}
}

func TestAnswers(t *testing.T) {
	inner := `{\"errorCode\":404103,\"message\":\"; not online\",\"info\":{\"timeout\":\"00:00:05\"}}`
	for name, test := range map[string]struct {
		answer         answer
		text, detailed string
	}{
		"success":          {answer{status: 202}, "202", "202"},
		"by header":        {answer{status: 404, header: http.Header{"Iothub-Errorcode": {"DeviceNotFound"}}}, "404 DeviceNotFound", "404 DeviceNotFound"},
		"by message":       {answer{status: 400, body: []byte(`{"Message":"ErrorCode:ArgumentInvalid;BadRequest"}`)}, "400 ArgumentInvalid", "400 ArgumentInvalid"},
		"within a message": {answer{status: 404, body: []byte(`{"Message":"` + inner + `"}`)}, "404", "404 404103 timeout 00:00:05"},
		"HTML":             {answer{status: 502, body: []byte("<html>bad gateway</html>")}, "502", "502"},
	} {
		if got := test.answer.String(); got != test.text {
			t.Errorf("%s: %q, want %q", name, got, test.text)
		}
		if got := test.answer.detailed(); got != test.detailed {
			t.Errorf("%s in detail: %q, want %q", name, got, test.detailed)
		}
	}
}

func TestDocuments(t *testing.T) {
	d, err := parseDocument([]byte(`{"a":{"n":1.0,"s":"x","none":null},"v":4503599627370495}`))
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		shown(d.at("a")):                     `{"n":1.0,"none":null,"s":"x"}`,
		shown(d.at("a", "absent", "deeper")): "nothing",
		shown(without(d.at("a"), "n", "s")):  `{"none":null}`,
		d.text("a", "s"):                     "x",
		shown(d.number("v")):                 "4503599627370495",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if !d.has("a", "none") || d.has("a", "absent") || d.has("absent", "none") {
		t.Error("null and nothing are confused")
	}
	if _, err := parseDocument([]byte(`[1]`)); err == nil {
		t.Error("an array is no document")
	}
}

func TestMoved(t *testing.T) {
	before, after := document{"a": "1", "b": "1"}, document{"a": "2", "b": "1", "c": "1"}
	if got := moved(before, after, []path{{"x", []string{"a"}}, {"y", []string{"b"}}, {"z", []string{"c"}}}); got != "moved: x z" {
		t.Errorf("got %q", got)
	}
}

func TestTopics(t *testing.T) {
	if status, version := topicOf("$iothub/twin/res/204/?$rid=1&$version=8"); status != "204" || version != "8" {
		t.Errorf("got %s, %s", status, version)
	}
	if status, version := topicOf("$iothub/twin/res/400/?$rid=1"); status != "400" || version != "" {
		t.Errorf("got %s, %s", status, version)
	}
}

func TestRefusedConnections(t *testing.T) {
	for message, want := range map[string]string{
		"mqtt.js returned Connection refused: Not authorized error":           notAuthorized,
		"mqtt.js returned Connection refused: Bad username or password error": "CONNACK 4, bad user name or password",
		"getaddrinfo ENOTFOUND": "NotConnectedError: getaddrinfo ENOTFOUND",
	} {
		if got, err := connackOf(&refusal{"NotConnectedError", message}); got != want || err != nil {
			t.Errorf("%q: got %q, %v", message, got, err)
		}
	}
	if got, err := connackOf(nil); got != "connected" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := connackOf(context.Canceled); err == nil {
		t.Error("an interrupt is no refusal")
	}
}

func TestMessagesAreCounted(t *testing.T) {
	for _, test := range []struct {
		method, path    string
		request, answer bool
	}{
		{"GET", "/twins/x", false, true}, {"PATCH", "/twins/x", true, false}, {"PUT", "/twins/x", true, false},
		{"GET", "/digitaltwins/x", false, true}, {"PATCH", "/digitaltwins/x", true, false},
		{"POST", "/devices/query", false, true}, {"POST", "/twins/x/methods", true, true}, {"POST", "/digitaltwins/x/commands/c", true, true},
		{"PUT", "/devices/x", false, false}, {"DELETE", "/devices/x", false, false}, {"PUT", "/configurations/x", false, false},
	} {
		if request, answer := billed(test.method, test.path); request != test.request || answer != test.answer {
			t.Errorf("%s %s: request %v, answer %v", test.method, test.path, request, answer)
		}
	}
	for bytes, want := range map[int][2]int{0: {1, 1}, 512: {1, 1}, 513: {2, 1}, 4097: {9, 2}} {
		one := &meter{}
		one.spend(bytes)
		if small, large := one.messages(); small != want[0] || large != want[1] {
			t.Errorf("%d bytes: %d and %d", bytes, small, large)
		}
	}
	m := &meter{small: mostMessages - reserve}
	if m.room(1) == nil {
		t.Error("there is no limit")
	}
	m.small--
	if err := m.room(1); err != nil {
		t.Error(err)
	}
	if m.room(513) == nil {
		t.Error("the size of a request does not count")
	}
}

func TestSelection(t *testing.T) {
	if got := selected(allFacts(), regexp.MustCompile(`^throttle\.`)); len(got) != len(throttleFacts) {
		t.Errorf("%d facts", len(got))
	}
}
