package twin

import (
	"maps"
	"slices"
	"time"
)

// metadataPath is the chain of $metadata nodes from a section's root to a leaf, which mirrors the section's structure. Nodes may
// be missing: the hub keeps none for the inner keys of an object that replaced a scalar.
type metadataPath []any

// own is the leaf's node.
func (m metadataPath) own() any { return m[len(m)-1] }

// version is the desired $version that last set any part of the leaf: the highest in its subtree, else that of the nearest
// ancestor that has one, else 0.
func (m metadataPath) version() int64 {
	if v := highestVersion(m.own()); v > 0 {
		return v
	}
	for _, node := range slices.Backward(m) {
		if v := ownVersion(node); v > 0 {
			return v
		}
	}
	return 0
}

func ownVersion(node any) int64 {
	fields, _ := node.(map[string]any)
	v, _ := integer(fields[setByVersionKey])
	return v
}

func highestVersion(node any) int64 {
	highest := ownVersion(node)
	for child := range children(node) {
		highest = max(highest, highestVersion(child))
	}
	return highest
}

// newestUpdate is the newest time of a node and of all below it, false if the hub does not say any.
func newestUpdate(node any) (newest time.Time, known bool) {
	fields, _ := node.(map[string]any)
	newest, known = instant(fields[lastUpdatedKey])
	for child := range children(node) {
		if at, ok := newestUpdate(child); ok && (!known || at.After(newest)) {
			newest, known = at, true
		}
	}
	return newest, known
}

// configurationIn is the configuration that wrote the node, else the first in key order that wrote something below it.
func configurationIn(node any) string {
	fields, _ := node.(map[string]any)
	if by, ok := fields[configurationKey].(string); ok {
		return by
	}
	for child := range children(node) {
		if by := configurationIn(child); by != "" {
			return by
		}
	}
	return ""
}

// children are the nodes below a node, in key order.
func children(node any) func(yield func(any) bool) {
	switch node := node.(type) {
	case []any:
		return slices.Values(node)
	case map[string]any:
		return func(yield func(any) bool) {
			for _, key := range slices.Sorted(maps.Keys(node)) {
				if !yield(node[key]) {
					return
				}
			}
		}
	}
	return func(func(any) bool) {}
}
