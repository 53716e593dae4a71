package oracle

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// twin is a device twin as the hub shows it.
type twin struct {
	ETag            string `json:"etag"`
	DeviceETag      string `json:"deviceEtag"`
	ModelID         string `json:"modelId"`
	Version         int64  `json:"version"`
	ConnectionState string `json:"connectionState"`
	Properties      struct{ Desired, Reported map[string]any }
}

func parseTwin(data json.RawMessage) (*twin, error) {
	var t twin
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, fmt.Errorf("decoding a twin: %w", err)
	}
	return &t, nil
}

// version of a section.
func version(section map[string]any) int64 {
	n, _ := section["$version"].(float64)
	return int64(n)
}

// leaves of both sections. What one side marks as a component is one on the other, too.
func (t *twin) leaves() (desired, reported map[Leaf]any) {
	components := map[string]bool{}
	for _, section := range []map[string]any{t.Properties.Desired, t.Properties.Reported} {
		for name, value := range section {
			components[name] = components[name] || isComponent(value)
		}
	}
	return leavesIn(t.Properties.Desired, components), leavesIn(t.Properties.Reported, components)
}

func leavesIn(section map[string]any, components map[string]bool) map[Leaf]any {
	leaves := map[Leaf]any{}
	for name, value := range section {
		fields, isObject := value.(map[string]any)
		if strings.HasPrefix(name, "$") {
			continue
		}
		if !isObject || !components[name] {
			leaves[Leaf{"", name}] = value
			continue
		}
		for inner, value := range fields {
			if inner != "__t" {
				leaves[Leaf{name, inner}] = value
			}
		}
	}
	return leaves
}

// stamp returns the newest version that wrote a desired property or a part of it, and a configuration that did.
func (t *twin) stamp(leaf Leaf) (version int64, by string) {
	return newest(metadataOf(t.Properties.Desired, leaf))
}

func metadataOf(section map[string]any, leaf Leaf) map[string]any {
	metadata, _ := section["$metadata"].(map[string]any)
	if leaf.Component != "" {
		metadata, _ = metadata[leaf.Component].(map[string]any)
	}
	at, _ := metadata[leaf.Name].(map[string]any)
	return at
}

func newest(metadata map[string]any) (version int64, by string) {
	for name, value := range metadata {
		switch v := value.(type) {
		case float64:
			if name == "$lastUpdatedVersion" {
				version = max(version, int64(v))
			}
		case string:
			if name == "$lastUpdatedBy" {
				by = v
			}
		case map[string]any:
			inner, who := newest(v)
			version = max(version, inner)
			if who != "" {
				by = who
			}
		}
	}
	return version, by
}

// answer is a reported property, taken out of its envelope if it is in one.
type answer struct {
	value    any
	acks     bool // with an integer code and version
	code     int64
	version  int64
	describe string
}

func answerOf(reported any) answer {
	fields, ok := reported.(map[string]any)
	_, hasCode := fields["ac"]
	_, hasVersion := fields["av"]
	value, hasValue := fields["value"]
	if !ok || !hasValue || !hasCode && !hasVersion {
		return answer{value: reported}
	}
	code, okCode := fields["ac"].(float64)
	av, okVersion := fields["av"].(float64)
	if !okCode || !okVersion {
		return answer{value: value}
	}
	text, _ := fields["ad"].(string)
	return answer{value: value, acks: true, code: int64(code), version: int64(av), describe: text}
}

// holds reports whether a device that reports the value has the declared one, as far as it says: in single precision, and with fields left out.
func holds(declared, reported any) bool {
	switch reported := reported.(type) {
	case float64:
		n, ok := declared.(float64)
		return ok && float32(n) == float32(reported)
	case map[string]any:
		fields, ok := declared.(map[string]any)
		if !ok {
			return false
		}
		for name, value := range reported {
			if want, has := fields[name]; !has || !holds(want, value) {
				return false
			}
		}
		return true
	}
	return equal(declared, reported)
}

// without is an answer without what its metadata shows to be older: the hub merges reports, and keeps keys of earlier ones.
func (a answer) without(metadata map[string]any) answer {
	at := updated(metadata["ac"])
	if !a.acks || at.IsZero() || !updated(metadata["av"]).Equal(at) {
		return a
	}
	if told := updated(metadata["ad"]); told.Before(at) {
		a.describe = ""
	}
	if updated(metadata["value"]).Equal(at) {
		a.value = keep(a.value, metadata["value"], func(node any) bool {
			when := updated(node)
			return when.IsZero() || !when.Before(at)
		})
	}
	return a
}

// told is what the event of an answer told of it, where the hub's clock was set back before: what is
// left over from earlier reports has later times than the answer then. isOdd is true if there is any.
// A read cannot tell that apart, so both may be in status.
func (a answer) told(metadata map[string]any) (of answer, isOdd bool) {
	at := updated(metadata["ac"])
	if !a.acks || at.IsZero() || !updated(metadata["av"]).Equal(at) || !updated(metadata["value"]).After(at) {
		return a, false
	}
	a.value = keep(a.value, metadata["value"], func(node any) bool { return hasTime(node, at) })
	return a, true
}

// keep returns a value without the keys, at any depth, whose nodes of metadata are not to be kept.
func keep(value, metadata any, isKept func(node any) bool) any {
	fields, isObject := value.(map[string]any)
	nodes, _ := metadata.(map[string]any)
	if !isObject {
		return value
	}
	kept := map[string]any{}
	for name, inner := range fields {
		if isKept(nodes[name]) {
			kept[name] = keep(inner, nodes[name], isKept)
		}
	}
	return kept
}

// hasTime reports whether a node of metadata, or one below it, was updated at a time.
func hasTime(node any, at time.Time) bool {
	fields, _ := node.(map[string]any)
	for name, value := range fields {
		if text, isText := value.(string); isText && name == "$lastUpdated" {
			if when, err := time.Parse(time.RFC3339Nano, text); err == nil && when.Equal(at) {
				return true
			}
		} else if !isText && hasTime(value, at) {
			return true
		}
	}
	return false
}

// updated is the newest time of a node of metadata and of all below it, zero if there is none.
func updated(node any) (at time.Time) {
	fields, _ := node.(map[string]any)
	for name, value := range fields {
		var when time.Time
		if text, isText := value.(string); isText && name == "$lastUpdated" {
			when, _ = time.Parse(time.RFC3339Nano, text)
		} else if !isText {
			when = updated(value)
		}
		if when.After(at) {
			at = when
		}
	}
	return at
}
