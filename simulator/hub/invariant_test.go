package hub

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"
)

// operations on one device, all of which may be refused.
var operations = map[string]func(*Hub, string) error{
	"desired":  func(h *Hub, patch string) error { return h.PatchDesired("dev1", patch, "") },
	"drift":    func(h *Hub, patch string) error { return h.PatchDesired("dev1", patch, "cfg") },
	"reported": func(h *Hub, patch string) error { return h.PatchReported("dev1", patch) },
	"tags":     func(h *Hub, patch string) error { return h.SetTags("dev1", patch) },
	"twin": func(h *Hub, patch string) error {
		_, err := h.PatchTwin("dev1", mustParse(`{"tags":`+patch+`,"properties":{"desired":`+patch+`}}`), "")
		return err
	},
	"nothing": func(h *Hub, _ string) error {
		_, err := h.PatchTwin("dev1", mustParse(`{}`), "")
		return err
	},
	"replace": func(h *Hub, patch string) error {
		_, err := h.ReplaceTwin("dev1", mustParse(`{"properties":{"desired":`+patch+`}}`), "")
		return err
	},
	"stale": func(h *Hub, patch string) error {
		_, err := h.PatchTwin("dev1", mustParse(`{"tags":`+patch+`}`), "AAAAAAAAAAA=")
		return err
	},
	"digital twin": func(h *Hub, patch string) error {
		_, err := h.PatchDigitalTwin("dev1", []byte(`[{"op":"add","path":"/x","value":`+patch+`},{"op":"remove","path":"/b"}]`), "")
		return err
	},
	"rekey":      func(h *Hub, _ string) error { return h.Rekey("dev1") },
	"connect":    func(h *Hub, _ string) error { return h.SetConnected("dev1", true, Model) },
	"disconnect": func(h *Hub, _ string) error { return h.SetConnected("dev1", false, "") },
	"delete":     func(h *Hub, _ string) error { return h.DeleteDevice("dev1") },
	"create":     func(h *Hub, _ string) error { return h.CreateDevice("dev1") },
}

func operationNames(m map[string]func(*Hub, string) error) []string {
	var out []string
	for name := range m {
		out = append(out, name)
	}
	return out
}

var patches = []string{
	`{}`, `{"a":1}`, `{"a":{"b":2}}`, `{"a":null}`, `{"b":[1,2]}`, `{"b":"x"}`, `{"a":[null]}`, `{"c":{"__t":"c","p":1}}`, `{"$x":1}`,
	`{"value":1,"ac":200,"av":1}`,
}

func TestVersionIsETagCounterPlusReportedVersion(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := clocktesting.NewFakeClock(time.Unix(1700000000, 0))
		h := New(c.Now, 1)
		var seq uint64
		defer h.Subscribe(func(c Change) {
			if c.Seq <= seq {
				rt.Fatalf("change %d after %d", c.Seq, seq)
			}
			seq = c.Seq
			checkTwin(rt, c.Before, c.After)
		})()
		steps := rapid.SliceOf(rapid.SampledFrom(operationNames(operations))).Draw(rt, "steps")
		for _, step := range append([]string{"create"}, steps...) {
			patch := rapid.SampledFrom(patches).Draw(rt, "patch")
			before, _ := h.Get("dev1")
			was := seq
			err := operations[step](h, patch)
			after, _ := h.Get("dev1")
			if err != nil && before != after {
				rt.Fatalf("%s was refused (%v) and changed the twin", step, err)
			}
			if (before != after) != (was != seq) {
				rt.Fatalf("%s: changed %v, announced %v", step, before != after, was != seq)
			}
		}
	})
}

// checkTwin holds the invariants of one commit.
func checkTwin(t *rapid.T, before, after *Twin) {
	if after == nil {
		return
	}
	raw, err := base64.StdEncoding.DecodeString(after.ETag())
	if err != nil {
		t.Fatal(err)
	}
	if counter := int64(binary.BigEndian.Uint64(raw)); after.Version() != counter+after.ReportedVersion() {
		t.Fatalf("version %d, etag counter %d, reported $version %d", after.Version(), counter, after.ReportedVersion())
	}
	if before == nil {
		return
	}
	if after.Version() < before.Version() || after.DesiredVersion() > before.DesiredVersion()+1 || after.ReportedVersion() > before.ReportedVersion()+1 {
		t.Fatalf("versions jumped from %s to %s", before.JSON(), after.JSON())
	}
	if (after.ETag() == before.ETag()) != (after.ETagCounter() == before.ETagCounter()) {
		t.Fatalf("etag and counter disagree")
	}
}

// A device that follows notifications alone must arrive at the desired properties that the hub holds.
func TestAnnouncedPatchesLeadToTheTwin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := clocktesting.NewFakeClock(time.Unix(1700000000, 0))
		h := New(c.Now, 1)
		must(t, h.CreateDevice("dev1"))
		follower := empty(&stamp{})
		defer h.Subscribe(func(c Change) {
			if c.Desired != nil {
				follower = follower.merge(c.Desired, &stamp{})
			}
		})()
		for range rapid.IntRange(1, 12).Draw(rt, "writes") {
			step := rapid.SampledFrom([]string{"desired", "replace", "digital twin", "twin"}).Draw(rt, "step")
			_ = operations[step](h, rapid.SampledFrom(patches).Draw(rt, "patch")) // may be refused
		}
		wantSame(rt, follower, h)
	})
}

func wantSame(t *rapid.T, follower *node, h *Hub) {
	twin, err := h.Get("dev1")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := sortedJSON(follower.json()), sortedJSON(twin.Desired()); got != want {
		t.Fatalf("the follower has %s, the hub %s", got, want)
	}
}

func TestConcurrentWritersOfOneDeviceLoseNothing(t *testing.T) {
	h := newDevice(t)
	const writers, writes = 8, 50
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range writes {
				allow(t, h.PatchDesired("dev1", fmt.Sprintf(`{"w%d":%d}`, w, i), ""), "")
			}
		})
	}
	wg.Wait()
	if s := state(t, h, "dev1"); s.DesiredVersion() != 1+writers*writes || len(s.Desired()) != writers {
		t.Errorf("desired version %d with %d properties", s.DesiredVersion(), len(s.Desired()))
	}
}

func TestConcurrentCreateAndDelete(t *testing.T) {
	h, _ := newHub(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				allow(t, h.CreateDevice("dev1"), "DeviceAlreadyExists")
				allow(t, h.SetTags("dev1", `{"a":1}`), "DeviceNotFound")
				allow(t, h.DeleteDevice("dev1"), "DeviceNotFound")
			}
		})
	}
	wg.Wait()
	if h.Len() != 0 {
		t.Errorf("%v is left", h.IDs())
	}
}

func allow(t *testing.T, err error, name string) {
	var refused *Error
	if err != nil && (!errors.As(err, &refused) || refused.Name != name) {
		t.Error(err)
	}
}

func TestAwait(t *testing.T) {
	h, _ := newHub(t)
	go func() {
		allow(t, h.CreateDevice("dev1"), "")
		allow(t, h.PatchReported("dev1", `{"a":1}`), "")
	}()
	_, err := h.Await(t.Context(), "dev1", func(s *Twin) bool { return s != nil && s.ReportedVersion() == 2 })
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Await(ctx, "dev1", func(*Twin) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
