package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	// A hub refuses expressions over 8,192 characters and returns at most 100 rows a page.
	maxQueryChars   = 7500
	maxVersionChunk = 100
	maxValueChunk   = 50 // whole twins: an answer stays within a few megabytes

	firstSweepDelay = 10 * time.Second
	valueSweepEvery = 24 * time.Hour

	// An event may be on its way while a row shows its effect already; routing takes up to half a second on average.
	eventDelay = 3 * time.Second
)

// Sweep is the safety net under whatever else tells of changes: it compares all declared devices with the hub by
// query, cheaply by version, and at the start and once a day by value. It never writes and never decides: a hit is
// confirmed by the reconciler's own read. A device whose twin cannot be read by query is set aside, and
// asked for alone by every sweep.
type Sweep struct {
	Session      *Session
	Declarations Declarations
	Interval     time.Duration
	// Swept, if set, is called after each sweep.
	Swept func(outcome Swept)
	Log   logr.Logger

	valuesDone time.Time
	aside      map[string]bool
	failed     int // in a row
}

// Swept is what became of a sweep.
type Swept struct {
	// Err ended it, nil: it looked at all devices.
	Err error
	// Coverage that sweeps have now, and whether that is news.
	Coverage Coverage
	IsNews   bool
}

// Coverage is what sweeps do not look after.
type Coverage struct {
	// Aside are the devices whose values cannot be read by query, in order.
	Aside []string
	// Failing is true once two sweeps in a row were ended by an error: of no device it is certain.
	Failing bool
}

func (c Coverage) equal(o Coverage) bool {
	return c.Failing == o.Failing && slices.Equal(c.Aside, o.Aside)
}

// failsAfter is how many sweeps in a row fail before that is told.
const failsAfter = 2

// Run sweeps until the context ends.
func (s *Sweep) Run(ctx context.Context) {
	delay := min(s.Interval, firstSweepDelay)
	for wait(ctx, Jittered(delay)) {
		err := s.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.Log.Error(err, "Sweep failed, the next one starts over")
		}
		s.tell(err)
		delay = s.Interval
	}
}

// tell says what became of a sweep.
func (s *Sweep) tell(err error) {
	s.failed++
	if err == nil {
		s.failed = 0
	}
	now := Coverage{Aside: slices.Sorted(maps.Keys(s.aside)), Failing: s.failed >= failsAfter}
	before := s.Session.coverage.Swap(&now)
	if s.Swept != nil {
		s.Swept(Swept{Err: err, Coverage: now, IsNews: before == nil || !before.equal(now)})
	}
}

// Coverage is what sweeps do not look after, false until the first one is over.
func (s *Session) Coverage() (Coverage, bool) {
	if c := s.coverage.Load(); c != nil {
		return *c, true
	}
	return Coverage{}, false
}

func wait(ctx context.Context, d time.Duration) bool { return waitOr(ctx, d, nil) }

// waitOr waits for a time, or for an event that ends it. It reports false if the context ended first.
func waitOr(ctx context.Context, d time.Duration, event <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-event:
	}
	return true
}

// Jittered spreads periodic work by a tenth to either side.
func Jittered(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d)) //nolint:gosec // nobody gains from a guess
}

func (s *Sweep) once(ctx context.Context) error {
	if s.valuesDone.IsZero() && s.Session.vouched() {
		s.valuesDone = time.Now()
	}
	byValue := s.valuesDone.IsZero() || time.Since(s.valuesDone) >= valueSweepEvery
	declared, err := s.Declarations.List(ctx)
	if err != nil {
		return fmt.Errorf("listing declared devices: %w", err)
	}
	declared = slices.DeleteFunc(declared, func(d Declared) bool { return d.Suspended })
	started := time.Now()
	for _, chunk := range s.questions(declared, byValue) {
		if err := s.compare(ctx, chunk.devices, chunk.byValue); err != nil {
			return err
		}
	}
	if byValue {
		s.valuesDone = started
	}
	return nil
}

// question is what one query asks.
type question struct {
	devices []Declared
	byValue bool
}

// questions are those about all devices, and then those about the values of each that was set aside. Whether those go on
// to be is open then.
func (s *Sweep) questions(declared []Declared, byValue bool) (all []question) {
	before := s.aside
	s.aside = map[string]bool{}
	isAside := func(d Declared) bool { return before[d.DeviceID] }
	together := declared
	if byValue {
		together = slices.DeleteFunc(slices.Clone(declared), isAside)
	}
	for _, chunk := range chunks(together, byValue) {
		all = append(all, question{chunk, byValue})
	}
	for i, d := range declared {
		if isAside(d) {
			s.aside[d.DeviceID] = true
			all = append(all, question{declared[i : i+1], true})
		}
	}
	return all
}

