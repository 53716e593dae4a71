package twin_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// stamps writes out metadata: a string is the second of a node's time, "" for none; an object is a node whose "" is its own.
func stamps(v any) any {
	switch v := v.(type) {
	case string:
		if v == "" {
			return object{}
		}
		return object{"$lastUpdated": "2026-11-30T10:00:" + v + "Z"}
	case object:
		node := object{}
		for key, inner := range v {
			if key == "" {
				node = stamps(inner).(object)
			}
		}
		for key, inner := range v {
			if key != "" {
				node[key] = stamps(inner)
			}
		}
		return node
	}
	return v
}

// TestWhatADeviceAnswered: the hub merges reports, and times tell what is left over from earlier ones.
func TestWhatADeviceAnswered(t *testing.T) {
	const merged = `{"value":{"a":1,"d":5},"ac":200,"av":3,"ad":"done"}`
	tests := map[string]struct {
		reported string
		stamps   string
		want     string
		wantText string
		isWhole  bool // the hub holds no more than the answer
	}{
		"all of one report":                      {merged, `{"":"22","value":{"":"22","a":"22","d":"22"},"ac":"22","av":"22","ad":"22"}`, `{"a":1,"d":5}`, "done", true},
		"a key of an earlier one":                {merged, `{"":"22","value":{"":"22","a":"22","d":"18"},"ac":"22","av":"22","ad":"22"}`, `{"a":1}`, "done", false},
		"all keys of an earlier one":             {merged, `{"":"22","value":{"":"22","a":"18","d":"18"},"ac":"22","av":"22","ad":"22"}`, `{}`, "done", false},
		"a key that was added at the same time":  {merged, `{"":"22","value":{"":"22","a":"18","d":"22"},"ac":"22","av":"22","ad":"22"}`, `{"d":5}`, "done", false},
		"a key that was added later":             {merged, `{"":"25","value":{"":"25","a":"22","d":"25"},"ac":"22","av":"22","ad":"22"}`, `{"a":1,"d":5}`, "done", true},
		"a value before its acknowledgement":     {merged, `{"":"22","value":{"":"20","a":"20","d":"18"},"ac":"22","av":"22","ad":"22"}`, `{"a":1,"d":5}`, "done", true},
		"a code later than its version":          {merged, `{"":"25","value":{"":"22","a":"22","d":"18"},"ac":"25","av":"22","ad":"22"}`, `{"a":1,"d":5}`, "done", true},
		"a code earlier than its version":        {merged, `{"":"25","value":{"":"25","a":"25","d":"18"},"ac":"22","av":"25","ad":"22"}`, `{"a":1,"d":5}`, "done", true},
		"a key without a time":                   {merged, `{"":"22","value":{"":"22","a":"22"},"ac":"22","av":"22","ad":"22"}`, `{"a":1,"d":5}`, "done", true},
		"a key whose time cannot be read":        {merged, `{"":"22","value":{"":"22","a":"22","d":"?"},"ac":"22","av":"22","ad":"22"}`, `{"a":1,"d":5}`, "done", true},
		"a version without a time":               {merged, `{"":"22","value":{"":"22","a":"22","d":"18"},"ac":"22","ad":"22"}`, `{"a":1,"d":5}`, "done", true},
		"a value without a time":                 {merged, `{"":"22","ac":"22","av":"22","ad":"18"}`, `{"a":1,"d":5}`, "", false},
		"a text of an earlier one":               {merged, `{"":"22","value":{"":"22","a":"22","d":"22"},"ac":"22","av":"22","ad":"18"}`, `{"a":1,"d":5}`, "", false},
		"a text that came later":                 {merged, `{"":"25","value":{"":"22","a":"22","d":"22"},"ac":"22","av":"22","ad":"25"}`, `{"a":1,"d":5}`, "done", true},
		"no metadata":                            {merged, `{}`, `{"a":1,"d":5}`, "done", true},
		"a value that has keys only in metadata": {`{"value":7,"ac":200,"av":3}`, `{"":"22","value":{"":"22","a":"18"},"ac":"22","av":"22"}`, `7`, "", true},
		"deep below": {
			`{"value":{"a":{"b":{"c":1,"d":2}},"e":{"f":1}},"ac":200,"av":3}`,
			`{"":"22","value":{"":"22","a":{"":"22","b":{"":"22","c":"22","d":"18"}},"e":{"":"18","f":"18"}},"ac":"22","av":"22"}`,
			`{"a":{"b":{"c":1}}}`, "", false,
		},
		"an object that is answered empty": {
			`{"value":{"a":{"b":1}},"ac":200,"av":3}`,
			`{"":"22","value":{"":"22","a":{"":"22","b":"18"}},"ac":"22","av":"22"}`, `{"a":{}}`, "", false,
		},
		"an array, whatever its elements' times": {
			`{"value":{"a":[1,{"x":2}]},"ac":200,"av":3}`,
			`{"":"22","value":{"":"22","a":["18",{"":"22","x":"18"}]},"ac":"22","av":"22"}`, `{"a":[1,{"x":2}]}`, "", true,
		},
		"a hub that stamps only what was written": {
			`{"value":{"a":{"b":1,"c":2}},"ac":200,"av":3}`,
			`{"":"18","value":{"":"18","a":{"":"18","b":"22","c":"18"}},"ac":"22","av":"22"}`, `{"a":{"b":1}}`, "", false,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			metadata := twin.EncodeValue(object{"a": stamps(value(tc.stamps))})
			r := twinOf(`{}`, `{"a":`+tc.reported+`,"$metadata":`+string(metadata)+`}`).Properties[leaf("", "a")].Reported
			if diff := cmp.Diff(value(tc.want), r.Value); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
			if r.Ack == nil || r.Ack.Description != tc.wantText {
				t.Errorf("acknowledgement %+v, want the text %q", r.Ack, tc.wantText)
			}
			if (r.Envelope == nil) != tc.isWhole {
				t.Errorf("envelope %v", r.Envelope)
			}
		})
	}
}

