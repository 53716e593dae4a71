package dtdl

import (
	"cmp"
	"maps"
	"slices"
)

// Model is what documents define together. It is for one goroutine, and holds all that was parsed: keep what Interface gives
// instead, which any number may read and which holds no more than itself.
type Model struct {
	// Errors are all rules that the documents break, by document and place; a thousand at most.
	Errors []Error
	// Missing are the interfaces and other elements that are needed and not in the documents, by DTMI. Microsoft's parser asks
	// for a resolver for them.
	Missing []Missing

	defined map[string]*element
	builder builder
}

// Interface gives an interface that is sound: neither it nor an interface that it is made of has an error or misses something.
// It is nil if there is none.
func (m *Model) Interface(dtmi string) *Interface {
	if el := m.defined[dtmi]; el != nil && m.builder.isSound(el) {
		return m.builder.built(el)
	}
	return nil
}

// Defines says whether the documents have an interface, sound or not.
func (m *Model) Defines(dtmi string) bool { return m.defined[dtmi] != nil }

// Defined lists the interfaces that the documents have, sound or not, by DTMI.
func (m *Model) Defined() []string { return slices.Sorted(maps.Keys(m.defined)) }

// Interfaces lists the sound interfaces by DTMI.
func (m *Model) Interfaces() []*Interface {
	var found []*Interface
	for _, dtmi := range m.Defined() {
		if i := m.Interface(dtmi); i != nil {
			found = append(found, i)
		}
	}
	return found
}

// Interface is what a device, or a component of one, is made of. What it extends is merged into it.
type Interface struct {
	DTMI string
	// Version is the version of DTDL that it is written in.
	Version int
	// Extends are the interfaces that it extends, directly or not.
	Extends []string
	// Its contents: its own in the order of the document, then inherited ones.
	Properties []*Property
	Commands   []*Command
	Components []*Component

	contents map[string]content
	size     int
}

// Size is how many bytes of memory the interface takes, about, with all that it is made of.
func (i *Interface) Size() int { return i.size }

// partSize is what a content, field or value of an enum takes, about.
const partSize = 200

// content is what a name of an interface stands for.
type content struct {
	class     class
	property  *Property
	command   *Command
	component *Component
}

// Property is a part of a device's state.
type Property struct {
	Name string
	// Writable is true if it may be declared; otherwise the device alone sets it.
	Writable bool
	Schema   *Schema
}

// Command is something that a device can be told to do.
type Command struct {
	Name string
	// Request and Response are nil if there is none.
	Request, Response *Payload
}

// Payload is the request or response of a command.
type Payload struct {
	Name   string
	Schema *Schema
	// Nullable is true if null will do: DTDL v4.
	Nullable bool
}

// Component is an interface under a name.
type Component struct {
	Name      string
	Interface *Interface
}

// Property gives a property by its name, or nil.
func (i *Interface) Property(name string) *Property { return i.contents[name].property }

// Command gives a command by its name, or nil.
func (i *Interface) Command(name string) *Command { return i.contents[name].command }

// Component gives a component by its name, or nil.
func (i *Interface) Component(name string) *Component { return i.contents[name].component }

// Content says what a name stands for: "Property", "Command", "Component", "Telemetry", "Relationship", or "" if nothing.
func (i *Interface) Content(name string) string { return string(i.contents[name].class) }

// model is ready to turn what is sound into the exported types.
func (p *parser) model() *Model {
	m := &Model{Errors: p.errors, defined: map[string]*element{}}
	m.builder = builder{interfaces: map[*element]*Interface{}, schemas: map[*element]*Schema{}, sound: map[*element]bool{}}
	m.Missing = slices.SortedFunc(maps.Values(p.missing), func(a, b Missing) int { return cmp.Compare(a.DTMI, b.DTMI) })
	for _, el := range p.all {
		if el.class == classInterface {
			el.unsound = el.unsound || p.stopped
			m.defined[el.dtmi()] = el
		}
	}
	return m
}

// builder makes each interface and schema once, when it is asked for.
type builder struct {
	interfaces map[*element]*Interface
	schemas    map[*element]*Schema
	sound      map[*element]bool
	parts      int // contents, fields and values that were made
}

// isSound says whether all that an interface is made of is right. Whoever is made of itself has an error for that.
func (b *builder) isSound(el *element) bool {
	if sound, known := b.sound[el]; known {
		return sound
	}
	b.sound[el] = false
	sound := !el.unsound
	for _, l := range el.links {
		switch l.property.name {
		case "extends":
			sound = sound && l.to != nil && b.isSound(l.to)
		case "contents":
			sound = sound && l.to != nil && (l.to.class != classComponent || l.to.one("schema") != nil && b.isSound(l.to.one("schema")))
		}
	}
	b.sound[el] = sound
	return sound
}

func (b *builder) built(el *element) *Interface {
	if made := b.interfaces[el]; made != nil {
		return made
	}
	made := &Interface{DTMI: el.dtmi(), Version: el.version, contents: make(map[string]content, len(el.inherited.contents))}
	b.interfaces[el] = made
	before := b.parts
	for _, ancestor := range el.inherited.ancestors {
		made.Extends = append(made.Extends, ancestor.dtmi())
	}
	for _, from := range el.inherited.contents {
		made.add(b.content(from), from.text("name"))
	}
	b.parts += 1 + len(made.Extends) + len(made.contents)
	made.size = (b.parts - before) * partSize
	return made
}

func (i *Interface) add(c content, name string) {
	i.contents[name] = c
	switch {
	case c.property != nil:
		i.Properties = append(i.Properties, c.property)
	case c.command != nil:
		i.Commands = append(i.Commands, c.command)
	case c.component != nil:
		i.Components = append(i.Components, c.component)
	}
}

func (b *builder) content(el *element) content {
	c := content{class: el.class}
	name := el.text("name")
	switch el.class {
	case classProperty:
		c.property = &Property{Name: name, Writable: el.truth("writable"), Schema: b.schema(el.one("schema"))}
	case classCommand:
		c.command = &Command{Name: name, Request: b.payload(el.one("request")), Response: b.payload(el.one("response"))}
	case classComponent:
		c.component = &Component{Name: name, Interface: b.built(el.one("schema"))}
	default:
	}
	return c
}

// truth is the value of a property that is true or false.
func (e *element) truth(name string) bool {
	v := e.literal(name)
	return v != nil && v.truth
}

func (b *builder) payload(el *element) *Payload {
	if el == nil {
		return nil
	}
	return &Payload{Name: el.text("name"), Schema: b.schema(el.one("schema")), Nullable: el.truth("nullable")}
}

// schema makes a schema, which in DTDL v4 may be made of itself.
func (b *builder) schema(el *element) *Schema {
	if made := b.schemas[el]; made != nil {
		return made
	}
	made := &Schema{Kind: kindOf(el.class)}
	b.schemas[el] = made
	b.parts++
	switch el.class {
	case classArray:
		made.Element = b.schema(el.one("elementSchema"))
	case classMap:
		made.Element = b.schema(el.one("mapValue").one("schema"))
	case classEnum:
		made.enum(el)
		b.parts += len(made.Values)
	case classObject:
		made.Fields = map[string]*Field{}
		for _, field := range el.linked("fields") {
			made.Fields[field.text("name")] = &Field{Schema: b.schema(field.one("schema")), Required: field.has("Required")}
		}
		b.parts += len(made.Fields)
	default:
	}
	return made
}
