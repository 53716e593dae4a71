package hub

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// stamp is when, at which section version and by whom a property was written. One write shares one stamp.
type stamp struct {
	at      time.Time
	version int64  // 0 in reported, and in a section that nobody has written yet
	by      string // name of the configuration that wrote it, if one did
}

// node is one value of tags, desired or reported with its metadata. Nodes are immutable: a write copies the path that
// it changes, so a reader never needs a lock.
type node struct {
	stamp  *stamp
	object bool
	fields []field // of an object
	value  any     // of anything else; arrays are values
}

type field struct {
	name string
	node *node
}

// empty is a section that holds nothing.
func empty(s *stamp) *node { return &node{stamp: s, object: true} }

// plant makes nodes of a JSON value. Nulls inside objects mean "absent" and are dropped.
func plant(v any, s *stamp) *node {
	o, ok := v.(jsontree.Object)
	if !ok {
		return &node{stamp: s, value: v}
	}
	n := empty(s)
	for _, m := range o {
		if m.Value != nil {
			n.fields = append(n.fields, field{m.Name, plant(m.Value, s)})
		}
	}
	return n
}

// merge applies a patch as the hub does ("Understand and use device twins"): null removes, objects merge, everything else
// replaces, and a value sent unchanged is stamped all the same.
func (n *node) merge(patch jsontree.Object, s *stamp) *node {
	next := &node{stamp: s, object: true, fields: append(make([]field, 0, len(n.fields)+len(patch)), n.fields...)}
	for _, m := range patch {
		if m.Value == nil {
			next.drop(m.Name)
			continue
		}
		next.put(m.Name, n.child(m.Name).merged(m.Value, s))
	}
	return next
}

// merged returns what becomes of n, which may be nil, when v is written to it.
func (n *node) merged(v any, s *stamp) *node {
	if o, ok := v.(jsontree.Object); ok && n != nil && n.object {
		return n.merge(o, s)
	}
	return plant(v, s)
}

// holds reports whether merging a patch would change nothing.
func (n *node) holds(patch jsontree.Object) bool {
	for _, m := range patch {
		child := n.child(m.Name)
		inner, isObject := m.Value.(jsontree.Object)
		switch {
		case m.Value == nil:
			if child != nil {
				return false
			}
		case child == nil || child.object != isObject:
			return false
		case isObject:
			if !child.holds(inner) {
				return false
			}
		case !bytes.Equal(jsontree.Append(nil, child.value), jsontree.Append(nil, m.Value)):
			return false
		}
	}
	return true
}

// put and drop are for a node that is still being built.
func (n *node) put(name string, child *node) {
	for i := range n.fields {
		if n.fields[i].name == name {
			n.fields[i].node = child
			return
		}
	}
	n.fields = append(n.fields, field{name, child})
}

func (n *node) drop(name string) {
	for i := range n.fields {
		if n.fields[i].name == name {
			n.fields = append(n.fields[:i], n.fields[i+1:]...)
			return
		}
	}
}

// child returns the named field of an object, or nil.
func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	for i := range n.fields {
		if n.fields[i].name == name {
			return n.fields[i].node
		}
	}
	return nil
}

// json returns the plain value without metadata.
func (n *node) json() any {
	if !n.object {
		return n.value
	}
	o := make(jsontree.Object, 0, len(n.fields)+2)
	for _, f := range n.fields {
		o = append(o, jsontree.Member{Name: f.name, Value: f.node.json()})
	}
	return o
}

// metadata mirrors the structure of an object: one object per property, nested.
func (n *node) metadata() jsontree.Object {
	o := n.stamp.metadata(!n.object)
	for _, f := range n.fields {
		o = append(o, jsontree.Member{Name: f.name, Value: f.node.metadata()})
	}
	return o
}

// metadataOf is metadata restricted to the keys of a patch, as change notifications carry it.
func (n *node) metadataOf(patch jsontree.Object) jsontree.Object {
	o := n.stamp.metadata(!n.object)
	for _, m := range patch {
		child := n.child(m.Name)
		if child == nil {
			continue
		}
		inner, _ := m.Value.(jsontree.Object)
		o = append(o, jsontree.Member{Name: m.Name, Value: child.metadataOf(inner)})
	}
	return o
}

func (s *stamp) metadata(leaf bool) jsontree.Object {
	o := jsontree.Object{{Name: "$lastUpdated", Value: twinTime(s.at)}}
	if s.version > 0 {
		o = append(o, jsontree.Member{Name: "$lastUpdatedVersion", Value: s.version})
	}
	if leaf && s.by != "" {
		o = append(o,
			jsontree.Member{Name: "$lastUpdatedBy", Value: s.by},
			jsontree.Member{Name: "$lastUpdatedByDigest", Value: digest(s.by)})
	}
	return o
}

// replacement is the patch that turns n into exactly want: what n has and want lacks is null.
func (n *node) replacement(want jsontree.Object) jsontree.Object {
	patch := make(jsontree.Object, 0, len(want))
	for _, m := range want {
		if m.Value != nil {
			patch = append(patch, jsontree.Member{Name: m.Name, Value: n.child(m.Name).replacementValue(m.Value)})
		}
	}
	for _, f := range n.fields {
		if v, _ := want.Get(f.name); v == nil {
			patch = append(patch, jsontree.Member{Name: f.name, Value: nil})
		}
	}
	return patch
}

func (n *node) replacementValue(want any) any {
	if o, ok := want.(jsontree.Object); ok && n != nil && n.object {
		return n.replacement(o)
	}
	return want
}

// overlay combines two patches of n, applied one after the other, into one that does the same, keeping nulls.
func (n *node) overlay(first, second jsontree.Object) jsontree.Object {
	out := first
	for _, m := range second {
		was, written := first.Get(m.Name)
		out = out.With(m.Name, n.child(m.Name).overlayValue(was, written, m.Value))
	}
	return out
}

func (n *node) overlayValue(was any, written bool, v any) any {
	after, isObject := v.(jsontree.Object)
	if !written || !isObject {
		return v
	}
	if before, ok := was.(jsontree.Object); ok {
		return n.overlay(before, after)
	}
	return n.replacementValue(after) // what n had was removed or replaced in between: merging must not bring it back
}

// size counts bytes as "Understand and use device twins" (Device twin size) does.
func (n *node) size() int {
	if !n.object {
		return sizeOf(n.value)
	}
	total := 0
	for _, f := range n.fields {
		total += len(f.name) + f.node.size()
	}
	return total
}

func sizeOf(v any) int {
	total := 0
	switch v := v.(type) {
	case json.Number:
		return 8
	case bool:
		return 4
	case string:
		return sizeOfString(v)
	case []any:
		for _, e := range v {
			total += sizeOf(e)
		}
	case jsontree.Object:
		for _, m := range v {
			total += len(m.Name) + sizeOf(m.Value)
		}
	}
	return total
}