// TestAPlainObjectIsWhatTheHubHolds: a device may report an object in parts.
func TestAPlainObjectIsWhatTheHubHolds(t *testing.T) {
	metadata := twin.EncodeValue(object{"a": stamps(value(`{"":"22","value":{"":"22","x":"18","y":"22"},"ac":"22","av":"22"}`))})
	for _, reported := range []string{`{"x":1,"y":2}`, `{"value":{"x":1,"y":2},"ac":"?","av":3}`} {
		r := twinOf(`{}`, `{"a":`+reported+`,"$metadata":`+string(metadata)+`}`).Properties[leaf("", "a")].Reported
		if diff := cmp.Diff(value(`{"x":1,"y":2}`), r.Value); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reported, diff)
		}
	}
}

// TestWhatADeviceAnsweredInEvents folds the second report onto the first, as a whole twin and as a status know it.
func TestWhatADeviceAnsweredInEvents(t *testing.T) {
	tests := map[string]struct {
		first, second string // reports at different times
		want          string
		wantText      string
		asStatus      string // "doubt" where the event is not enough
	}{
		"an inner key leaves":            {first: `{"value":{"a":1,"d":5},"ac":200,"av":3}`, second: `{"value":{"a":1},"ac":200,"av":4}`, want: `{"a":1}`},
		"an inner key deep below":        {first: `{"value":{"o":{"a":1,"d":5}},"ac":200,"av":3}`, second: `{"value":{"o":{"a":1}},"ac":200,"av":4}`, want: `{"o":{"a":1}}`},
		"the device keeps it":            {first: `{"value":{"a":1,"d":5},"ac":200,"av":3}`, second: `{"value":{"a":1,"d":5},"ac":200,"av":4}`, want: `{"a":1,"d":5}`},
		"the device has another one":     {first: `{"value":{"a":1},"ac":200,"av":3}`, second: `{"value":{"a":1,"x":9},"ac":200,"av":4}`, want: `{"a":1,"x":9}`},
		"an object becomes a scalar":     {first: `{"value":{"a":1},"ac":200,"av":3}`, second: `{"value":7,"ac":200,"av":4}`, want: `7`},
		"a scalar becomes an object":     {first: `{"value":7,"ac":200,"av":3}`, second: `{"value":{"a":1},"ac":200,"av":4}`, want: `{"a":1}`},
		"an answer to nothing":           {first: `{"value":{"a":1},"ac":200,"av":3}`, second: `{"value":{},"ac":200,"av":4}`, want: `{}`},
		"a text that is not said again":  {first: `{"value":1,"ac":400,"av":3,"ad":"too hot"}`, second: `{"value":2,"ac":200,"av":4}`, want: `2`},
		"a text alone":                   {first: `{"value":{"a":1},"ac":200,"av":3}`, second: `{"ad":"late"}`, want: `{"a":1}`, wantText: "late"},
		"an acknowledgement alone":       {first: `{"value":{"a":1},"ac":200,"av":3}`, second: `{"ac":200,"av":4}`, want: `{"a":1}`, asStatus: "doubt"},
		"a part of a value alone":        {first: `{"value":{"a":1,"d":5},"ac":200,"av":3}`, second: `{"value":{"a":2}}`, want: `{"a":2,"d":5}`, asStatus: "doubt"},
		"a plain object that is changed": {first: `{"a":1,"d":5}`, second: `{"a":2}`, want: `{"a":2,"d":5}`},
		"a plain object that is acked":   {first: `{"a":1,"d":5}`, second: `{"value":{"a":1},"ac":200,"av":4}`, want: `{"a":1}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			h := emptyHub()
			h.apply(write{reported: object{"a": value(tc.first)}, after: 1})
			before := parse(t, h)
			e := h.apply(write{reported: object{"a": value(tc.second)}, after: 1})
			declared := twin.Declaration{leaf("", "a"): value(tc.want)}
			status := statusOf(before, declared, true)
			status.ReportedUpdated = before.ReportedUpdated
			for from, tw := range map[string]*twin.Twin{"a whole twin": before, "a status": status} {
				next, err := tw.Fold(notification(t, string(e.body())))
				if tw.Partial && tc.asStatus != "" {
					if err == nil {
						t.Errorf("%s: no doubt", from)
					}
					continue
				}
				if err != nil {
					t.Fatalf("%s: %v", from, err)
				}
				checkAnswer(t, from, next, tc.want, tc.wantText)
			}
			checkAnswer(t, "a read", parse(t, h), tc.want, tc.wantText)
		})
	}
}

func emptyHub() *hub {
	return &hub{
		desired: object{}, reported: object{}, desiredMeta: object{}, reportedMeta: object{"$lastUpdated": reportedAt[0]},
		desiredVersion: 9, reportedVersion: 1, counter: 9, now: eventsBegin,
	}
}

func parse(t *testing.T, h *hub) *twin.Twin {
	t.Helper()
	tw, err := twin.ParseDeviceTwin(h.deviceJSON())
	if err != nil {
		t.Fatal(err)
	}
	return tw
}

func checkAnswer(t *testing.T, from string, tw *twin.Twin, want, wantText string) {
	t.Helper()
	r := tw.Properties[leaf("", "a")].Reported
	if diff := cmp.Diff(value(want), r.Value); diff != "" {
		t.Errorf("%s: value (-want +got):\n%s", from, diff)
	}
	if r.Ack != nil && r.Ack.Description != wantText {
		t.Errorf("%s: text %q, want %q", from, r.Ack.Description, wantText)
	}
}

// TestAnAnswerIsTheLastOne: a device that answers as Microsoft's SDKs do, with value, code and version, said what it said
// last, whatever the hub made of it. Read, folded into a whole twin and folded into what a status knows.
func TestAnAnswerIsTheLastOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, a := emptyHub(), leaf("", "a")
		var followed, believed *twin.Twin
		for av := range rapid.IntRange(1, 6).Draw(t, "answers") {
			said := values(3, true).Draw(t, "said")
			e := h.apply(write{after: 1, reported: object{"a": object{
				"value": cloneJSON(said), "ac": json.Number("200"), "av": json.Number(fmt.Sprint(av)),
			}}})
			read := parseDevice(t, h)
			if diff := cmp.Diff(said, read.Properties[a].Reported.Value); diff != "" {
				t.Fatalf("read (-said +got):\n%s", diff)
			}
			if followed != nil {
				n, _ := twin.ParseNotification(e.body())
				next, err := followed.Fold(n)
				if err != nil {
					t.Fatal(err)
				}
				checkWhole(t, read, next)
				if next, err = believed.Fold(n); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(said, next.Properties[a].Reported.Value); diff != "" {
					t.Fatalf("folded into a status (-said +got):\n%s", diff)
				}
			}
			followed, believed = read, statusOf(read, twin.Declaration{a: said}, rapid.Bool().Draw(t, "mirrored"))
			believed.ReportedUpdated = read.ReportedUpdated
		}
	})
}

// TestOnlyWhatIsOlderIsLeftOut: whatever a device reports, and however, no part of its value is left out that is not older
// than an acknowledgement which came with the value.
func TestOnlyWhatIsOlderIsLeftOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := hubs(true).Draw(t, "hub")
		h.now = eventsBegin
		history(t, h)
		for leaf, p := range parseDevice(t, h).Properties {
			if p.Reported == nil || p.Reported.Envelope == nil || p.Reported.Ack == nil {
				continue
			}
			meta := metaOf(h.reportedMeta, leaf)
			code, version, value := timeOf(meta["ac"]), timeOf(meta["av"]), timeOf(meta["value"])
			isOne := code == version && version == value
			checkLeftOut(t, isOne, code, p.Reported.Envelope["value"], p.Reported.Value, meta["value"])
		}
	})
}

func timeOf(node any) string {
	fields, _ := node.(object)
	at, _ := fields["$lastUpdated"].(string)
	return at
}

func checkLeftOut(t *rapid.T, isOne bool, at string, held, got, meta any) {
	fields, isObject := held.(object)
	if !isObject {
		return
	}
	kept, nodes := got.(object), meta.(object)
	for key, inner := range fields {
		part, isKept := kept[key]
		if isLeft := isOne && timeOf(nodes[key]) < at; isKept == isLeft {
			t.Fatalf("%s of %v is kept: %v, its time is %s, the acknowledgement's %s", key, held, isKept, timeOf(nodes[key]), at)
		}
		if isKept {
			checkLeftOut(t, isOne, at, inner, part, nodes[key])
		}
	}
}
