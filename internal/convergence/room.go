package convergence

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// What properties may take of an object, in bytes. etcd takes 1.5 MiB of one. A declaration takes up to
// declaration.MaxDeclared, which kubectl apply repeats in an annotation; managedFields, labels and a deletion take less than
// what is left.
const (
	// MaxStatusBytes is what properties may take of a status.
	MaxStatusBytes = 640 << 10
	// factBytes is more than an entry takes without name, text and values: state, versions, times, and the keys of all.
	factBytes = 440
	// shownBytes is more than an entry takes that only shows what is reported.
	shownBytes = 112
	// componentBytes is more than a component takes without its name.
	componentBytes = 72
	// formBytes is more than twin.Omitted takes.
	formBytes = 96
	// maxShownEntries that are no facts: each report of a device costs the API server a look at all of them.
	maxShownEntries = 1024
	// maxNameBytes is the limit of the schema, which counts runes.
	maxNameBytes = 1024
)

// room is what is left of a status while it is filled.
type room struct {
	bytes, entries int
	components     map[string]bool
}

// fit has values that there is no room for stand for themselves as twin.Omitted: facts come first, then what was asked of the
// device, then what it says, each in the order of leaves. What it returns is left for entries that are no facts.
func (e Entries) fit() room {
	r := room{bytes: MaxStatusBytes, entries: maxShownEntries, components: map[string]bool{}}
	for leaf, p := range e {
		r.takeLeaf(leaf, factBytes)
		r.components[leaf.Component] = true
		for value := range ValuesOf(&p) {
			r.bytes -= min(storable.Size(value.Raw), formBytes)
		}
	}
	leaves := e.sorted()
	for _, leaf := range leaves {
		p := e[leaf]
		for value, set := range askedOf(&p) {
			r.fitValue(value, set)
		}
		e[leaf] = p
	}
	for _, leaf := range leaves {
		p := e[leaf]
		if size := storable.TextSize(p.AckDescription); size <= r.bytes {
			r.bytes -= size
		} else {
			p.AckDescription = ""
		}
		if p.Reported != nil {
			r.fitValue(p.Reported, func(j *apiextensionsv1.JSON) { p.Reported = j })
		}
		e[leaf] = p
	}
	return r
}

// fitValue gives a value the room that it takes beyond formBytes, or has it omitted.
func (r *room) fitValue(value *apiextensionsv1.JSON, set func(*apiextensionsv1.JSON)) {
	switch more := storable.Size(value.Raw) - formBytes; {
	case more <= 0: // it has its room
	case more <= r.bytes:
		r.bytes -= more
	default:
		set(&apiextensionsv1.JSON{Raw: storable.Omit(FactOf(value), storable.TooLarge)})
	}
}

// admits reports whether there is room for an entry that only shows what is reported, and takes it.
func (r *room) admits(leaf twin.Leaf, p *v1alpha1.PropertyStatus) bool {
	for _, name := range []string{leaf.Component, leaf.Name} {
		if len(name) > maxNameBytes || !storable.IsClean(name) {
			return false
		}
	}
	left := *r
	left.entries--
	left.takeLeaf(leaf, shownBytes+storable.Size(p.Reported.Raw))
	if left.bytes < 0 || left.entries < 0 {
		return false
	}
	r.bytes, r.entries, r.components[leaf.Component] = left.bytes, left.entries, true
	return true
}

// takeLeaf takes the room of an entry.
func (r *room) takeLeaf(leaf twin.Leaf, size int) {
	r.bytes -= size + storable.TextSize(leaf.Name)
	if leaf.Component != "" && !r.components[leaf.Component] {
		r.bytes -= componentBytes + storable.TextSize(leaf.Component)
	}
}

// values are some of an entry, with what replaces each.
type values = func(yield func(*apiextensionsv1.JSON, func(*apiextensionsv1.JSON)) bool)

// ValuesOf goes through the values of an entry, those that facts rest on first.
func ValuesOf(p *v1alpha1.PropertyStatus) values {
	return func(yield func(*apiextensionsv1.JSON, func(*apiextensionsv1.JSON)) bool) {
		for value, set := range askedOf(p) {
			if !yield(value, set) {
				return
			}
		}
		if p.Reported != nil {
			yield(p.Reported, func(j *apiextensionsv1.JSON) { p.Reported = j })
		}
	}
}

// askedOf goes through what the device is asked for, or about to be.
func askedOf(p *v1alpha1.PropertyStatus) values {
	return func(yield func(*apiextensionsv1.JSON, func(*apiextensionsv1.JSON)) bool) {
		if p.Sent != nil && !yield(&p.Sent.Value, func(j *apiextensionsv1.JSON) { p.Sent = &v1alpha1.SentValue{Value: *j, Version: p.Sent.Version} }) {
			return
		}
		if p.Desired != nil {
			yield(p.Desired, func(j *apiextensionsv1.JSON) { p.Desired = j })
		}
	}
}
