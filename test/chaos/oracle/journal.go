package oracle

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// Trace is what the journal says of each device since it was created last, and what was wrong with the operator's writes.
type Trace struct {
	devices map[string]map[Leaf]*held
	changed map[string]time.Time // the desired sections, last
	rekeyed map[string]bool      // the identity was written since
	others  map[string]time.Time // when another writer wrote desired properties, if the operator did not since
	// replaced is when a device was created anew under its id.
	replaced map[string]time.Time
	// unaware are devices that were created anew or that a failover put back, until the operator's next write: another
	// twin may stand behind the etag that it knows.
	unaware map[string]bool
	// acted are devices that reported after their connection changed last: one that the hub calls disconnected is there.
	acted map[string]bool
	// copies are the states of each device by its desired version, as a hub that fails over may come back with them.
	copies map[string]map[int64]map[Leaf]held
	// rewritten is how often a value was written again, by device.
	rewritten map[string]map[Leaf]int
	// Wrong are writes that must not have been made.
	Wrong []string
	// Writes is how many the operator made, Rewrites how many values it wrote again because it was asked to.
	Writes, Rewrites int
	// Values is how many it changed, Forgotten how many of them it may have forgotten because it was interrupted.
	Values, Forgotten int
}

// written is a value that came to the hub.
type written struct {
	value   any
	version int64  // of the desired section
	seq     uint64 // of the change
	at      time.Time
	since   time.Time // the desired section was as it was before that
	again   bool      // the version set the property before, in a history that a failover undid
}

// held is a desired property at the hub, as the last write left it that changed it.
type held struct {
	written
	// set has the value by the desired version that wrote it, whoever did.
	set  map[int64]any
	ours bool // the operator made that write
	// shared is true once nobody can know whose the value is: another writer wrote the same after the operator, the hub failed over to a copy with it, or the
	// identity and the desired properties were written one after the other, as where a device is created anew.
	shared bool
	// foreign is how often someone else changed it.
	foreign int
}

// Follow reads a journal and judges the operator's writes: only what was declared, only where it makes a difference, and never what is someone else's.
func Follow(journal []simulator.JournalEntry, h *History) (*Trace, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := &Trace{devices: map[string]map[Leaf]*held{}, changed: map[string]time.Time{}, rekeyed: map[string]bool{}, others: map[string]time.Time{}, replaced: map[string]time.Time{}, unaware: map[string]bool{}, acted: map[string]bool{}, copies: map[string]map[int64]map[Leaf]held{}, rewritten: map[string]map[Leaf]int{}}
	for _, e := range journal {
		if err := t.follow(e, h); err != nil {
			return nil, fmt.Errorf("entry %d of the journal: %w", e.Seq, err)
		}
	}
	return t, nil
}

func (t *Trace) follow(e simulator.JournalEntry, h *History) error {
	t.followIdentity(e)
	t.followPresence(e)
	if e.Desired == nil {
		return nil
	}
	return t.followDesired(e, h)
}

// unread is how long a write of another writer may stay unread: while nobody leads nobody reads.
const unread = time.Minute

// followIdentity follows what happened to a device as a whole.
func (t *Trace) followIdentity(e simulator.JournalEntry) {
	switch {
	case e.Kind == "Created" || e.Kind == "Deleted":
		if _, known := t.devices[e.DeviceID]; known && e.Kind == "Created" {
			t.replaced[e.DeviceID], t.unaware[e.DeviceID] = e.Written, true
		}
		t.changed[e.DeviceID] = e.Written
		delete(t.others, e.DeviceID)
		t.devices[e.DeviceID], t.copies[e.DeviceID] = map[Leaf]*held{}, map[int64]map[Leaf]held{}
		t.copy(e)
	case e.Kind == "IdentityUpdated":
		if at, is := t.others[e.DeviceID]; is && e.Written.Sub(at) < unread {
			t.share(e.DeviceID)
		}
		t.rekeyed[e.DeviceID] = true
	case e.Kind == "Rewound":
		t.changed[e.DeviceID], t.unaware[e.DeviceID] = e.Written, true
		t.rewind(e)
	case e.Kind == "TwinReplaced" || e.Service && e.Desired == nil && e.Kind == "TwinUpdated":
		t.wrong(e, "is no patch of desired properties")
	}
}

// followPresence follows whether a device did something since its connection changed last.
func (t *Trace) followPresence(e simulator.JournalEntry) {
	switch {
	case e.Kind == "Connected" || e.Kind == "Disconnected":
		delete(t.acted, e.DeviceID)
	case e.Kind == "TwinUpdated" && e.Reported != nil:
		t.acted[e.DeviceID] = true
	}
}

