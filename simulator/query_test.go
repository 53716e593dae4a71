package simulator_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func (c *client) query(text string, headers ...string) answer {
	c.t.Helper()
	body, err := json.Marshal(map[string]string{"query": text})
	c.must(err)
	return c.do("POST", "/devices/query", string(body), headers...)
}

// all follows continuations and returns the sizes of the pages and the device ids.
func (c *client) all(text, size string) (pages []int, ids []string) {
	c.t.Helper()
	next := ""
	for {
		a := c.query(text, "x-ms-max-item-count", size, "x-ms-continuation", next).want(200)
		var rows []struct{ DeviceID string }
		a.decode(&rows)
		pages = append(pages, len(rows))
		for _, r := range rows {
			ids = append(ids, r.DeviceID)
		}
		if next = a.header.Get("x-ms-continuation"); next == "" {
			if _, present := a.header["X-Ms-Continuation"]; present {
				c.t.Error("the header must be absent on the last page")
			}
			return pages, ids
		}
	}
}

func TestQueryPaging(t *testing.T) {
	c := start(t)
	for i := range 250 {
		c.must(c.sim.Hub().CreateDevice(fmt.Sprintf("d%03d", i)))
	}
	tests := map[string]struct {
		query, size string
		pages       []int
	}{
		"a hundred by default":             {"SELECT * FROM devices", "", []int{100, 100, 50}},
		"no more than a hundred":           {"SELECT * FROM devices", "1000", []int{100, 100, 50}},
		"as many as asked for":             {"SELECT * FROM devices", "60", []int{60, 60, 60, 60, 10}},
		"a last page that is full":         {"SELECT * FROM devices WHERE deviceId < 'd200'", "100", []int{100, 100}},
		"WHERE":                            {"SELECT * FROM devices WHERE deviceId IN ['d003', 'd240']", "100", []int{2}},
		"TOP":                              {"SELECT TOP 120 * FROM devices", "100", []int{100, 20}},
		"TOP of one page":                  {"SELECT TOP 7 * FROM devices", "", []int{7}},
		"nothing":                          {"SELECT * FROM devices WHERE false", "", []int{0}},
		"groups have pages too":            {"SELECT deviceId, COUNT() AS n FROM devices GROUP BY deviceId", "100", []int{100, 100, 50}},
		"modules, of which there are none": {"SELECT * FROM devices.modules", "", []int{0}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pages, ids := c.all(test.query, test.size)
			if diff := cmp.Diff(test.pages, pages); diff != "" {
				t.Error(diff)
			}
			seen := map[string]bool{}
			for _, id := range ids {
				if seen[id] {
					t.Errorf("%s came twice", id)
				}
				seen[id] = true
			}
		})
	}
}

func TestQueryItemTypes(t *testing.T) {
	c := start(t)
	for query, want := range map[string]string{
		"SELECT * FROM devices":         "Twin",
		"SELECT deviceId FROM devices":  "Raw",
		"SELECT COUNT() FROM devices":   "Raw",
		"SELECT * FROM devices.modules": "Twin",
		"SELECT * FROM devices.jobs":    "DeviceJob",
	} {
		if got := c.query(query).want(200).header.Get("x-ms-item-type"); got != want {
			t.Errorf("%s is %q", query, got)
		}
	}
}

func TestQueryResults(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("d1"))
	c.must(c.sim.Hub().SetTags("d1", `{"site":{"name":"north"}}`))
	twin := c.do("GET", "/twins/d1", "").body
	c.query("SELECT * FROM devices").want(200).wantJSON("[" + twin + "]")
	c.query("SELECT deviceId, etag, deviceEtag, version FROM devices").want(200).
		wantJSON(`[{"deviceId":"d1","etag":"AAAAAAAAAAI=","deviceEtag":"NjEyMDQ0NTEz","version":3}]`)
	c.query("SELECT tags.site.name AS site, properties.desired.$version FROM devices WHERE tags.site.name = 'north'").want(200).
		wantJSON(`[{"site":"north","$version":1}]`)
	c.query("SELECT DeviceID, LastActivityTime FROM devices").want(200).
		wantJSON(`[{"DeviceID":"d1","LastActivityTime":"0001-01-01T00:00:00Z"}]`)
	c.query("SELECT properties.reported FROM devices WHERE IS_DEFINED(properties.reported.$metadata.$lastUpdated)").want(200).
		wantJSON(`[{"reported":{"$metadata":{"$lastUpdated":"2026-01-02T04:01:00.1234567Z"},"$version":1}}]`)
	c.query("SELECT COUNT() AS n FROM devices.modules").want(200).wantJSON(`[{"n":0}]`)
}

func TestQueryRefused(t *testing.T) {
	c := start(t)
	longest := "SELECT * FROM devices WHERE deviceId = '"
	longest += strings.Repeat("é", 8192-len(longest)-1) + "'"
	c.query(longest).want(200)
	c.query(longest+" ").wantError(412, "PreconditionFailed", "Precondition failed: the query is longer than 8192 characters")
	c.query("SELECT").wantError(400, "ArgumentInvalid", "BadRequest")
	c.do("POST", "/devices/query", `[]`).want(400)
	c.do("POST", "/devices/query", `{}`).want(400)
	c.query("SELECT * FROM devices", "x-ms-max-item-count", "0").want(400)
	c.query("SELECT * FROM devices", "x-ms-max-item-count", "many").want(400)
	c.query("SELECT * FROM devices", "x-ms-continuation", "garbage").want(400)
	for _, id := range []string{"a", "b"} {
		c.must(c.sim.Hub().CreateDevice(id))
	}
	next := c.query("SELECT * FROM devices", "x-ms-max-item-count", "1").want(200).header.Get("x-ms-continuation")
	c.query("SELECT deviceId FROM devices", "x-ms-continuation", next).wantError(400, "ArgumentInvalid", "BadRequest")
}

func TestQueriesSeeALaggingIndex(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("old"))
	c.must(c.sim.Hub().CreateDevice("gone"))
	c.sim.Hub().SetIndexLag(30 * time.Second)
	c.must(c.sim.Hub().SetTags("old", `{"a":1}`))
	c.must(c.sim.Hub().DeleteDevice("gone"))
	const query = "SELECT deviceId, version FROM devices"
	c.query(query).want(200).wantJSON(`[{"deviceId":"gone","version":2},{"deviceId":"old","version":2}]`)
	c.do("GET", "/twins/gone", "").want(404)
	c.clock.Step(30 * time.Second)
	c.query(query).want(200).wantJSON(`[{"deviceId":"old","version":3}]`)
}
