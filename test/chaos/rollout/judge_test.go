package rollout

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// course is a journal in the making, with a hub that keeps the desired properties.
type course struct {
	t        *testing.T
	entries  []simulator.JournalEntry
	versions map[string]int64
	desired  map[string]string
	at       time.Time
}

func newCourse(t *testing.T) *course {
	return &course{t: t, versions: map[string]int64{}, desired: map[string]string{}, at: noon}
}

func (c *course) add(e simulator.JournalEntry) {
	c.at = c.at.Add(time.Second)
	e.Seq, e.Written = uint64(len(c.entries)+1), c.at
	c.entries = append(c.entries, e)
}

func (c *course) happens(kind, id string) {
	e := simulator.JournalEntry{DeviceID: id}
	if err := json.Unmarshal([]byte(`{"kind":"`+kind+`"}`), &e); err != nil {
		c.t.Fatal(err)
	}
	if kind == "Created" {
		c.versions[id], c.desired[id] = 1, `{}`
	}
	c.add(e)
}

func (c *course) writes(service bool, id, patch string) {
	before := c.desired[id]
	c.versions[id]++
	c.desired[id] = encoded(merged(decoded(c.t, before), decoded(c.t, patch)))
	c.add(simulator.JournalEntry{
		DeviceID: id, Kind: "TwinUpdated", Service: service, Desired: []byte(patch), Before: []byte(before), DesiredVersion: c.versions[id],
	})
}

func (c *course) reports(id, patch string) {
	patch = strings.ReplaceAll(patch, "VERSION", fmt.Sprint(c.versions[id]))
	c.add(simulator.JournalEntry{DeviceID: id, Kind: "TwinUpdated", Reported: []byte(patch)})
}

func (c *course) trace() *Trace {
	t, err := Follow(c.entries)
	if err != nil {
		c.t.Fatal(err)
	}
	return t
}

// play reads lines: a device and what happens to it. "us" and "other" write a patch, "says" is a
// report.
func (c *course) play(lines ...string) *course {
	for _, line := range lines {
		id, rest, _ := strings.Cut(line, " ")
		verb, body, _ := strings.Cut(rest, " ")
		switch verb {
		case "us", "other":
			c.writes(verb == "us", id, body)
		case "says":
			c.reports(id, body)
		default:
			c.happens(verb, id)
		}
	}
	return c
}

