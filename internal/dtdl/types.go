package dtdl

import (
	"slices"
	"strconv"
	"strings"
)

// types reads @type: one class, and any number of co-types.
func (p *parser) types(n placed, el *element) bool {
	at := n.at.member("@type")
	value, ok := n.get("@type")
	if !ok {
		return p.inferType(n, el)
	}
	var classes []class
	good := true
	for _, item := range typeItems(value) {
		if item.kind != stringKind {
			p.report(el, at, "typeInvalid", "is or contains %s, want the names of types", item.show())
			return false
		}
		if p.stopped {
			return false
		}
		c, ok := p.typeName(item.text, el, at)
		good = good && ok
		if c != "" && !slices.Contains(classes, c) {
			classes = append(classes, c)
		}
	}
	switch {
	case len(classes) != 1 && !good:
		return false
	case len(classes) != 1:
		p.report(el, at, "typeInvalid", "names %d of the types %s, want one", len(classes), p.wanted(el))
		return false
	}
	el.class = classes[0]
	el.foreign = el.foreign || !good // what a wrong type would have added is not an error of its own
	p.fitCotypes(el, at)
	return true
}

func typeItems(value *node) []node {
	if value.kind == listKind {
		return value.items
	}
	return []node{*value}
}

// wanted lists the types that an element's place takes.
func (p *parser) wanted(el *element) string {
	var names []string
	for _, c := range el.via.class.definable() {
		names = append(names, c.typeName(el.version))
	}
	return oneOf(names)
}

// inferType gives an element the class that its place takes.
func (p *parser) inferType(n placed, el *element) bool {
	if el.via.typed {
		p.report(el, n.at, "typeMissing", "has no @type, want %s", p.wanted(el))
		return false
	}
	el.class = el.via.class
	return true
}

// typeName reads one name of @type. The class is "" if it names a co-type.
func (p *parser) typeName(name string, el *element, at *place) (class, bool) {
	term := withoutPrefix(name, "dtmi:dtdl:class:", el.version)
	if knownClasses[term] {
		for _, c := range el.via.class.definable() {
			if c.typeName(el.version) == term {
				return c, true
			}
		}
		p.report(el, at, "typeInvalid", "names %s, want %s", quote(term), p.wanted(el))
		return "", false
	}
	return "", p.cotype(name, el, at)
}

// withoutPrefix shortens the DTMI of a term of a version's metamodel to the term.
func withoutPrefix(id, prefix string, version int) string {
	if term, ok := strings.CutPrefix(id, prefix); ok {
		if term, ok := strings.CutSuffix(term, ";"+strconv.Itoa(version)); ok {
			return term
		}
	}
	return id
}

// cotype adds a type that is no class: DTDL.Specification v2 and v3, "Undefined types".
func (p *parser) cotype(name string, el *element, at *place) bool {
	found := el.ctx.cotype(name)
	switch {
	case found != nil && found.abstract:
		p.report(el, at, "cotypeInvalid", "names %s, which only groups other types", quote(name))
		return false
	case found != nil:
		if !slices.Contains(el.cotypes, found) {
			el.cotypes = append(el.cotypes, found)
		}
		return true
	case p.foreignType(name, el, at):
		el.foreign = true
		return true
	}
	return false
}

// foreignType says whether a type that nobody here knows is allowed.
func (p *parser) foreignType(name string, el *element, at *place) bool {
	switch {
	case strings.HasPrefix(name, "dtmi:") && !validDTMI(name, el.version):
		p.report(el, at, "typeInvalid", "names %s, want a type or a DTMI", quote(name))
	case strings.HasPrefix(name, "dtmi:"), el.ctx.knows(name):
		if el.ctx.incomplete {
			return true
		}
		p.report(el, at, "typeUnknown", "names %s, which is no type that can be added to one", quote(name))
	case el.version == 2:
		return true
	default:
		p.report(el, at, "typeUnknown", "names %s, which neither DTDL v%d nor an extension in @context defines", quote(name), el.version)
	}
	return false
}

// fitCotypes checks that the co-types go with the class and with each other.
func (p *parser) fitCotypes(el *element, at *place) {
	for _, c := range el.cotypes {
		if !slices.Contains(c.classes, el.class) {
			p.report(el, at, "cotypeInvalid", "adds %q to a %s, want a %s", c.name, el.class.typeName(el.version), oneOf(c.classes))
		} else if !slices.Contains(c.versions, el.version) {
			p.report(el, at, "cotypeInvalid", "adds %q of version %d of its extension, which is not for DTDL v%d", c.name, c.extension.version, el.version)
		}
		if c.requires != "" && !slices.ContainsFunc(el.cotypes, func(o *cotype) bool { return o.name == c.requires }) {
			p.report(el, at, "cotypeMissing", "adds %q, which needs %q too", c.name, c.requires)
		}
	}
	for i, c := range el.cotypes {
		for _, o := range el.cotypes[:i] {
			p.conflict(el, at, c, o)
		}
	}
}

// conflict refuses two co-types that give the same property a meaning each.
func (p *parser) conflict(el *element, at *place, a, b *cotype) {
	for i := range a.properties {
		if name := a.properties[i].name; a.extension == b.extension && b.find(name) != nil {
			p.report(el, at, "cotypeConflict", "adds %q and %q, which both define %q", b.name, a.name, name)
		}
	}
}