func (t *Trace) followDesired(e simulator.JournalEntry, h *History) error {
	var before, patch map[string]any
	if err := json.Unmarshal(e.Before, &before); err != nil {
		return err
	}
	if err := json.Unmarshal(e.Desired, &patch); err != nil {
		return err
	}
	touched := touchedBy(before, patch)
	if e.Service {
		t.Writes++
		if len(touched) == 0 && !t.wasForAnother(e, patch) {
			t.wrong(e, "changes nothing")
		}
	}
	if t.rekeyed[e.DeviceID] {
		t.share(e.DeviceID)
	}
	after := leavesOf(merged(before, patch).(map[string]any))
	for _, leaf := range touched {
		t.touch(e, h, leaf, leavesOf(before)[leaf], after[leaf])
	}
	if e.Service {
		delete(t.unaware, e.DeviceID)
		delete(t.others, e.DeviceID)
	} else {
		t.others[e.DeviceID] = e.Written
	}
	t.changed[e.DeviceID] = e.Written
	t.copy(e)
	return nil
}

// wasForAnother reports whether a write came to a device that had just replaced the one it was for,
// under an equal etag, and removed what only that one held: the hub makes an empty patch of it.
// Nobody could have known.
func (t *Trace) wasForAnother(e simulator.JournalEntry, patch map[string]any) bool {
	const underWay = 5 * time.Second
	at, replaced := t.replaced[e.DeviceID]
	return replaced && len(patch) == 0 && e.Written.Sub(at) < underWay
}

func (t *Trace) copy(e simulator.JournalEntry) {
	state := map[Leaf]held{}
	for leaf, h := range t.devices[e.DeviceID] {
		state[leaf] = *h
	}
	t.copies[e.DeviceID][e.DesiredVersion] = state
}

// rewind puts a device back to an earlier state. What the operator has done since then is undone, and it need not know that.
func (t *Trace) rewind(e simulator.JournalEntry) {
	now := map[Leaf]*held{}
	for leaf, h := range t.copies[e.DeviceID][e.DesiredVersion] {
		h.shared = true
		if later, ok := t.devices[e.DeviceID][leaf]; ok {
			h.foreign = later.foreign // the operator remembers a fight
		}
		now[leaf] = &h
	}
	t.devices[e.DeviceID] = now
}

func (t *Trace) share(device string) {
	delete(t.rekeyed, device)
	for _, h := range t.devices[device] {
		h.shared = true
	}
}

func (t *Trace) touch(e simulator.JournalEntry, h *History, leaf Leaf, was, is any) {
	there, ok := t.devices[e.DeviceID][leaf]
	if !ok {
		there = &held{written: written{value: was}, set: map[int64]any{}}
		t.devices[e.DeviceID][leaf] = there
	}
	if e.Service {
		t.judge(e, h, leaf, there, was, is)
	}
	_, again := there.set[e.DesiredVersion]
	there.set[e.DesiredVersion] = is
	if equal(was, is) {
		there.shared = there.shared || !e.Service
		return
	}
	there.written, there.ours, there.shared = written{is, e.DesiredVersion, e.Seq, e.Written, t.changed[e.DeviceID], again}, e.Service, false
	switch {
	case !e.Service:
		there.foreign++
	case is != nil:
		t.Values++
		if h.forgot(e.DeviceID, leaf, there.written) {
			t.Forgotten++
		}
	}
}

// judge looks at what one of the operator's writes did to a property.
func (t *Trace) judge(e simulator.JournalEntry, h *History, leaf Leaf, there *held, was, is any) {
	p := h.of(e.DeviceID)
	switch {
	case p.declared[leaf] == nil:
		t.wrong(e, fmt.Sprintf("touches %s, which no object ever declared", leaf))
	case was == nil && is == nil:
		t.wrong(e, fmt.Sprintf("%s: removes %s, which the hub does not hold", notOurs, leaf))
	case equal(was, is):
		t.rewrite(e, h, leaf, is)
	case is == nil && !h.belongs(e.DeviceID, leaf, there.written, there.ours, e.Written):
		t.wrong(e, fmt.Sprintf("%s: removes %s while it holds %s, which %s wrote, and which was not declared since",
			notOurs, leaf, raw(was), map[bool]string{true: "the operator for an object before this one", false: "another writer"}[there.ours]))
	case is != nil && !p.everDeclared(leaf, is) && (!t.unaware[e.DeviceID] || !p.isMixed(leaf, was, is)):
		t.wrong(e, fmt.Sprintf("sets %s to %s, which no object ever declared", leaf, raw(is)))
	}
}

// rewrite looks at a value that is written although the hub holds it. Each request is good for one of each property, and for another one where the
// operator was interrupted before status had the first.
func (t *Trace) rewrite(e simulator.JournalEntry, h *History, leaf Leaf, value any) {
	if t.rewritten[e.DeviceID] == nil {
		t.rewritten[e.DeviceID] = map[Leaf]int{}
	}
	if asked := h.of(e.DeviceID).asked(e.Seq); t.rewritten[e.DeviceID][leaf] >= asked {
		t.wrong(e, fmt.Sprintf("writes %s although that is what the hub holds, and %d requests for that are used up", leaf, asked))
		return
	}
	t.Rewrites++
	if !h.forgot(e.DeviceID, leaf, written{value, e.DesiredVersion, e.Seq, e.Written, e.Written, false}) {
		t.rewritten[e.DeviceID][leaf]++
	}
}

