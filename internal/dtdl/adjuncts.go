package dtdl

import (
	"fmt"
	"slices"
)

// cotypeSchemas checks that an element's schema is one that its co-types are for.
func (p *parser) cotypeSchemas(el *element) {
	to := el.one("schema")
	if to == nil {
		return
	}
	at := el.at.member("schema")
	for _, c := range el.cotypes {
		if c.schema != nil && !slices.Contains(c.schema, to.class) {
			p.report(el, at, "cotypeSchema", "is a %s, want %s, because the element is a %q", to.class, oneOf(c.schema), c.name)
		}
		if c.schemaIDs != nil && !slices.Contains(c.schemaIDs, to.id) {
			p.report(el, at, "cotypeSchema", "is a %s, want %s, because the element is a %q", to.class, oneOf(c.schemaIDs), c.name)
		}
	}
}

// annotates checks what an annotation or override is about: DTDL.annotation and DTDL.overriding. Microsoft's parser says
// nothing if there is no such content.
func (p *parser) annotates(el *element) {
	about := el.text("annotates")
	if about == "" || el.parent == nil {
		return
	}
	at := el.at.member("annotates")
	target := sibling(el, about)
	switch {
	case target == nil:
		return
	case target.class != classProperty && target.class != classTelemetry:
		p.report(el, at, "annotationInvalid", "is the %s %q, want a Property or Telemetry", target.class, about)
	case target.has(annotation.name):
		p.report(el, at, "annotationInvalid", "is %q, which is an annotation itself", about)
	}
	if el.has(override.name) {
		p.overrides(el, target)
	}
}

func (e *element) has(name string) bool {
	return slices.ContainsFunc(e.cotypes, func(c *cotype) bool { return c.name == name })
}

// sibling finds what stands in the same list under a name.
func sibling(el *element, name string) *element {
	parent := el.parent
	if parent.named != nil {
		return parent.named[name]
	}
	siblings := parent.linked(el.via.name)
	if parent.inherited != nil {
		siblings = parent.inherited.contents
	}
	parent.named = make(map[string]*element, len(siblings))
	for _, other := range slices.Backward(siblings) {
		parent.named[other.text("name")] = other // of several the first
	}
	return parent.named[name]
}

// overridden is a property of a sibling that an element overrides.
type overridden struct {
	target   *element
	property string
}

// overrides checks that one property overrides another of its sibling, with a schema for its values.
func (p *parser) overrides(el, target *element) {
	name := el.text("overrides")
	at := el.at.member("overrides")
	key := overridden{target, name}
	if other := p.overrode[key]; other != nil && other.parent == el.parent {
		p.report(el, at, "overrideRepeated", "is %q, which %q overrides already", name, other.text("name"))
	}
	p.overrode[key] = el
	if !slices.ContainsFunc(target.cotypes, func(c *cotype) bool { return c.find(name) != nil }) {
		p.report(el, at, "overrideInvalid", "is %s, which no type that is added to %q defines", quote(name), target.text("name"))
	}
	schema := el.one("schema")
	for _, c := range target.cotypes {
		property := c.find(name)
		if property == nil || property.form != unitForm || schema == nil {
			continue
		}
		want := fmt.Sprintf("dtmi:dtdl:extension:quantitativeTypes:v%d:enum:%s", c.extension.version, property.family)
		if schema.id != want {
			p.report(el, el.at.member("schema"), "overrideSchema", "is %s, want %q, as the unit of a %s has it", quote(schema.id), property.family, c.name)
		}
	}
}
