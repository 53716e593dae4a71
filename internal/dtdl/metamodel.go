package dtdl

import "slices"

// class is a metamodel class: what @type says an element is.
type class string

// The classes that an element may have, and those that stand for several of them.
const (
	classInterface    class = "Interface"
	classTelemetry    class = "Telemetry"
	classProperty     class = "Property"
	classCommand      class = "Command"
	classComponent    class = "Component"
	classRelationship class = "Relationship"
	classRequest      class = "CommandRequest"
	classResponse     class = "CommandResponse"
	classPayload      class = "CommandPayload"
	classCommandType  class = "CommandType"
	classArray        class = "Array"
	classEnum         class = "Enum"
	classEnumValue    class = "EnumValue"
	classMap          class = "Map"
	classMapKey       class = "MapKey"
	classMapValue     class = "MapValue"
	classObject       class = "Object"
	classField        class = "Field"
	classString       class = "String"

	classContent       class = "Content"
	classSchema        class = "Schema"
	classComplexSchema class = "ComplexSchema"
	classPrimitive     class = "PrimitiveSchema"
	classNumeric       class = "NumericSchema"
)

// subclasses lists what may stand where a class is asked for. Classes that are not in it stand for themselves.
var subclasses = map[class][]class{
	classContent:       {classCommand, classComponent, classProperty, classRelationship, classTelemetry},
	classComplexSchema: {classArray, classEnum, classMap, classObject},
	classSchema:        slices.Concat([]class{classArray, classEnum, classMap, classObject}, primitiveClasses),
	classPrimitive:     primitiveClasses,
	classNumeric:       {"Byte", "Decimal", "Double", "Float", "Integer", "Long", "Short", "UnsignedByte", "UnsignedInteger", "UnsignedLong", "UnsignedShort"},
}

var primitiveClasses = []class{
	"Boolean", "Byte", "Bytes", "Date", "DateTime", "Decimal", "Double", "Duration", "Float", "Integer", "Long", "Short", "String",
	"Time", "UnsignedByte", "UnsignedInteger", "UnsignedLong", "UnsignedShort", "Uuid",
}

// sinceV4 are the classes that DTDL v4 adds: DTDL v4, section "Primitive schemas".
var sinceV4 = []class{"Byte", "Bytes", "Decimal", "Short", "UnsignedByte", "UnsignedInteger", "UnsignedLong", "UnsignedShort", "Uuid"}

// otherClasses are known to the metamodel, but no element of a document may be one.
var otherClasses = []class{
	"Entity", "NamedEntity", "SchemaField", "TemporalSchema", "LatentType", "NamedLatentType", "Unit", "UnitAttribute",
	classPayload, classRequest, classResponse, classCommandType, classContent, classSchema, classComplexSchema, classPrimitive, classNumeric,
}

// since is the version of DTDL that brought a class.
func (c class) since() int {
	if slices.Contains(sinceV4, c) {
		return newestVersion
	}
	return oldestVersion
}

// is says whether an element of a class may stand where another is asked for.
func (c class) is(asked class) bool {
	return c == asked || slices.Contains(subclasses[asked], c)
}

// definable lists the classes that an element may have where one is asked for. Primitive schemas are only referred to.
func (c class) definable() []class {
	if c == classSchema {
		c = classComplexSchema
	}
	if all, ok := subclasses[c]; ok {
		return all
	}
	return []class{c}
}

// typeName is what @type says for a class: the payloads have names of their own since v3.
func (c class) typeName(version int) string {
	if version == 2 && (c == classRequest || c == classResponse) {
		return string(classPayload)
	}
	return string(c)
}

var knownClasses = func() map[string]bool {
	known := map[string]bool{}
	for c := range classProperties {
		known[string(c)] = true
	}
	for _, c := range slices.Concat(primitiveClasses, otherClasses) {
		known[string(c)] = true
	}
	return known
}()

// form is what the value of a property may be.
type form uint8

const (
	textForm     form = iota // a string
	nameForm                 // a string that is a DTDL name
	langForm                 // a string, or strings by language
	boolForm                 // true or false
	integerForm              // a 32-bit integer
	literalForm              // a string, number or boolean
	idForm                   // a DTMI or a term, which need not be defined in the documents
	elementForm              // elements and references to elements
	unitForm                 // a unit of a family
	durationForm             // an ISO 8601 duration
	topicForm                // an MQTT topic pattern
	groupForm                // an MQTT group identifier
)