func (t *Trace) wrong(e simulator.JournalEntry, what string) {
	t.Wrong = append(t.Wrong, fmt.Sprintf("device %s, write %d at %s: %s; the hub held %s, the patch was %s",
		e.DeviceID, e.Seq, e.At.Format("15:04:05.000"), what, e.Before, e.Desired))
}

// notOurs begins what is said of a removal of something that is not the operator's to remove.
const notOurs = "not ours to remove"

// Orphan is a property at the hub that the operator wrote or took over, that nobody declares any more, and that it should have removed.
type Orphan struct {
	Device string
	Leaf   Leaf
	Value  any
	How    string // it came to be the object's
}

func (o Orphan) String() string {
	return fmt.Sprintf("device %s still has %s = %s, which the operator %s and nobody declares", o.Device, o.Leaf, raw(o.Value), o.How)
}

// IsAbandoned reports whether the operator is done with it: its object, nil if there is none, has been observed as it is, and owns no such property.
func (o Orphan) IsAbandoned(object *v1alpha1.PnPDevice) bool {
	if object == nil {
		return true
	}
	_, shown := Shown(&object.Status)[o.Leaf]
	return !shown && object.DeletionTimestamp == nil && object.Status.ObservedGeneration == object.Generation
}

// Orphans lists them in order.
func (t *Trace) Orphans(h *History) []Orphan {
	h.mu.Lock()
	defer h.mu.Unlock()
	var orphans []Orphan
	for _, device := range slices.Sorted(maps.Keys(t.devices)) {
		p := h.of(device)
		declared := map[Leaf]any{}
		if p.now != nil {
			declared, _ = Declared(p.now) // it decoded when it was declared
		}
		for leaf, held := range t.devices[device] {
			if held.value == nil || declared[leaf] != nil || held.shared || h.mayStay(p, held.written) {
				continue
			}
			switch {
			case held.ours && !h.forgot(device, leaf, held.written):
				orphans = append(orphans, Orphan{device, leaf, held.value, "wrote"})
			case !held.ours && p.tookOver(leaf, held.written):
				orphans = append(orphans, Orphan{device, leaf, held.value, "took over"})
			}
		}
	}
	slices.SortFunc(orphans, func(a, b Orphan) int { return strings.Compare(a.String(), b.String()) })
	return orphans
}

// isComponent reports whether a value of a section is one.
func isComponent(v any) bool {
	o, ok := v.(map[string]any)
	return ok && o["__t"] == "c"
}

// leavesOf lists the properties of a section.
func leavesOf(section map[string]any) map[Leaf]any {
	leaves := map[Leaf]any{}
	for name, value := range section {
		if !isComponent(value) {
			leaves[Leaf{"", name}] = value
			continue
		}
		for inner, value := range value.(map[string]any) {
			if inner != "__t" {
				leaves[Leaf{name, inner}] = value
			}
		}
	}
	return leaves
}

// touchedBy lists the properties that a merge patch names, in order. A component that goes takes all of its own along.
func touchedBy(before, patch map[string]any) []Leaf {
	touched := map[Leaf]bool{}
	for name, value := range patch {
		fields, isObject := value.(map[string]any)
		switch {
		case value == nil && isComponent(before[name]):
			for inner := range before[name].(map[string]any) {
				touched[Leaf{name, inner}] = true
			}
		case isObject && (isComponent(value) || isComponent(before[name])):
			for inner := range fields {
				touched[Leaf{name, inner}] = true
			}
		default:
			touched[Leaf{"", name}] = true
		}
	}
	maps.DeleteFunc(touched, func(leaf Leaf, _ bool) bool { return leaf.Name == "__t" })
	return slices.SortedFunc(maps.Keys(touched), compareLeaves)
}

// merged is RFC 7396, as the hub applies it.
func merged(onto, patch any) any {
	fields, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	held, _ := onto.(map[string]any)
	result := maps.Clone(held)
	if result == nil {
		result = map[string]any{}
	}
	for name, value := range fields {
		if value == nil {
			delete(result, name)
			continue
		}
		result[name] = merged(held[name], value)
	}
	return result
}

// Writes counts the writes of the operator.
func Writes(journal []simulator.JournalEntry) int {
	count := 0
	for _, e := range journal {
		if e.Service && e.Desired != nil {
			count++
		}
	}
	return count
}

// Removals counts the properties that the operator removed since a time of the hub's clock.
func Removals(journal []simulator.JournalEntry, since time.Time) int {
	count := 0
	for _, e := range journal {
		var before, patch map[string]any
		if !e.Service || e.At.Before(since) || json.Unmarshal(e.Before, &before) != nil || json.Unmarshal(e.Desired, &patch) != nil {
			continue
		}
		after := leavesOf(merged(before, patch).(map[string]any))
		for leaf := range leavesOf(before) {
			if after[leaf] == nil {
				count++
			}
		}
	}
	return count
}
