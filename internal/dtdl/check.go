package dtdl

import (
	"slices"
	"strconv"
)

// check finds what only shows when all is linked.
func (p *parser) check() {
	for _, el := range p.all {
		if p.stopped {
			return
		}
		p.unique(el)
		p.cotypeSchemas(el)
		p.annotates(el)
		switch el.class {
		case classInterface:
			p.interfaceFits(el)
			p.inheritsAnnotations(el)
		case classComponent:
			p.componentFits(el)
		case classProperty:
			p.propertyFits(el)
		case classEnum:
			p.enumFits(el)
		default:
		}
		if el.class.is(classComplexSchema) {
			p.depthFits(el)
		}
	}
}

// unique checks the literals that elements of a property may not share.
func (p *parser) unique(el *element) {
	for i := range classProperties[el.class] {
		property := &classProperties[el.class][i]
		for _, name := range property.unique {
			p.uniqueIn(el, property, name)
		}
		if property.plural {
			p.uniqueIn(el, property, "index") // of the MQTT extension
		}
	}
}

func (p *parser) uniqueIn(el *element, property *property, name string) {
	children := el.linked(property.name)
	if len(children) < 2 {
		return
	}
	seen := map[string]*element{}
	for _, child := range children {
		value := child.literal(name)
		if value == nil {
			continue
		}
		key := identity(value)
		if other := seen[key]; other != nil && other != child {
			p.report(el, child.at.member(name), name+"Repeated", "is %s, as another of the %s has it", value.show(), property.name)
		}
		seen[key] = child
	}
}

// identity is equal for equal literals.
func identity(value *node) string {
	if value.kind == numberKind {
		if i, ok := smallInteger(value.text); ok {
			return "n" + strconv.Itoa(i)
		}
	}
	return string('0'+rune(value.kind)) + value.text + strconv.FormatBool(value.truth)
}

// interfaceFits checks the size of an interface: DTDL v3 and v4, "Limits".
func (p *parser) interfaceFits(el *element) {
	l := el.ctx.limits()
	if l.bytes > 0 && el.size > l.bytes {
		p.report(el, el.at, "tooLarge", "has %d bytes, want at most %d", el.size, l.bytes)
	}
	if l.elements > 0 {
		if count := p.count(el); count > l.elements {
			p.report(el, el.at, "tooLarge", "has %d elements with all that it is made of, want at most %d", count, l.elements)
		}
	}
}

// counted are the properties whose elements are counted.
var counted = []string{"contents", "fields", "enumValues", "request", "response", "properties", "schema", "elementSchema", "mapValue"}

// count counts the elements below one, on every way to them.
func (p *parser) count(el *element) int {
	if el.counting != untouched {
		return el.counted
	}
	el.counting = underWay
	total := 0
	add := func(child *element) { total = saturated(total, p.count(child)+1) }
	if el.inherited != nil {
		for _, child := range el.inherited.contents {
			add(child)
		}
	}
	for _, l := range el.links {
		if l.to != nil && l.to.owner != nil && slices.Contains(counted, l.property.name) && el.inherited == nil {
			add(l.to)
		}
	}
	el.counting, el.counted = done, total
	return total
}

// componentFits checks that the interface of a component has no components: DTDL v2 to v4, "Component".
func (p *parser) componentFits(el *element) {
	to := el.one("schema")
	if to == nil || to.inherited == nil || to.inherited.component == nil {
		return
	}
	p.report(el, el.at.member("schema"), "componentNested", "is %s, which has the component %q; a component's interface can have none",
		quote(to.dtmi()), to.inherited.component.text("name"))
}

// propertyFits checks that no property of DTDL v2 has an array in its schema: DTDL v2, "Property".
func (p *parser) propertyFits(el *element) {
	if to := el.one("schema"); to != nil && !el.ctx.limits().propertyArrays && hasArray(to) {
		p.report(el, el.at.member("schema"), "arrayInProperty", "is or contains an array, which a Property of DTDL v%d cannot have", el.version)
	}
}

func hasArray(el *element) bool {
	if el.class == classArray {
		return true
	}
	switch el.arrays {
	case no:
		return false
	case yes:
		return true
	default:
	}
	el.arrays = no // which ends a walk in a circle
	for _, l := range el.links {
		if l.to != nil && hasArray(l.to) {
			el.arrays = yes
			return true
		}
	}
	return false
}

type tristate uint8

const (
	unknown tristate = iota
	no
	yes
)

// enumFits checks that the values of an enum are of its valueSchema.
func (p *parser) enumFits(el *element) {
	schema := el.one("valueSchema")
	if schema == nil {
		return
	}
	for _, child := range el.linked("enumValues") {
		value := child.literal("enumValue")
		if value == nil {
			continue
		}
		_, isInteger := smallInteger(value.text)
		if (schema.class == classString) != (value.kind == stringKind) || schema.class != classString && !isInteger {
			p.report(child, child.at.member("enumValue"), "enumValueInvalid", "is %s, want %s as valueSchema has it", value.show(), kindOf(schema.class))
		}
	}
}

// depth is how deep a schema nests.
type depth struct {
	progress progress
	height   int
}

// depthFits checks how deep a schema nests: DTDL v2 to v4, "Limits".
func (p *parser) depthFits(el *element) {
	if l := el.ctx.limits(); p.height(el) > l.schemaDepth {
		p.report(el, el.at, "schemaTooDeep", "nests schemas %d levels deep, want at most %d", el.depth.height, l.schemaDepth)
	}
}

// height counts the schemas below one on the longest way down.
func (p *parser) height(el *element) int {
	if el.depth.progress == done {
		return el.depth.height
	}
	el.depth.progress = underWay
	el.depth.height = p.heightBelow(el)
	el.depth.progress = done
	return el.depth.height
}

func (p *parser) heightBelow(el *element) int {
	height := 0
	for _, l := range el.links {
		switch {
		case l.to == nil || l.property.name == "valueSchema":
		case l.property.name == "schema" || l.property.name == "elementSchema":
			height = max(height, 1+p.descend(el, l))
		default:
			height = max(height, p.height(l.to))
		}
	}
	return height
}

// descend follows a schema that may lead back to where it began, which only DTDL v4 allows.
func (p *parser) descend(el *element, l *link) int {
	if l.to.depth.progress != underWay {
		return p.height(l.to)
	}
	if !el.ctx.limits().recursiveSchemas {
		p.report(el, l.at, "schemaCycle", "is %s, which is made of itself; DTDL v%d has no recursive schemas", quote(l.to.dtmi()), el.version)
	}
	return 0
}
