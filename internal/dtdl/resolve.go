package dtdl

import (
	"slices"
	"strings"
)

// resolve finds what the documents name.
func (p *parser) resolve() {
	for _, el := range p.all {
		for _, l := range el.links {
			if p.stopped {
				return
			}
			if l.id != "" {
				p.follow(el, l)
			}
			if l.to != nil {
				p.fits(el, l)
			}
		}
	}
}

// follow finds the element that a reference names.
func (p *parser) follow(el *element, l *link) {
	if l.to = p.elements[l.id]; l.to != nil {
		return
	}
	if l.to = standardElements[l.id]; l.to != nil {
		return
	}
	if reservedID(l.id) {
		p.report(el, l.at, "referenceInvalid", "names %s, which DTDL does not define", quote(l.id))
		return
	}
	p.need(l.id, el, l.at)
}

// need notes that an element cannot do without what is not in the documents.
func (p *parser) need(id string, el *element, at *place) {
	el.owner.unsound = true
	if _, known := p.missing[id]; known {
		return
	}
	if len(p.missing) == maxMissing {
		p.stop(el, at, "is one of more than %d elements that are named and not defined, want at most that", maxMissing)
		return
	}
	p.missing[id] = Missing{DTMI: id, Interface: el.owner.dtmi(), Document: at.document, Path: at.pointer()}
}

// fits checks that an element may stand where it is named: DTDL v2 to v4, the tables of the metamodel classes, and "schemas":
// what is defined within an interface is not for others.
func (p *parser) fits(el *element, l *link) {
	to := l.to
	if to.owner == nil && to.class.is(classPrimitive) && to.class.since() <= el.version {
		to = standardElements[standardTerms[el.version][string(kindOf(to.class))]] // primitives are the same in all versions that have them
	}
	switch {
	case !to.class.is(l.property.class), l.property.terms != nil && !l.property.takes(to):
		p.report(el, l.at, "referenceInvalid", "is a %s, want %s", to.class.typeName(to.version), p.asked(el, l.property))
		l.to = nil
	case !versionFits(to.version, el.version, l.property):
		p.report(el, l.at, "versionMixed", "names an element of DTDL v%d, which cannot stand in %q of DTDL v%d", to.version, l.property.name, el.version)
	case to.class != classInterface && to.owner != nil && to.owner != el.owner:
		p.report(el, l.at, "referenceForeign", "names a %s within the interface %s; it can only be used there", to.class.typeName(to.version), quote(to.owner.dtmi()))
	}
}

// takes says whether a property that takes a few of DTDL's own elements takes this one.
func (p *property) takes(to *element) bool {
	if to.owner != nil {
		return false
	}
	path, _, _ := strings.Cut(to.id, ";")
	return slices.Contains(p.terms, path[strings.LastIndexByte(path, ':')+1:])
}