// compare looks at some devices. A question that has no answer that can be read is halved, down to the
// device that is to blame.
func (s *Sweep) compare(ctx context.Context, chunk []Declared, byValue bool) error {
	rows, err := s.rows(ctx, chunk, byValue)
	switch {
	case isUnreadable(err) && len(chunk) == 1:
		return s.setAside(ctx, chunk[0], err)
	case isUnreadable(err):
		if err := s.compare(ctx, chunk[:len(chunk)/2], byValue); err != nil {
			return err
		}
		return s.compare(ctx, chunk[len(chunk)/2:], byValue)
	case err != nil:
		return err
	}
	if byValue {
		s.takeBack(ctx, chunk)
	}
	hits, err := s.hits(ctx, chunk, rows, byValue)
	if err == nil && len(hits) > 0 && s.Session.Reading() {
		if !wait(ctx, eventDelay) {
			return ctx.Err()
		}
		if hits, err = s.current(ctx, hits); err == nil {
			hits, err = s.hits(ctx, hits, rows, byValue)
		}
	}
	for _, d := range hits {
		s.wake(ctx, d.DeviceID)
	}
	return err
}

// takeBack has devices read that were set aside and can be read again: their own reads failed as well.
func (s *Sweep) takeBack(ctx context.Context, chunk []Declared) {
	for _, d := range chunk {
		if s.aside[d.DeviceID] {
			delete(s.aside, d.DeviceID)
			s.wake(ctx, d.DeviceID)
		}
	}
}

// wake has a device read. It stands in the checkpoint until then.
func (s *Sweep) wake(ctx context.Context, deviceID string) {
	s.Session.Device(deviceID).Suspect(Place{})
	s.Declarations.Enqueue(ctx, deviceID, CauseSweep, 0)
}

// maxAside is how many devices may be set aside: beyond that it is not devices that are to blame.
const maxAside = 100

var errAside = errors.New("what the hub answers about device after device cannot be read")

// setAside leaves a device to its own read, which says what is wrong with its twin.
func (s *Sweep) setAside(ctx context.Context, d Declared, why error) error {
	s.Log.Info("The sweep cannot read a device, setting it aside", "deviceID", d.DeviceID, "error", why.Error())
	if s.aside[d.DeviceID] = true; len(s.aside) > maxAside {
		return fmt.Errorf("%w: the last one is %q: %w", errAside, d.DeviceID, why)
	}
	s.wake(ctx, d.DeviceID)
	return nil
}

// errTooMuch is an answer of several pages that has more bytes than one may have.
var errTooMuch = errors.New("the rows exceed 8 MiB")

func isUnreadable(err error) bool {
	return err != nil && (iothub.IsUnreadable(err) || errors.Is(err, errTooMuch))
}

// hits are the devices whose rows show what is not known. A row that cannot be read is its device's trouble.
func (s *Sweep) hits(ctx context.Context, chunk []Declared, rows map[string]json.RawMessage, byValue bool) ([]Declared, error) {
	var hits []Declared
	for _, d := range chunk {
		raw, found := rows[d.DeviceID]
		changed, err := s.changed(ctx, d, raw, found, byValue)
		switch {
		case err != nil:
			if err := s.setAside(ctx, d, err); err != nil {
				return nil, err
			}
		case changed:
			hits = append(hits, d)
		}
	}
	return hits, nil
}

// current is what is declared now of some devices: events may have told what a row showed.
func (s *Sweep) current(ctx context.Context, devices []Declared) ([]Declared, error) {
	declared, err := s.Declarations.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing declared devices: %w", err)
	}
	return slices.DeleteFunc(declared, func(d Declared) bool {
		return !slices.ContainsFunc(devices, func(o Declared) bool { return o.DeviceID == d.DeviceID })
	}), nil
}

