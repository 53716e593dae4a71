package simulator_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator"
)

func readJournal(t *testing.T, path string) []simulator.JournalEntry {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []simulator.JournalEntry
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var e simulator.JournalEntry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		all = append(all, e)
	}
	return all
}

func TestJournalTellsWhoWroteWhat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	c := startWith(t, simulator.Options{JournalFile: path})
	c.must(c.sim.Hub().CreateDevice("dev1", simulator.WithDesired(`{"a":1}`)))
	c.must(c.sim.Hub().PatchDesired("dev1", `{"b":{"c":2}}`, "night"))
	c.must(c.sim.Hub().PatchReported("dev1", `{"r":3}`))
	c.do(http.MethodPatch, "/twins/dev1", `{"properties":{"desired":{"a":null,"d":4}}}`).want(http.StatusOK)
	c.do(http.MethodPatch, "/digitaltwins/dev1", `[{"op":"add","path":"/e","value":5}]`).want(http.StatusAccepted)
	c.must(c.sim.Hub().SetTags("dev1", `{"line":3}`))
	c.must(c.sim.Hub().DeleteDevice("dev1"))

	type line struct {
		Kind                      string
		Service                   bool
		By                        string
		Before, Desired, Reported string
		Version                   int64
		Tags                      string
	}
	want := []line{
		{Kind: "Created", Version: 2},
		{Kind: "TwinUpdated", Before: `{}`, Desired: `{"a":1}`, Version: 3},
		{Kind: "TwinUpdated", By: "night", Before: `{"a":1}`, Desired: `{"b":{"c":2}}`, Version: 4},
		{Kind: "TwinUpdated", Reported: `{"r":3}`, Version: 5},
		{Kind: "TwinUpdated", Service: true, Before: `{"a":1,"b":{"c":2}}`, Desired: `{"a":null,"d":4}`, Version: 6},
		{Kind: "TwinUpdated", Service: true, Before: `{"b":{"c":2},"d":4}`, Desired: `{"e":5}`, Version: 7},
		{Kind: "TwinUpdated", Tags: `{"line":3}`, Version: 8},
		{Kind: "Deleted"},
	}
	var got []line
	for _, e := range readJournal(t, path) {
		got = append(got, line{string(e.Kind), e.Service, e.By, string(e.Before), string(e.Desired), string(e.Reported), e.Version, string(e.Tags)})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestClockOfTheHubJumps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	c := startWith(t, simulator.Options{JournalFile: path})
	d := simulator.NewDebugClient(c.sim.DebugURL())
	for _, ahead := range []time.Duration{0, 20 * time.Minute, -5 * time.Minute} {
		c.must(d.SetClockOffset(t.Context(), ahead))
		c.must(c.sim.Hub().CreateDevice("dev" + ahead.String()))
	}
	for i, ahead := range []time.Duration{0, 20 * time.Minute, -5 * time.Minute} {
		if at := readJournal(t, path)[i].At; !at.Equal(c.clock.Now().Add(ahead)) {
			t.Errorf("change %d happened at %s, want %s later than %s", i, at, ahead, c.clock.Now())
		}
	}
}
