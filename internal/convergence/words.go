package convergence

import (
	"cmp"
	"maps"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// A value may have several texts that mean the same to the schema of its property: PT300S and PT5M. So
// the declaration takes the words of the hub, and the report those of the declaration, where they mean
// the same; all else compares texts. Without a model a text is a text.

// lexicon knows what the words of a device's values mean. It asks for the model when a text differs
// from the declared one, and once a pass: a device that is settled costs nothing.
type lexicon struct {
	known *dtdl.Interface
	of    declaration.Conformity
	asked bool
}

// schemaOf is what the model of the device says of a leaf, nil if nothing.
func (s *State) schemaOf(leaf twin.Leaf) *dtdl.Schema {
	_ = s.modelNow()
	holder := s.lexicon.known
	if holder != nil && leaf.Component != "" {
		component := holder.Component(leaf.Component)
		if component == nil {
			return nil
		}
		holder = component.Interface
	}
	if holder == nil || holder.Property(leaf.Name) == nil {
		return nil
	}
	return holder.Property(leaf.Name).Schema
}

// modelNow is which DeviceModel the device has now, as of this pass.
func (s *State) modelNow() declaration.Conformity {
	if l := &s.lexicon; !l.asked {
		l.asked = true
		l.known, l.of = s.askModel()
	}
	return s.lexicon.of
}

// askModel asks for the model. A pass that cannot knows no more than status does of what means the
// same.
func (s *State) askModel() (*dtdl.Interface, declaration.Conformity) {
	if s.Model == nil {
		return nil, NotAsked(s.Device)
	}
	if s.Twin == nil {
		return s.Model(s.Device.ModelID())
	}
	return s.Model(cmp.Or(s.Device.Spec.ModelID, s.Twin.ModelID))
}

// NotAsked stands for a model that cannot be had now: it is the one that was checked, and not
// ready.
func NotAsked(device *v1alpha1.PnPDevice) declaration.Conformity {
	return declaration.Conformity{Of: device.Status.CheckedModel, NotReady: "It is not asked"}
}

// means reports whether a value that has another text means what is declared for a leaf. While the model cannot be used, was
// says whether it was found to.
func (s *State) means(leaf twin.Leaf, declared, got any, same func(a, b any) bool, was func(twin.Leaf, any) bool) bool {
	if schema := s.schemaOf(leaf); schema != nil {
		return same(schema.Canonical(declared), schema.Canonical(got))
	}
	return s.lexicon.of.NotReady != "" && s.Device.Status.CheckedGeneration > 0 && s.wasChecked(s.lexicon.of) && was(leaf, got)
}

// wasHeld reports whether status has a value as what the hub holds of the declaration.
func (s *State) wasHeld(leaf twin.Leaf, got any) bool {
	switch p := s.Entries[leaf]; twin.State(p.State) {
	case twin.StateAcknowledged, twin.StateApplied, twin.StateInProgress, twin.StateRejected, twin.StateAdjusted:
		return twin.Equal(FactOf(p.Desired), got)
	default:
		return false
	}
}

// wasHeard reports whether status has a value as the device's acknowledgement of the declaration.
func (s *State) wasHeard(leaf twin.Leaf, got any) bool {
	p := s.Entries[leaf]
	return twin.State(p.State) == twin.StateAcknowledged && twin.Equal(FactOf(p.Reported), got)
}

// isSame reports whether the hub has a value of a leaf, in whatever words.
func (s *State) isSame(leaf twin.Leaf, value, held any) bool {
	return twin.Equal(value, held) || !isOmitted(held) && s.means(leaf, value, held, twin.Equal, s.wasHeld)
}

// inWordsOf is the declaration with each value as the hub has it, where that means the same.
func (s *State) inWordsOf(t *twin.Twin) twin.Declaration {
	if s.spelled == nil {
		s.spelled = s.Declared
	}
	var words twin.Declaration
	for leaf, value := range s.spelled {
		held := t.Properties[leaf].Desired
		if held == nil || twin.Equal(value, held.Value) || !s.isSame(leaf, value, held.Value) {
			continue
		}
		if words == nil {
			words = maps.Clone(s.spelled)
		}
		words[leaf] = held.Value
	}
	if words == nil {
		return s.spelled
	}
	return words
}

// ownedInWordsOf is what is the object's with each value as the hub has it, where that means the same: a
// device that has answered need not answer to other words.
func (s *State) ownedInWordsOf(t *twin.Twin, o twin.Ownership) twin.Ownership {
	var words map[twin.Leaf]twin.Owned
	for leaf, owned := range o.Held {
		held := t.Properties[leaf].Desired
		if held == nil || twin.Equal(owned.Value, held.Value) || !s.isSame(leaf, owned.Value, held.Value) {
			continue
		}
		if words == nil {
			words = maps.Clone(o.Held)
		}
		owned.Value = held.Value
		words[leaf] = owned
	}
	if words != nil {
		o.Held = words
	}
	return o
}

// heard is a property with its report in the words of the declaration, where that means the same.
func (s *State) heard(leaf twin.Leaf, declared any, p twin.Property) twin.Property {
	r := p.Reported
	if r == nil || r.Ack == nil || isOmitted(r.Value) || twin.EqualReported(declared, r.Value) || !s.means(leaf, declared, r.Value, twin.EqualReported, s.wasHeard) {
		return p
	}
	same := *r
	same.Value = declared
	p.Reported = &same
	return p
}
