package hubs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/internal/watch"
)

// hub answers queries with rows; whatever else is asked is a failure of the test.
type hub struct {
	Hub
	rows    []string
	queries []string
	err     error
}

func (h *hub) Query(_ context.Context, q iothub.Query) (iothub.QueryPage, error) {
	h.queries = append(h.queries, q.SQL)
	page := iothub.QueryPage{}
	for _, row := range h.rows {
		page.Items = append(page.Items, json.RawMessage(row))
	}
	return page, h.err
}

type list struct {
	declared []Declared
	differs  bool
	woken    []string
}

func (l *list) Declared(context.Context) ([]Declared, error) { return l.declared, nil }
func (l *list) Differs(context.Context, *twin.Twin) bool     { return l.differs }
func (l *list) Wake(_ context.Context, deviceID string)      { l.woken = append(l.woken, deviceID) }

func newSweep(h *hub, l *list) *Sweep {
	return &Sweep{Session: NewSession(h, "h", ""), Watchlist: l, Log: logr.Discard()}
}

const row = `{"deviceId":"d","etag":"AAAAAAAAAAE=","deviceEtag":%q,"version":%d,"connectionState":%q,"properties":{"desired":{"$version":1},"reported":{"$version":1}}}`

func TestTheSweepWakesExactlyWhatChanged(t *testing.T) {
	adopted := Declared{DeviceID: "d", Adopted: true, ConnectionState: "Connected"}
	seen := &twin.Twin{Version: 5, DeviceETag: "a"}
	knowing := func(etag string) Declared { d := adopted; d.ETag = etag; return d }
	for name, c := range map[string]struct {
		device  Declared
		memory  *twin.Twin
		rows    []string
		differs bool
		byValue bool
		want    bool
	}{
		"nothing changed":   {adopted, seen, []string{fmt.Sprintf(row, "a", 5, "Connected")}, false, false, false},
		"the version moved": {adopted, seen, []string{fmt.Sprintf(row, "a", 6, "Connected")}, false, false, true},
		"an older row of the same identity is index lag":    {adopted, seen, []string{fmt.Sprintf(row, "a", 4, "Disconnected")}, false, false, false},
		"an older row of another identity is a new device":  {adopted, seen, []string{fmt.Sprintf(row, "b", 2, "Connected")}, false, false, true},
		"the device went offline":                           {adopted, seen, []string{fmt.Sprintf(row, "a", 5, "Disconnected")}, false, false, true},
		"a device absent in memory is seeded from the row":  {adopted, nil, []string{fmt.Sprintf(row, "a", 9, "Connected")}, false, false, false},
		"one that shows a write that status does not know":  {knowing(twin.ETagOf(0)), nil, []string{fmt.Sprintf(row, "a", 9, "Connected")}, false, false, true},
		"one that shows no write that status lacks":         {knowing(twin.ETagOf(1)), nil, []string{fmt.Sprintf(row, "a", 9, "Connected")}, false, false, false},
		"the first sweep compares values":                   {adopted, nil, []string{fmt.Sprintf(row, "a", 9, "Connected")}, true, true, true},
		"the first sweep finds the values equal":            {adopted, nil, []string{fmt.Sprintf(row, "a", 9, "Connected")}, false, true, false},
		"an adopted device is not in the answer":            {adopted, seen, nil, false, false, true},
		"a device that is not adopted yet is not disturbed": {Declared{DeviceID: "d"}, nil, []string{fmt.Sprintf(row, "a", 2, "Connected")}, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := &list{declared: []Declared{c.device}, differs: c.differs}
			s := newSweep(&hub{rows: c.rows}, l)
			if !c.byValue {
				s.valuesDone = time.Now()
			}
			if c.memory != nil {
				d := s.Session.Device("d")
				d.Observe(c.memory, d.BeginRead())
				d.Persisted(c.memory)
			}
			if err := s.once(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := len(l.woken) == 1; got != c.want {
				t.Errorf("woken: %v, want %v", l.woken, c.want)
			}
			if got := s.Session.Device("d").Doubtful(); got != c.want {
				t.Errorf("doubtful: %v, want %v", got, c.want)
			}
		})
	}
}

