package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// History is what was declared, and asked for, in the course of a run. It is safe for concurrent use. What may have reached the API server is in it.
type History struct {
	mu            sync.Mutex
	devices       map[string]*past
	interruptions []interruption
}

// interruption is when the operator was killed or stopped, in sequence numbers of the journal.
type interruption struct{ from, to uint64 }

// past is the history of one device.
type past struct {
	declared map[Leaf][]any // values that an object ever declared
	now      *v1alpha1.PnPDeviceSpec
	resends  []uint64 // the newest change of the journal when values were asked to be written once more
	// recorded is what status said of properties that the object owned, by the desired version that had set them.
	recorded map[Leaf]map[int64]any
	// excused leaves may stay at the hub although nobody declares them any more: their object was deleted without clearing, or only observed.
	excused map[Leaf]bool
}

// NewHistory returns an empty one.
func NewHistory() *History { return &History{devices: map[string]*past{}} }

func (h *History) of(device string) *past {
	p, ok := h.devices[device]
	if !ok {
		p = &past{declared: map[Leaf][]any{}, recorded: map[Leaf]map[int64]any{}, excused: map[Leaf]bool{}}
		h.devices[device] = p
	}
	return p
}

// Declare notes a declaration that is about to be applied.
func (h *History) Declare(device string, spec *v1alpha1.PnPDeviceSpec) error {
	leaves, err := Declared(spec)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.of(device)
	for leaf, value := range leaves {
		p.declared[leaf] = append(p.declared[leaf], value)
	}
	if spec.Management == v1alpha1.ManagementObserve {
		p.excuse()
	}
	p.now = spec
	return nil
}

// Delete notes that the object of a device is about to be deleted.
func (h *History) Delete(device string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.of(device)
	if p.now != nil && (p.now.DeletionPolicy != v1alpha1.DeletionClear || p.now.Suspend) {
		p.excuse()
	}
	p.now = nil
}

// Excuse notes that nothing of a device's object has to leave the hub: what it had to be cleared with may have failed for good.
func (h *History) Excuse(device string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of(device).excuse()
}

// Resend notes that each value may be written once more, after a change of the journal.
func (h *History) Resend(device string, after uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.of(device)
	p.resends = append(p.resends, after)
}

// Record notes what status says that the object wrote: the operator has not forgotten that. A property that is Drifted holds someone else's value.
func (h *History) Record(object *v1alpha1.PnPDevice) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.of(object.DeviceID())
	for leaf, shown := range shownBy(&object.Status) {
		if !shown.Owned || shown.State == "Drifted" || shown.DesiredVersion == 0 {
			continue
		}
		if p.recorded[leaf] == nil {
			p.recorded[leaf] = map[int64]any{}
		}
		p.recorded[leaf][shown.DesiredVersion] = decoded(shown.Desired)
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
	value, recorded := h.of(device).recorded[leaf][w.version]
	return h.interrupted(w.seq) && (!recorded || !equal(value, w.value))
}

func (p *past) excuse() {
	for leaf := range p.declared {
		p.excused[leaf] = true
	}
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
	return slices.ContainsFunc(p.declared[leaf], func(v any) bool { return equal(v, value) })
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
