package twin_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Few names, so that hub, declaration and claims meet often. "both" is a property here and a component there.
var (
	propertyNames  = []string{"a", "b", "both", "Target_1"}
	componentNames = []string{"", "", "thermostat1", "thermostat2", "both", "bare"}
	oddNames       = []string{"odd-name", "1st", "a/b", "til~de", "_x"}
	reportedAt     = []string{"2026-11-22T09:00:00.1Z", "2026-11-22T09:30:00Z", "0001-01-01T00:00:00Z"}
)

// scalars have few values, so that equal ones meet, in several spellings.
var scalars = rapid.SampledFrom([]any{
	json.Number("1"), json.Number("1.0"), json.Number("42"), json.Number("4.2e1"), json.Number("-0.5"), json.Number("21.8"),
	"", "on", "Ж<&>", true, false,
})

// values are what a twin takes. anything adds arrays and names that no model could have.
func values(depth int, anything bool) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kind := rapid.IntRange(0, 9).Draw(t, "kind")
		switch {
		case depth > 0 && kind > 6:
			return rapid.MapOfN(names(anything), values(depth-1, anything), 0, 3).Draw(t, "fields")
		case depth > 0 && kind == 6 && anything:
			return rapid.SliceOfN(values(depth-1, anything), 0, 3).Draw(t, "items")
		}
		return scalars.Draw(t, "scalar")
	})
}

func names(anything bool) *rapid.Generator[string] {
	if anything {
		return rapid.SampledFrom(slices.Concat(propertyNames, propertyNames, oddNames))
	}
	return rapid.SampledFrom(propertyNames)
}

func leaves(anything bool) *rapid.Generator[twin.Leaf] {
	return rapid.Custom(func(t *rapid.T) twin.Leaf {
		return twin.Leaf{
			Component: rapid.SampledFrom(componentNames).Draw(t, "component"),
			Name:      names(anything).Draw(t, "name"),
		}
	})
}

// hubs are twins as devices, configurations and other back ends left them.
func hubs(anything bool) *rapid.Generator[*hub] {
	return rapid.Custom(func(t *rapid.T) *hub {
		h := &hub{
			desiredVersion:  rapid.Int64Range(1, 9).Draw(t, "desiredVersion"),
			reportedVersion: rapid.Int64Range(1, 9).Draw(t, "reportedVersion"),
		}
		h.counter = uint64(h.desiredVersion) + rapid.Uint64Range(0, 3).Draw(t, "tagWrites")
		h.desired = section(t, rapid.MapOfN(leaves(anything), values(2, anything), 0, 6).Draw(t, "desired"))
		if _, taken := h.desired["bare"]; !taken && rapid.IntRange(0, 9).Draw(t, "bare") == 0 {
			h.desired["bare"] = object{"__t": "c"} // what a device-twin PATCH leaves of a component
		}
		h.reported = section(t, rapid.MapOfN(leaves(anything), reports(anything), 0, 6).Draw(t, "reported"))
		h.desiredMeta = desiredMetadata(t, h.desired, h.desiredVersion)
		h.reportedMeta = reportedMetadata(t, h.reported)
		return h
	})
}

// section builds the nested form. Of two kinds under one name the component stays. Now and then a back end or device forgets
// the marker, and the component is an object-valued property.
func section(t *rapid.T, leaves map[twin.Leaf]any) object {
	fields := object{}
	for _, leaf := range slices.SortedFunc(maps.Keys(leaves), twin.CompareLeaves) {
		if leaf.Component == "" {
			fields[leaf.Name] = leaves[leaf]
			continue
		}
		inner, ok := fields[leaf.Component].(object)
		if !ok || inner["__t"] == nil {
			inner = object{"__t": "c"}
			fields[leaf.Component] = inner
		}
		inner[leaf.Name] = leaves[leaf]
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		inner, ok := fields[name].(object)
		if ok && inner["__t"] != nil && rapid.IntRange(0, 15).Draw(t, "unmarked") == 0 {
			delete(inner, "__t")
		}
	}
	return fields
}