// property is a property that elements of a class, or with a co-type, may have.
type property struct {
	name     string
	form     form
	required bool
	maximum  int // bytes of a text

	// Of elements.
	class   class
	plural  bool
	typed   bool     // an inline element needs @type; otherwise its class goes without saying
	named   bool     // an inline element needs @id
	terms   []string // the only references that are taken
	unique  []string // literals that no two of the elements may share
	version int      // of DTDL that brought the property
	own     bool     // takes no elements of older versions of DTDL

	// Of integers.
	minimum int

	// Of units.
	family string

	id string // of one that a co-type adds
}

// describing are the properties that all elements have: DTDL v2 to v4, every table of a metamodel class.
var describing = []property{
	{name: "comment", form: textForm, maximum: maxComment},
	{name: "description", form: langForm, maximum: maxDescription},
	{name: "displayName", form: langForm},
}

var (
	nameProperty   = property{name: "name", form: nameForm, required: true}
	schemaProperty = property{name: "schema", form: elementForm, class: classSchema, required: true, typed: true}
	payloadFields  = []property{nameProperty, schemaProperty, {name: "nullable", form: boolForm, version: 4}}
	commandTypes   = []string{"asynchronous", "synchronous"}
)

// classProperties are the tables of DTDL v2 to v4, sections "Interface" to "Object", of the properties that a class adds.
var classProperties = map[class][]property{
	classInterface: {
		{name: "contents", form: elementForm, class: classContent, plural: true, typed: true, unique: []string{"name"}},
		{name: "extends", form: elementForm, class: classInterface, plural: true, typed: true, named: true},
		{name: "schemas", form: elementForm, class: classComplexSchema, plural: true, typed: true, named: true, own: true},
	},
	classTelemetry: {nameProperty, schemaProperty},
	classProperty:  {nameProperty, schemaProperty, {name: "writable", form: boolForm}},
	classCommand: {
		nameProperty,
		{name: "request", form: elementForm, class: classRequest, own: true},
		{name: "response", form: elementForm, class: classResponse, own: true},
		{name: "commandType", form: elementForm, class: classCommandType, typed: true, named: true, terms: commandTypes, own: true},
	},
	classComponent: {nameProperty, {name: "schema", form: elementForm, class: classInterface, required: true, typed: true, named: true}},
	classRelationship: {
		nameProperty,
		{name: "minMultiplicity", form: integerForm},
		{name: "maxMultiplicity", form: integerForm, minimum: 1},
		{name: "properties", form: elementForm, class: classProperty, plural: true, typed: true, unique: []string{"name"}},
		{name: "target", form: idForm},
		{name: "writable", form: boolForm},
	},
	classRequest:  payloadFields,
	classResponse: payloadFields,
	classArray:    {{name: "elementSchema", form: elementForm, class: classSchema, required: true, typed: true}},
	classEnum: {
		{name: "enumValues", form: elementForm, class: classEnumValue, plural: true, unique: []string{"name", "enumValue"}, own: true},
		{name: "valueSchema", form: elementForm, class: classPrimitive, required: true, typed: true, named: true, terms: []string{"integer", "string"}},
	},
	classEnumValue: {nameProperty, {name: "enumValue", form: literalForm, required: true}},
	classMap: {
		{name: "mapKey", form: elementForm, class: classMapKey, required: true, own: true},
		{name: "mapValue", form: elementForm, class: classMapValue, required: true, own: true},
	},
	classMapKey:   {nameProperty, {name: "schema", form: elementForm, class: classString, required: true, typed: true, named: true, terms: []string{"string"}}},
	classMapValue: {nameProperty, schemaProperty},
	classObject:   {{name: "fields", form: elementForm, class: classField, plural: true, unique: []string{"name"}, own: true}},
	classField:    {nameProperty, schemaProperty},
}

// findProperty finds the property of a class that a key names, by its term or its DTMI.
func findProperty(c class, key string, version int) *property {
	key = withoutPrefix(key, "dtmi:dtdl:property:", version)
	for _, table := range [][]property{classProperties[c], describing} {
		for i := range table {
			if table[i].name == key && table[i].version <= version {
				return &table[i]
			}
		}
	}
	return nil
}

// needed says whether an element must have a property: an object or enum of DTDL v2 cannot be empty.
func (l *limits) needed(p *property) bool {
	least, _ := l.count(p)
	return p.required || least > 0
}

// count is how many values a property may have, from and to. 0 is no limit.
func (l *limits) count(p *property) (least, most int) {
	switch p.name {
	case "contents":
		return 0, 0 // checked with what is inherited
	case "extends":
		return 0, l.extends
	case "fields":
		return l.fieldsMin, l.fieldsMax
	case "enumValues":
		return l.enumValuesMin, l.enumValuesMax
	case "properties":
		return 0, l.relationshipProperties
	}
	return 0, 0
}
