package hub

import (
	"encoding/json"
	"testing"
	"time"
)

// ticking is a clock that no two reads of agree.
func ticking() func() time.Time {
	now := time.Date(2026, 1, 2, 4, 1, 0, 0, time.UTC)
	return func() time.Time {
		now = now.Add(time.Millisecond)
		return now
	}
}

// A hub's own events say the same time of a change as the twin does: operationTimestamp is the body's $lastUpdated.
func TestAChangeHasOneTime(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Hub) error
		times  func(*testing.T, Change) []time.Time
	}{
		"a device is created": {func(h *Hub) error { return h.CreateDevice("dev2") }, func(t *testing.T, c Change) []time.Time {
			return []time.Time{lastUpdated(t, c, "desired"), lastUpdated(t, c, "reported")}
		}},
		"desired properties": {func(h *Hub) error { return h.PatchDesired("dev1", `{"a":1}`, "") }, func(t *testing.T, c Change) []time.Time {
			return []time.Time{lastUpdated(t, c, "desired")}
		}},
		"reported properties": {func(h *Hub) error { return h.PatchReported("dev1", `{"a":1}`) }, func(t *testing.T, c Change) []time.Time {
			return []time.Time{lastUpdated(t, c, "reported"), c.After.Identity.LastActivity}
		}},
		"a replaced twin": {func(h *Hub) error {
			_, err := h.ReplaceTwin("dev1", object(t, `{"tags":{"x":1},"properties":{"desired":{"b":2}}}`), "")
			return err
		}, func(t *testing.T, c Change) []time.Time { return []time.Time{lastUpdated(t, c, "desired")} }},
		"a digital twin": {func(h *Hub) error {
			_, err := h.PatchDigitalTwin("dev1", []byte(`[{"op":"add","path":"/p","value":1}]`), "")
			return err
		}, func(t *testing.T, c Change) []time.Time { return []time.Time{lastUpdated(t, c, "desired")} }},
		"a device connects": {func(h *Hub) error { return h.SetConnected("dev1", true, "") }, func(_ *testing.T, c Change) []time.Time {
			return []time.Time{c.After.Identity.ConnectedUpdated, c.After.Identity.LastActivity}
		}},
		"a device is disabled": {func(h *Hub) error { return h.SetStatus("dev1", false, "") }, func(_ *testing.T, c Change) []time.Time {
			return []time.Time{c.After.Identity.StatusUpdated}
		}},
		"an identity is disabled": {func(h *Hub) error {
			_, err := h.PutIdentity("dev1", object(t, `{"deviceId":"dev1","status":"disabled"}`), "*")
			return err
		}, func(_ *testing.T, c Change) []time.Time { return []time.Time{c.After.Identity.StatusUpdated} }},
	} {
		t.Run(name, func(t *testing.T) {
			h := New(ticking(), 1)
			must(t, h.CreateDevice("dev1"))
			var last Change
			defer h.Subscribe(func(c Change) { last = c })()
			must(t, c.change(h))
			for i, at := range c.times(t, last) {
				if !at.Equal(last.At) {
					t.Errorf("%d: %v, but the change was at %v", i, at, last.At)
				}
			}
		})
	}
}

func lastUpdated(t *testing.T, c Change, section string) time.Time {
	t.Helper()
	var twin struct {
		Properties map[string]struct {
			Metadata struct {
				At time.Time `json:"$lastUpdated"`
			} `json:"$metadata"`
		}
	}
	must(t, json.Unmarshal(c.After.JSON(), &twin))
	return twin.Properties[section].Metadata.At
}
