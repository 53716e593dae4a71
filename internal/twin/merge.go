package twin

import (
	"maps"
	"reflect"
)

// merged is held after a JSON merge patch (RFC 7396), which is how the hub writes: null removes a key, objects merge, and
// everything else replaces. Neither argument changes.
func merged(held, patch any) any {
	fields, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	into, _ := held.(map[string]any)
	next := make(map[string]any, len(into)+len(fields))
	maps.Copy(next, into)
	for key, value := range fields {
		if value == nil {
			delete(next, key)
			continue
		}
		next[key] = merged(next[key], value)
	}
	return next
}

// rewrites is true if the patch wrote every part of the value that came of it, leftovers aside.
func rewrites(patch, value any) bool {
	fields, ok := value.(map[string]any)
	if !ok {
		return true
	}
	from, _ := patch.(map[string]any)
	for key, inner := range fields {
		if written := from[key]; key != leftoverKey && (written == nil || !rewrites(written, inner)) {
			return false
		}
	}
	return true
}

// unknown stands for a value that nobody knows. It is no decoded JSON and never leaves this file's callers.
type unknown struct{}

// unknownKey cannot be in a twin: the hub refuses "$" in what users and devices write.
const unknownKey = "$unknown"

// possible are the values that v may stand for: itself, or for nil, which means that the value is not known, and for one that
// is Omitted, one scalar and one object. To a patch all scalars are alike, and so are all objects of which no field is known.
func possible(v any) []any {
	if _, omitted := v.(Omitted); v != nil && !omitted {
		return []any{v}
	}
	return []any{unknown{}, map[string]any{unknownKey: unknown{}}}
}

// mergedOntoAny merges a patch onto each of several values, and is false if it matters which one it was.
func mergedOntoAny(held []any, patch any) (any, bool) {
	next := merged(held[0], patch)
	for _, other := range held[1:] {
		if !reflect.DeepEqual(next, merged(other, patch)) {
			return nil, false
		}
	}
	return next, true
}
