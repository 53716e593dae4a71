package simulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// pagesOf follows at most so many continuations and returns the ids of each page.
func (c *client) pagesOf(text, size string, most int) (pages []string) {
	c.t.Helper()
	next := ""
	for range most {
		a := c.query(text, "x-ms-max-item-count", size, "x-ms-continuation", next).want(200)
		var rows []struct{ DeviceID string }
		a.decode(&rows)
		ids := make([]string, len(rows))
		for i, r := range rows {
			ids[i] = r.DeviceID
		}
		pages = append(pages, strings.Join(ids, " "))
		if next = a.header.Get("x-ms-continuation"); next == "" {
			break
		}
	}
	return pages
}

func TestFaultsOfQueries(t *testing.T) {
	const all = "SELECT deviceId FROM devices"
	for name, test := range map[string]struct {
		faults []simulator.Fault
		query  string
		want   []string
	}{
		"none":                       {nil, all, []string{"a b", "c d"}},
		"ghosts":                     {[]simulator.Fault{{Kind: simulator.FaultGhostRows, Count: -1}}, all, []string{"a b", "bb c", "d z"}},
		"one ghost":                  {[]simulator.Fault{{Kind: simulator.FaultGhostRows, Count: -1, Device: "b*"}}, all, []string{"a b", "bb c", "d"}},
		"ghosts of the first page":   {[]simulator.Fault{{Kind: simulator.FaultGhostRows}}, all, []string{"a b", "c d"}},
		"a ghost that WHERE finds":   {[]simulator.Fault{{Kind: simulator.FaultGhostRows, Count: -1}}, all + " WHERE tags.line = 1", []string{"a bb"}},
		"missing":                    {[]simulator.Fault{{Kind: simulator.FaultMissingRows, Count: -1, Device: "[bd]"}}, all, []string{"a c"}},
		"all missing":                {[]simulator.Fault{{Kind: simulator.FaultMissingRows, Count: -1}}, all, []string{""}},
		"repeated":                   {[]simulator.Fault{{Kind: simulator.FaultRepeatedRows, Count: -1}}, all, []string{"a b", "b c", "c d"}},
		"repeated for one device":    {[]simulator.Fault{{Kind: simulator.FaultRepeatedRows, Count: -1, Device: "b"}}, all, []string{"a b", "b c", "d"}},
		"a token without an end":     {[]simulator.Fault{{Kind: simulator.FaultEndlessToken, Count: -1}}, all, []string{"a b", "c d", "a b", "c d", "a b"}},
		"a token with an end later":  {[]simulator.Fault{{Kind: simulator.FaultEndlessToken, Nth: 2}}, all, []string{"a b", "c d", "a b", "c d"}},
		"ghosts, and one is missing": {[]simulator.Fault{{Kind: simulator.FaultGhostRows, Count: -1}, {Kind: simulator.FaultMissingRows, Device: "a", Count: -1}}, all, []string{"b bb", "c d", "z"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t)
			for _, id := range []string{"a", "b", "bb", "c", "d", "z"} {
				c.must(c.sim.Hub().CreateDevice(id))
			}
			for _, id := range []string{"a", "bb"} {
				c.must(c.sim.Hub().SetTags(id, `{"line":1}`))
			}
			for _, id := range []string{"bb", "z"} {
				c.must(c.sim.Hub().DeleteDevice(id))
			}
			for _, f := range test.faults {
				c.sim.Faults().Add(f)
			}
			if diff := cmp.Diff(test.want, c.pagesOf(test.query, "2", 5)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGhostsAreCountedAndMissingRowsAreNot(t *testing.T) {
	c := start(t)
	for _, id := range []string{"a", "b", "gone"} {
		c.must(c.sim.Hub().CreateDevice(id))
	}
	c.must(c.sim.Hub().DeleteDevice("gone"))
	const count = "SELECT COUNT() AS n FROM devices"
	ghosts := c.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultGhostRows, Count: -1})
	c.query(count).want(200).wantJSON(`[{"n":3}]`)
	c.do("GET", "/twins/gone", "").want(404)
	c.must(c.sim.Hub().CreateDevice("gone"))
	c.query(count).want(200).wantJSON(`[{"n":3}]`) // the one that is there, and no ghost beside it
	c.sim.Faults().Remove(ghosts)
	c.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultMissingRows, Count: -1, Device: "b"})
	c.query(count).want(200).wantJSON(`[{"n":2}]`)
	c.query("SELECT COUNT() AS n FROM devices.modules").want(200).wantJSON(`[{"n":0}]`)
}

