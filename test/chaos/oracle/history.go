package oracle

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// lag is how late an operator that runs may hear of an edit: until then it may go by the declaration before it.
const lag = 5 * time.Second

// History is what was declared, and asked for, in the course of a run. It is safe for concurrent use. What may have reached the API server is in it.
type History struct {
	mu            sync.Mutex
	devices       map[string]*past
	interruptions []interruption
	blind         []Span
}

// interruption is when the operator was killed or stopped, in sequence numbers of the journal.
type interruption struct{ from, to uint64 }

// past is the history of one device.
type past struct {
	declared map[Leaf][]declared
	born     []time.Time // since when there was another object for the device
	now      *v1alpha1.PnPDeviceSpec
	resends  []uint64 // the newest change of the journal when values were asked to be written once more
	// recorded is what status said of properties that the object owned, by the desired version that had set them.
	recorded map[Leaf]map[int64]record
	// excused is when what was at the hub could stay there, last: the object was deleted without clearing, or only observed.
	excused time.Time
}

// declared is a value that an object declared for some time. A zero end is none.
type declared struct {
	value any
	Span
}

// record is what status said of a value last, and when.
type record struct {
	value any
	at    time.Time
}

// NewHistory returns an empty one.
func NewHistory() *History { return &History{devices: map[string]*past{}} }

func (h *History) of(device string) *past {
	p, ok := h.devices[device]
	if !ok {
		p = &past{declared: map[Leaf][]declared{}, recorded: map[Leaf]map[int64]record{}}
		h.devices[device] = p
	}
	return p
}

// Declare notes a declaration that is about to be applied.
func (h *History) Declare(device string, spec *v1alpha1.PnPDeviceSpec, at time.Time) error {
	leaves, err := Declared(spec)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.of(device)
	for leaf, value := range leaves {
		p.declared[leaf] = append(p.declared[leaf], declared{value, Span{From: at}})
	}
	if spec.Management == v1alpha1.ManagementObserve {
		p.excuse(at)
	}
	p.now = spec
	return nil
}

// Applied notes that the newest declaration, or the deletion, is at the API server, and that those before it no longer are.
func (h *History) Applied(device string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.of(device)
	now := map[Leaf]any{}
	if p.now != nil {
		now, _ = Declared(p.now) // it decoded when it was declared
	}
	for leaf, all := range p.declared {
		_, is := now[leaf]
		for i := range all {
			if newest := is && i == len(all)-1; !newest && all[i].To.IsZero() {
				all[i].To = at
			}
		}
	}
}

// Born notes that there is another object for a device, since this time or later: what the one before owned is none of its own.
func (h *History) Born(device string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.of(device)
	p.born = append(p.born, at)
}

// Blind notes a span of time in which an operator that ran could not hear of edits.
func (h *History) Blind(s Span) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.blind = append(h.blind, s)
}

// Delete notes that the object of a device is about to be deleted.
func (h *History) Delete(device string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.of(device)
	if p.now != nil && (p.now.DeletionPolicy != v1alpha1.DeletionClear || p.now.Suspend) {
		p.excuse(at)
	}
	p.now = nil
}

// Excuse notes that nothing that a device's object had at the hub has to leave it: what it had to be cleared with may have failed for good.
func (h *History) Excuse(device string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(device).excuse(at)
}

// Resend notes that each value may be written once more, after a change of the journal.
func (h *History) Resend(device string, after uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.of(device)
	p.resends = append(p.resends, after)
}

