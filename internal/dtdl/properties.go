package dtdl

import (
	"slices"
	"strings"
)

// properties reads what an element has, and finds what it lacks.
func (p *parser) properties(n placed, el *element) {
	var seen []*property
	for i := range n.members {
		m := &n.members[i]
		if p.stopped {
			return
		}
		if m.key == "" || m.key[0] == '@' {
			continue
		}
		at := n.at.member(m.key)
		property, of := p.find(m.key, el)
		switch {
		case property == nil:
			p.unknown(el, at)
		case slices.Contains(seen, property):
			p.report(el, at, "keyRepeated", "has the property %s more than once", quote(m.key))
		default:
			seen = append(seen, property)
			p.value(&m.value, at, el, property, of)
		}
	}
	p.lacking(n, el, seen)
}

// find finds the property that a key stands for, and the co-type that adds it.
func (p *parser) find(key string, el *element) (*property, *cotype) {
	if found := findProperty(el.class, key, el.version); found != nil {
		return found, nil
	}
	for _, c := range el.cotypes {
		if found := c.find(key); found != nil {
			return found, c
		}
	}
	return nil, nil
}

// lacking reports required properties that are not there.
func (p *parser) lacking(n placed, el *element, seen []*property) {
	tables := [][]property{classProperties[el.class]}
	for _, c := range el.cotypes {
		tables = append(tables, c.properties)
	}
	for _, table := range tables {
		for i := range table {
			if el.ctx.limits().needed(&table[i]) && !slices.Contains(seen, &table[i]) {
				p.report(el, n.at, "propertyMissing", "has no %q, which a %s needs", table[i].name, p.typesOf(el))
			}
		}
	}
}

// typesOf names an element's class and co-types.
func (p *parser) typesOf(el *element) string {
	names := []string{el.class.typeName(el.version)}
	for _, c := range el.cotypes {
		names = append(names, c.name)
	}
	return strings.Join(names, " with ")
}

// unknown reports a property that neither the class nor a co-type has: DTDL.Specification v2 and v3, "Undefined properties".
// In DTDL v2 an element with a type that nobody here knows may have any.
func (p *parser) unknown(el *element, at *place) {
	if el.foreign {
		return
	}
	p.report(el, at, "propertyUnknown", "is no property of a %s in DTDL v%d", p.typesOf(el), el.version)
}

// value reads the value of a property.
func (p *parser) value(n *node, at *place, el *element, property *property, of *cotype) {
	switch property.form {
	case elementForm:
		p.elementsOf(n, at, el, property)
		return
	case langForm:
		p.languages(n, at, el, property)
		return
	default:
	}
	values := flatten(n, at)
	if len(values) != 1 {
		if len(values) > 1 || property.required {
			p.report(el, at, "valueCount", "has %d values, want one", len(values))
		}
		return
	}
	value, ok := p.plain(values[0], el, property)
	if ok && p.literalFits(value, el, property, of) {
		el.literals = append(el.literals, literal{property.name, value.node})
	}
}

// elementsOf reads the elements and references of a property.
func (p *parser) elementsOf(n *node, at *place, el *element, property *property) {
	values := flatten(n, at)
	if !property.plural && len(values) > 1 {
		p.report(el, at, "valueCount", "has %d values, want one", len(values))
		return
	}
	least, most := el.ctx.limits().count(property)
	if property.required {
		least = 1
	}
	if len(values) < least {
		p.report(el, at, "tooFew", "has %d values, want at least %d", len(values), least)
	}
	for _, value := range values {
		if p.stopped {
			return
		}
		switch value.kind {
		case stringKind:
			p.refer(value, el, property)
		case objectKind:
			if child := p.define(value, el, property, el.ctx); child != nil {
				el.links = append(el.links, &link{property: property, to: child, at: value.at})
			}
		default:
			p.report(el, value.at, "valueInvalid", "is %s, want %s", value.show(), p.asked(el, property))
		}
	}
	if most == 0 {
		return
	}
	if count := distinct(el, property); count > most {
		p.report(el, at, "tooMany", "has %d values, want at most %d", count, most)
	}
}

// asked names what a property takes.
func (p *parser) asked(el *element, property *property) string {
	if property.terms != nil {
		return oneOf(property.terms)
	}
	if property.form == unitForm {
		return "a unit of the family " + property.family
	}
	if property.class == classSchema {
		return "a primitive schema, or the DTMI or definition of an Array, Enum, Map or Object"
	}
	return "the DTMI or the definition of a " + p.wanted(&element{via: property, version: el.version})
}

// distinct counts the elements of a property; the same one named twice is one.
func distinct(el *element, property *property) int {
	ids := map[string]bool{}
	inline := 0
	for _, l := range el.links {
		switch {
		case l.property != property:
		case l.id != "":
			ids[l.id] = true
		case l.to.given:
			ids[l.to.id] = true
		default:
			inline++
		}
	}
	return len(ids) + inline
}

// refer reads a reference: a DTMI, or the term of a standard schema.
func (p *parser) refer(value placed, el *element, property *property) {
	id, term := el.ctx.schema(value.text)
	if !term {
		id = value.text
		if len(id) > maxID || !validDTMI(id, el.version) {
			p.report(el, value.at, "referenceInvalid", "is %s, want %s", quote(id), p.asked(el, property))
			return
		}
	}
	el.links = append(el.links, &link{property: property, id: id, at: value.at})
}

// plain unwraps the value objects of JSON-LD: {"@value": 5, "@type": "xsd:integer"}.
func (p *parser) plain(n placed, el *element, property *property) (placed, bool) {
	if n.kind != objectKind {
		return n, true
	}
	value, ok := n.get("@value")
	if !ok || property.form == idForm || property.form == unitForm {
		p.report(el, n.at, "valueInvalid", "is an object, want %s", formNames[property.form])
		return placed{}, false
	}
	for i := range n.members {
		if m := &n.members[i]; !valueKey(m, value, el.version, property.form) {
			p.report(el, n.at.member(m.key), "valueInvalid", "is %s, want an object with an @value and its @type", m.value.show())
			return placed{}, false
		}
	}
	return placed{value, n.at.member("@value")}, true
}

// valueKey says whether a key may stand in a value object. DTDL v2 ignores keywords that it does not know.
func valueKey(m *member, value *node, version int, f form) bool {
	switch m.key {
	case "@value":
		return true
	case "@type":
		return literalType(&m.value, value, f)
	case "@context", "@id", "@graph":
		return false
	}
	return version == 2 && strings.HasPrefix(m.key, "@")
}

// literalType says whether the @type of a value object fits the property and the value.
func literalType(named, value *node, f form) bool {
	items := typeItems(named)
	if len(items) != 1 || items[0].kind != stringKind {
		return false
	}
	name := strings.TrimPrefix(strings.TrimPrefix(items[0].text, "xsd:"), "http://www.w3.org/2001/XMLSchema#")
	if name == items[0].text {
		return false
	}
	types := map[form][]string{
		textForm: {"string"}, nameForm: {"string"}, topicForm: {"string"}, groupForm: {"string"}, durationForm: {"duration"},
		boolForm: {"boolean"}, integerForm: {"integer"}, literalForm: {"string", "boolean", "integer", "decimal"},
	}
	kinds := map[string]kind{"string": stringKind, "duration": stringKind, "boolean": boolKind, "integer": numberKind, "decimal": numberKind}
	return slices.Contains(types[f], name) && kinds[name] == value.kind
}
