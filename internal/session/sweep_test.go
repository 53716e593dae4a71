package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/twin"
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

func (l *list) List(context.Context) ([]Declared, error)             { return l.declared, nil }
func (l *list) Cached(context.Context, string) (func() Belief, bool) { return nil, false }
func (l *list) Differs(context.Context, *twin.Twin) bool             { return l.differs }

func (l *list) Enqueue(_ context.Context, deviceID string, _ Cause, _ time.Duration) {
	l.woken = append(l.woken, deviceID)
}

func newSweep(h *hub, l *list) *Sweep {
	return &Sweep{Session: NewSession(h, "h", ""), Declarations: l, Log: logr.Discard()}
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
				d.observe(c.memory, d.beginRead())
				d.persisted(c.memory)
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
				s.Session.Device("d").denied()
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
			s.Session.stream.Store(&streamState{State: eventstream.State{Phase: eventstream.Reading}})
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

// sized is a hub that has rows of some sizes, and refuses answers beyond a limit, as the client does.
type sized struct {
	Hub
	bytes   map[string]int
	limit   int
	queries int
	repeats int // pages beyond the one with the rows
	broken  map[string]bool
	padding []json.RawMessage
}

func (h *sized) Query(_ context.Context, q iothub.Query) (iothub.QueryPage, error) {
	h.queries++
	page, sum := iothub.QueryPage{Items: h.padding}, 0
	for id, n := range h.bytes {
		if !strings.Contains(q.SQL, quoted(id)) {
			continue
		}
		if sum += n; sum > h.limit {
			return page, &iothub.Error{Op: iothub.OpQuery, Code: iothub.CodeTooLarge, Class: iothub.Transient}
		}
		row := fmt.Sprintf(`{"deviceId":%q,"etag":"AAAAAAAAAAE=","deviceEtag":"a","version":5,"connectionState":"Connected","x":%q,"properties":{"desired":{"$version":1},"reported":{"$version":1}}}`,
			id, strings.Repeat("x", n))
		if h.broken[id] {
			row = fmt.Sprintf(`{"deviceId":%q,"etag":7}`, id)
		}
		page.Items = append(page.Items, json.RawMessage(row))
	}
	if h.repeats != 0 {
		h.repeats--
		page.Items, page.Continuation = nil, "more"
	}
	return page, nil
}

func adoptedDevices(n int) (all []Declared) {
	for i := range n {
		all = append(all, Declared{DeviceID: fmt.Sprintf("d%02d", i), Adopted: true, ConnectionState: "Connected"})
	}
	return all
}

func TestASweepGoesOnWithoutWhatCannotBeRead(t *testing.T) {
	const limit = 1000
	for name, c := range map[string]struct {
		large  map[string]int // by device id; the others are small
		broken string
		aside  []string
		most   int // queries
	}{
		"all are small":                  {nil, "", nil, 2},
		"two fit, and not in one answer": {map[string]int{"d00": 900, "d01": 900}, "", nil, 16},
		"many do not fit in one answer":  {map[string]int{"d00": 300, "d07": 300, "d15": 300, "d23": 300, "d31": 300, "d39": 300}, "", nil, 16},
		"one never fits":                 {map[string]int{"d17": 1001}, "", []string{"d17"}, 16},
		"two neighbours never fit":       {map[string]int{"d17": 1001, "d18": 5000}, "", []string{"d17", "d18"}, 20},
		"the row of one is no twin":      {nil, "d05", []string{"d05"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			h := &sized{bytes: map[string]int{}, limit: limit, broken: map[string]bool{c.broken: true}}
			l := &list{declared: adoptedDevices(60), differs: true}
			for _, d := range l.declared {
				h.bytes[d.DeviceID] = 1
			}
			maps.Copy(h.bytes, c.large)
			s := &Sweep{Session: NewSession(h, "h", ""), Declarations: l, Log: logr.Discard()}
			err := s.once(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.tell(err)
			if got, _ := s.Session.Coverage(); !slices.Equal(got.Aside, c.aside) {
				t.Errorf("set aside: %v, want %v", got.Aside, c.aside)
			}
			if len(l.woken) != 60 { // all differ; those that are set aside are read, and say what is wrong
				t.Errorf("%d of 60 devices were woken", len(l.woken))
			}
			if h.queries > c.most {
				t.Errorf("%d queries, want at most %d", h.queries, c.most)
			}
		})
	}
}

func TestWhatWasSetAsideIsTriedAgain(t *testing.T) {
	h := &sized{bytes: map[string]int{"d00": 1, "d01": 5000}, limit: 1000}
	var told []Swept
	l := &list{declared: adoptedDevices(2)}
	s := &Sweep{Session: NewSession(h, "h", ""), Declarations: l, Log: logr.Discard(), Swept: func(o Swept) { told = append(told, o) }}
	for n, want := range [][]string{{"d01"}, {"d01"}, nil, nil} {
		if n == 2 {
			h.bytes["d01"] = 1
		}
		err := s.once(t.Context())
		if s.tell(err); err != nil || !slices.Equal(told[n].Coverage.Aside, want) {
			t.Errorf("sweep %d: set aside %v, want %v, error %v", n, told[n].Coverage.Aside, want, err)
		}
		if isNews := n == 0 || n == 2; told[n].IsNews != isNews {
			t.Errorf("sweep %d is news: %t", n, told[n].IsNews)
		}
		if isWoken := slices.Contains(l.woken, "d01"); isWoken != (n < 3) { // to say that it cannot be read, and that it can
			t.Errorf("sweep %d woke the device: %t", n, isWoken)
		}
		l.woken = nil
	}
}

func TestTheHubIsToBlameForAnswersThatAreAllUnreadable(t *testing.T) {
	h := &sized{bytes: map[string]int{}, limit: 0}
	l := &list{declared: adoptedDevices(300)}
	for _, d := range l.declared {
		h.bytes[d.DeviceID] = 1
	}
	s := &Sweep{Session: NewSession(h, "h", ""), Declarations: l, Log: logr.Discard()}
	for n := range 2 {
		err := s.once(t.Context())
		if s.tell(err); !errors.Is(err, errAside) {
			t.Errorf("error %v", err)
		}
		if got, _ := s.Session.Coverage(); got.Failing != (n == 1) {
			t.Errorf("after %d sweeps: failing %t", n+1, got.Failing)
		}
	}
	if h.queries > 3*maxAside {
		t.Errorf("%d queries", h.queries)
	}
}

// Rows and pages that nobody asked for are dropped, however many there are.
func TestASweepHoldsWhatItAskedFor(t *testing.T) {
	padding := make([]json.RawMessage, 90)
	for i := range padding {
		padding[i] = json.RawMessage(fmt.Sprintf(`{"deviceId":"other%d"}`, i))
	}
	chunk := adoptedDevices(2)
	for name, c := range map[string]struct {
		hub  *sized
		rows int
		err  error
	}{
		"rows of other devices":             {&sized{bytes: map[string]int{"d00": 1, "d01": 1}, limit: 1000, padding: padding}, 2, nil},
		"rows that are no objects":          {&sized{bytes: map[string]int{"d00": 1}, limit: 1000, padding: []json.RawMessage{[]byte("7"), []byte("{}"), []byte("null")}}, 1, nil},
		"a few empty pages":                 {&sized{bytes: map[string]int{"d00": 1, "d01": 1}, limit: 1000, repeats: 5}, 2, nil},
		"pages without an end":              {&sized{limit: 1000, repeats: -1}, 0, errEndless},
		"more bytes than there is room for": {&sized{bytes: map[string]int{"d00": maxRowBytes / 2, "d01": maxRowBytes / 2}, limit: 2 * maxRowBytes}, 0, errTooMuch},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Sweep{Session: NewSession(c.hub, "h", ""), Declarations: &list{}, Log: logr.Discard()}
			rows, err := s.rows(t.Context(), chunk, true)
			if !errors.Is(err, c.err) || len(rows) != c.rows {
				t.Errorf("%d rows, error %v", len(rows), err)
			}
			if c.hub.queries > len(chunk)+emptyPages {
				t.Errorf("%d queries", c.hub.queries)
			}
		})
	}
}