// The hub is asked for a device that it did not know once its query shows it, and not before.
func TestAnAbsentDeviceIsReadOnceItIsThere(t *testing.T) {
	for name, rows := range map[string][]string{"still absent": nil, "there now": {fmt.Sprintf(row, "a", 2, "Connected")}} {
		for _, declared := range []Declared{{DeviceID: "d"}, {DeviceID: "d", Adopted: true}} {
			t.Run(fmt.Sprintf("%s, adopted %t", name, declared.Adopted), func(t *testing.T) {
				l := &list{declared: []Declared{declared}}
				s := newSweep(&hub{rows: rows}, l)
				s.Session.Device("d").Absent()
				if err := s.once(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got, want := len(l.woken) == 1, rows != nil; got != want {
					t.Errorf("woken: %v, want %t", l.woken, want)
				}
			})
		}
	}
}

func TestADeviceThatTheReconcilerHasInHandIsLeftToIt(t *testing.T) {
	l := &list{declared: []Declared{{DeviceID: "d", Adopted: true}}}
	s := newSweep(&hub{rows: []string{fmt.Sprintf(row, "a", 9, "Connected")}}, l)
	s.Session.Device("d").Unsettled(time.Now(), true)
	if err := s.once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.woken) != 0 {
		t.Errorf("woken %v although a follow-up read is coming", l.woken)
	}
}

func TestAFailedValueSweepIsMadeAgain(t *testing.T) {
	h := &hub{err: errors.New("no")}
	s := newSweep(h, &list{declared: []Declared{{DeviceID: "d"}}})
	if err := s.once(t.Context()); err == nil {
		t.Fatal("the hub's failure was swallowed")
	}
	h.err = nil
	if err := s.once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := sweepSQL([]Declared{{DeviceID: "d"}}, true); h.queries[1] != want {
		t.Errorf("got %s, want %s", h.queries[1], want)
	}
	if err := s.once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := sweepSQL([]Declared{{DeviceID: "d"}}, false); h.queries[2] != want {
		t.Errorf("got %s, want %s", h.queries[2], want)
	}
}

func TestTheFirstSweepGoesByVersionOnlyWhereTheStreamVouches(t *testing.T) {
	for name, c := range map[string]struct {
		before  func(*canary)
		byValue bool
	}{
		"the checkpoint vouches for what was before the start": {func(c *canary) { c.resume(true) }, false},
		"all devices are read":                                 {func(c *canary) { c.skip(); c.heard = true }, false},
		"the first twin change came after the start":           {func(c *canary) { c.resume(false); c.heard = true }, true},
		"the event of a write is late":                         {func(c *canary) { c.resume(true); c.misses = 1 }, true},
		"none came yet":                                        {func(c *canary) { c.skip() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := &hub{}
			s := newSweep(h, &list{declared: []Declared{{DeviceID: "d"}}})
			s.Session.stream.Store(&streamState{State: watch.State{Phase: watch.Reading}})
			c.before(&s.Session.memory.canary)
			if err := s.once(t.Context()); err != nil {
				t.Fatal(err)
			}
			if want := sweepSQL([]Declared{{DeviceID: "d"}}, c.byValue); h.queries[0] != want {
				t.Errorf("got %s, want %s", h.queries[0], want)
			}
		})
	}
}

func TestQueriesStayWithinTheHubsLimits(t *testing.T) {
	var devices []Declared
	for i := range 1000 {
		devices = append(devices, Declared{DeviceID: fmt.Sprintf("%s-%d", strings.Repeat("'", i%124), i)})
	}
	for _, byValue := range []bool{false, true} {
		var got []Declared
		for _, chunk := range chunks(devices, byValue) {
			if sql := sweepSQL(chunk, byValue); len(sql) > 8192 {
				t.Errorf("a query has %d characters", len(sql))
			}
			if len(chunk) > 100 {
				t.Errorf("a query asks for %d devices", len(chunk))
			}
			got = append(got, chunk...)
		}
		if diff := cmp.Diff(devices, got); diff != "" {
			t.Errorf("the chunks do not hold every device once (-want +got):\n%s", diff)
		}
	}
}

func TestASessionOfTheSameHubInheritsWhatWasKnown(t *testing.T) {
	ended := 0
	closing := func() Hub { return closingHub{ended: &ended} }
	r := &Registry{}
	key := struct{ Namespace, Name string }{"ns", "hub"}
	first := NewSession(closing(), "h", "1")
	r.Put(t.Context(), key, first, func(context.Context) {})
	first.Device("d").Doubt()
	second := NewSession(closing(), "h", "2")
	r.Put(t.Context(), key, second, func(context.Context) {})
	if !r.Get(key).Device("d").Doubtful() {
		t.Error("a rotated key made the session forget its devices")
	}
	other := NewSession(closing(), "other", "3")
	r.Put(t.Context(), key, other, func(context.Context) {})
	if r.Get(key).Device("d").Doubtful() {
		t.Error("a session of another hub inherited devices")
	}
	r.Drop(key)
	if r.Get(key) != nil || ended != 3 {
		t.Errorf("session %v is left, %d of 3 were closed", r.Get(key), ended)
	}
}

type closingHub struct {
	Hub
	ended *int
}

func (h closingHub) Close() { *h.ended++ }