// reports are plain values and envelopes, some of them unusable.
func reports(anything bool) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		v := values(2, anything).Draw(t, "value")
		integer := rapid.SampledFrom([]any{json.Number("0"), json.Number("3"), json.Number("200"), json.Number("203"), json.Number("2.5"), "7"})
		switch rapid.IntRange(0, 5).Draw(t, "envelope") {
		case 0, 1, 2:
			return object{"value": v, "ac": integer.Draw(t, "ac"), "av": integer.Draw(t, "av"), "ad": "because"}
		case 3:
			return object{"value": v, "av": integer.Draw(t, "av")}
		}
		return v
	})
}

func desiredMetadata(t *rapid.T, v any, limit int64) object {
	node := object{
		"$lastUpdated":        patchedAt,
		"$lastUpdatedVersion": json.Number(fmt.Sprint(rapid.Int64Range(1, limit).Draw(t, "version"))),
	}
	if rapid.IntRange(0, 9).Draw(t, "by") == 0 {
		node["$lastUpdatedBy"] = "configuration-7"
	}
	fields, _ := v.(object)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		node[name] = desiredMetadata(t, fields[name], limit)
	}
	return node
}

// reportedMetadata has one time per top-level key, as after one report each.
func reportedMetadata(t *rapid.T, reported object) object {
	node := object{"$lastUpdated": reportedAt[0]}
	for _, name := range slices.Sorted(maps.Keys(reported)) {
		node[name] = stamped(reported[name], rapid.SampledFrom(reportedAt).Draw(t, "at"))
	}
	return node
}

func stamped(v any, at string) object {
	node := object{"$lastUpdated": at}
	fields, _ := v.(object)
	for name, inner := range fields {
		node[name] = stamped(inner, at)
	}
	return node
}

// declarations name leaves that the hub holds, with its value or another, and leaves that it does not hold.
func declarations(h *hub, anything bool) *rapid.Generator[twin.Declaration] {
	return rapid.Custom(func(t *rapid.T) twin.Declaration {
		d := twin.Declaration(rapid.MapOfN(leaves(anything), values(2, anything), 0, 4).Draw(t, "declared"))
		maps.Copy(d, someLeaves(t, h, "kept"))
		for leaf := range someLeaves(t, h, "edited") {
			d[leaf] = values(2, anything).Draw(t, "edit")
		}
		for leaf := range d { // as Validate demands
			if leaf.Component != "" {
				delete(d, twin.Leaf{Name: leaf.Component})
			}
		}
		return d
	})
}

// ownerships are what an earlier life of the object left in status: values that the hub still holds, and others that it does
// not.
func ownerships(h *hub, tw *twin.Twin, d twin.Declaration) *rapid.Generator[twin.Ownership] {
	return rapid.Custom(func(t *rapid.T) twin.Ownership {
		before := twin.Ownership{Held: map[twin.Leaf]twin.Owned{}}
		version := rapid.Int64Range(1, h.desiredVersion)
		for leaf := range someLeaves(t, h, "written") {
			held := tw.Properties[leaf].Desired
			if held == nil {
				continue
			}
			before.Held[leaf] = twin.Owned{Value: held.Value, Version: held.Version, SetVersion: held.Version}
		}
		for _, leaf := range rapid.SliceOfN(leaves(true), 0, 3).Draw(t, "lost") {
			before.Held[leaf] = twin.Owned{Value: scalars.Draw(t, "was"), Version: version.Draw(t, "version")}
		}
		for _, leaf := range slices.SortedFunc(maps.Keys(d), twin.CompareLeaves) {
			if rapid.Bool().Draw(t, "declared before") {
				before.Held[leaf] = twin.Owned{Value: d[leaf], Version: version.Draw(t, "version")}
			}
		}
		return before.After(tw, nil, d, true)
	})
}

// someLeaves is a random part of what the hub desires.
func someLeaves(t *rapid.T, h *hub, label string) map[twin.Leaf]any {
	held := h.leaves(h.desired)
	some := map[twin.Leaf]any{}
	for _, leaf := range slices.SortedFunc(maps.Keys(held), twin.CompareLeaves) {
		if rapid.IntRange(0, 2).Draw(t, label) == 0 {
			some[leaf] = held[leaf]
		}
	}
	return some
}
