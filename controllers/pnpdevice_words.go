package controllers

import (
	"cmp"
	"context"
	"maps"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// A value may have several texts that mean the same to the schema of its property: PT300S and PT5M. So
// the declaration takes the words of the hub, and the report those of the declaration, where they mean
// the same; all else compares texts. Without a model a text is a text.

// lexicon knows what the words of a device's values mean. It asks for the model when a text differs
// from the declared one, and once a pass: a device that is settled costs nothing.
type lexicon struct {
	ask   func(modelID string) (*dtdl.Interface, models.Verdict)
	known *dtdl.Interface
	of    models.Verdict
	asked bool
}

// newLexicon is for one pass over a device. A model that cannot be had now is the one that was checked,
// and not ready.
func (r *PnPDeviceReconciler) newLexicon(ctx context.Context, device *v1alpha1.PnPDevice) *lexicon {
	remembered := remembering(device)
	return &lexicon{ask: func(modelID string) (*dtdl.Interface, models.Verdict) {
		known, verdict, err := r.Models.Device(ctx, device.Namespace, modelID)
		if err != nil {
			return remembered.ask(modelID)
		}
		return known, verdict
	}}
}

// remembering knows no more than status does of what means the same.
func remembering(device *v1alpha1.PnPDevice) *lexicon {
	verdict := models.Verdict{Of: device.Status.CheckedModel, NotReady: "It is not asked"}
	return &lexicon{ask: func(string) (*dtdl.Interface, models.Verdict) { return nil, verdict }}
}

// schemaOf is what the model of the device says of a leaf, nil if nothing.
func (s *scope) schemaOf(leaf twin.Leaf) *dtdl.Schema {
	l := s.lexicon
	if !l.asked {
		l.asked = true
		l.known, l.of = l.ask(cmp.Or(s.device.Spec.ModelID, s.twin.ModelID))
	}
	holder := l.known
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

// means reports whether a value that has another text means what is declared for a leaf. While the model cannot be used, was
// says whether it was found to.
func (s *scope) means(leaf twin.Leaf, declared, got any, same func(a, b any) bool, was func(twin.Leaf, any) bool) bool {
	if schema := s.schemaOf(leaf); schema != nil {
		return same(schema.Canonical(declared), schema.Canonical(got))
	}
	return s.lexicon.of.NotReady != "" && s.device.Status.CheckedGeneration > 0 && s.wasChecked(s.lexicon.of) && was(leaf, got)
}

// wasHeld reports whether status has a value as what the hub holds of the declaration.
func (s *scope) wasHeld(leaf twin.Leaf, got any) bool {
	switch p := s.entries[leaf]; twin.State(p.State) {
	case twin.StateAcknowledged, twin.StateApplied, twin.StateInProgress, twin.StateRejected, twin.StateAdjusted:
		return twin.Equal(factOf(p.Desired), got)
	default:
		return false
	}
}

// wasHeard reports whether status has a value as the device's acknowledgement of the declaration.
func (s *scope) wasHeard(leaf twin.Leaf, got any) bool {
	p := s.entries[leaf]
	return twin.State(p.State) == twin.StateAcknowledged && twin.Equal(factOf(p.Reported), got)
}

// isSame reports whether the hub has a value of a leaf, in whatever words.
func (s *scope) isSame(leaf twin.Leaf, value, held any) bool {
	return twin.Equal(value, held) || !isOmitted(held) && s.means(leaf, value, held, twin.Equal, s.wasHeld)
}

// inWordsOf is the declaration with each value as the hub has it, where that means the same.
func (s *scope) inWordsOf(t *twin.Twin) twin.Declaration {
	if s.spelled == nil {
		s.spelled = s.declared
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
func (s *scope) ownedInWordsOf(t *twin.Twin, o twin.Ownership) twin.Ownership {
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
func (s *scope) heard(leaf twin.Leaf, declared any, p twin.Property) twin.Property {
	r := p.Reported
	if r == nil || r.Ack == nil || isOmitted(r.Value) || twin.EqualReported(declared, r.Value) || !s.means(leaf, declared, r.Value, twin.EqualReported, s.wasHeard) {
		return p
	}
	same := *r
	same.Value = declared
	p.Reported = &same
	return p
}
