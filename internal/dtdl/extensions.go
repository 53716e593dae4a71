package dtdl

import (
	"fmt"
	"slices"
	"strings"
)

// cotype is a type that an element may have beside its class: a semantic type or an adjunct of an extension.
type cotype struct {
	name       string
	id         string
	classes    []class
	versions   []int   // of DTDL
	schema     []class // what the element's schema has to be, if that matters
	schemaIDs  []string
	requires   string // the name of another co-type that has to be there too
	abstract   bool
	properties []property
	extension  *extension
}

// extension is the terms that a context adds.
type extension struct {
	id      string // its context without the version
	version int
	cotypes map[string]*cotype
	schemas map[string]string  // terms of standard schemas, and their DTMIs
	units   map[string]unitSet // by family
	unitID  string             // the DTMI of a unit, with %s for its name

	propertyID string // the DTMI of a property, with %s for its name, if it is not the co-type's
	reserved   string // the prefix of DTMIs that only the extension may define
}

var (
	anyMeasured = []class{classRequest, classResponse, classField, classMapValue, classProperty, classTelemetry}
	dataClasses = []class{classProperty, classTelemetry}
	numeric     = subclasses[classNumeric]
)

// extensions are the contexts that Microsoft's parser 1.1.3 knows, by DTMI: DTDL.iotcentral v2, and DTDL v3 and v4,
// "DTDL.Extensions".
var extensions = func() map[string]*extension {
	known := map[string]*extension{}
	for _, e := range []*extension{
		iotCentral(),
		quantitativeTypes(1, 3), quantitativeTypes(2, 4),
		adjuncts("historization", 1, cotype{name: "Historized", classes: dataClasses}),
		adjuncts("historization", 2, cotype{name: "Historized", classes: dataClasses}),
		adjuncts("annotation", 1, annotation),
		adjuncts("annotation", 2, annotation),
		adjuncts("overriding", 1, override),
		adjuncts("overriding", 2, override),
		adjuncts("requirement", 1, cotype{name: "Required", classes: []class{classField}, versions: []int{3, 4}}),
		adjuncts("mqtt", 1, mqttInterface(1), mqttIdempotent, mqttCacheable, mqttIndexed),
		adjuncts("mqtt", 2, mqttInterface(2), mqttIdempotent, mqttCacheable, mqttIndexed, mqttTransparent),
	} {
		known[fmt.Sprintf("%s;%d", e.id, e.version)] = e
	}
	return known
}()

// version2 is what the context of DTDL v2 itself has of an extension: the semantic types.
var version2 = func() *extension {
	e := &extension{id: "dtmi:dtdl:context", version: 2, units: unitSets(false), unitID: "dtmi:standard:unit:%s;2", propertyID: "dtmi:dtdl:property:%s;2"}
	e.cotypes = map[string]*cotype{
		"QuantitativeType": {abstract: true},
		"SemanticType":     {id: "dtmi:dtdl:class:SemanticType;2", abstract: true},
		"SemanticUnit":     {id: "dtmi:dtdl:class:SemanticUnit;2", abstract: true},
	}
	for _, q := range quantities {
		if !q.extended {
			e.cotypes[q.name] = &cotype{classes: dataClasses, schema: numeric, properties: []property{unit(q, true)}}
		}
	}
	return e.finish("dtmi:standard:class:%s;2", 2)
}()

// unit is the property of a quantity that says what it is measured in.
func unit(q quantity, required bool) property {
	return property{name: "unit", form: unitForm, required: required, family: q.family}
}

// finish fills in what all co-types of an extension share.
func (e *extension) finish(id string, versions ...int) *extension {
	for name, c := range e.cotypes {
		c.name, c.extension, c.properties = name, e, slices.Clone(c.properties)
		if c.id == "" {
			c.id = fmt.Sprintf(id, name)
		}
		if c.versions == nil {
			c.versions = versions
		}
		for i := range c.properties {
			c.properties[i].id = c.propertyID(c.properties[i].name)
		}
	}
	return e
}

func quantitativeTypes(version, dtdl int) *extension {
	prefix := fmt.Sprintf("dtmi:dtdl:extension:quantitativeTypes:v%d:", version)
	e := &extension{
		id: "dtmi:dtdl:extension:quantitativeTypes", version: version,
		cotypes: map[string]*cotype{"QuantitativeType": {abstract: true}},
		units:   unitSets(true), unitID: prefix + "unit:%s", propertyID: prefix + "property:%s",
		schemas: map[string]string{},
	}
	for name := range families {
		e.schemas[name] = prefix + "enum:" + name
	}
	for _, q := range quantities {
		e.cotypes[q.name] = &cotype{classes: anyMeasured, schema: numeric, properties: []property{unit(q, true)}}
	}
	return e.finish(prefix+"class:%s", dtdl)
}

