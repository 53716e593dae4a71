package hubs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"

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

// Declared is what status knows of one declared device.
type Declared struct {
	DeviceID        string
	Adopted         bool   // the twin was read before
	ETag            string // of the twin, as status has it
	ConnectionState string
	Suspended       bool
}

// Watchlist is what a sweep compares the hub with.
type Watchlist interface {
	// Declared lists the devices that PnPDevices of this hub declare.
	Declared(ctx context.Context) ([]Declared, error)
	// Differs says whether a twin's declared values differ from what status knows.
	Differs(ctx context.Context, t *twin.Twin) bool
	// Wake has the device read and reconciled.
	Wake(ctx context.Context, deviceID string)
}

// Sweep is the safety net under whatever else tells of changes: it compares all declared devices with the hub by
// query, cheaply by version, and at the start and once a day by value. It never writes and never decides: a hit is
// confirmed by the reconciler's own read.
type Sweep struct {
	Session   *Session
	Watchlist Watchlist
	Interval  time.Duration
	Log       logr.Logger

	valuesDone time.Time
}

// Run sweeps until the context ends.
func (s *Sweep) Run(ctx context.Context) {
	delay := min(s.Interval, firstSweepDelay)
	for wait(ctx, jitter(delay)) {
		if err := s.once(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error(err, "Sweep failed, the next one starts over")
		}
		delay = s.Interval
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}

func (s *Sweep) once(ctx context.Context) error {
	if s.valuesDone.IsZero() && s.Session.vouched() {
		s.valuesDone = time.Now()
	}
	byValue := s.valuesDone.IsZero() || time.Since(s.valuesDone) >= valueSweepEvery
	declared, err := s.Watchlist.Declared(ctx)
	if err != nil {
		return fmt.Errorf("listing declared devices: %w", err)
	}
	declared = slices.DeleteFunc(declared, func(d Declared) bool { return d.Suspended })
	started := time.Now()
	for _, chunk := range chunks(declared, byValue) {
		if err := s.compare(ctx, chunk, byValue); err != nil {
			return err
		}
	}
	if byValue {
		s.valuesDone = started
	}
	return nil
}

func (s *Sweep) compare(ctx context.Context, chunk []Declared, byValue bool) error {
	rows, err := s.rows(ctx, chunk, byValue)
	if err != nil {
		return err
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
		s.Session.Device(d.DeviceID).Suspect(Place{}) // stands in the checkpoint until it is read
		s.Watchlist.Wake(ctx, d.DeviceID)
	}
	return err
}

// hits are the devices whose rows show what is not known.
func (s *Sweep) hits(ctx context.Context, chunk []Declared, rows map[string]json.RawMessage, byValue bool) ([]Declared, error) {
	var hits []Declared
	for _, d := range chunk {
		raw, found := rows[d.DeviceID]
		changed, err := s.changed(ctx, d, raw, found, byValue)
		if err != nil {
			return nil, err
		}
		if changed {
			hits = append(hits, d)
		}
	}
	return hits, nil
}

// current is what is declared now of some devices: events may have told what a row showed.
func (s *Sweep) current(ctx context.Context, devices []Declared) ([]Declared, error) {
	declared, err := s.Watchlist.Declared(ctx)
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
	case memory.isAbsent():
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
	if memory.compare(row) || row.ConnectionState != d.ConnectionState || aheadOf(row.ETag, d.ETag) {
		return true, nil
	}
	if !byValue {
		return false, nil
	}
	t, err := twin.ParseDeviceTwin(raw)
	if err != nil {
		return false, fmt.Errorf("decoding a twin of a query: %w", err)
	}
	return s.Watchlist.Differs(ctx, t), nil
}

// aheadOf reports whether a row shows a write of desired properties or tags that status does not know of. Memory may have been lost since: then it has
// nothing to compare with, and the event may have been lost as well.
func aheadOf(row, status string) bool {
	shown, ok1 := twin.ETagCounter(row)
	known, ok2 := twin.ETagCounter(status)
	return ok1 && ok2 && shown > known
}

// rows asks for one chunk and returns the raw rows by device id. It waits for the hub's budget, at the lowest priority.
func (s *Sweep) rows(ctx context.Context, chunk []Declared, byValue bool) (map[string]json.RawMessage, error) {
	rows := make(map[string]json.RawMessage, len(chunk))
	q := iothub.Query{SQL: sweepSQL(chunk, byValue), MaxItems: maxVersionChunk}
	for {
		var page iothub.QueryPage
		err := patiently(ctx, func() (err error) {
			page, err = s.Session.Query(ctx, q)
			return err
		})
		if err != nil {
			return nil, err
		}
		if err := index(page.Items, rows); err != nil {
			return nil, err
		}
		if q.Continuation = page.Continuation; q.Continuation == "" {
			return rows, nil
		}
	}
}

func index(items []json.RawMessage, rows map[string]json.RawMessage) error {
	for _, item := range items {
		var id struct {
			DeviceID string `json:"deviceId"`
		}
		if err := json.Unmarshal(item, &id); err != nil {
			return fmt.Errorf("decoding a query row: %w", err)
		}
		if id.DeviceID == "" {
			return errors.New("decoding a query row: no deviceId")
		}
		rows[id.DeviceID] = item
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
