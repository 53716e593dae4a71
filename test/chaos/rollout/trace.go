// Package rollout judges what a fleet's writer did to a simulated hub, by the hub's journal alone:
// how many devices had not answered when it wrote to one more, what it wrote between two moments,
// what it removed that another had written, what of its own it left, and what it wrote without a
// need. It knows no fleet: callers say which devices and leaves they mean.
//
// A judge that doubts acquits: what a failover of the hub made unknowable is nobody's fault.
package rollout

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// Finding is a write that must not have been made, or a value that must not be there.
type Finding struct {
	Seq      uint64 // of the change in the journal; 0 for what is about the end of it
	At       time.Time
	DeviceID string
	What     string
}

func (f Finding) String() string {
	return fmt.Sprintf("change %d, %s, device %s: %s", f.Seq, f.At.UTC().Format(time.RFC3339Nano), f.DeviceID, f.What)
}

// Write is a write of desired properties over the service API.
type Write struct {
	Seq      uint64
	At       time.Time // by the machine's clock
	DeviceID string
	Version  int64 // of the desired section after it
	// Set has the leaves that it set, by paths such as thermostat1/targetTemperature, in JSON.
	Set map[string]string
	// Removed are the leaves that it removed and that were there, in order.
	Removed []string
	// Needless is true for a write after which every leaf is as it was before.
	Needless bool
}

// Trace is what a journal says of each device.
type Trace struct {
	writes  []Write
	steps   []step
	devices map[string]*device
	foreign []Finding // removals of what another wrote
}

// device is one with its desired leaves, since it was created last.
type device struct {
	leaves map[string]leaf
	online bool
}

// leaf is a desired value and who wrote it.
type leaf struct {
	value string
	by    author
}

// author is who wrote a value last.
type author int

const (
	another author = iota // another service, a configuration, a job, the device's maker
	ours                  // the writer that is judged: the service API's
	unknown               // the hub failed over
)

// Follow reads a journal, in any order of devices. Every write over the service API counts as the
// judged writer's.
func Follow(journal []simulator.JournalEntry) (*Trace, error) {
	t := &Trace{devices: map[string]*device{}}
	inOrder := slices.SortedStableFunc(slices.Values(journal), func(a, b simulator.JournalEntry) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, e := range inOrder {
		if err := t.follow(e); err != nil {
			return nil, fmt.Errorf("change %d of the journal: %w", e.Seq, err)
		}
	}
	return t, nil
}

// FollowFile reads the journal that a simulator writes, also while it does: a last line without its
// end is left out.
func FollowFile(path string) (*Trace, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	defer func() { _ = file.Close() }()
	var journal []simulator.JournalEntry
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return Follow(journal)
		}
		var e simulator.JournalEntry
		if err == nil {
			err = json.Unmarshal(line, &e)
		}
		if err != nil {
			return nil, fmt.Errorf("reading line %d of the journal: %w", len(journal)+1, err)
		}
		journal = append(journal, e)
	}
}

func (t *Trace) follow(e simulator.JournalEntry) error {
	d := t.devices[e.DeviceID]
	if d == nil || e.Kind == "Created" || e.Kind == "Deleted" {
		d = &device{leaves: map[string]leaf{}}
		t.devices[e.DeviceID] = d
	}
	s := step{seq: e.Seq, at: e.Written, device: e.DeviceID}
	switch e.Kind {
	case "Created", "Deleted":
		s.left = true
	case "Connected", "Disconnected":
		d.online = e.Kind == "Connected"
		s.left = !d.online
	case "Rewound":
		d.doubt()
		s.left = true
	}
	var err error
	if e.Desired != nil {
		if s.write, err = t.desired(d, e); err != nil {
			return err
		}
		s.online = d.online
	}
	if e.Reported != nil {
		s.answers, err = answersIn(e.Reported)
	}
	t.steps = append(t.steps, s)
	return err
}

// doubt forgets who wrote what: a hub that fails over comes back with an older state.
func (d *device) doubt() {
	for path, l := range d.leaves {
		l.by = unknown
		d.leaves[path] = l
	}
}

// desired follows a write of desired properties, and returns it if the judged writer made it.
func (t *Trace) desired(d *device, e simulator.JournalEntry) (*Write, error) {
	var before, patch map[string]any
	if e.Before != nil {
		if err := json.Unmarshal(e.Before, &before); err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(e.Desired, &patch); err != nil {
		return nil, err
	}
	was := leavesOf(before)
	d.agree(was)
	is := leavesOf(merged(before, patch).(map[string]any))
	if !e.Service {
		d.take(is, leavesOf(patch), another)
		return nil, nil
	}
	w := Write{Seq: e.Seq, At: e.Written, DeviceID: e.DeviceID, Version: e.DesiredVersion, Set: leavesOf(patch), Needless: maps.Equal(was, is)}
	for _, path := range slices.Sorted(maps.Keys(was)) {
		if _, stays := is[path]; stays {
			continue
		}
		w.Removed = append(w.Removed, path)
		if d.leaves[path].by == another {
			t.foreign = append(t.foreign, Finding{e.Seq, e.Written, e.DeviceID, "removes " + path + " = " + was[path] + ", which another wrote"})
		}
	}
	d.take(is, w.Set, ours)
	t.writes = append(t.writes, w)
	return &w, nil
}

// agree has the leaves be those that the hub had. One that nobody was seen to write came from a
// failover.
func (d *device) agree(with map[string]string) {
	maps.DeleteFunc(d.leaves, func(path string, _ leaf) bool { _, there := with[path]; return !there })
	for path, value := range with {
		if l, known := d.leaves[path]; !known || l.value != value {
			d.leaves[path] = leaf{value, unknown}
		}
	}
}

// take has the leaves be as they are after a write, in which those that it set have an author.
func (d *device) take(is, set map[string]string, by author) {
	maps.DeleteFunc(d.leaves, func(path string, _ leaf) bool { _, there := is[path]; return !there })
	for path, value := range set {
		d.leaves[path] = leaf{value, by}
	}
}

// leavesOf returns the leaves of an object by their paths, in JSON: arrays are leaves, nulls and
// empty objects are none, and neither is the mark of a component.
func leavesOf(o map[string]any) map[string]string {
	leaves := map[string]string{}
	collect(leaves, "", o)
	return leaves
}

func collect(into map[string]string, prefix string, o map[string]any) {
	for name, v := range o {
		path := prefix + name
		switch v := v.(type) {
		case nil:
		case map[string]any:
			collect(into, path+"/", v)
		default:
			if name != "__t" {
				into[path] = encoded(v)
			}
		}
	}
}

func encoded(v any) string {
	var b strings.Builder
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return err.Error() // values that were decoded encode
	}
	return strings.TrimSpace(b.String())
}

// merged is a value after a merge patch, as a hub applies it.
func merged(was, patch any) any {
	p, isObject := patch.(map[string]any)
	if !isObject {
		return patch
	}
	next := map[string]any{}
	if o, ok := was.(map[string]any); ok {
		next = maps.Clone(o)
	}
	if next == nil {
		next = map[string]any{}
	}
	for name, v := range p {
		if v == nil {
			delete(next, name)
			continue
		}
		next[name] = merged(next[name], v)
	}
	return next
}