// adjuncts makes an extension of co-types. The first version of each is for DTDL v3 only.
func adjuncts(name string, version int, cotypes ...cotype) *extension {
	e := &extension{id: "dtmi:dtdl:extension:" + name, version: version, cotypes: map[string]*cotype{}}
	for _, c := range cotypes {
		e.cotypes[c.name] = &c
	}
	versions := []int{3}
	if version > 1 {
		versions = append(versions, 4)
	}
	return e.finish(fmt.Sprintf("%s:v%d:%%s", e.id, version), versions...)
}

var (
	annotation = cotype{
		name: "ValueAnnotation", classes: dataClasses,
		properties: []property{{name: "annotates", form: textForm, required: true}},
	}
	override = cotype{
		name: "Override", classes: []class{classProperty}, requires: annotation.name,
		properties: []property{{name: "overrides", form: idForm, required: true}},
	}
	mqttIdempotent = cotype{name: "Idempotent", classes: []class{classCommand}}
	mqttCacheable  = cotype{
		name: "Cacheable", classes: []class{classCommand}, requires: mqttIdempotent.name,
		properties: []property{{name: "ttl", form: durationForm, required: true}},
	}
	mqttIndexed = cotype{
		name: "Indexed", classes: []class{classEnumValue, classField, classTelemetry},
		properties: []property{{name: "index", form: integerForm, required: true, minimum: 1}},
	}
	mqttTransparent = cotype{name: "Transparent", classes: []class{classRequest, classResponse}, schema: []class{classObject}}
)

func mqttInterface(version int) cotype {
	c := cotype{name: "Mqtt", classes: []class{classInterface}, properties: []property{
		{name: "payloadFormat", form: textForm, required: true},
		{name: "telemetryTopic", form: topicForm},
		{name: "commandTopic", form: topicForm},
	}}
	if version > 1 {
		c.properties = append(c.properties, property{name: "telemServiceGroupId", form: groupForm}, property{name: "cmdServiceGroupId", form: groupForm})
	}
	return c
}

func iotCentral() *extension {
	vector := "dtmi:iotcentral:schema:vector;2"
	geopoint := "dtmi:iotcentral:schema:geopoint;2"
	places := []string{geopoint}
	for _, shape := range geoShapes {
		places = append(places, shape.id(2))
	}
	e := &extension{
		id: "dtmi:iotcentral:context", version: 2, reserved: "dtmi:iotcentral:",
		schemas: map[string]string{"vector": vector, "geopoint": geopoint},
		units:   version2Units, unitID: "dtmi:standard:unit:%s;2", propertyID: "dtmi:dtdl:property:%s;2",
		cotypes: map[string]*cotype{
			"Event":    {classes: dataClasses, schema: append(slices.Clone(numeric), classString)},
			"State":    {classes: dataClasses, schema: []class{classEnum}},
			"Location": {classes: dataClasses, schemaIDs: places},
			"AccelerationVector": {
				classes: dataClasses, schemaIDs: []string{vector},
				properties: []property{unit(quantity{family: "AccelerationUnit"}, false)},
			},
			"VelocityVector": {
				classes: dataClasses, schemaIDs: []string{vector},
				properties: []property{unit(quantity{family: "VelocityUnit"}, false)},
			},
		},
	}
	return e.finish("dtmi:iotcentral:class:%s;2", 2)
}

var version2Units = unitSets(false)

// cotypesByID finds every co-type by its DTMI.
var cotypesByID = func() map[string]*cotype {
	all := map[string]*cotype{}
	add := func(e *extension) {
		for _, c := range e.cotypes {
			all[c.id] = c
		}
	}
	add(version2)
	for _, e := range extensions {
		add(e)
	}
	return all
}()

// find finds the property that a co-type adds, by its term or its DTMI.
func (c *cotype) find(key string) *property {
	for i := range c.properties {
		if p := &c.properties[i]; p.name == key || p.id == key {
			return p
		}
	}
	return nil
}

// propertyID is the DTMI of a property: the co-types that have units share it, others have their own.
func (c *cotype) propertyID(name string) string {
	if c.extension.propertyID == "" {
		return c.id + ":" + name
	}
	return fmt.Sprintf(c.extension.propertyID, name)
}

// hasUnit says whether a term or DTMI is a unit of a family.
func (e *extension) hasUnit(family, term string) bool {
	before, after, _ := strings.Cut(e.unitID, "%s")
	if name, ok := strings.CutPrefix(term, before); ok {
		term, _ = strings.CutSuffix(name, after)
	}
	return e.units[family][term]
}
