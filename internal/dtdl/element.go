package dtdl

// element is an element of a document, or one that DTDL brings along.
type element struct {
	class   class
	id      string // from @id, or one that DTDL brings along; see dtmi
	given   bool   // its @id is in the document
	label   string // its name, if that is a part of the DTMI that is generated
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
	// named are its contents or properties by name, once somebody asked.
	named map[string]*element

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