func TestATokenThatIsRefused(t *testing.T) {
	c := start(t)
	for _, id := range []string{"a", "b", "c"} {
		c.must(c.sim.Hub().CreateDevice(id))
	}
	debug := simulator.NewDebugClient(c.sim.DebugURL())
	_, err := debug.AddFault(t.Context(), simulator.Fault{Kind: simulator.FaultRefusedToken})
	c.must(err)
	const all = "SELECT deviceId FROM devices"
	first := c.query(all, "x-ms-max-item-count", "1").want(200) // has no token, and is not hit
	token := first.header.Get("x-ms-continuation")
	c.query(all, "x-ms-max-item-count", "1", "x-ms-continuation", token).wantError(400, "ArgumentInvalid", "BadRequest")
	c.query(all, "x-ms-max-item-count", "1", "x-ms-continuation", token).want(200).wantJSON(`[{"deviceId":"b"}]`)
	if _, err := debug.AddFault(t.Context(), simulator.Fault{Kind: simulator.FaultGhostRows, Operation: "GetTwin"}); err == nil {
		t.Error("ghosts of another operation than a query are taken")
	}
	var hit []string
	for _, call := range c.sim.Calls().List(simulator.CallFilter{}) {
		hit = append(hit, call.Fault)
	}
	if diff := cmp.Diff([]string{"", "RefusedToken", ""}, hit); diff != "" {
		t.Error(diff)
	}
}

func TestCountsTrailBehind(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("a"))
	debug := simulator.NewDebugClient(c.sim.DebugURL())
	c.must(debug.SetCountLag(t.Context(), 30*time.Minute))
	c.must(c.sim.Hub().CreateDevice("b"))
	const rows, count, groups = "SELECT deviceId FROM devices", "SELECT COUNT() AS n FROM devices", "SELECT tags.x, COUNT() AS n FROM devices GROUP BY tags.x"
	c.must(c.sim.Hub().SetTags("a", `{"x":1}`))
	c.query(rows).want(200).wantJSON(`[{"deviceId":"a"},{"deviceId":"b"}]`)
	c.query(count).want(200).wantJSON(`[{"n":1}]`)
	c.query(groups).want(200).wantJSON(`[{"n":1}]`)
	c.clock.Step(30 * time.Minute)
	c.query(count).want(200).wantJSON(`[{"n":2}]`)
	c.query(groups).want(200).wantJSON(`[{"x":1,"n":1},{"n":1}]`)
	c.must(debug.SetCountLag(t.Context(), 0))
	c.must(c.sim.Hub().DeleteDevice("b"))
	c.query(count).want(200).wantJSON(`[{"n":1}]`)
}

// What Microsoft does not say can be switched while the hub runs, for queries as for configurations
// and jobs.
func TestDialectsOfQueriesAreSettings(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("a"))
	const drifted, metadata = "SELECT deviceId FROM devices WHERE properties.desired.x != 1", "SELECT deviceId FROM devices WHERE IS_DEFINED(properties.desired.$metadata.$lastUpdated)"
	set := func(settings string) { c.debug("PUT", "/settings", settings).want(200) }
	c.query(drifted).want(200).wantJSON(`[]`)
	set(`{"missingDiffers":true}`)
	c.query(drifted).want(200).wantJSON(`[{"deviceId":"a"}]`)
	c.query(metadata).want(200).wantJSON(`[{"deviceId":"a"}]`)
	set(`{"noQueryMetadata":true}`)
	c.query(metadata).want(200).wantJSON(`[]`)
	c.query(drifted).want(200).wantJSON(`[{"deviceId":"a"}]`) // the other one stays
	set(`{"missingDiffers":false,"noQueryMetadata":false}`)
	c.query(drifted).want(200).wantJSON(`[]`)
}
