package twin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func notification(t testing.TB, body string) *twin.Notification {
	t.Helper()
	n, err := twin.ParseNotification([]byte(body))
	if err != nil {
		t.Fatalf("ParseNotification(%s): %v", body, err)
	}
	return n
}

func TestParseNotification(t *testing.T) {
	tests := map[string]struct {
		body string
		want *twin.Notification
	}{
		"a report": {
			body: `{"version":4,"properties":{"reported":{"maxTempSinceLastReboot":42.1,"$metadata":{"$lastUpdated":"2020-10-21T14:10:42.4171263Z",
				"maxTempSinceLastReboot":{"$lastUpdated":"2020-10-21T14:10:42.4171263Z"}},"$version":3}}}`,
			want: &twin.Notification{Version: 4, Reported: &twin.Patch{Version: 3, LastUpdated: at("2020-10-21T14:10:42.4171263Z")}},
		},
		"tags and desired properties in one write": {
			body: `{"version":7,"tags":{"tag1":"new value"},"properties":{"desired":{"property1":null,"$metadata":{"$lastUpdated":"2020-10-21T14:10:42Z","$lastUpdatedVersion":6},"$version":6}}}`,
			want: &twin.Notification{Version: 7, Tags: true, Desired: &twin.Patch{Version: 6, LastUpdated: at("2020-10-21T14:10:42Z")}},
		},
		"tags alone":                             {body: `{"version":8,"tags":{}}`, want: &twin.Notification{Version: 8, Tags: true}},
		"null is not written":                    {body: `{"version":8,"tags":null,"properties":{"desired":null}}`, want: &twin.Notification{Version: 8}},
		"a section without metadata and version": {body: `{"properties":{"reported":{"a":1}}}`, want: &twin.Notification{Reported: &twin.Patch{}}},
		"a time without a zone is unknown": {
			body: `{"version":2,"properties":{"desired":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00"},"$version":1}}}`,
			want: &twin.Notification{Version: 2, Desired: &twin.Patch{Version: 1}},
		},
		"unknown keys are ignored": {body: `{"version":2,"deviceId":7,"properties":{"more":[]}}`, want: &twin.Notification{Version: 2}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, notification(t, tc.body), cmpopts.IgnoreUnexported(twin.Patch{})); diff != "" {
				t.Errorf("ParseNotification() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBodiesThatAreNoNotifications(t *testing.T) {
	const secret = "SharedAccessKey"
	long := secret + strings.Repeat("9", 1000)
	tests := map[string]string{
		"empty":                            ``,
		"an array":                         `["` + long + `"]`,
		"cut off":                          `{"version":4,"properties":{"reported":{"a":"` + long,
		"two documents":                    `{"version":4}{}`,
		"a version that is a text":         `{"version":"` + long + `"}`,
		"a version beyond int64":           `{"version":` + strings.Repeat("9", 1000) + `}`,
		"tags that are a text":             `{"tags":"` + long + `"}`,
		"properties that are a list":       `{"properties":["` + long + `"]}`,
		"a desired section that is a text": `{"properties":{"desired":"` + long + `"}}`,
		"a reported version of true":       `{"properties":{"reported":{"$version":true}}}`,
		"metadata that is a text":          `{"properties":{"reported":{"$metadata":"` + long + `"}}}`,
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			n, err := twin.ParseNotification([]byte(body))
			if err == nil || n != nil {
				t.Fatalf("ParseNotification() = %v, %v, want an error only", n, err)
			}
			if strings.Contains(err.Error(), secret) || len(err.Error()) > 300 {
				t.Errorf("error repeats the body: %v", err)
			}
		})
	}
}

func TestLeavesOfANotification(t *testing.T) {
	held := twinOf(`{"t1":{"__t":"c","a":1},"o":{"b":2}}`, `{"t1":{"d":4},"t2":{"__t":"c","e":5}}`)
	tests := map[string]struct {
		properties string
		want       []twin.Leaf
	}{
		"of both sections, each once, sorted": {
			properties: `{"desired":{"z":1,"a":2},"reported":{"a":null,"m":{"x":1}}}`,
			want:       []twin.Leaf{leaf("", "a"), leaf("", "m"), leaf("", "z")},
		},
		"below a component that the twin has": {
			properties: `{"reported":{"t1":{"a":1,"f":null},"o":{"b":3}}}`,
			want:       []twin.Leaf{leaf("", "o"), leaf("t1", "a"), leaf("t1", "f")},
		},
		"below one that the other section marks": {
			properties: `{"desired":{"t3":{"g":1}},"reported":{"t3":{"__t":"c"}}}`,
			want:       []twin.Leaf{leaf("t3", "g")},
		},
		"all of a component that goes": {
			properties: `{"reported":{"t1":null}}`,
			want:       []twin.Leaf{leaf("t1", "a"), leaf("t1", "d")},
		},
		"neither markers nor metadata": {properties: `{"desired":{"t1":{"__t":"c","$metadata":{}},"$version":4,"$metadata":{"a":{}}}}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := notification(t, `{"version":9,"properties":`+tc.properties+`}`).Leaves(held)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Leaves() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestETagOf(t *testing.T) {
	for _, counter := range []uint64{0, 1, 258, 1<<64 - 1} {
		if got, ok := twin.ETagCounter(twin.ETagOf(counter)); !ok || got != counter {
			t.Errorf("ETagCounter(ETagOf(%d)) = %d, %v", counter, got, ok)
		}
	}
	if got := twin.ETagOf(1); got != "AAAAAAAAAAE=" {
		t.Errorf("ETagOf(1) = %q", got)
	}
}

func TestOrder(t *testing.T) {
	noon := at("2026-11-22T12:00:00Z")
	known := twin.Position{Version: 10, DesiredVersion: 4, ReportedVersion: 5, DesiredUpdated: noon, ReportedUpdated: noon}
	status := twin.Position{Version: 10, DesiredVersion: 4}
	tests := map[string]struct {
		position twin.Position
		body     string
		want     twin.Order
	}{
		"the next report":                       {position: known, body: report(11, 6, noon.Add(1)), want: twin.Next},
		"the next report after unseen tags":     {position: known, body: report(13, 6, noon.Add(1)), want: twin.Next},
		"a report within the same tick":         {position: known, body: report(11, 6, noon), want: twin.Next},
		"a report too many":                     {position: known, body: report(12, 7, noon.Add(1)), want: twin.Gap},
		"the newest report again":               {position: known, body: report(10, 5, noon), want: twin.Old},
		"an earlier report again":               {position: known, body: report(7, 3, noon.Add(-1)), want: twin.Old},
		"an earlier time, and the next number":  {position: known, body: report(11, 6, noon.Add(-1)), want: twin.Gap},
		"an earlier time far ahead":             {position: known, body: report(99, 60, noon.Add(-1)), want: twin.Gap},
		"an earlier time, and a known version":  {position: known, body: report(10, 6, noon.Add(-1)), want: twin.Old},
		"an earlier time, and a known number":   {position: known, body: report(12, 5, noon.Add(-1)), want: twin.Old},
		"counters that repeat after a failover": {position: known, body: report(10, 5, noon.Add(1)), want: twin.Gap},
		"a section that was counted back":       {position: known, body: report(11, 5, noon.Add(1)), want: twin.Gap},
		"a twin that was counted back":          {position: known, body: report(9, 6, noon.Add(1)), want: twin.Gap},
		"a section ahead of its twin":           {position: known, body: report(10, 6, noon), want: twin.Gap},
		"the same after a status":               {position: status, body: desire(10, 5, noon), want: twin.Gap},
		"repeated counters without a time":      {position: known, body: report(10, 5, time.Time{}), want: twin.Old},
		"a known section, and a later version":  {position: known, body: report(12, 5, noon), want: twin.Old},
		"the next desired properties":           {position: known, body: desire(11, 5, noon.Add(1)), want: twin.Next},
		"desired properties too many":           {position: known, body: desire(12, 6, noon.Add(1)), want: twin.Gap},
		"old desired properties":                {position: known, body: desire(6, 3, noon.Add(-1)), want: twin.Old},
		"both, next":                            {position: known, body: both(12, 5, 6, noon.Add(1)), want: twin.Next},
		"both, old":                             {position: known, body: both(9, 4, 5, noon), want: twin.Old},
		"both, one of them a gap":               {position: known, body: both(13, 5, 7, noon.Add(1)), want: twin.Gap},
		"both, one of them old":                 {position: known, body: both(11, 4, 6, noon), want: twin.Gap},

		"the first report after a status, whatever its number": {position: status, body: report(40, 35, noon), want: twin.Next},
		"a report that the status knows":                       {position: status, body: report(10, 5, noon), want: twin.Old},
		"the next desired properties after a status":           {position: status, body: desire(30, 5, noon), want: twin.Next},
		"desired properties too many after a status":           {position: status, body: desire(30, 6, noon), want: twin.Gap},
		"the echo of a write that only the section knows":      {position: twin.Position{Version: 9, DesiredVersion: 4}, body: desire(10, 4, noon), want: twin.Old},
		"anything, where nothing is known":                     {body: both(12, 5, 6, noon), want: twin.Next},

		"the next tags":                         {position: known, body: `{"version":11,"tags":{}}`, want: twin.Next},
		"tags too many":                         {position: known, body: `{"version":12,"tags":{}}`, want: twin.Gap},
		"old tags":                              {position: known, body: `{"version":10,"tags":{}}`, want: twin.Old},
		"tags after a status":                   {position: status, body: `{"version":12,"tags":{}}`, want: twin.Next},
		"old tags after a status":               {position: status, body: `{"version":10,"tags":{}}`, want: twin.Old},
		"tags of a twin without a version":      {position: twin.Position{DesiredVersion: 4, ReportedVersion: 5}, body: `{"version":12,"tags":{}}`, want: twin.Next},
		"tags where desired is unknown":         {position: twin.Position{Version: 10, ReportedVersion: 5}, body: `{"version":12,"tags":{}}`, want: twin.Next},
		"nothing written":                       {position: known, body: `{"version":11}`, want: twin.Gap},
		"nothing written, long ago":             {position: known, body: `{"version":10}`, want: twin.Old},
		"no version":                            {position: known, body: `{"tags":{}}`, want: twin.Gap},
		"no version of the section":             {position: known, body: `{"version":11,"properties":{"reported":{"$metadata":{}}}}`, want: twin.Gap},
		"no metadata":                           {position: known, body: `{"version":11,"properties":{"reported":{"$version":6}}}`, want: twin.Gap},
		"no metadata, though the number is old": {position: known, body: `{"version":9,"properties":{"desired":{"$version":3}}}`, want: twin.Gap},
		"metadata without a time":               {position: known, body: `{"version":11,"properties":{"reported":{"$version":6,"$metadata":{}}}}`, want: twin.Next},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tc.position.Order(notification(t, tc.body)); got != tc.want {
				t.Errorf("Order() = %v, want %v", got, tc.want)
			}
		})
	}
}

func sectionBody(version int64, updated time.Time) object {
	return object{"$version": version, "$metadata": object{"$lastUpdated": updated.Format(time.RFC3339Nano)}}
}

func report(root, version int64, updated time.Time) string {
	return string(twin.EncodeValue(object{"version": root, "properties": object{"reported": sectionBody(version, updated)}}))
}

func desire(root, version int64, updated time.Time) string {
	return string(twin.EncodeValue(object{"version": root, "properties": object{"desired": sectionBody(version, updated)}}))
}

func both(root, desired, reported int64, updated time.Time) string {
	return string(twin.EncodeValue(object{"version": root, "properties": object{
		"desired": sectionBody(desired, updated), "reported": sectionBody(reported, updated),
	}}))
}

func TestPositionAfter(t *testing.T) {
	noon := at("2026-11-22T12:00:00Z")
	start := twin.Position{Version: 10, DesiredVersion: 4, ReportedVersion: 5, DesiredUpdated: noon, ReportedUpdated: noon}
	later := noon.Add(time.Second)
	tests := map[string]struct {
		body string
		want twin.Position
	}{
		"a report": {
			body: report(11, 6, later),
			want: twin.Position{Version: 11, DesiredVersion: 4, ReportedVersion: 6, DesiredUpdated: noon, ReportedUpdated: later},
		},
		"desired properties": {
			body: desire(11, 5, later),
			want: twin.Position{Version: 11, DesiredVersion: 5, ReportedVersion: 5, DesiredUpdated: later, ReportedUpdated: noon},
		},
		"tags": {
			body: `{"version":11,"tags":{}}`,
			want: twin.Position{Version: 11, DesiredVersion: 4, ReportedVersion: 5, DesiredUpdated: noon, ReportedUpdated: noon},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, start.After(notification(t, tc.body))); diff != "" {
				t.Errorf("After() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOrdersHaveNames(t *testing.T) {
	if got := []string{twin.Gap.String(), twin.Next.String(), twin.Old.String()}; strings.Join(got, " ") != "Gap Next Old" {
		t.Errorf("names are %q", got)
	}
}
