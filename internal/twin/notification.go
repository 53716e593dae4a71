package twin

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Notification is the body of a twin change event (schema twinChangeNotification, opType updateTwin): the keys that one
// write, or several in quick succession, sent to the hub, with the metadata that they have now.
type Notification struct {
	// Version is the twin's after the change, 0 if the event does not say.
	Version int64
	// Tags: tags were written.
	Tags bool
	// Desired and Reported are nil where the section was not written.
	Desired, Reported *Patch
}

// Patch is what was written to one section: a JSON merge patch, so null removes.
type Patch struct {
	// Version is $version of the section after the write, 0 if the event does not say.
	Version int64
	// LastUpdated is the hub's time of the write, zero if the event does not say.
	LastUpdated time.Time

	section section
}

// ParseNotification reads the body of a twin change event whose opType is updateTwin. What is missing is empty, what is
// unknown is ignored: "Non-telemetry event schemas" shows the layout, and hubs were seen to leave out metadata. No error
// repeats the body.
func ParseNotification(body []byte) (*Notification, error) {
	var root map[string]any
	if err := decode(body, &root); err != nil {
		return nil, fmt.Errorf("decode twin change: %w", err)
	}
	n, err := newNotification(root)
	if err != nil {
		return nil, fmt.Errorf("decode twin change: %w", err)
	}
	return n, nil
}

func newNotification(root map[string]any) (*Notification, error) {
	v, err := version(root, "version")
	if err != nil {
		return nil, err
	}
	tags, err := object(root, "tags")
	if err != nil {
		return nil, err
	}
	properties, err := object(root, "properties")
	if err != nil {
		return nil, err
	}
	n := &Notification{Version: v, Tags: tags != nil}
	if n.Desired, err = newPatch(properties, "desired"); err != nil {
		return nil, err
	}
	n.Reported, err = newPatch(properties, "reported")
	return n, err
}

// newPatch is nil for a section that was not written.
func newPatch(properties map[string]any, name string) (*Patch, error) {
	fields, err := object(properties, name)
	if fields == nil || err != nil {
		return nil, err
	}
	s, err := newSection(fields)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &Patch{Version: s.version, LastUpdated: s.updated(), section: s}, nil
}

// isComplete is false for a patch that lacks what contiguity is judged by.
func (p *Patch) isComplete() bool { return p.Version > 0 && p.section.metadata != nil }

// patches are those of the sections that were written.
func (n *Notification) patches() []*Patch {
	return slices.DeleteFunc([]*Patch{n.Desired, n.Reported}, func(p *Patch) bool { return p == nil })
}

// Leaves are the leaves that the notification writes or removes, sorted. t is the twin before the change: its components
// tell a component from an object-valued property, and where a component goes as a whole, its leaves are those that t
// holds. Fold leaves out what a partial twin does not hold, so a caller who cares for such leaves has to look here.
func (n *Notification) Leaves(t *Twin) []Leaf {
	components := copyOf(t.Components)
	for _, p := range n.patches() {
		p.section.markComponents(components)
	}
	written := map[Leaf]bool{}
	for _, p := range n.patches() {
		for _, w := range p.writes(components) {
			switch whole := w.leaf.Component == "" && components[w.leaf.Name]; {
			case !whole:
				written[w.leaf] = true
			case !w.displaces:
				t.addLeavesOf(w.leaf.Name, written)
			}
		}
	}
	return slices.SortedFunc(maps.Keys(written), CompareLeaves)
}

func (t *Twin) addLeavesOf(component string, into map[Leaf]bool) {
	for leaf := range t.Properties {
		if leaf.Component == component {
			into[leaf] = true
		}
	}
}

// leafWrite is what a patch does to one leaf.
type leafWrite struct {
	leaf  Leaf
	value any // nil removes
	meta  metadataPath
	// displaces: what goes is a plain value under the name of a component, if there is one, and the component takes its place.
	displaces bool
}

// writes are what a patch does to leaves: nothing if it is nil. Unlike section.eachLeaf they include nulls.
func (p *Patch) writes(components map[string]bool) []leafWrite {
	if p == nil {
		return nil
	}
	var all []leafWrite
	for _, name := range p.names() {
		value, meta := p.section.fields[name], metadataPath{p.section.metadata, p.section.metadata[name]}
		fields, isObject := value.(map[string]any)
		if !isObject || !components[name] {
			all = append(all, leafWrite{leaf: Leaf{Name: name}, value: value, meta: meta})
			continue
		}
		all = append(all, leafWrite{leaf: Leaf{Name: name}, displaces: true})
		inner, _ := p.section.metadata[name].(map[string]any)
		for _, key := range leafNames(fields) {
			all = append(all, leafWrite{leaf: Leaf{Component: name, Name: key}, value: fields[key], meta: append(meta[:2:2], inner[key])})
		}
	}
	return all
}

// names are the properties and components that a patch writes.
func (p *Patch) names() []string { return leafNames(p.section.fields) }

// leafNames are sorted: no outcome may depend on the order of a map.
func leafNames(fields map[string]any) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(fields)), func(name string) bool { return !isLeafName(name) })
}
