package hub

import (
	"encoding/json"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// SetLenientDigitalTwins decides what a digital twin patch of something that does not exist gets. Strict, the default,
// refuses an operation below a missing component, and replace or remove of a missing property, with 400507; Microsoft
// documents neither. Lenient makes the former create the component and the latter do what they can.
func (h *Hub) SetLenientDigitalTwins(lenient bool) { h.lenient.Store(lenient) }

// LenientDigitalTwins returns what SetLenientDigitalTwins set.
func (h *Hub) LenientDigitalTwins() bool { return h.lenient.Load() }

const componentMarker = "__t"

// isComponent reports whether a section's top-level value is marked as a component.
func (n *node) isComponent() bool {
	marker := n.child(componentMarker)
	return marker != nil && marker.value == "c"
}

// DigitalTwin is the digital twin that the device twin amounts to ("Understand IoT Plug and Play digital twins").
func (t *Twin) DigitalTwin() jsontree.Object {
	body, metadata := view(t.desired.root, t.reported.root)
	o := append(jsontree.Object{{Name: "$dtId", Value: t.Identity.DeviceID}}, body...)
	metadata = append(jsontree.Object{{Name: "$model", Value: t.ModelID}}, metadata...)
	return append(o, jsontree.Member{Name: "$metadata", Value: metadata})
}

// view renders the properties of one component, and those of the components inside it, with their metadata.
func view(desired, reported *node) (body, metadata jsontree.Object) {
	for _, name := range names(reported, desired) {
		d, r := desired.child(name), reported.child(name)
		switch {
		case name == componentMarker:
		case d.isComponent() || r.isComponent():
			inner, innerMetadata := view(d, r)
			body = append(body, jsontree.Member{Name: name, Value: append(inner, jsontree.Member{Name: "$metadata", Value: orNone(innerMetadata)})})
		default:
			value, has, m := viewProperty(d, r)
			if has {
				body = append(body, jsontree.Member{Name: name, Value: value})
			}
			metadata = append(metadata, jsontree.Member{Name: name, Value: m})
		}
	}
	return body, metadata
}

func orNone(o jsontree.Object) jsontree.Object {
	if o == nil {
		return jsontree.Object{}
	}
	return o
}

// names lists the fields of both nodes once, those of the first in their order before what only the second has.
func names(first, second *node) []string {
	var out []string
	if first != nil {
		for _, f := range first.fields {
			out = append(out, f.name)
		}
	}
	if second != nil {
		for _, f := range second.fields {
			if first.child(f.name) == nil {
				out = append(out, f.name)
			}
		}
	}
	return out
}

// viewProperty has a value only where the device has reported one.
func viewProperty(desired, reported *node) (value any, has bool, metadata jsontree.Object) {
	metadata = jsontree.Object{}
	if desired != nil {
		metadata = append(metadata,
			jsontree.Member{Name: "desiredValue", Value: desired.json()},
			jsontree.Member{Name: "desiredVersion", Value: desired.stamp.version})
	}
	if reported == nil {
		return nil, false, metadata
	}
	value = reported.json()
	if reported.isAcknowledgement() {
		value = reported.child("value").json()
		metadata = append(metadata, acknowledgement(reported)...)
	}
	metadata = append(metadata, jsontree.Member{Name: "lastUpdateTime", Value: twinTime(reported.stamp.at)})
	return value, true, metadata
}

// isAcknowledgement recognises the envelope {value, ac, av, ad} of "IoT Plug and Play conventions".
func (n *node) isAcknowledgement() bool {
	for _, name := range []string{"value", "ac", "av"} {
		if n.child(name) == nil {
			return false
		}
	}
	return true
}

func acknowledgement(n *node) jsontree.Object {
	o := jsontree.Object{
		{Name: "ackVersion", Value: n.child("av").json()},
		{Name: "ackCode", Value: n.child("ac").json()},
	}
	if ad := n.child("ad"); ad != nil {
		o = append(o, jsontree.Member{Name: "ackDescription", Value: ad.json()})
	}
	return o
}

// PatchDigitalTwin applies a JSON Patch to the digital twin: it writes desired properties of the device twin, all
// operations or none, in one version.
func (h *Hub) PatchDigitalTwin(id string, patch json.RawMessage, ifMatch string) (*Twin, error) {
	ops, err := parseOperations(patch)
	if err != nil {
		return nil, err
	}
	return h.write(id, ifMatch, func(t *Twin) (write, error) {
		if name := t.nonConformant(); name != "" {
			return write{}, argumentInvalid("'%s' exists within the device twin and is not digital twin conformant property. "+
				"Please refer to aka.ms/dtpatch to update this to be conformant.", name)
		}
		e := editor{
			before: t.desired.root, desired: t.desired.root, reported: t.reported.root,
			patch: jsontree.Object{}, lenient: h.lenient.Load(),
		}
		for _, op := range ops {
			if err := e.apply(op); err != nil {
				return write{}, err
			}
		}
		return write{kind: TwinUpdated, service: true, desired: e.patch}, nil
	})
}
