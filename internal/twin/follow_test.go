package twin_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// follower keeps up with a twin as the operator does: events where they tell, reads where they do not.
type follower struct {
	twin *twin.Twin
	// remember is what the follower keeps of a twin that it has read.
	remember func(*twin.Twin) *twin.Twin
	// check compares what a fold made with what the hub held after the same write.
	check func(t *rapid.T, want, got *twin.Twin)
	reads int
}

// delivery is one event, and the twin that a read at that moment returns: events are late.
type delivery struct {
	event event
	now   *hub
}

func (f *follower) handle(t *rapid.T, d delivery) {
	n, err := twin.ParseNotification(d.event.body())
	if err != nil {
		t.Fatalf("ParseNotification(%s): %v", d.event.body(), err)
	}
	switch order := f.twin.Position().Order(n); order {
	case twin.Old:
		return
	case twin.Next:
		if f.fold(t, d, n) {
			return
		}
	default:
		t.Logf("%v: %s after %+v", order, d.event.body(), f.twin.Position())
	}
	f.read(t, d.now)
}

func (f *follower) fold(t *rapid.T, d delivery, n *twin.Notification) bool {
	before := fmt.Sprintf("%+v", *f.twin) + show(f.twin)
	next, err := f.twin.Fold(n)
	if after := fmt.Sprintf("%+v", *f.twin) + show(f.twin); before != after {
		t.Fatalf("Fold changed the twin: %s became %s", before, after)
	}
	if err != nil {
		if !errors.Is(err, twin.ErrDoubtful) {
			t.Fatalf("Fold(%s): %v", d.event.body(), err)
		}
		t.Logf("%v: %s", err, d.event.body())
		return false
	}
	if diff := cmp.Diff(f.twin.Position().After(n), next.Position()); diff != "" {
		t.Fatalf("position after Fold (-Position.After +got):\n%s", diff)
	}
	f.check(t, parseDevice(t, d.event.after), next)
	f.twin = next
	return true
}

func (f *follower) read(t *rapid.T, h *hub) {
	f.reads++
	f.twin = f.remember(parseDevice(t, h))
}

// sweep is the slow comparison of versions that finds what no event told.
func (f *follower) sweep(t *rapid.T, h *hub) {
	if f.twin.Version != h.version() {
		f.read(t, h)
	}
}

func whole(tw *twin.Twin) *twin.Twin { return tw }

func checkWhole(t *rapid.T, want, got *twin.Twin) {
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-hub +got):\n%s", diff)
	}
}

func unchecked(*rapid.T, *twin.Twin, *twin.Twin) {}

// history is what happens to a twin.
func history(t *rapid.T, h *hub, kinds ...func(write) bool) []event {
	var events []event
	for range rapid.IntRange(1, 10).Draw(t, "writes") {
		w := writes(h).Draw(t, "write")
		if !slices.ContainsFunc(kinds, func(excluded func(write) bool) bool { return excluded(w) }) {
			events = append(events, h.apply(w))
		}
	}
	return events
}

// replayed delivers every event in order, and again from some earlier one on: at least once, as after a lost connection.
func replayed(t *rapid.T, events []event) []int {
	var order []int
	for i := 0; i < len(events); i++ {
		order = append(order, i)
		if rapid.IntRange(0, 3).Draw(t, "rewind") == 0 && len(order) < 3*len(events) {
			i -= rapid.IntRange(1, i+1).Draw(t, "by")
		}
	}
	return order
}

// deliveries read the twin as of some moment after the newest event that was delivered.
func deliveries(t *rapid.T, events []event, order []int) []delivery {
	var all []delivery
	now := 0
	for _, i := range order {
		now = rapid.IntRange(max(now, i), len(events)-1).Draw(t, "now")
		all = append(all, delivery{events[i], events[now].after})
	}
	return all
}

// disturbed loses, repeats, swaps and coalesces deliveries.
func disturbed(t *rapid.T, calm []delivery) []delivery {
	var all []delivery
	for i := 0; i < len(calm); i++ {
		d := calm[i]
		switch rapid.IntRange(0, 9).Draw(t, "fate") {
		case 0:
			continue
		case 1:
			all = append(all, d)
		case 2:
			if n := len(all); n > 0 {
				d, all[n-1] = delivery{all[n-1].event, d.now}, delivery{d.event, d.now}
			}
		case 3, 4:
			if i+1 == len(calm) || calm[i+1].event.before.version() != d.event.version {
				break
			}
			if both, ok := coalesce(d.event, calm[i+1].event); ok {
				d, i = delivery{both, calm[i+1].now}, i+1
			}
		}
		all = append(all, d)
	}
	return all
}

