package hub

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// outcomes are the failures and warnings of a bulk request as "device: name".
func outcomes(r BulkResult) []string {
	var out []string
	for _, f := range r.Failures {
		out = append(out, f.DeviceID+": "+f.Reason.Name)
	}
	for _, w := range r.Warnings {
		out = append(out, w.DeviceID+" without its twin: "+w.Reason.Name)
	}
	return out
}

func array(t testing.TB, s string) []any {
	t.Helper()
	v, err := jsontree.Parse([]byte(s))
	must(t, err)
	return v.([]any)
}

func TestBulk(t *testing.T) {
	const fits, stale = `"NjEyMDQ0NTEz"`, `"MQ=="`
	tests := map[string]struct {
		entries string // applied to a hub with dev1, of which the identity's etag and the twin's are the first ones
		want    []string
		after   string // ids, those of disabled devices in parentheses
	}{
		"create creates": {
			`[{"id":"a","importMode":"create"},{"id":"b","importMode":"create","status":"disabled"}]`, nil, "a (b) dev1",
		},
		"create does not update": {
			`[{"id":"dev1","importMode":"create","status":"disabled"}]`, []string{"dev1: DeviceAlreadyExists"}, "dev1",
		},
		"what failed does not stop the rest": {
			`[{"id":"a","importMode":"create"},{"id":"dev1","importMode":"create"},{"id":"b","importMode":"create"}]`,
			[]string{"dev1: DeviceAlreadyExists"}, "a b dev1",
		},
		"create of an invalid id": {`[{"id":"a b","importMode":"create"}]`, []string{"a b: ArgumentInvalid"}, "dev1"},
		"create without an id":    {`[{"importMode":"create"}]`, []string{": ArgumentInvalid"}, "dev1"},
		"create with invalid keys": {
			`[{"id":"a","importMode":"create","authentication":{"type":"sas","symmetricKey":{"primaryKey":"!","secondaryKey":"!"}}}]`,
			[]string{"a: ArgumentInvalid"}, "dev1",
		},
		"create with an invalid twin is a warning": {
			`[{"id":"a","importMode":"create","tags":{"x.y":1}}]`, []string{"a without its twin: ArgumentInvalid"}, "a dev1",
		},
		"modes are matched without case": {`[{"id":"dev1","importMode":"UPDATE","status":"disabled"}]`, nil, "(dev1)"},
		"an unknown mode":                {`[{"id":"dev1","importMode":"upsert"}]`, []string{"dev1: ArgumentInvalid"}, "dev1"},
		"without a mode it creates or updates": {
			`[{"id":"a"},{"id":"dev1","status":"disabled"}]`, nil, "a (dev1)",
		},
		"createOrUpdate does either": {
			`[{"id":"a","importMode":"createOrUpdate"},{"id":"dev1","importMode":"createOrUpdate","eTag":` + stale + `,"status":"disabled"}]`, nil, "a (dev1)",
		},
		"createOrUpdateIfMatchETag with a stale etag": {
			`[{"id":"dev1","importMode":"createOrUpdateIfMatchETag","eTag":` + stale + `}]`, []string{"dev1: PreconditionFailed"}, "dev1",
		},
		"update does not look at the etag": {
			`[{"id":"dev1","importMode":"Update","eTag":` + stale + `,"status":"disabled"}]`, nil, "(dev1)",
		},
		"update does not create":             {`[{"id":"a","importMode":"update"}]`, []string{"a: DeviceNotFound"}, "dev1"},
		"updateIfMatchETag with its etag":    {`[{"id":"dev1","importMode":"UpdateIfMatchETag","eTag":` + fits + `,"status":"disabled"}]`, nil, "(dev1)"},
		"the etag may be spelled etag":       {`[{"id":"dev1","importMode":"UpdateIfMatchETag","etag":` + fits + `,"status":"disabled"}]`, nil, "(dev1)"},
		"updateIfMatchETag with a stale one": {`[{"id":"dev1","importMode":"UpdateIfMatchETag","etag":` + stale + `}]`, []string{"dev1: PreconditionFailed"}, "dev1"},
		"updateIfMatchETag without one":      {`[{"id":"dev1","importMode":"UpdateIfMatchETag"}]`, []string{"dev1: PreconditionFailed"}, "dev1"},
		"update with a stale twin etag": {
			`[{"id":"dev1","importMode":"update","tags":{"x":1},"twinETag":"AAAAAAAAAAI="}]`, []string{"dev1: PreconditionFailed"}, "dev1",
		},
		"updateTwin does not create":             {`[{"id":"a","importMode":"updateTwin","tags":{}}]`, []string{"a: DeviceNotFound"}, "dev1"},
		"updateTwin leaves the identity":         {`[{"id":"dev1","importMode":"updateTwin","status":"disabled","tags":{"x":1}}]`, nil, "dev1"},
		"updateTwinIfMatchETag with its etag":    {`[{"id":"dev1","importMode":"updateTwinIfMatchETag","twinETag":"AAAAAAAAAAE=","tags":{"x":1}}]`, nil, "dev1"},
		"updateTwinIfMatchETag with a stale one": {`[{"id":"dev1","importMode":"updateTwinIfMatchETag","twinETag":"AAAAAAAAAAI=","tags":{"x":1}}]`, []string{"dev1: PreconditionFailed"}, "dev1"},
		"delete does not look at the etag":       {`[{"id":"dev1","importMode":"Delete","etag":` + stale + `}]`, nil, ""},
		"delete of nobody":                       {`[{"id":"a","importMode":"Delete"}]`, []string{"a: DeviceNotFound"}, "dev1"},
		"deleteIfMatchETag with its etag":        {`[{"id":"dev1","importMode":"DeleteIfMatchETag","etag":` + fits + `}]`, nil, ""},
		"deleteIfMatchETag with a stale one":     {`[{"id":"dev1","importMode":"DeleteIfMatchETag","etag":` + stale + `}]`, []string{"dev1: PreconditionFailed"}, "dev1"},
		"deleteIfMatchETag without one":          {`[{"id":"dev1","importMode":"DeleteIfMatchETag"}]`, []string{"dev1: PreconditionFailed"}, "dev1"},
		"modules":                                {`[{"id":"dev1","moduleId":"m","importMode":"create"}]`, []string{"dev1: ArgumentInvalid"}, "dev1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t)
			r, err := h.Bulk(array(t, test.entries))
			must(t, err)
			if diff := cmp.Diff(test.want, outcomes(r)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if got := registered(t, h); got != test.after {
				t.Errorf("then there are %q, want %q", got, test.after)
			}
		})
	}
}

