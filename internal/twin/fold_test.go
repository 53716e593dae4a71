package twin_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// counted is a twin whose counters fit: version = etag's counter + reported.$version.
func counted(counter, desiredVersion, reportedVersion int64, desired, reported string) *twin.Twin {
	body := fmt.Sprintf(`{"deviceId":"dev1","etag":%q,"version":%d,"properties":{"desired":%s,"reported":%s}}`,
		twin.ETagOf(uint64(counter)), counter+reportedVersion, withVersion(desired, desiredVersion), withVersion(reported, reportedVersion))
	tw, err := twin.ParseDeviceTwin([]byte(body))
	if err != nil {
		panic(err)
	}
	return tw
}

func withVersion(section string, version int64) string {
	fields := value(section).(object)
	fields["$version"] = version
	return string(twin.EncodeValue(fields))
}

// patch is an event's section without times: folded in, it leaves none, so that what is wanted need not name any.
func patch(version int64, fields string) string {
	section := value(fields).(object)
	section["$version"] = version
	if section["$metadata"] == nil {
		section["$metadata"] = object{}
	}
	return string(twin.EncodeValue(section))
}

func TestFoldIntoAWholeTwin(t *testing.T) {
	tests := map[string]struct {
		desired, reported string // before, with etag counter 7, desired.$version 4, reported.$version 5
		body              string
		want              *twin.Twin
	}{
		"a report of a new property": {
			desired: `{}`, reported: `{}`,
			body: `{"version":13,"properties":{"reported":` + patch(6, `{"a":1}`) + `}}`,
			want: counted(7, 4, 6, `{}`, `{"a":1}`),
		},
		"a report of nothing moves the counters": {
			desired: `{"a":1}`, reported: `{}`,
			body: `{"version":13,"properties":{"reported":` + patch(6, `{}`) + `}}`,
			want: counted(7, 4, 6, `{"a":1}`, `{}`),
		},
		"null removes the reported side only": {
			desired: `{"a":1}`, reported: `{"a":1,"b":2}`,
			body: `{"version":13,"properties":{"reported":` + patch(6, `{"a":null,"b":null,"c":null}`) + `}}`,
			want: counted(7, 4, 6, `{"a":1}`, `{}`),
		},
		"objects merge, and the last key leaves an empty one": {
			desired: `{}`, reported: `{"o":{"a":{"b":1},"c":2},"p":{"q":1}}`,
			body: `{"version":13,"properties":{"reported":` + patch(6, `{"o":{"a":{"b":null},"d":3},"p":{"q":null}}`) + `}}`,
			want: counted(7, 4, 6, `{}`, `{"o":{"a":{},"c":2,"d":3},"p":{}}`),
		},
		"arrays and scalars replace": {
			desired: `{}`, reported: `{"a":[1,2],"b":{"c":1},"d":1}`,
			body: `{"version":13,"properties":{"reported":` + patch(6, `{"a":[3],"b":true,"d":{"e":null,"f":1}}`) + `}}`,
			want: counted(7, 4, 6, `{}`, `{"a":[3],"b":true,"d":{"f":1}}`),
		},
		"an acknowledgement keeps what is not sent again": {
			desired: `{"a":1}`, reported: `{"a":{"value":1,"ac":202,"av":4,"ad":"busy"}}`,
			body: `{"version":13,"properties":{"reported":` + patch(6, `{"a":{"value":2}}`) + `}}`,
			want: counted(7, 4, 6, `{"a":1}`, `{"a":{"value":2,"ac":202,"av":4,"ad":"busy"}}`),
		},
		"an envelope loses its description": {
			desired: `{}`, reported: `{"a":{"value":1,"ac":202,"av":4,"ad":"busy"}}`,
			body: `{"version":13,"properties":{"reported":` + patch(6, `{"a":{"ac":200,"ad":null}}`) + `}}`,
			want: counted(7, 4, 6, `{}`, `{"a":{"value":1,"ac":200,"av":4}}`),
		},
		"half an envelope is completed": {
			desired: `{}`, reported: `{"a":{"value":1,"av":4,"more":true}}`,
			body: `{"version":13,"properties":{"reported":` + patch(6, `{"a":{"ac":200}}`) + `}}`,
			want: counted(7, 4, 6, `{}`, `{"a":{"value":1,"ac":200,"av":4,"more":true}}`),
		},
		"an envelope without its value is an object": {
			desired: `{}`, reported: `{"a":{"value":1,"ac":200,"av":4}}`,
			body: `{"version":13,"properties":{"reported":` + patch(6, `{"a":{"value":null}}`) + `}}`,
			want: counted(7, 4, 6, `{}`, `{"a":{"ac":200,"av":4}}`),
		},
		"the first event of a component marks it": {
			desired: `{}`, reported: `{}`,
			body: `{"version":13,"properties":{"reported":` + patch(6, `{"t1":{"__t":"c","a":98.34}}`) + `}}`,
			want: counted(7, 4, 6, `{}`, `{"t1":{"__t":"c","a":98.34}}`),
		},
		"a later one need not": {
			desired: `{"t1":{"__t":"c","a":{"b":1}}}`, reported: `{"t1":{"a":1,"c":2}}`,
			body: `{"version":13,"properties":{"reported":` + patch(6, `{"t1":{"c":null,"a":3}}`) + `}}`,
			want: counted(7, 4, 6, `{"t1":{"__t":"c","a":{"b":1}}}`, `{"t1":{"a":3}}`),
		},
		"a component takes the place of a plain value": {
			desired: `{"t1":{"__t":"c","a":1}}`, reported: `{"t1":5}`,
			body: `{"version":13,"properties":{"reported":` + patch(6, `{"t1":{"a":1}}`) + `}}`,
			want: counted(7, 4, 6, `{"t1":{"__t":"c","a":1}}`, `{"t1":{"a":1}}`),
		},
		"an object of the empty name is never a component": {
			desired: `{"":{"__t":"c","a":1}}`, reported: `{}`,
			body: `{"version":13,"properties":{"desired":` + patch(5, `{"":{"__t":"c","b":2}}`) + `}}`,
			want: stampAll(counted(8, 5, 5, `{"":{"__t":"c","a":1,"b":2}}`, `{}`), 5),
		},
		"desired properties move the etag": {
			desired: `{"a":1,"b":1}`, reported: `{}`,
			body: `{"version":13,"properties":{"desired":` + patch(5, `{"a":2,"b":null}`) + `}}`,
			want: stampAll(counted(8, 5, 5, `{"a":2}`, `{}`), 5),
		},
		"the version is the property's own where the event says it": {
			desired: `{"a":1}`, reported: `{}`,
			body: `{"version":13,"properties":{"desired":` + patch(5, `{"a":2,"$metadata":{"$lastUpdatedVersion":4,"a":{"$lastUpdatedVersion":3,"$lastUpdatedBy":"cfg"}}}`) + `}}`,
			want: counted(8, 5, 5, `{"a":2,"$metadata":{"a":{"$lastUpdatedVersion":3,"$lastUpdatedBy":"cfg"}}}`, `{}`),
		},
		"a report has the time of its own, else the section's": {
			desired: `{}`, reported: `{"a":1,"b":1,"$metadata":{"$lastUpdated":"2026-01-01T00:00:00Z"}}`,
			body: `{"version":13,"properties":{"reported":` + patch(6, `{"a":2,"b":{"c":1},"$metadata":{"$lastUpdated":"2026-01-03T00:00:00Z","b":{"c":{"$lastUpdated":"2026-01-02T00:00:00Z"}}}}`) + `}}`,
			want: counted(7, 4, 6, `{}`, `{"a":2,"b":{"c":1},"$metadata":{"$lastUpdated":"2026-01-03T00:00:00Z","a":{"$lastUpdated":"2026-01-03T00:00:00Z"},
				"b":{"c":{"$lastUpdated":"2026-01-02T00:00:00Z"}}}}`),
		},
		"tags move the etag, too": {
			desired: `{"a":1}`, reported: `{"a":1}`,
			body: `{"version":13,"tags":{"floor":1}}`,
			want: counted(8, 4, 5, `{"a":1}`, `{"a":1}`),
		},
		"tags and desired properties are one step": {
			desired: `{}`, reported: `{}`,
			body: `{"version":13,"tags":{"floor":1},"properties":{"desired":` + patch(5, `{"a":1}`) + `}}`,
			want: stampAll(counted(8, 5, 5, `{"a":1}`, `{}`), 5),
		},
		"both sections at once": {
			desired: `{}`, reported: `{}`,
			body: `{"version":14,"properties":{"desired":` + patch(5, `{"t1":{"a":1}}`) + `,"reported":` + patch(6, `{"t1":{"__t":"c","a":1}}`) + `}}`,
			want: stampAll(counted(8, 5, 6, `{"t1":{"a":1}}`, `{"t1":{"__t":"c","a":1}}`), 5),
		},
		"a configuration's scalar is overwritten": {
			desired: `{"a":1,"$metadata":{"a":{"$lastUpdatedVersion":4,"$lastUpdatedBy":"cfg"}}}`, reported: `{}`,
			body: `{"version":13,"properties":{"desired":` + patch(5, `{"a":2}`) + `}}`,
			want: stampAll(counted(8, 5, 5, `{"a":2}`, `{}`), 5),
		},
		"a configuration's object is overwritten as a whole": {
			desired: `{"a":{"b":1,"c":{"d":1}},"$metadata":{"a":{"$lastUpdatedVersion":4,"$lastUpdatedBy":"cfg"}}}`, reported: `{}`,
			body: `{"version":13,"properties":{"desired":` + patch(5, `{"a":{"b":2,"c":{"d":2}}}`) + `}}`,
			want: stampAll(counted(8, 5, 5, `{"a":{"b":2,"c":{"d":2}}}`, `{}`), 5),
		},
		"a configuration writes its own object again": {
			desired: `{"a":{"b":1,"c":1},"$metadata":{"a":{"$lastUpdatedVersion":4,"$lastUpdatedBy":"cfg"}}}`, reported: `{}`,
			body: `{"version":13,"properties":{"desired":` + patch(5, `{"a":{"b":2},"$metadata":{"a":{"$lastUpdatedVersion":5,"$lastUpdatedBy":"cfg"}}}`) + `}}`,
			want: counted(8, 5, 5, `{"a":{"b":2,"c":1},"$metadata":{"a":{"$lastUpdatedVersion":5,"$lastUpdatedBy":"cfg"}}}`, `{}`),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before, unchanged := counted(7, 4, 5, tc.desired, tc.reported), counted(7, 4, 5, tc.desired, tc.reported)
			got, err := before.Fold(notification(t, tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Fold() (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(unchanged, before); diff != "" {
				t.Errorf("Fold changed the twin that it copied (-want +got):\n%s", diff)
			}
		})
	}
}

// stampAll gives every desired leaf a version.
func stampAll(tw *twin.Twin, version int64) *twin.Twin {
	for _, p := range tw.Properties {
		if p.Desired != nil {
			p.Desired.Version = version
		}
	}
	return tw
}

func TestDoubts(t *testing.T) {
	full := counted(7, 4, 5, `{"t1":{"__t":"c","a":1},"o":{"b":1},"s":1,"by":{"x":1,"y":2},"$metadata":{"by":{"$lastUpdatedBy":"cfg"}}}`, `{"r":{"c":1}}`)
	noCounter, bare := *full, *full
	noCounter.ETag = "NjEyMDQ0NTEz"
	bare.ETag = ""
	status := &twin.Twin{
		ETag: twin.ETagOf(7), Version: 12, DesiredVersion: 4, Partial: true,
		Properties: map[twin.Leaf]twin.Property{
			leaf("", "hidden"):    {Reported: &twin.Reported{Ack: &twin.Ack{Version: 4, Code: 200}}},
			leaf("", "lost"):      {Desired: &twin.Desired{Version: 3}},
			leaf("", "plain"):     {Reported: &twin.Reported{Value: value(`1`)}},
			leaf("", "acked"):     {Reported: &twin.Reported{Value: value(`1`), Ack: &twin.Ack{Version: 4, Code: 200}}},
			leaf("", "answered"):  {Reported: &twin.Reported{Value: value(`{"x":{"y":1}}`), Ack: &twin.Ack{Version: 4, Code: 200}}},
			leaf("planned", "a"):  {},
			leaf("planned2", "a"): {},
		},
	}
	tests := map[string]struct {
		twin *twin.Twin
		body string
		want twin.DoubtError
	}{
		"no version":                                           {full, `{"properties":{"reported":` + patch(6, `{}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtIncomplete}},
		"no version of the section":                            {full, `{"version":13,"properties":{"reported":{"$metadata":{}}}}`, twin.DoubtError{Doubt: twin.DoubtIncomplete}},
		"no metadata":                                          {full, `{"version":13,"properties":{"desired":{"$version":5}}}`, twin.DoubtError{Doubt: twin.DoubtIncomplete}},
		"desired, and the etag no counter":                     {&noCounter, `{"version":13,"properties":{"desired":` + patch(5, `{}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtETag}},
		"tags, and no etag":                                    {&bare, `{"version":13,"tags":{}}`, twin.DoubtError{Doubt: twin.DoubtETag}},
		"a report after an unseen write":                       {full, `{"version":14,"properties":{"reported":` + patch(6, `{"a":1}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtUnseenWrite}},
		"a report after one, from a status":                    {status, `{"version":21,"properties":{"reported":` + patch(13, `{"a":1}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtUnseenWrite}},
		"desired properties after tags":                        {full, `{"version":14,"properties":{"desired":` + patch(5, `{"s":2}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtUnseenWrite}},
		"two tag writes as one":                                {full, `{"version":14,"tags":{}}`, twin.DoubtError{Doubt: twin.DoubtUnseenWrite}},
		"tags and then desired as one":                         {full, `{"version":14,"tags":{},"properties":{"desired":` + patch(5, `{}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtUnseenWrite}},
		"nothing written, and moved":                           {full, `{"version":13}`, twin.DoubtError{Doubt: twin.DoubtUnseenWrite}},
		"a component goes":                                     {full, `{"version":13,"properties":{"desired":` + patch(5, `{"t1":null}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtKind, Leaf: leaf("", "t1")}},
		"a component becomes a property":                       {full, `{"version":13,"properties":{"reported":` + patch(6, `{"t1":5}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtKind, Leaf: leaf("", "t1")}},
		"a component loses its marker":                         {full, `{"version":13,"properties":{"reported":` + patch(6, `{"t1":{"__t":null}}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtKind, Leaf: leaf("", "t1")}},
		"a desired object becomes a component":                 {full, `{"version":13,"properties":{"desired":` + patch(5, `{"o":{"__t":"c"}}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtKind, Leaf: leaf("", "o")}},
		"a reported one on the other side":                     {full, `{"version":13,"properties":{"desired":` + patch(5, `{"r":{"__t":"c"}}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtKind, Leaf: leaf("", "r")}},
		"a configuration's object in part":                     {full, `{"version":13,"properties":{"desired":` + patch(5, `{"by":{"x":2}}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtWriter, Leaf: leaf("", "by")}},
		"an unmarked component that a status expects":          {status, `{"version":13,"properties":{"reported":` + patch(6, `{"planned":{"a":1}}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtKind, Leaf: leaf("", "planned")}},
		"a marked one, on unknown ground":                      {status, `{"version":13,"properties":{"reported":` + patch(6, `{"planned2":{"__t":"c","a":1}}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtKind, Leaf: leaf("", "planned2")}},
		"an object onto a value that the status does not show": {status, `{"version":13,"properties":{"reported":` + patch(6, `{"hidden":{"value":{"x":1}}}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtValue, Leaf: leaf("", "hidden")}},
		"an acknowledgement without a value onto one":          {status, `{"version":13,"properties":{"reported":` + patch(6, `{"hidden":{"ac":202}}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtValue, Leaf: leaf("", "hidden")}},
		"a desired object onto a lost value":                   {status, `{"version":13,"properties":{"desired":` + patch(5, `{"lost":{"x":1}}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtValue, Leaf: leaf("", "lost")}},
		"part of an envelope onto what may be one":             {status, `{"version":13,"properties":{"reported":` + patch(6, `{"plain":{"ac":200}}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtValue, Leaf: leaf("", "plain")}},
		"an object onto an answer beside which more may be":    {status, `{"version":13,"properties":{"reported":` + patch(6, `{"answered":{"value":{"x":{"z":1}}}}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtValue, Leaf: leaf("", "answered")}},
		"an answer without times that lacks a key":             {status, `{"version":13,"properties":{"reported":` + patch(6, `{"answered":{"value":{"x":{}},"ac":200,"av":4}}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtValue, Leaf: leaf("", "answered")}},
		"an envelope that ends, with something left of it":     {status, `{"version":13,"properties":{"reported":` + patch(6, `{"acked":{"value":null}}`) + `}}`, twin.DoubtError{Doubt: twin.DoubtValue, Leaf: leaf("", "acked")}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tc.twin.Fold(notification(t, tc.body))
			var doubt *twin.DoubtError
			if got != nil || !errors.Is(err, twin.ErrDoubtful) || !errors.As(err, &doubt) {
				t.Fatalf("Fold() = %v, %v, want a doubt", got, err)
			}
			if diff := cmp.Diff(&tc.want, doubt); diff != "" {
				t.Errorf("doubt (-want +got):\n%s", diff)
			}
			if text := err.Error(); !strings.Contains(text, string(tc.want.Doubt)) || !strings.Contains(text, tc.want.Leaf.String()) {
				t.Errorf("Error() = %q", text)
			}
		})
	}
}

// TestFoldIntoAPartialTwin starts with what a status knows of some leaves.
func TestFoldIntoAPartialTwin(t *testing.T) {
	ack := &twin.Ack{Version: 4, Code: 200, Description: "ok"}
	tests := map[string]struct {
		before   twin.Property // of leaf a; component t1 exists
		reported string        // "" if the event is of desired
		desired  string
		want     twin.Property
	}{
		"an undeclared property is left out":  {reported: `{"z":1,"o":{"x":1},"t9":{"__t":"c","a":1}}`},
		"an absent side is absent":            {before: twin.Property{Desired: &twin.Desired{Value: value(`1`), Version: 3}}, reported: `{"a":{"x":1}}`, want: twin.Property{Desired: &twin.Desired{Value: value(`1`), Version: 3}, Reported: &twin.Reported{Value: value(`{"x":1}`)}}},
		"a first acknowledgement":             {reported: `{"a":{"value":1,"ac":200,"av":4,"ad":"ok"}}`, want: twin.Property{Reported: &twin.Reported{Value: value(`1`), Ack: ack}}},
		"a first one, of a plain value":       {before: twin.Property{Reported: &twin.Reported{Value: value(`0`)}}, reported: `{"a":{"value":1,"ac":200,"av":4,"ad":"ok"}}`, want: twin.Property{Reported: &twin.Reported{Value: value(`1`), Ack: ack}}},
		"an envelope keeps what is not sent":  {before: twin.Property{Reported: &twin.Reported{Value: value(`1`), Ack: ack}}, reported: `{"a":{"value":2}}`, want: twin.Property{Reported: &twin.Reported{Value: value(`2`), Ack: ack}}},
		"objects without one merge":           {before: twin.Property{Reported: &twin.Reported{Value: value(`{"x":1}`)}}, reported: `{"a":{"y":2}}`, want: twin.Property{Reported: &twin.Reported{Value: value(`{"x":1,"y":2}`)}}},
		"a hidden value is shown by a scalar": {before: twin.Property{Reported: &twin.Reported{Ack: ack}}, reported: `{"a":3}`, want: twin.Property{Reported: &twin.Reported{Value: value(`3`)}}},
		"and by an envelope with a scalar":    {before: twin.Property{Reported: &twin.Reported{Ack: &twin.Ack{Version: 2, Code: 202}}}, reported: `{"a":{"value":3,"ac":200,"av":4,"ad":"ok"}}`, want: twin.Property{Reported: &twin.Reported{Value: value(`3`), Ack: ack}}},
		"a removal leaves the leaf known":     {before: twin.Property{Reported: &twin.Reported{Ack: ack}}, reported: `{"a":null}`},
		"a foreign write is seen":             {desired: `{"a":{"x":1}}`, want: twin.Property{Desired: &twin.Desired{Value: value(`{"x":1}`), Version: 5}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := &twin.Twin{
				ETag: twin.ETagOf(7), Version: 12, DesiredVersion: 4, Partial: true,
				Properties: map[twin.Leaf]twin.Property{leaf("", "a"): tc.before}, Components: map[string]bool{"t1": true},
			}
			body := `{"version":13,"properties":{"reported":` + patch(6, cmpOr(tc.reported, `{}`)) + `}}`
			if tc.desired != "" {
				body = `{"version":13,"properties":{"desired":` + patch(5, tc.desired) + `}}`
			}
			got, err := before.Fold(notification(t, body))
			if err != nil {
				t.Fatal(err)
			}
			want := map[twin.Leaf]twin.Property{leaf("", "a"): tc.want}
			if diff := cmp.Diff(want, got.Properties); diff != "" || !got.Partial || !got.Components["t1"] {
				t.Errorf("Fold() = %+v (-want +got):\n%s", got, diff)
			}
		})
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// TestAGuessIsNotTakenForKnowledge: after an acknowledgement onto what may have been a plain object, nobody knows what else is
// in the envelope.
func TestAGuessIsNotTakenForKnowledge(t *testing.T) {
	tw := &twin.Twin{
		ETag: twin.ETagOf(7), Version: 12, DesiredVersion: 4, Partial: true,
		Properties: map[twin.Leaf]twin.Property{leaf("", "a"): {Reported: &twin.Reported{Value: value(`{"x":1}`)}}},
	}
	acked, err := tw.Fold(notification(t, `{"version":13,"properties":{"reported":`+patch(6, `{"a":{"value":1,"ac":200,"av":4}}`)+`}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &twin.Reported{Value: value(`1`), Ack: &twin.Ack{Version: 4, Code: 200}}
	if diff := cmp.Diff(want, acked.Properties[leaf("", "a")].Reported); diff != "" {
		t.Errorf("acknowledged (-want +got):\n%s", diff)
	}
	if got, err := acked.Fold(notification(t, `{"version":14,"properties":{"reported":`+patch(7, `{"a":{"value":null}}`)+`}}`)); !errors.Is(err, twin.ErrDoubtful) {
		t.Errorf("Fold() = %v, %v, want a doubt", got, err)
	}
}

// TestUndeclaredReportsCostNothing is the case of most events after a restart: the first one has any number, and none of them
// is about a leaf that the status knows.
func TestUndeclaredReportsCostNothing(t *testing.T) {
	tw := &twin.Twin{
		ETag: twin.ETagOf(7), Version: 12, DesiredVersion: 4, Partial: true,
		Properties: map[twin.Leaf]twin.Property{leaf("", "a"): {Desired: &twin.Desired{Value: value(`1`), Version: 4}}},
	}
	for version := int64(100); version < 110; version++ {
		n := notification(t, fmt.Sprintf(`{"version":%d,"properties":{"reported":%s}}`, version+7, patch(version, `{"uptime":{"s":1},"t9":{"x":1}}`)))
		if order := tw.Position().Order(n); order != twin.Next {
			t.Fatalf("Order() = %v", order)
		}
		next, err := tw.Fold(n)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tw.Properties, next.Properties); diff != "" {
			t.Fatalf("properties (-want +got):\n%s", diff)
		}
		tw = next
	}
}

func TestApplyToAPartialTwin(t *testing.T) {
	before := &twin.Twin{
		ETag: twin.ETagOf(7), Version: 12, DesiredVersion: 4, Partial: true, DesiredUpdated: at("2026-01-01T00:00:00Z"),
		Properties: map[twin.Leaf]twin.Property{leaf("t1", "a"): {Desired: &twin.Desired{Value: value(`1`), Version: 4}}},
		Components: map[string]bool{"t1": true},
	}
	want := &twin.Twin{
		ETag: twin.ETagOf(8), Version: 12, DesiredVersion: 5, Partial: true,
		Properties: map[twin.Leaf]twin.Property{leaf("t1", "a"): {}}, Components: map[string]bool{"t1": true},
	}
	got := before.Apply([]twin.Change{remove("t1", "a")}, twin.ETagOf(8), 5)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Apply() (-want +got):\n%s", diff)
	}
	patch, err := twin.RenderDigitalTwin([]twin.Change{set("t1", "a", `2`)}, got)
	if want := `[{"op":"add","path":"/t1/a","value":2}]`; err != nil || string(patch) != want {
		t.Errorf("RenderDigitalTwin() = %s, %v, want %s", patch, err, want)
	}
}
