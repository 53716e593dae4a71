package controllers_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// judge knows of every value at a hub who wrote it: it hears of each write in the moment in which
// it happens. What comes over the service API is the operator's, all else another writer's.
type judge struct {
	mu       sync.Mutex
	cases    map[string]*judged
	findings []finding
}

type finding struct{ id, text string }

// judged is one device.
type judged struct {
	held map[twin.Leaf]authored
	// declared are the values that the object declares now, two of them while an edit is on its
	// way; ever are all that it did.
	declared, ever map[twin.Leaf][]any
	// tried are the values that a write of the operator may have had, with the versions that it
	// would have made. mayTake is true where nobody can tell such a write from another writer's
	// of the same value and version.
	tried   []authored
	version int64
	mayTake bool
	// states are what was held in each state of the twin, for a hub that goes back to one.
	states  map[*simulator.Twin]map[twin.Leaf]authored
	history []string
}

// authored is a value at the hub with what is known of its author.
type authored struct {
	value any
	// ours is true if the operator wrote it last.
	ours bool
	// wasEqual is true of another writer's value that was equal to the declaration for a moment:
	// the operator may have adopted it.
	wasEqual bool
	// version is the desired version that the value was written with.
	version int64
	// isRestored is true of a value that a failover brought back: docs say that it is nobody's
	// but if it is declared.
	isRestored bool
}

// judging has a judge listen to a hub until the returned function is called.
func judging(h *simulator.Hub) (j *judge, end func()) {
	j = &judge{cases: map[string]*judged{}}
	return j, h.Subscribe(j.hear)
}

func (j *judge) of(id string) *judged {
	c, ok := j.cases[id]
	if !ok {
		c = &judged{
			held: map[twin.Leaf]authored{}, declared: map[twin.Leaf][]any{}, ever: map[twin.Leaf][]any{},
			states: map[*simulator.Twin]map[twin.Leaf]authored{},
		}
		j.cases[id] = c
	}
	return c
}

// declares is called before the object of a device is edited. The returned function is called
// once the edit is made.
func (j *judge) declares(id string, d map[twin.Leaf]any) (made func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.of(id)
	c.notef("declares %s", leavesText(d))
	for leaf, value := range d {
		c.declared[leaf] = append(c.declared[leaf], value)
		c.ever[leaf] = append(c.ever[leaf], value)
	}
	c.compare()
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		c.declared = map[twin.Leaf][]any{}
		for leaf, value := range d {
			c.declared[leaf] = []any{value}
		}
	}
}

// notef adds to the history that a finding shows.
func (j *judge) notef(id, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.of(id).notef(format, args...)
}

func (c *judged) notef(format string, args ...any) {
	c.history = append(c.history, fmt.Sprintf(format, args...))
}

// compare marks what may be adopted now, and notes what may be written.
func (c *judged) compare() {
	for _, values := range c.declared {
		for _, v := range values {
			c.tried = append(c.tried, authored{value: v, version: c.version + 1})
		}
	}
	for leaf, h := range c.held {
		if !h.wasEqual && slices.ContainsFunc(c.declared[leaf], func(v any) bool { return twin.Equal(v, h.value) }) {
			h.wasEqual = true
			c.held[leaf] = h
		}
	}
}

// hear takes one change of a device that was noted before.
func (j *judge) hear(change hub.Change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c, ok := j.cases[change.DeviceID]
	if !ok {
		return // not judged
	}
	switch change.Kind {
	case hub.Created, hub.Deleted:
		c.notef("%s at the hub", change.Kind)
		c.held, c.version = map[twin.Leaf]authored{}, 1
	case hub.Rewound:
		c.notef("the hub fails over to %s", desiredText(change.After))
		c.held = map[twin.Leaf]authored{}
		c.version = change.After.DesiredVersion()
		for leaf, h := range c.states[change.After] {
			h.isRestored = true
			c.held[leaf] = h
		}
	default:
		if change.Desired != nil {
			j.written(change, c)
		}
	}
	c.compare()
	if change.After != nil {
		c.states[change.After] = maps.Clone(c.held)
	}
}

func (j *judge) written(change hub.Change, c *judged) {
	author := "another writer"
	if change.Service {
		author = "the operator"
	}
	c.notef("%s writes %s, version %d", author, jsontree.Append(nil, change.Desired), change.After.DesiredVersion())
	c.version = change.After.DesiredVersion()
	before, after := leavesOf(change.Before.Desired()), leavesOf(change.After.Desired())
	for leaf := range before {
		if _, stays := after[leaf]; stays {
			continue
		}
		if h := c.held[leaf]; change.Service && !h.ours && !h.wasEqual && (!c.mayTake || !c.mayHaveTried(h)) {
			j.findf(change.DeviceID, "the operator removes %s, %v, which another writer wrote", leaf, h.value)
		}
		delete(c.held, leaf)
	}
	for leaf, sent := range sentBy(change) {
		value, ok := after[leaf]
		if !ok {
			continue
		}
		c.held[leaf] = authored{value: value, ours: change.Service, version: c.version}
		// Of an object, the hub keeps inner keys that the operator has not seen.
		wasDeclared := slices.ContainsFunc(c.ever[leaf], func(v any) bool { return twin.Equal(v, value) || twin.Equal(v, sent) })
		if change.Service && !wasDeclared {
			j.findf(change.DeviceID, "the operator writes %v to %s, which was never declared", value, leaf)
		}
	}
}

