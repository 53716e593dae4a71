package dtdl

import (
	"cmp"
	"slices"
	"strings"
)

// element is an element of a document, or one that DTDL brings along.
type element struct {
	class   class
	id      string // from @id, or generated
	given   bool   // its @id is in the document
	version int
	ctx     *context
	at      *place
	size    int      // bytes of its text
	owner   *element // the interface that it is in; an interface is its own
	parent  *element
	via     *property // of the parent

	cotypes  []*cotype
	foreign  bool // it has a co-type that nobody here knows, so any property may follow
	literals []literal
	links    []*link

	// Of interfaces.
	unsound   bool
	inherited *inheritance

	depth    depth
	arrays   tristate
	counting progress
	counted  int
}

// literal is a property of an element that is no element.
type literal struct {
	property string
	value    *node
}

// link is a property of an element that is another element: one within it, or one that it names.
type link struct {
	property *property
	to       *element
	id       string // of what is only named
	at       *place
}

// literal finds the value of a property, or nil.
func (e *element) literal(name string) *node {
	for _, l := range e.literals {
		if l.property == name {
			return l.value
		}
	}
	return nil
}

// text is the value of a property that is a string.
func (e *element) text(name string) string {
	if v := e.literal(name); v != nil && v.kind == stringKind {
		return v.text
	}
	return ""
}

// linked lists the elements of a property, without those that could not be resolved.
func (e *element) linked(name string) []*element {
	var found []*element
	for _, l := range e.links {
		if l.property.name == name && l.to != nil {
			found = append(found, l.to)
		}
	}
	return found
}

// one is the element of a property that has one, or nil.
func (e *element) one(name string) *element {
	for _, l := range e.links {
		if l.property.name == name {
			return l.to
		}
	}
	return nil
}

// parser is the state of one Parse.
type parser struct {
	errors   []Error
	missing  map[string]Missing
	elements map[string]*element // by the @id in the documents
	all      []*element          // in the order of the documents
	overrode map[overridden]*element
}

// Parse reads documents that refer to each other. Each is one interface or a list of interfaces, the "expanded" form of a
// models repository among them; interfaces may also be defined inline, where they are used. The documents should be those of
// one device's model: two versions of an interface may well give the same @id to a schema, which one set of documents cannot.
// To find them, parse the interface of the device, and parse again with what is Missing, until nothing is, or it cannot be had.
//
// Parse always returns a model. What is wrong is in its Errors, all of it up to a thousand, and what is named but not in the
// documents is in Missing. Time and memory are bounded by the size of the documents.
func Parse(documents ...[]byte) *Model {
	p := &parser{missing: map[string]Missing{}, elements: map[string]*element{}, overrode: map[overridden]*element{}}
	for i, raw := range documents {
		p.document(raw, &place{document: i})
	}
	p.resolve()
	p.inherit()
	p.check()
	sortErrors(p.errors)
	return p.model()
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
	ctx := p.context(n, outer)
	if ctx == nil {
		p.fail(parent)
		return nil
	}
	el := &element{version: ctx.version, ctx: ctx, at: n.at, size: n.size, parent: parent, via: via}
	switch {
	case via.class == classInterface:
		el.owner = el
	case parent != nil:
		el.owner = parent.owner
	}
	el.id = p.identifier(n, el)
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

// identifier reads @id, or generates it: DTDL v2 to v4, "Digital Twin Model Identifier".
func (p *parser) identifier(n placed, el *element) string {
	value, ok := n.get("@id")
	if ok {
		return p.givenID(value, n.at.member("@id"), el)
	}
	if el.parent == nil {
		p.report(el, n.at, "idMissing", "has no @id, want a DTMI")
		return ""
	}
	if el.via.named {
		p.report(el.parent, n.at, "idMissing", "has no @id, which is needed in %q", el.via.name)
	}
	name := ""
	if found, ok := n.get("name"); ok && el.via.plural && found.kind == stringKind {
		name = cut(found.text)
	}
	return generatedID(el.parent.id, el.via.name, name)
}

func (p *parser) givenID(value *node, at *place, el *element) string {
	if value.kind != stringKind {
		p.report(el, at, "idInvalid", "is %s, want a DTMI", value.show())
		return ""
	}
	el.given = true
	id := value.text
	named := &element{id: cut(id), owner: el.owner}
	longest := maxID
	if el.via.class == classInterface {
		longest = maxInterfaceID
	}
	switch {
	case len(id) > longest:
		p.report(named, at, "idTooLong", "is a DTMI of %d characters, want at most %d", len(id), longest)
	case !validDTMI(id, el.version):
		p.report(named, at, "idInvalid", "is %s, want a DTMI %s", quote(id), dtmiForm(el.version))
	case el.ctx.reserved(id):
		p.report(named, at, "idReserved", "is %s, which only DTDL and its extensions may define", quote(id))
	default:
		return id
	}
	return cut(id)
}

func dtmiForm(version int) string {
	if version == 2 {
		return "such as dtmi:com:example:Thermostat;1"
	}
	return "such as dtmi:com:example:Thermostat;1, dtmi:com:example:Thermostat;1.2 or dtmi:com:example:Thermostat"
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
		if term, ok := strings.CutSuffix(term, ";"+string(rune('0'+version))); ok {
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
