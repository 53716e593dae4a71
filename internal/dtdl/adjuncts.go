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

// annotated is an annotation or override among the contents of an interface that has or inherits it,
// or among the properties of a relationship.
type annotated struct {
	*element
	holder *element
}

// annotates checks what an annotation or override is about: DTDL.annotation and DTDL.overriding.
func (p *parser) annotates(el *element) {
	if el.parent == nil {
		return
	}
	if target := sibling(el.parent, el); target != nil {
		p.annotation(annotated{el, el.parent}, target)
	}
}

// inheritsAnnotations checks the annotations that an interface inherits: what they are about may only
// come with the heir.
func (p *parser) inheritsAnnotations(heir *element) {
	for _, content := range heir.inherited.contents {
		if content.parent == heir || !content.has(annotation.name) || p.stopped {
			continue
		}
		switch target := sibling(heir, content); {
		case target == nil:
		case target != sibling(content.parent, content):
			p.annotation(annotated{content, heir}, target)
		case content.has(override.name):
			p.overridesOnce(annotated{content, heir}, target)
		}
	}
}

// annotation checks one annotation. Microsoft's parser says nothing if there is no such content.
func (p *parser) annotation(a annotated, target *element) {
	about := a.text("annotates")
	switch {
	case target.class != classProperty && target.class != classTelemetry:
		p.reportAnnotated(a, "annotates", "annotationInvalid", "is the %s %q, want a Property or Telemetry", target.class, about)
	case target.has(annotation.name):
		p.reportAnnotated(a, "annotates", "annotationInvalid", "is %q, which is an annotation itself", about)
	}
	if a.has(override.name) {
		p.overrides(a, target)
	}
}

// reportAnnotated reports what is wrong with a property of an annotation: at that, or at the heir that makes
// it wrong.
func (p *parser) reportAnnotated(a annotated, property, rule, message string, args ...any) {
	if a.holder == a.parent {
		p.report(a.element, a.at.member(property), rule, message, args...)
		return
	}
	args = append([]any{a.text("name"), quote(a.owner.dtmi()), property}, args...)
	p.report(a.holder, a.holder.at.member("extends"), rule, "inherits %q of %s, whose %q "+message, args...)
}

func (e *element) has(name string) bool {
	return slices.ContainsFunc(e.cotypes, func(c *cotype) bool { return c.name == name })
}

// sibling finds what an annotation is about among the contents of a holder, nil if nothing.
func sibling(holder, el *element) *element {
	about := el.text("annotates")
	if about == "" {
		return nil
	}
	if holder.named != nil {
		return holder.named[about]
	}
	siblings := holder.linked(el.via.name)
	if holder.inherited != nil {
		siblings = holder.inherited.contents
	}
	holder.named = make(map[string]*element, len(siblings))
	for _, other := range slices.Backward(siblings) {
		holder.named[other.text("name")] = other // of several the first
	}
	return holder.named[about]
}

// overridden is a property of a sibling that an element overrides, among the contents of a holder.
type overridden struct {
	holder, target *element
	property       string
}

// overridesOnce checks that no other element among the same contents overrides the same property.
func (p *parser) overridesOnce(a annotated, target *element) {
	name := a.text("overrides")
	key := overridden{a.holder, target, name}
	other := p.overrode[key]
	p.overrode[key] = a.element
	if other == nil || a.holder != a.parent && other.parent == a.parent { // which is reported where both are
		return
	}
	p.reportAnnotated(a, "overrides", "overrideRepeated", "is %q, which %q overrides already", name, other.text("name"))
}

// overrides checks that one property overrides another of its sibling, with a schema for its values.
func (p *parser) overrides(a annotated, target *element) {
	p.overridesOnce(a, target)
	name := a.text("overrides")
	if !slices.ContainsFunc(target.cotypes, func(c *cotype) bool { return c.find(name) != nil }) {
		p.reportAnnotated(a, "overrides", "overrideInvalid", "is %s, which no type that is added to %q defines", quote(name), target.text("name"))
	}
	schema := a.one("schema")
	for _, c := range target.cotypes {
		property := c.find(name)
		if property == nil || property.form != unitForm || schema == nil {
			continue
		}
		want := fmt.Sprintf("dtmi:dtdl:extension:quantitativeTypes:v%d:enum:%s", c.extension.version, property.family)
		if schema.id != want {
			p.reportAnnotated(a, "schema", "overrideSchema", "is %s, want %q, as the unit of a %s has it", quote(schema.id), property.family, c.name)
		}
	}
}