func (c *judged) mayHaveTried(h authored) bool {
	return slices.ContainsFunc(c.tried, func(t authored) bool { return t.version == h.version && twin.Equal(t.value, h.value) })
}

// indulge has the judge let pass what nobody can tell.
func (j *judge) indulge(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.of(id).mayTake = true
}

// findf notes what must not be. The caller holds the lock.
func (j *judge) findf(id, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c := j.of(id)
	c.notef("*** %s", text)
	j.findings = append(j.findings, finding{id, text})
}

// expectNothingLeft finds values of the operator under names that are not declared any more.
func (j *judge) expectNothingLeft(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.of(id)
	for leaf, h := range c.held {
		if _, declared := c.declared[leaf]; !declared && h.ours && !h.isRestored {
			j.findf(id, "the operator left %s, %v, behind", leaf, h.value)
		}
	}
}

// expectHeld finds declared values that the hub does not hold.
func (j *judge) expectHeld(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.of(id)
	for leaf, values := range c.declared {
		if h, ok := c.held[leaf]; !ok || !twin.Equal(h.value, values[len(values)-1]) {
			j.findf(id, "the hub holds %v for %s, declared is %v", h.value, leaf, values)
		}
	}
}

func (j *judge) foundf(id, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.findf(id, format, args...)
}

// verdict is all that was found, and the history of the first few devices; "" if that is nothing.
func (j *judge) verdict() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list, histories strings.Builder
	shown := map[string]bool{}
	for _, f := range j.findings {
		history := j.of(f.id).history
		fmt.Fprintf(&list, "%s: %s: %s\n", f.id, history[0], f.text)
		if len(shown) < 8 && !shown[f.id] {
			shown[f.id] = true
			fmt.Fprintf(&histories, "\n%s\n  %s\n", f.id, strings.Join(history, "\n  "))
		}
	}
	return list.String() + histories.String()
}

// sentBy are the leaves that a write names, with the values that it has for them.
func sentBy(change hub.Change) map[twin.Leaf]any {
	components := map[string]bool{}
	for _, t := range []*simulator.Twin{change.Before, change.After} {
		for leaf := range leavesOf(t.Desired()) {
			components[leaf.Component] = true
		}
	}
	leaves := map[twin.Leaf]any{}
	for _, member := range change.Desired {
		inner, isObject := member.Value.(jsontree.Object)
		if !components[member.Name] || !isObject {
			leaves[twin.Leaf{Name: member.Name}] = withoutNulls(plainValue(member.Value))
			continue
		}
		for _, m := range inner {
			leaves[twin.Leaf{Component: member.Name, Name: m.Name}] = withoutNulls(plainValue(m.Value))
		}
	}
	return leaves
}

func withoutNulls(v any) any {
	fields, ok := v.(map[string]any)
	if !ok {
		return v
	}
	kept := map[string]any{}
	for name, value := range fields {
		if value != nil {
			kept[name] = withoutNulls(value)
		}
	}
	return kept
}

// leavesOf takes desired properties apart into what is owned by itself.
func leavesOf(desired jsontree.Object) map[twin.Leaf]any {
	leaves := map[twin.Leaf]any{}
	for _, member := range desired {
		inner, _ := member.Value.(jsontree.Object)
		if marker, _ := inner.Get("__t"); marker != "c" {
			leaves[twin.Leaf{Name: member.Name}] = plainValue(member.Value)
			continue
		}
		for _, m := range inner.Without("__t") {
			leaves[twin.Leaf{Component: member.Name, Name: m.Name}] = plainValue(m.Value)
		}
	}
	return leaves
}

// plainValue is a value as package twin compares it.
func plainValue(v any) any { return decoded(string(jsontree.Append(nil, v))) }

func decoded(text string) any {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(err)
	}
	return v
}

func desiredText(t *simulator.Twin) string { return string(jsontree.Append(nil, t.Desired())) }

func leavesText(d map[twin.Leaf]any) string {
	var parts []string
	for _, leaf := range slices.SortedFunc(maps.Keys(d), twin.CompareLeaves) {
		parts = append(parts, fmt.Sprintf("%s: %s", leaf, twin.EncodeValue(d[leaf])))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