func (s *Sweep) changed(ctx context.Context, d Declared, raw json.RawMessage, found, byValue bool) (bool, error) {
	memory := s.Session.Device(d.DeviceID)
	switch {
	case memory.IsAbsent():
		return found, nil
	case !d.Adopted || memory.busy():
		return false, nil // the reconciler is about to read it anyway
	case !found:
		return true, nil // deleted, or not in the index yet: the read tells
	}
	var row Row
	if err := json.Unmarshal(raw, &row); err != nil {
		return false, fmt.Errorf("decoding a query row: %w", err)
	}
	if memory.older(row) {
		return false, nil
	}
	if memory.compare(row) || row.ConnectionState != d.ConnectionState || aheadOf(row.ETag, d.ETag) && !memory.hasSeen(row.ETag) {
		return true, nil
	}
	if !byValue {
		return false, nil
	}
	t, err := twin.ParseDeviceTwin(raw)
	if err != nil {
		return false, fmt.Errorf("decoding a twin of a query: %w", err)
	}
	return s.Declarations.Differs(ctx, t), nil
}

// aheadOf reports whether a row shows a write of desired properties or tags that status does not know of. Memory may have been lost since: then it has
// nothing to compare with, and the event may have been lost as well.
func aheadOf(row, status string) bool {
	shown, ok1 := twin.ETagCounter(row)
	known, ok2 := twin.ETagCounter(status)
	return ok1 && ok2 && shown > known
}

// Bounds of what the rows of one question hold, whatever the hub sends.
const (
	maxRowBytes = 8 << 20
	// emptyPages may come beside those with a row each: the hub's pages can be empty.
	emptyPages = 8
)

var errEndless = errors.New("the hub has more pages than rows were asked for")

// rows asks for one chunk and returns the raw rows by device id: those that were asked for. It waits for the hub's budget,
// at the lowest priority.
func (s *Sweep) rows(ctx context.Context, chunk []Declared, byValue bool) (map[string]json.RawMessage, error) {
	found := newFound(chunk)
	q := iothub.Query{SQL: sweepSQL(chunk, byValue), MaxItems: len(chunk)}
	for range len(chunk) + emptyPages {
		var page iothub.QueryPage
		err := patiently(ctx, func() (err error) {
			page, err = s.Session.As(budget.Caller{Priority: budget.PrioritySweep}).Query(ctx, q)
			return err
		})
		if err != nil {
			return nil, err
		}
		if err := found.add(page.Items); err != nil {
			return nil, err
		}
		if q.Continuation = page.Continuation; q.Continuation == "" || len(found.rows) == len(chunk) {
			return found.rows, nil
		}
	}
	return nil, errEndless
}

// found is the rows that were asked for.
type found struct {
	asked map[string]bool
	rows  map[string]json.RawMessage
	bytes int
}

func newFound(chunk []Declared) *found {
	f := &found{asked: make(map[string]bool, len(chunk)), rows: make(map[string]json.RawMessage, len(chunk))}
	for _, d := range chunk {
		f.asked[d.DeviceID] = true
	}
	return f
}

// add takes the first row of each device. What nobody asked for is dropped.
func (f *found) add(items []json.RawMessage) error {
	for _, item := range items {
		var id struct {
			DeviceID string `json:"deviceId"`
		}
		if err := json.Unmarshal(item, &id); err != nil || !f.asked[id.DeviceID] || f.rows[id.DeviceID] != nil {
			continue
		}
		if f.bytes += len(item); f.bytes > maxRowBytes {
			return errTooMuch
		}
		f.rows[id.DeviceID] = item
	}
	return nil
}

// chunks splits the devices so that each query stays within the hub's limits.
func chunks(devices []Declared, byValue bool) [][]Declared {
	size := maxVersionChunk
	if byValue {
		size = maxValueChunk
	}
	var out [][]Declared
	for len(devices) > 0 {
		n, chars := 0, 0
		for n < len(devices) && n < size {
			chars += len(quoted(devices[n].DeviceID)) + 1
			if n > 0 && chars > maxQueryChars {
				break
			}
			n++
		}
		out, devices = append(out, devices[:n]), devices[n:]
	}
	return out
}

func sweepSQL(chunk []Declared, byValue bool) string {
	columns := "deviceId, etag, deviceEtag, version, connectionState"
	if byValue {
		columns = "*"
	}
	ids := make([]string, len(chunk))
	for i, d := range chunk {
		ids[i] = quoted(d.DeviceID)
	}
	return "SELECT " + columns + " FROM devices WHERE deviceId IN [" + strings.Join(ids, ",") + "]"
}

// quoted renders a device id as a string of the query language. Device ids hold no backslash.
func quoted(id string) string {
	return "'" + strings.ReplaceAll(id, "'", `\'`) + "'"
}
