package twin_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// write is one PATCH of the service, with tags, desired properties or both, or one report of the device.
type write struct {
	tags, desired, reported object // nil: not written
	by                      string // the configuration that writes
	after                   time.Duration
}

// apply is what the hub does with a write. It returns the twin change event of it.
func (h *hub) apply(w write) event {
	e := event{write: w, before: h.clone()}
	h.now += w.after
	e.first = h.now
	h.by = w.by
	if w.tags != nil || w.desired != nil {
		h.counter++
	}
	if w.desired != nil {
		h.desiredVersion++
		h.touch(h.desiredMeta)
		merge(h.desired, h.desiredMeta, w.desired, h.touch)
	}
	if w.reported != nil {
		h.reportedVersion++
		h.touchReported(h.reportedMeta)
		merge(h.reported, h.reportedMeta, w.reported, h.touchReported)
	}
	e.after, e.version = h.clone(), h.version()
	e.desired = h.patchEvent(w.desired, h.desiredMeta, h.desiredVersion)
	e.reported = h.patchEvent(w.reported, h.reportedMeta, h.reportedVersion)
	return e
}

// patchEvent is a section of an event: the keys that were written, nulls included, with the metadata that they have now.
func (h *hub) patchEvent(patch, meta object, version int64) object {
	if patch == nil {
		return nil
	}
	fields := maps.Clone(patch)
	fields["$metadata"], fields["$version"] = cloneJSON(metadataOf(patch, meta)), json.Number(fmt.Sprint(version))
	return fields
}

func metadataOf(patch, meta object) object {
	some := object{}
	for key, v := range meta {
		_, isNode := v.(object)
		if _, written := patch[key]; written || !isNode {
			some[key] = v
		}
	}
	for key, v := range patch {
		inner, _ := v.(object)
		if node, ok := some[key].(object); ok {
			some[key] = metadataOf(inner, node)
		}
	}
	return some
}

// event is a twin change event on its way, with what the hub held before and after.
type event struct {
	write             write
	before, after     *hub
	version           int64
	desired, reported object
	first             time.Duration // when the first of its writes was
}

func (e event) body() []byte {
	root, properties := object{"version": json.Number(fmt.Sprint(e.version))}, object{}
	if e.write.tags != nil {
		root["tags"] = e.write.tags
	}
	if e.desired != nil {
		properties["desired"] = e.desired
	}
	if e.reported != nil {
		properties["reported"] = e.reported
	}
	if len(properties) > 0 {
		root["properties"] = properties
	}
	return twin.EncodeValue(root)
}

// coalesce is one event for two writes in quick succession: the keys of both, with the later versions and metadata. It is
// false for two writes that no patch can stand for, such as a removal and then an object in its place.
func coalesce(first, second event) (event, bool) {
	both := second
	both.before, both.first = first.before, first.first
	var ok [3]bool
	both.write.tags, ok[0] = overlay(first.write.tags, second.write.tags)
	both.write.desired, ok[1] = overlay(first.write.desired, second.write.desired)
	both.write.reported, ok[2] = overlay(first.write.reported, second.write.reported)
	h := second.after
	both.desired = h.patchEvent(both.write.desired, h.desiredMeta, h.desiredVersion)
	both.reported = h.patchEvent(both.write.reported, h.reportedMeta, h.reportedVersion)
	return both, ok == [3]bool{true, true, true}
}

// overlay is the patch that does what two do, one after the other.
func overlay(first, second object) (both object, ok bool) {
	if first == nil || second == nil {
		return orElse(first, second), true
	}
	both, ok = maps.Clone(first), true
	for key, v := range second {
		was, written := first[key]
		from, wasObject := was.(object)
		to, isObject := v.(object)
		inner := v
		if isObject && written {
			var okInner bool
			inner, okInner = overlay(from, to)
			ok = ok && wasObject && okInner
		}
		both[key] = inner
	}
	return both, ok
}

func orElse(a, b object) object {
	if a != nil {
		return a
	}
	return b
}

// writes are what back ends, configurations and devices may write to a twin.
func writes(h *hub) *rapid.Generator[write] {
	return rapid.Custom(func(t *rapid.T) write {
		w := write{after: time.Duration(rapid.IntRange(0, 2).Draw(t, "later")) * time.Second}
		kind := rapid.IntRange(0, 9).Draw(t, "kind")
		if kind == 0 || kind == 1 {
			w.tags = object{"floor": scalars.Draw(t, "tag")}
		}
		if kind > 0 && kind < 5 {
			w.desired = sectionPatch(t, h, values(2, true))
			w.by = rapid.SampledFrom([]string{"", "", "", "configuration-7", "configuration-8"}).Draw(t, "by")
		}
		if kind > 4 {
			w.reported = sectionPatch(t, h, reports(true))
		}
		return w
	})
}

// sectionPatch writes a few leaves, and now and then removes one, a field of one, or a component as a whole. A component
// that the hub knows may come without its marker.
func sectionPatch(t *rapid.T, h *hub, written *rapid.Generator[any]) object {
	patch := object{}
	some := rapid.MapOfN(leaves(true), withNulls(written), 0, 3).Draw(t, "written")
	for _, leaf := range slices.SortedFunc(maps.Keys(some), twin.CompareLeaves) {
		if leaf.Component == "" {
			patch[leaf.Name] = some[leaf]
			continue
		}
		inner, ok := patch[leaf.Component].(object)
		if !ok {
			inner = object{"__t": "c"}
			if h.isComponent(leaf.Component) && rapid.Bool().Draw(t, "unmarked") {
				inner = object{}
			}
			patch[leaf.Component] = inner
		}
		inner[leaf.Name] = some[leaf]
	}
	if rapid.IntRange(0, 31).Draw(t, "component goes") == 0 {
		patch[rapid.SampledFrom(componentNames[2:]).Draw(t, "component")] = nil
	}
	return patch
}

// withNulls are values, removals, and patches of what is there: of an object some fields, of an envelope some parts.
func withNulls(written *rapid.Generator[any]) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		switch rapid.IntRange(0, 7).Draw(t, "patch") {
		case 0, 1:
			return nil
		case 2:
			return object{"value": scalars.Draw(t, "value")}
		case 3:
			return object{"ac": json.Number("200"), "av": json.Number("3"), "value": values(1, true).Draw(t, "value")}
		case 4:
			return object{rapid.SampledFrom([]string{"value", "ac", "av", "ad", "a", "b"}).Draw(t, "part"): nil}
		}
		v := cloneJSON(written.Draw(t, "v"))
		if fields, ok := v.(object); ok {
			fields[rapid.SampledFrom(propertyNames).Draw(t, "removed")] = nil
		}
		return v
	})
}
