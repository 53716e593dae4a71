package dtdl

import (
	"cmp"
	"strings"
)

// parser is the state of one Parse.
type parser struct {
	errors   []Error
	missing  map[string]Missing
	elements map[string]*element // by the @id in the documents
	all      []*element          // in the order of the documents
	overrode map[overridden]*element

	interfaces int // that are defined
	errorBytes int // of the errors' texts
	// stopped is true once a bound was passed: nothing more is read, and nothing is sound.
	stopped bool
}

// Parse reads documents that refer to each other. Each is one interface or a list of interfaces, the "expanded" form of a
// models repository among them; interfaces may also be defined inline, where they are used. The documents should be those of
// one device's model: two versions of an interface may well give the same @id to a schema, which one set of documents cannot.
// To find them, parse the interface of the device, and parse again with what is Missing, until nothing is, or it cannot be had.
//
// Parse always returns a model. What is wrong is in its Errors, all of it up to a thousand, and what is named but not in the
// documents is in Missing. Documents beyond a bound have an error of the rule "tooLarge", and no interface of them is sound.
func Parse(documents ...[]byte) *Model {
	p := &parser{missing: map[string]Missing{}, elements: map[string]*element{}, overrode: map[overridden]*element{}}
	if err := CheckSize(documents...); err != nil {
		p.stop(nil, &place{}, "%s", err)
	}
	for i, raw := range documents {
		if !p.stopped {
			p.document(raw, &place{document: i})
		}
	}
	for _, phase := range []func(){p.resolve, p.inherit, p.check} {
		if !p.stopped {
			phase()
		}
	}
	sortErrors(p.errors)
	return p.model()
}

// stop ends the parsing of documents that are beyond a bound.
func (p *parser) stop(el *element, at *place, message string, args ...any) {
	p.report(el, at, "tooLarge", message, args...)
	p.stopped = true
}

func (p *parser) document(raw []byte, at *place) {
	n, err := parseJSON(raw)
	if err != nil {
		p.report(nil, at, "jsonInvalid", "is not JSON that can be read: %s", cut(err.Error()))
		return
	}
	for _, value := range flatten(&n, at) {
		if value.kind != objectKind {
			p.report(nil, value.at, "notAnInterface", "is %s, want an interface", value.show())
			continue
		}
		p.define(value, nil, &topLevel, nil)
	}
}

// topLevel describes what a document consists of.
var topLevel = property{class: classInterface, typed: true, named: true}

// define reads an element, and all that is in it. It is nil if nothing useful can be said about it.
func (p *parser) define(n placed, parent *element, via *property, outer *context) *element {
	if p.stopped {
		return nil
	}
	ctx := p.context(n, outer)
	if ctx == nil {
		p.fail(parent)
		return nil
	}
	el := &element{version: ctx.version, ctx: ctx, at: n.at, size: int(n.size), parent: parent, via: via}
	switch {
	case via.class == classInterface:
		el.owner = el
		p.countInterface(n.at)
	case parent != nil:
		el.owner = parent.owner
	}
	p.identify(n, el)
	if !p.shaped(n, el) || !p.types(n, el) {
		p.fail(parent)
		return nil
	}
	if !p.register(el) {
		return nil
	}
	p.properties(n, el)
	p.all = append(p.all, el)
	return el
}

func (p *parser) countInterface(at *place) {
	if p.interfaces++; p.interfaces > MaxInterfaces {
		p.stop(nil, at, "is one of more than %d interfaces, want at most that", MaxInterfaces)
	}
}

// fail marks the interface of an element within which something could not be read.
func (p *parser) fail(el *element) {
	if el != nil && el.owner != nil {
		el.owner.unsound = true
	}
}

// shaped checks what an element is made of, apart from its properties.
func (p *parser) shaped(n placed, el *element) bool {
	if len(n.members) == 1 && el.given {
		p.report(el, n.at, "idOnly", "is an object that only has an @id; to refer to an element, write its DTMI as a string")
		return false
	}
	if el.parent != nil && !versionFits(el.version, el.parent.version, el.via) {
		p.report(el, n.at, "versionMixed", "is DTDL v%d, which cannot stand in %q of DTDL v%d", el.version, el.via.name, el.parent.version)
	}
	seen := map[string]bool{}
	for i := range n.members {
		if p.stopped {
			return false
		}
		key := n.members[i].key
		if key == "" {
			p.report(el, n.at, "propertyUnknown", "has a property with an empty name")
		}
		if strings.HasPrefix(key, "@") {
			p.keyword(key, n.at.member(key), el, seen)
		}
	}
	return true
}

// versionFits says whether an element of one version may stand in a property of another: DTDL v3 and v4, section
// "Referencing".
func versionFits(version, outer int, via *property) bool {
	return version == outer || version < outer && !via.own
}

// keyword checks a key of JSON-LD: DTDL v3 knows three of them, DTDL v2 ignores most others.
func (p *parser) keyword(key string, at *place, el *element, seen map[string]bool) {
	if seen[key] {
		p.report(el, at, "keyRepeated", "has the key %s more than once", quote(key))
	}
	seen[key] = true
	switch key {
	case "@context", "@id", "@type":
	case "@graph":
		p.report(el, at, "keywordUnknown", "has the key \"@graph\", which DTDL does not take")
	default:
		if el.version > 2 {
			p.report(el, at, "keywordUnknown", "has the key %s, which DTDL v%d does not take", quote(key), el.version)
		}
	}
}

// register makes an element known by its @id.
func (p *parser) register(el *element) bool {
	if !el.given {
		return true
	}
	other, taken := p.elements[el.id]
	if !taken {
		p.elements[el.id] = el
		return true
	}
	p.report(el, el.at, "idRepeated", "defines %s, which is defined already at %s of document %d", quote(el.id), shownPlace(other.at), other.at.document)
	if other.owner != nil {
		other.owner.unsound = true
	}
	p.fail(el.parent)
	return false
}

// shownPlace names the place of another definition.
func shownPlace(at *place) string { return cmp.Or(at.pointer(), "the top") }
