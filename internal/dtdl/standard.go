package dtdl

import (
	"fmt"
	"strings"
)

// geoShape is a schema of GeoJSON (RFC 7946): DTDL v2 to v4, section "Geospatial schemas". Its coordinates are lists within
// lists of numbers.
type geoShape struct {
	name   string
	nested int
}

var geoShapes = []geoShape{
	{"point", 1}, {"multiPoint", 2}, {"lineString", 2}, {"multiLineString", 3}, {"polygon", 3}, {"multiPolygon", 4},
}

// geoArrays are the names of lists of numbers, of lists of those, and so on.
var geoArrays = []string{"position", "lineStringCoordinateArray", "polygonCoordinateArray"}

func (s geoShape) id(version int) string {
	return fmt.Sprintf("dtmi:standard:schema:geospatial:%s;%d", s.name, version)
}

// geoType is what GeoJSON calls the shape.
func (s geoShape) geoType() string { return strings.ToUpper(s.name[:1]) + s.name[1:] }

// primitives lists the terms of the primitive schemas and their classes.
var primitives = func() map[string]class {
	terms := map[string]class{}
	for _, c := range primitiveClasses {
		terms[strings.ToLower(string(c[:1]))+string(c[1:])] = c
	}
	return terms
}()

// standardTerms are the terms that every context of a version has for elements that need no definition.
var standardTerms, standardElements = func() (terms [newestVersion + 1]map[string]string, elements map[string]*element) {
	elements = map[string]*element{}
	for version := oldestVersion; version <= newestVersion; version++ {
		s := standards{version: version, terms: map[string]string{}, elements: elements}
		s.primitives()
		for _, shape := range geoShapes {
			s.terms[shape.name] = s.add(shape.id(version), s.geo(shape)).id
		}
		for _, t := range commandTypes {
			s.terms[t] = s.add(fmt.Sprintf("dtmi:dtdl:instance:CommandType:%s;%d", t, version), &element{class: classCommandType}).id
		}
		terms[version] = s.terms
	}
	s := standards{version: 2, terms: terms[2], elements: elements}
	s.add("dtmi:iotcentral:schema:vector;2", s.object(s.doubles("x", "y", "z")...))
	s.add("dtmi:iotcentral:schema:geopoint;2", s.object(s.doubles("lat", "lon", "alt")...))
	for extension, version := range []int{3, 4} {
		s := standards{version: version, terms: terms[version], elements: elements}
		s.unitEnums(fmt.Sprintf("dtmi:dtdl:extension:quantitativeTypes:v%d:enum:", extension+1))
	}
	s = standards{version: 4, terms: terms[4], elements: elements}
	s.terms["scaledDecimal"] = s.add("dtmi:standard:schema:scaledDecimal;4",
		s.object(s.field("scale", s.elements[s.terms["short"]]), s.field("value", s.elements[s.terms["decimal"]]))).id
	p := &parser{}
	for _, el := range elements { // all parsers share them, so what check.go notes on an element is noted now
		p.height(el)
		hasArray(el)
	}
	return terms, elements
}()

// standards makes the elements that a version of DTDL brings along.
type standards struct {
	version  int
	terms    map[string]string
	elements map[string]*element
}

func (s standards) add(id string, el *element) *element {
	el.id, el.version = id, s.version
	s.elements[id] = el
	return el
}

func (s standards) primitives() {
	for term, c := range primitives {
		if s.version == newestVersion || c.since() < newestVersion {
			s.terms[term] = s.add(fmt.Sprintf("dtmi:dtdl:instance:Schema:%s;%d", term, s.version), &element{class: c}).id
		}
	}
}

func (s standards) object(fields ...*element) *element {
	o := &element{class: classObject, version: s.version}
	for _, field := range fields {
		o.links = append(o.links, &link{property: findProperty(classObject, "fields", s.version), to: field})
	}
	return o
}

func (s standards) field(name string, schema *element) *element {
	return s.with(&element{class: classField, version: s.version, literals: []literal{{"name", &node{kind: stringKind, text: name}}}}, "schema", schema)
}

// with links an element to another.
func (s standards) with(el *element, property string, to *element) *element {
	el.links = append(el.links, &link{property: findProperty(el.class, property, s.version), to: to})
	return el
}

func (s standards) doubles(names ...string) []*element {
	var fields []*element
	for _, name := range names {
		fields = append(fields, s.field(name, s.elements[s.terms["double"]]))
	}
	return fields
}

// enum makes an Enum of strings that are named like their values.
func (s standards) enum(values ...string) *element {
	e := s.with(&element{class: classEnum, version: s.version}, "valueSchema", s.elements[s.terms["string"]])
	for _, value := range values {
		text := &node{kind: stringKind, text: value}
		v := &element{class: classEnumValue, version: s.version, literals: []literal{{"name", text}, {"enumValue", text}}}
		e.links = append(e.links, &link{property: findProperty(classEnum, "enumValues", s.version), to: v})
	}
	return e
}

func (s standards) geo(shape geoShape) *element {
	coordinates := s.elements[s.terms["double"]]
	for level := range shape.nested {
		coordinates = s.with(&element{class: classArray, version: s.version}, "elementSchema", coordinates)
		if level < len(geoArrays) {
			s.add(fmt.Sprintf("dtmi:standard:schema:geospatial:%s;%d", geoArrays[level], s.version), coordinates)
		}
	}
	kind := s.add(fmt.Sprintf("dtmi:standard:schema:geospatial%sType;%d", shape.geoType(), s.version), s.enum(shape.geoType()))
	return s.object(s.field("type", kind), s.field("coordinates", coordinates))
}

// unitEnums are the units that a property of the overriding extension may have as its schema.
func (s standards) unitEnums(prefix string) {
	for name, f := range families {
		s.add(prefix+name, s.enum(strings.Fields(f.units+" "+f.added)...))
	}
}