// undecidable is true for the writes of which an event does not tell enough: a name that becomes a component or ceases to be
// one, and an object that a configuration had a part in and that is overwritten in part.
func undecidable(e event) bool {
	for _, patch := range []object{e.write.desired, e.write.reported} {
		for name, v := range patch {
			fields, isObject := v.(object)
			_, desired := e.before.desired[name]
			_, reported := e.before.reported[name]
			if e.before.isComponent(name) && !isObject || !e.before.isComponent(name) && fields["__t"] == "c" && (desired || reported) {
				return true
			}
		}
	}
	held := parseDevice(nil, e.before).Properties
	for leaf, v := range e.after.leaves(e.write.desired) {
		_, isObject := v.(object)
		if p := held[leaf]; isObject && p.Desired != nil && p.Desired.By != "" {
			return true
		}
	}
	return e.isSimultaneous(held)
}

// isSimultaneous is true if an acknowledgement got another part at the time of the write before: which of them is older
// nobody can tell.
func (e event) isSimultaneous(held map[twin.Leaf]twin.Property) bool {
	if e.write.reported == nil || e.before.reportedMeta["$lastUpdated"] != e.before.timestamp() || e.first > e.before.now {
		return false
	}
	for leaf, v := range e.after.leaves(e.write.reported) {
		if fields, isObject := v.(object); isObject && held[leaf].Reported != nil && mentionsEnvelope(fields) {
			return true
		}
	}
	return false
}

func TestWithoutLossEventsAreEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := hubs(true).Draw(t, "hub")
		f := follower{twin: parseDevice(t, h), remember: whole, check: checkWhole}
		h.now = eventsBegin
		events := history(t, h)
		if len(events) == 0 {
			return
		}
		for _, d := range deliveries(t, events, replayed(t, events)) {
			reads := f.reads
			f.handle(t, d)
			if f.reads > reads && !undecidable(d.event) {
				t.Fatalf("read the twin because of %s", d.event.body())
			}
		}
		checkWhole(t, parseDevice(t, h), f.twin)
	})
}

func TestWhatEventsDoNotTellIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := hubs(true).Draw(t, "hub")
		f := follower{twin: parseDevice(t, h), remember: whole, check: checkWhole}
		h.now = eventsBegin
		events := history(t, h)
		if len(events) == 0 {
			return
		}
		for _, d := range disturbed(t, deliveries(t, events, replayed(t, events))) {
			f.handle(t, d)
		}
		f.sweep(t, h)
		checkWhole(t, parseDevice(t, h), f.twin)
	})
}

// TestAFailoverOfTheHubIsNoticed loses the newest writes, of which events went out before, and counts anew from there. An
// event of a lost write may come after a read that no longer shows it; in between, nothing can tell.
func TestAFailoverOfTheHubIsNoticed(t *testing.T) {
	onlyTags := func(w write) bool { return w.desired == nil && w.reported == nil }
	rapid.Check(t, func(t *rapid.T) {
		h := hubs(true).Draw(t, "hub")
		h.now = eventsBegin
		start := h.clone()
		f := follower{twin: parseDevice(t, start), remember: whole, check: unchecked}
		lost := history(t, h)
		now := h.now + 1
		h = start
		if len(lost) > 0 {
			h = rapid.SampledFrom(lost).Draw(t, "last that survives").before.clone()
		}
		h.now = now
		events := slices.Concat(lost, history(t, h, onlyTags))
		if len(events) == len(lost) {
			return
		}
		for _, d := range deliveries(t, events, replayed(t, events)) {
			f.handle(t, d)
		}
		f.sweep(t, h)
		checkWhole(t, parseDevice(t, h), f.twin)
	})
}

