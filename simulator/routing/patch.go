package routing

import (
	"bytes"
	"slices"
	"strings"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// digitalTwinPatch is the JSON Patch (RFC 6902) from one state of a digital twin to another. The events in "IoT Plug and
// Play service developer guide" are such differences, in the order of their paths: what is new is added at the highest
// level that is new, down to a single member of a property's metadata, and what was there is replaced. That a value which
// is an object is replaced whole, that what goes is removed, and the form in which a model is announced are inferred:
// no example shows them.
func digitalTwinPatch(before, after *hub.Twin) []any {
	var d difference
	d.compare("", component, digitalTwin(before), digitalTwin(after))
	return d.ops
}

// digitalTwin has no $model until a model is announced, so that the first one is added rather than replaced.
func digitalTwin(t *hub.Twin) jsontree.Object {
	o := t.DigitalTwin().Without("$dtId")
	if t.ModelID != "" {
		return o
	}
	return o.With("$metadata", o.Object("$metadata").Without("$model"))
}

// level is where in a digital twin an object is, which decides what its members are.
type level int

const (
	leaf      level = iota // a value: compared whole
	component              // the root or a component: properties, components, $metadata
	metadata               // $metadata: an object for each property
	property               // the metadata of one property
)

// of returns the level of a member.
func (l level) of(name string, v any) level {
	o, isObject := v.(jsontree.Object)
	switch {
	case !isObject:
		return leaf
	case l == component && name == "$metadata":
		return metadata
	case l == component && o.Object("$metadata") != nil:
		return component
	case l == metadata:
		return property
	}
	return leaf
}

type difference struct{ ops []any }

func (d *difference) compare(path string, l level, before, after jsontree.Object) {
	for _, name := range names(before, after) {
		was, had := before.Get(name)
		is, has := after.Get(name)
		at, inner := path+"/"+pointer.Replace(name), l.of(name, is)
		switch {
		case !has:
			d.op("remove", at)
		case !had:
			d.op("add", at, jsontree.Member{Name: "value", Value: metadataFirst(is)})
		case equal(was, is):
		case inner != leaf && inner == l.of(name, was):
			d.compare(at, inner, was.(jsontree.Object), is.(jsontree.Object))
		default:
			d.op("replace", at, jsontree.Member{Name: "value", Value: metadataFirst(is)})
		}
	}
}

func (d *difference) op(op, path string, value ...jsontree.Member) {
	d.ops = append(d.ops, append(jsontree.Object{{Name: "op", Value: op}, {Name: "path", Value: path}}, value...))
}

// pointer escapes a name for a JSON pointer (RFC 6901).
var pointer = strings.NewReplacer("~", "~0", "/", "~1")

// names are those of both objects, in order.
func names(a, b jsontree.Object) []string {
	var out []string
	for _, m := range slices.Concat(a, b) {
		out = append(out, m.Name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// metadataFirst orders a component as captured events do.
func metadataFirst(v any) any {
	o, ok := v.(jsontree.Object)
	m, has := o.Get("$metadata")
	if !ok || !has {
		return v
	}
	return append(jsontree.Object{{Name: "$metadata", Value: m}}, o.Without("$metadata")...)
}

func equal(a, b any) bool { return bytes.Equal(jsontree.Append(nil, a), jsontree.Append(nil, b)) }