func decoded(t *testing.T, s string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func found(list []Finding) []string {
	out := []string{}
	for _, f := range list {
		out = append(out, fmt.Sprintf("%s %s", f.DeviceID, f.What))
	}
	return out
}

const ok = `{"x":{"value":1,"ac":200,"av":VERSION}}`

func TestBeyondInFlight(t *testing.T) {
	connected := []string{"a Created", "a Connected", "b Created", "b Connected", "c Created", "c Connected"}
	for name, test := range map[string]struct {
		lines []string
		want  []string
	}{
		"two at a time":                        {[]string{`a us {"x":1}`, `b us {"x":1}`, `a says ` + ok, `c us {"x":1}`}, nil},
		"three at a time":                      {[]string{`a us {"x":1}`, `b us {"x":1}`, `c us {"x":1}`}, []string{"c is device 3 in flight, of 2 allowed"}},
		"the same device again":                {[]string{`a us {"x":1}`, `b us {"x":1}`, `a us {"x":2}`}, nil},
		"an answer that is no end":             {[]string{`a us {"x":1}`, `b us {"x":1}`, `a says {"x":{"value":1,"ac":202,"av":VERSION}}`, `c us {"x":1}`}, []string{"c is device 3 in flight, of 2 allowed"}},
		"an answer to an older version":        {[]string{`a us {"x":1}`, `b us {"x":1}`, `a says {"x":{"value":1,"ac":200,"av":1}}`, `c us {"x":1}`}, []string{"c is device 3 in flight, of 2 allowed"}},
		"a refusal is an answer":               {[]string{`a us {"x":1}`, `b us {"x":1}`, `a says {"x":{"value":0,"ac":400,"av":VERSION}}`, `c us {"x":1}`}, nil},
		"one leaf of two is answered":          {[]string{`a us {"x":1,"y":1}`, `b us {"x":1}`, `a says ` + ok, `c us {"x":1}`}, []string{"c is device 3 in flight, of 2 allowed"}},
		"leaves of an object with one answer":  {[]string{`a us {"m":{"__t":"c","o":{"p":1,"q":2}}}`, `b us {"x":1}`, `a says {"m":{"__t":"c","o":{"value":{},"ac":200,"av":VERSION}}}`, `c us {"x":1}`}, nil},
		"a device that went":                   {[]string{`a us {"x":1}`, `b us {"x":1}`, `a Disconnected`, `c us {"x":1}`}, nil},
		"a device that is deleted":             {[]string{`a us {"x":1}`, `b us {"x":1}`, `a Deleted`, `c us {"x":1}`}, nil},
		"a device that is offline":             {[]string{`a Disconnected`, `a us {"x":1}`, `b us {"x":1}`, `c us {"x":1}`}, nil},
		"a write of another":                   {[]string{`a other {"x":1}`, `b us {"x":1}`, `c us {"x":1}`}, nil},
		"a removal has no answer":              {[]string{`a other {"x":1}`, `a us {"x":null}`, `b us {"x":1}`, `c us {"x":1}`}, nil},
		"what is removed need not be answered": {[]string{`a us {"x":1}`, `a us {"x":null}`, `b us {"x":1}`, `c us {"x":1}`}, nil},
		"a failover":                           {[]string{`a us {"x":1}`, `b us {"x":1}`, `a Rewound`, `c us {"x":1}`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := newCourse(t).play(append(append([]string{}, connected...), test.lines...)...).trace().BeyondInFlight(2, time.Hour)
			if diff := cmp.Diff(append([]string{}, test.want...), found(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhoWaitsLongEnoughGivesUp(t *testing.T) {
	trace := newCourse(t).play("a Created", "a Connected", `a us {"x":1}`, "b Created", "b Connected", `b us {"x":1}`).trace()
	if got := trace.BeyondInFlight(1, 2*time.Second); len(got) != 0 {
		t.Errorf("%v, three seconds after the first write", got)
	}
	if got := trace.BeyondInFlight(1, 3*time.Second); len(got) != 1 {
		t.Errorf("%v, within the time", got)
	}
}

func TestRemovalsAndWhatIsLeft(t *testing.T) {
	for name, test := range map[string]struct {
		lines          []string
		removals, left []string
	}{
		"ours is removed":                {[]string{`a us {"x":1}`, `a us {"x":null}`}, []string{}, []string{}},
		"another's is removed":           {[]string{`a other {"x":1}`, `a us {"x":null}`}, []string{`a removes x = 1, which another wrote`}, []string{}},
		"another overwrote ours":         {[]string{`a us {"x":1}`, `a other {"x":2}`, `a us {"x":null}`}, []string{`a removes x = 2, which another wrote`}, []string{}},
		"another wrote the same":         {[]string{`a us {"x":1}`, `a other {"x":1}`, `a us {"x":null}`}, []string{`a removes x = 1, which another wrote`}, []string{}},
		"we overwrote another's":         {[]string{`a other {"x":1}`, `a us {"x":2}`, `a us {"x":null}`}, []string{}, []string{}},
		"a component goes":               {[]string{`a us {"m":{"__t":"c","x":1}}`, `a other {"m":{"y":2}}`, `a us {"m":null}`}, []string{`a removes m/y = 2, which another wrote`}, []string{}},
		"a value replaces an object":     {[]string{`a other {"m":{"y":2}}`, `a us {"m":1}`}, []string{`a removes m/y = 2, which another wrote`}, []string{`a still has m = 1`}},
		"ours is left":                   {[]string{`a us {"x":1,"keep":1,"l":[1,null]}`}, []string{}, []string{`a still has l = [1,null]`, `a still has x = 1`}},
		"what another took over":         {[]string{`a us {"x":1}`, `a other {"x":2}`}, []string{}, []string{}},
		"what another removed":           {[]string{`a us {"x":1}`, `a other {"x":null}`}, []string{}, []string{}},
		"nothing is removed":             {[]string{`a us {"x":null}`}, []string{}, []string{}},
		"a device that is gone":          {[]string{`a us {"x":1}`, `a Deleted`}, []string{}, []string{}},
		"one that was made again":        {[]string{`a us {"x":1}`, `a Deleted`, `a Created`, `a other {"x":1}`, `a us {"x":null}`}, []string{`a removes x = 1, which another wrote`}, []string{}},
		"after a failover nobody knows":  {[]string{`a other {"x":1}`, `a Rewound`, `a us {"x":null}`}, []string{}, []string{}},
		"a failover leaves nothing ours": {[]string{`a us {"x":1}`, `a Rewound`}, []string{}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			trace := newCourse(t).play(append([]string{"a Created"}, test.lines...)...).trace()
			if diff := cmp.Diff(test.removals, found(trace.ForeignRemovals())); diff != "" {
				t.Errorf("removals: %s", diff)
			}
			left := trace.LeftBehind(func(_, leaf string) bool { return leaf == "keep" })
			if diff := cmp.Diff(test.left, found(left)); diff != "" {
				t.Errorf("left: %s", diff)
			}
		})
	}
}

func TestWritesBetweenMoments(t *testing.T) {
	c := newCourse(t).play("a Created", "b Created", `a us {"x":1}`, `b us {"x":1}`, `a us {"x":2}`, `b other {"x":3}`)
	gate := noon.Add(4 * time.Second) // the write to b
	ids := func(list []Write) (out []string) {
		for _, w := range list {
			out = append(out, fmt.Sprintf("%s %v", w.DeviceID, w.Set))
		}
		return out
	}
	trace := c.trace()
	everybody := func(string) bool { return true }
	for name, test := range map[string]struct {
		got  []Write
		want []string
	}{
		"all":              {trace.Written(time.Time{}, time.Time{}, everybody), []string{"a map[x:1]", "b map[x:1]", "a map[x:2]"}},
		"before":           {trace.Written(time.Time{}, gate, everybody), []string{"a map[x:1]"}},
		"from":             {trace.Written(gate, time.Time{}, everybody), []string{"b map[x:1]", "a map[x:2]"}},
		"of one, from":     {trace.Written(gate, time.Time{}, func(id string) bool { return id == "b" }), []string{"b map[x:1]"}},
		"of one, before":   {trace.Written(time.Time{}, gate, func(id string) bool { return id == "b" }), nil},
		"all, without end": {trace.Writes(), []string{"a map[x:1]", "b map[x:1]", "a map[x:2]"}},
	} {
		if diff := cmp.Diff(test.want, ids(test.got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestNeedlessWrites(t *testing.T) {
	trace := newCourse(t).play("a Created", `a us {"m":{"__t":"c","x":1}}`, `a us {"m":{"__t":"c","x":1}}`, `a us {"y":null}`, `a us {"m":{"x":2}}`, `a other {"m":{"x":2}}`).trace()
	var seqs []uint64
	for _, f := range trace.Needless() {
		seqs = append(seqs, f.Seq)
	}
	if diff := cmp.Diff([]uint64{3, 4}, seqs); diff != "" {
		t.Error(diff)
	}
}

// What a simulator writes is what the judge reads.
func TestAJournalOfASimulatorIsJudged(t *testing.T) {
	path := t.TempDir() + "/journal"
	sim, err := simulator.Start(t.Context(), simulator.Options{JournalFile: path, AckDelay: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []error{
		sim.Hub().CreateDevice("a"),
		sim.Hub().PatchDesired("a", `{"x":1}`, "another"),
		patchOverAPI(sim, "a", `{"x":2,"y":1}`),
		patchOverAPI(sim, "a", `{"x":null}`),
		sim.Hub().PatchDesired("a", `{"z":1}`, ""),
		patchOverAPI(sim, "a", `{"z":null}`),
		sim.Close(),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	trace, err := FollowFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a removes z = 1, which another wrote"}, found(trace.ForeignRemovals())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a still has y = 1"}, found(trace.LeftBehind(func(string, string) bool { return false }))); diff != "" {
		t.Error(diff)
	}
}

func patchOverAPI(sim *simulator.Simulator, id, desired string) error {
	body, err := jsontree.ParseObject([]byte(`{"properties":{"desired":` + desired + `}}`))
	if err == nil {
		_, err = sim.Hub().PatchTwin(id, body, "")
	}
	return err
}

func TestALineThatIsNotWrittenYetIsLeftOut(t *testing.T) {
	path := t.TempDir() + "/journal"
	const lines = `{"seq":1,"deviceId":"a","kind":"TwinUpdated","service":true,"desired":{"x":1},"before":{}}
{"seq":2,"deviceId":"a","kin`
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	trace, err := FollowFile(path)
	if err != nil || len(trace.Writes()) != 1 {
		t.Errorf("%v, %v", trace, err)
	}
}

func TestABrokenJournal(t *testing.T) {
	for _, e := range []simulator.JournalEntry{{Desired: []byte(`{`)}, {Desired: []byte(`{}`), Before: []byte(`[`)}, {Reported: []byte(`1`)}} {
		if _, err := Follow([]simulator.JournalEntry{e}); err == nil {
			t.Errorf("%+v is taken", e)
		}
	}
	if _, err := FollowFile(t.TempDir() + "/none"); err == nil {
		t.Error("a file that is not there is taken")
	}
}