func registered(t testing.TB, h *Hub) string {
	t.Helper()
	var ids []string
	for _, id := range h.IDs() {
		if state(t, h, id).Identity.Disabled {
			id = "(" + id + ")"
		}
		ids = append(ids, id)
	}
	return strings.Join(ids, " ")
}

func TestBulkRefusedAsAWhole(t *testing.T) {
	tests := map[string]struct {
		entries []any
		code    string
	}{
		"no devices":       {nil, "ArgumentInvalid"},
		"101 devices":      {devices(101), "ArgumentInvalid"},
		"no object":        {append(devices(1), "a"), "ArgumentInvalid"},
		"one device twice": {append(devices(2), devices(1)...), "DeviceDefinedMultipleTimes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h, _ := newHub(t)
			_, err := h.Bulk(test.entries)
			wantRefused(t, err, 400, test.code)
			if h.Len() != 0 {
				t.Errorf("%d devices were created", h.Len())
			}
		})
	}
}

func TestBulkTakesAHundred(t *testing.T) {
	h, _ := newHub(t)
	r, err := h.Bulk(devices(100))
	must(t, err)
	if h.Len() != 100 || outcomes(r) != nil {
		t.Errorf("%d devices, %v", h.Len(), outcomes(r))
	}
}

func devices(count int) []any {
	list := make([]any, count)
	for i := range list {
		list[i] = jsontree.Object{{Name: "id", Value: fmt.Sprintf("d%d", i)}, {Name: "importMode", Value: "create"}}
	}
	return list
}

func TestBulkCreatedTwinHasNoTimeYet(t *testing.T) {
	h, _ := newHub(t)
	_, err := h.Bulk(array(t, `[{"id":"a","importMode":"create"}]`))
	must(t, err)
	wantJSON(t, state(t, h, "a").Document().Object("properties"),
		`{"desired":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1},"reported":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1}}`)
}

func TestBulkWritesTheTwin(t *testing.T) {
	for _, mode := range []string{"create", "createOrUpdate", "update", "updateIfMatchETag", "updateTwin", "updateTwinIfMatchETag"} {
		t.Run(mode, func(t *testing.T) {
			h, _ := newHub(t)
			if strings.HasPrefix(mode, "update") {
				must(t, h.CreateDevice("a"))
			}
			r, err := h.Bulk(array(t, `[{"id":"a","importMode":"`+mode+`","eTag":"NjEyMDQ0NTEz","twinETag":"AAAAAAAAAAE=","tags":{"x":1},"properties":{"desired":{"y":2}}}]`))
			must(t, err)
			twin := state(t, h, "a")
			if got := sortedJSON(twin.Tags()) + sortedJSON(twin.Desired()); outcomes(r) != nil || got != `{"x":1}{"y":2}` {
				t.Errorf("%v, then the twin has %s", outcomes(r), got)
			}
		})
	}
}

func TestBulkResultDocument(t *testing.T) {
	h := newDevice(t)
	r, err := h.Bulk(array(t, `[{"id":"dev1","importMode":"create"},{"id":"a","importMode":"create","tags":{"x.y":1}}]`))
	must(t, err)
	wantJSON(t, r.Document(), `{"isSuccessful":false,
		"errors":[{"deviceId":"dev1","errorCode":409001,"errorStatus":"A device with ID 'dev1' is already registered.","operation":"create"}],
		"warnings":[{"deviceId":"a","warningCode":"DeviceRegisteredWithoutTwin","warningStatus":`+strconv.Quote(r.Warnings[0].Reason.Message)+`}]}`)
}
