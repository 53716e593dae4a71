package fleet

import (
	"slices"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Selector decides which devices are members, by what a read or an event shows of them. It is the
// one that decides: rows of queries are hints.
type Selector struct {
	modelID  string
	tests    []tagTest
	ids      map[string]bool // nil: any
	excluded map[string]bool
	// keys are those of tags that membership, batches or groups hang on, sorted.
	keys []string
}

// NewSelector reads a spec.
func NewSelector(spec *v1alpha1.DeviceFleetSpec) *Selector {
	s := &Selector{
		modelID: spec.Selector.ModelID, tests: testsOf(spec.Selector.MatchTags, spec.Selector.MatchExpressions),
		excluded: setOf(spec.Selector.Exclude),
	}
	if len(spec.Selector.DeviceIDs) > 0 {
		s.ids = setOf(spec.Selector.DeviceIDs)
	}
	for _, t := range s.tests {
		s.keys = append(s.keys, t.key)
	}
	for _, b := range spec.Rollout.Batches {
		for key := range b.MatchTags {
			s.keys = append(s.keys, key)
		}
	}
	if spec.Rollout.GroupBy != "" {
		s.keys = append(s.keys, spec.Rollout.GroupBy)
	}
	slices.Sort(s.keys)
	s.keys = slices.Compact(s.keys)
	return s
}

func setOf(texts []string) map[string]bool {
	set := make(map[string]bool, len(texts))
	for _, text := range texts {
		set[text] = true
	}
	return set
}

// Keys returns the tags that have to be known of a device, sorted.
func (s *Selector) Keys() []string { return s.keys }

// Matches reports whether a device is a member, by its whole tags and its announced model.
func (s *Selector) Matches(id, modelID string, tags map[string]any) bool {
	if s.excluded[id] || s.ids != nil && !s.ids[id] || s.modelID != "" && s.modelID != modelID {
		return false
	}
	for _, t := range s.tests {
		if !t.holds(scalarOf(TagAt(tags, t.key))) {
			return false
		}
	}
	return true
}

// matchesSet is Matches for what is known of a member.
func (s *Selector) matchesSet(id string, set *tagSet) bool {
	if s.excluded[id] || s.ids != nil && !s.ids[id] || s.modelID != "" && s.modelID != set.model {
		return false
	}
	for _, t := range s.tests {
		if !t.holds(s.tag(set, t.key)) {
			return false
		}
	}
	return true
}

// tag returns what a set has at a key, by scalarOf.
func (s *Selector) tag(set *tagSet, key string) string {
	if at, ok := slices.BinarySearch(s.keys, key); ok && set != nil && at < len(set.values) {
		return set.values[at]
	}
	return ""
}

// valuesOf returns the tags that count, in the order of keys.
func (s *Selector) valuesOf(tags map[string]any) []string {
	values := make([]string, len(s.keys))
	for i, key := range s.keys {
		values[i] = scalarOf(TagAt(tags, key))
	}
	return values
}

// Touches is what a change of tags means for a device.
type Touches int

const (
	// TouchesNothing means that no tag that counts was written.
	TouchesNothing Touches = iota
	// TouchesOut means that the device is certainly no member.
	TouchesOut
	// TouchesSome means that tags that count were written, and that a device which was a member
	// still is one. Of a device that was none, the other tags have to be read.
	TouchesSome
)

// Touched judges a change of tags, a merge patch, by its content alone: a tag that a patch does not
// carry has not changed.
func (s *Selector) Touched(patch map[string]any) Touches {
	verdict := TouchesNothing
	for _, key := range s.keys {
		value, isWritten := patchAt(patch, key)
		if !isWritten {
			continue
		}
		verdict = TouchesSome
		for _, t := range s.tests {
			if t.key == key && !t.holds(scalarOf(value)) {
				return TouchesOut
			}
		}
	}
	return verdict
}

// patchAt returns what a merge patch does at a key: an ancestor that is null, or no object, removes
// it.
func patchAt(patch map[string]any, key string) (value any, isWritten bool) {
	var at any = patch
	for {
		fields, isObject := at.(map[string]any)
		if !isObject {
			return nil, true
		}
		name, rest, isDeeper := cutKey(key)
		inner, ok := fields[name]
		if !ok {
			return nil, false
		}
		if !isDeeper {
			return inner, true
		}
		at, key = inner, rest
	}
}

// after returns the values of a set after a patch.
func (s *Selector) after(set *tagSet, patch map[string]any) []string {
	values := make([]string, len(s.keys))
	for i, key := range s.keys {
		values[i] = s.tag(set, key)
		if value, isWritten := patchAt(patch, key); isWritten {
			values[i] = scalarOf(value)
		}
	}
	return values
}

func sortedUnique(texts []string) []string {
	texts = slices.Clone(texts)
	slices.Sort(texts)
	return slices.Compact(texts)
}
