package hub

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func rowsOf(h *Hub, after string) map[string]int64 {
	out := map[string]int64{}
	h.Rows(after, func(t *Twin) bool {
		out[t.Identity.DeviceID] = t.Version()
		return true
	})
	return out
}

func TestRowsComeInOrderAndResume(t *testing.T) {
	h, _ := newHub(t)
	for _, id := range []string{"c", "a", "b"} {
		must(t, h.CreateDevice(id))
	}
	var got []string
	h.Rows("a", func(t *Twin) bool { got = append(got, t.Identity.DeviceID); return len(got) < 2 })
	if diff := cmp.Diff([]string{"b", "c"}, got); diff != "" {
		t.Error(diff)
	}
	if got := rowsOf(h, "aa"); len(got) != 2 {
		t.Errorf("behind an id that is gone: %v", got)
	}
}

func TestIndexWithoutLagIsTheStore(t *testing.T) {
	h := newDevice(t)
	must(t, h.SetTags("dev1", `{"a":1}`))
	must(t, h.CreateDevice("dev2"))
	if diff := cmp.Diff(map[string]int64{"dev1": 3, "dev2": 2}, rowsOf(h, "")); diff != "" {
		t.Error(diff)
	}
}

func TestIndexLag(t *testing.T) {
	h, c := newHub(t)
	must(t, h.CreateDevice("gone"))
	must(t, h.CreateDevice("old"))
	h.SetIndexLag(10 * time.Second)
	must(t, h.DeleteDevice("gone"))
	must(t, h.SetTags("old", `{"a":1}`))
	c.Step(5 * time.Second)
	must(t, h.SetTags("old", `{"a":2}`))
	must(t, h.CreateDevice("new"))

	steps := []struct {
		after time.Duration
		want  map[string]int64
	}{
		{0, map[string]int64{"gone": 2, "old": 2}},
		{5 * time.Second, map[string]int64{"old": 3}},
		{5 * time.Second, map[string]int64{"old": 4, "new": 2}},
	}
	for _, step := range steps {
		c.Step(step.after)
		if diff := cmp.Diff(step.want, rowsOf(h, "")); diff != "" {
			t.Errorf("after %s more: %s", step.after, diff)
		}
	}
}

func TestEndingTheLagShowsWhatIsTrue(t *testing.T) {
	h := newDevice(t)
	h.SetIndexLag(time.Hour)
	must(t, h.SetTags("dev1", `{"a":1}`))
	h.SetIndexLag(0)
	if diff := cmp.Diff(map[string]int64{"dev1": 3}, rowsOf(h, "")); diff != "" || h.IndexLag() != 0 {
		t.Error(diff)
	}
}

func TestTheNewestGhostsAreKept(t *testing.T) {
	h, _ := newHub(t)
	for i := range maxGhosts + 2 {
		id := fmt.Sprintf("d%05d", i)
		must(t, h.CreateDevice(id))
		must(t, h.DeleteDevice(id))
	}
	must(t, h.CreateDevice("d00005")) // is there again
	got := h.Ghosts()
	if first := got[0].Identity.DeviceID; len(got) != maxGhosts-1 || first != "d00002" {
		t.Errorf("%d ghosts from %s on, want %d from d00002 on", len(got), first, maxGhosts-1)
	}
}

// A fleet's writes are many while an index lags by half an hour. What waits is moved once, however much it is.
func TestALaggingIndexKeepsUpWithAFleet(t *testing.T) {
	h, c := newHub(t)
	must(t, h.CreateDevice("a"))
	h.SetIndexLag(30 * time.Minute)
	const writes = 200_000
	for range writes {
		c.Step(time.Second)
		must(t, h.PatchReported("a", `{"x":1}`))
	}
	if got := rowsOf(h, "")["a"]; got != 2+writes-30*60 {
		t.Errorf("the row has version %d, want that of half an hour ago, %d", got, 2+writes-30*60)
	}
	if waiting := len(h.index.pending); waiting != 30*60 {
		t.Errorf("%d changes wait, want %d", waiting, 30*60)
	}
}