// TestAPartialTwinFollowsItsLeaves starts with what a status knows.
func TestAPartialTwinFollowsItsLeaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := hubs(true).Draw(t, "hub")
		declared := declarations(h, true).Draw(t, "declaration")
		h.now = eventsBegin
		first := h.clone()
		events := history(t, h)
		if len(events) == 0 {
			return
		}
		confuse(declared, events)
		known := rapid.IntRange(0, len(events)).Draw(t, "known") // of these the status shows the effect
		if known > 0 {
			first = events[known-1].after
		}
		mirrored := rapid.Bool().Draw(t, "mirrored")
		f := follower{
			twin:     statusOf(parseDevice(t, first), declared, mirrored),
			remember: func(tw *twin.Twin) *twin.Twin { return partial(tw, declared) },
			check:    func(t *rapid.T, want, got *twin.Twin) { checkPartial(t, declared, want, got) },
		}
		calm := deliveries(t, events, replayed(t, events))
		// What is lost before the first report may go unnoticed: a status does not say which one would be the next.
		isFirst := func(d delivery) bool { return d.event.reported != nil && d.event.version > first.version() }
		if i := slices.IndexFunc(calm, isFirst); i >= 0 {
			calm = slices.Concat(calm[:i+1], disturbed(t, calm[i+1:]))
		}
		for _, d := range calm {
			f.handle(t, d)
		}
		f.sweep(t, h)
		checkPartial(t, declared, parseDevice(t, h), f.twin)
	})
}

// confuse takes leaves out of the declaration that a status cannot follow: a property that the hub holds as a component,
// which blocks the declaration anyway; and of an envelope without a valid acknowledgement a status shows only the value, and
// then the device patches it as if it were a plain object.
func confuse(declared twin.Declaration, events []event) {
	for _, e := range events {
		held := parseDevice(nil, e.before).Properties
		for leaf, v := range e.after.leaves(e.write.reported) {
			fields, isObject := v.(object)
			r := held[leaf].Reported
			if r != nil && r.Envelope != nil && isObject && !mentionsEnvelope(fields) {
				delete(declared, leaf)
			}
		}
		maps.DeleteFunc(declared, func(leaf twin.Leaf, _ any) bool {
			return leaf.Component == "" && (e.before.isComponent(leaf.Name) || e.after.isComponent(leaf.Name))
		})
	}
}

func mentionsEnvelope(fields object) bool {
	return slices.ContainsFunc([]string{"value", "ac", "av", "ad"}, func(key string) bool { _, ok := fields[key]; return ok })
}

// partial is what is kept of a twin for the sake of some leaves.
func partial(tw *twin.Twin, declared twin.Declaration) *twin.Twin {
	kept := *tw
	kept.Partial = true
	kept.Properties, kept.Components = map[twin.Leaf]twin.Property{}, map[string]bool{}
	for leaf := range declared {
		kept.Properties[leaf] = tw.Properties[leaf]
		if tw.Components[leaf.Component] {
			kept.Components[leaf.Component] = true
		}
	}
	return &kept
}

// statusOf is what is left of that after a restart. mirrored: the status shows reported values.
func statusOf(tw *twin.Twin, declared twin.Declaration, mirrored bool) *twin.Twin {
	kept := partial(tw, declared)
	kept.ReportedVersion, kept.DesiredUpdated, kept.ReportedUpdated = 0, at("0001-01-01T00:00:00Z"), at("0001-01-01T00:00:00Z")
	for leaf, p := range kept.Properties {
		if p.Desired != nil {
			p.Desired = &twin.Desired{Value: p.Desired.Value, Version: p.Desired.Version}
		}
		if p.Reported != nil {
			p.Reported = &twin.Reported{Value: p.Reported.Value, Ack: p.Reported.Ack}
			if !mirrored && p.Reported.Ack != nil {
				p.Reported.Value = nil
			}
		}
		kept.Properties[leaf] = p
	}
	return kept
}

// checkPartial compares what a partial twin can know: a status shows neither times nor configurations, and not always the
// reported value.
func checkPartial(t *rapid.T, declared twin.Declaration, want, got *twin.Twin) {
	for leaf := range declared {
		w, g := want.Properties[leaf], got.Properties[leaf]
		if w.Reported != nil && g.Reported != nil && g.Reported.Value == nil && g.Reported.Ack != nil {
			w.Reported = &twin.Reported{Ack: w.Reported.Ack}
		}
		if diff := cmp.Diff(w, g, cmpopts.IgnoreFields(twin.Desired{}, "By"), cmpopts.IgnoreFields(twin.Reported{}, "LastUpdated", "Envelope"),
			cmpopts.IgnoreFields(twin.Ack{}, "Description")); diff != "" {
			t.Fatalf("%s (-hub +got):\n%s", leaf, diff)
		}
	}
	if len(got.Properties) != len(declared) || !got.Partial {
		t.Fatalf("%d leaves, partial: %v; want the %d declared ones", len(got.Properties), got.Partial, len(declared))
	}
}
