package hub

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	clocktesting "k8s.io/utils/clock/testing"
)

// newHub returns a hub whose clock stands at one minute past four.
func newHub(t testing.TB) (*Hub, *clocktesting.FakeClock) {
	t.Helper()
	c := clocktesting.NewFakeClock(time.Date(2026, 1, 2, 4, 1, 0, 123456700, time.UTC))
	return New(c.Now, 1), c
}

func newDevice(t testing.TB, opts ...DeviceOption) *Hub {
	t.Helper()
	h, _ := newHub(t)
	must(t, h.CreateDevice("dev1", opts...))
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func object(t testing.TB, s string) jsontree.Object {
	t.Helper()
	o, err := jsontree.ParseObject([]byte(s))
	must(t, err)
	return o
}

func state(t testing.TB, h *Hub, id string) *Twin {
	t.Helper()
	twin, err := h.Get(id)
	must(t, err)
	return twin
}

// wantJSON compares a value of jsontree with JSON text; the order of members does not matter.
func wantJSON(t testing.TB, got any, want string) {
	t.Helper()
	if diff := cmp.Diff(decoded(t, []byte(want)), decoded(t, jsontree.Append(nil, got))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func decoded(t testing.TB, data []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return v
}

func wantRefused(t testing.TB, err error, status int, name string) {
	t.Helper()
	var refused *Error
	if !errors.As(err, &refused) || refused.Status != status || refused.Name != name {
		t.Errorf("got %v, want %d %s", err, status, name)
	}
}

func mustParse(s string) jsontree.Object {
	o, err := jsontree.ParseObject([]byte(s))
	if err != nil {
		panic(err)
	}
	return o
}

// sortedJSON encodes a value with the members of objects in order of name.
func sortedJSON(v any) string {
	var plain any
	if err := json.Unmarshal(jsontree.Append(nil, v), &plain); err != nil {
		panic(err)
	}
	data, err := json.Marshal(plain)
	if err != nil {
		panic(err)
	}
	return string(data)
}

type jsonObject = jsontree.Object