// Record notes what status says that the object owns: the operator has not forgotten that. A property that is Drifted holds someone else's value.
// What an object that observes owns is what it wrote before that.
func (h *History) Record(object *v1alpha1.PnPDevice, at time.Time) {
	if object.Spec.Management == v1alpha1.ManagementObserve {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.of(object.DeviceID())
	for leaf, shown := range Shown(&object.Status) {
		if !shown.Owned || shown.State == "Drifted" || shown.DesiredVersion == 0 {
			continue
		}
		if p.recorded[leaf] == nil {
			p.recorded[leaf] = map[int64]record{}
		}
		p.recorded[leaf][shown.DesiredVersion] = record{decoded(shown.Desired), at}
	}
}

// justBefore is how many changes of the journal may lie between a write of the operator and the moment when status has it.
const justBefore = 60

// Interrupt notes that the operator was killed or stopped while the journal grew from one sequence number to another. What it wrote just before that,
// and could not record, it cannot tell from someone else's value: where that leaves the declaration next, it is released, and stays at the hub.
func (h *History) Interrupt(from, to uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.interruptions = append(h.interruptions, interruption{from - min(from, justBefore), to})
}

func (h *History) interrupted(seq uint64) bool {
	return slices.ContainsFunc(h.interruptions, func(i interruption) bool { return i.from <= seq && seq <= i.to })
}

// forgot reports whether a value of the operator's was written just before it was interrupted, and status never had it.
func (h *History) forgot(device string, leaf Leaf, w written) bool {
	r, recorded := h.of(device).recorded[leaf][w.version]
	return h.interrupted(w.seq) && (!recorded || !equal(r.value, w.value))
}

// tookOver reports whether status said, after a value had come to the hub, that the object owned it. Where the version came twice, status may mean the first.
func (p *past) tookOver(leaf Leaf, w written) bool {
	r, recorded := p.recorded[leaf][w.version]
	return recorded && !w.again && equal(r.value, w.value) && !r.at.Before(w.at)
}

func (p *past) excuse(at time.Time) {
	if at.After(p.excused) {
		p.excused = at
	}
}

// mayStay reports whether what was written at a time may be left at the hub. A write may have been under way when it was.
func (h *History) mayStay(p *past, w written) bool {
	return !p.excused.IsZero() && !w.at.After(h.heard(p.excused))
}

// heard is when the operator knew at the latest what happened at a time.
func (h *History) heard(at time.Time) time.Time {
	for moved := true; moved; {
		moved = false
		for _, s := range h.blind {
			if !s.From.After(at.Add(lag)) && s.To.After(at) {
				at, moved = s.To, true
			}
		}
	}
	return at.Add(lag)
}

// belongs reports whether a value may be the object's when it is removed: it is since its birth that the operator wrote it, or that the hub held it while it
// was declared, which is enough for the operator to have found it equal. Another writer's that is the very next write after the hub was as it was while the
// value was declared looks like the operator's own: it may have tried to write that, and not know what became of it.
func (h *History) belongs(device string, leaf Leaf, w written, ours bool, removed time.Time) bool {
	p := h.of(device)
	since := p.bornBefore(removed.Add(-lag))
	if ours && !w.at.Before(since) {
		return true
	}
	if w.since.After(since) {
		since = w.since
	}
	return slices.ContainsFunc(p.declared[leaf], func(d declared) bool {
		return equal(d.value, w.value) && !d.From.After(removed) && (d.To.IsZero() || !h.heard(d.To).Before(since))
	})
}

// bornBefore is since when there was the object of a device that there was at a time.
func (p *past) bornBefore(at time.Time) (since time.Time) {
	for _, b := range p.born {
		if !b.After(at) {
			since = b
		}
	}
	return since
}

// asked counts the requests for rewrites that a write may be due to.
func (p *past) asked(seq uint64) int {
	count := 0
	for _, after := range p.resends {
		if after < seq {
			count++
		}
	}
	return count
}

func (p *past) everDeclared(leaf Leaf, value any) bool {
	return slices.ContainsFunc(p.declared[leaf], func(d declared) bool { return equal(d.value, value) })
}

// isMixed reports whether a value consists of a declared one and of what the hub held before: what comes of a patch that was
// made for another object than the hub holds.
func (p *past) isMixed(leaf Leaf, was, is any) bool {
	return slices.ContainsFunc(p.declared[leaf], func(d declared) bool { return mixes(was, d.value, is) })
}

// mixes reports whether each key of a value has what one of two others has.
func mixes(one, other, is any) bool {
	if equal(is, one) || equal(is, other) {
		return true
	}
	fields, isObject := is.(map[string]any)
	if !isObject {
		return false
	}
	first, _ := one.(map[string]any)
	second, _ := other.(map[string]any)
	for name, value := range fields {
		if !mixes(first[name], second[name], value) {
			return false
		}
	}
	return true
}

// Declared returns what a spec declares.
func Declared(spec *v1alpha1.PnPDeviceSpec) (map[Leaf]any, error) {
	leaves := map[Leaf]any{}
	components := append([]v1alpha1.ComponentDeclaration{{Properties: spec.Properties}}, spec.Components...)
	for _, c := range components {
		if c.Properties == nil {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal(c.Properties.Raw, &fields); err != nil {
			return nil, fmt.Errorf("decoding what component %q declares: %w", c.Name, err)
		}
		for name, value := range fields {
			leaves[Leaf{c.Name, name}] = value
		}
	}
	return leaves, nil
}

// equal compares decoded JSON. The plan's numbers are small: doubles hold them exactly.
func equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, equal)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	}
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}
