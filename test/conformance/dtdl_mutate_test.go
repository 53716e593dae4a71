package conformance_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// mutator changes models at random, from a seed.
type mutator struct{ *rand.Rand }

func pick[T any](m mutator, from []T) T { return from[m.IntN(len(from))] }

// spot is a key of an object somewhere in a model.
type spot struct {
	object map[string]any
	key    string
}

// objects lists all objects of a model, in an order that does not change.
func objects(v any) []map[string]any {
	var found []map[string]any
	switch v := v.(type) {
	case map[string]any:
		found = append(found, v)
		for _, key := range slices.Sorted(maps.Keys(v)) {
			found = append(found, objects(v[key])...)
		}
	case []any:
		for _, item := range v {
			found = append(found, objects(item)...)
		}
	}
	return found
}

// spots lists all keys of a model, or those with a name.
func spots(v any, names ...string) []spot {
	var found []spot
	for _, object := range objects(v) {
		for _, key := range slices.Sorted(maps.Keys(object)) {
			if len(names) == 0 || slices.Contains(names, key) {
				found = append(found, spot{object, key})
			}
		}
	}
	return found
}

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		copied := map[string]any{}
		for key, value := range v {
			copied[key] = clone(value)
		}
		return copied
	case []any:
		copied := make([]any, len(v))
		for i, item := range v {
			copied[i] = clone(item)
		}
		return copied
	}
	return v
}

// mutation changes a model in place, and is false if it found nothing to change.
type mutation func(m mutator, model []any) bool

// mutations are all ways in which a model is changed.
var mutations = map[string]mutation{
	"remove a key":           removeKey,
	"replace a value":        replaceValue,
	"wrap a value":           wrapValue,
	"rename":                 rename,
	"change a class":         changeClass,
	"add a type":             addType,
	"change a schema":        changeSchema,
	"nest schemas":           nestSchemas,
	"change a context":       changeContext,
	"convert":                convert,
	"add a key":              addKey,
	"repeat an item":         repeatItem,
	"drop an item":           dropItem,
	"move a property":        moveProperty,
	"change an identifier":   changeID,
	"extend":                 extend,
	"extend deeply":          extendDeeply,
	"nest a component":       nestComponent,
	"multiply":               multiply,
	"change a text":          changeText,
	"change an enum":         changeEnum,
	"change a unit":          changeUnit,
	"refer to a schema":      referToSchema,
	"drop an interface":      dropInterface,
	"change a multiplicity":  changeMultiplicity,
	"inline an interface":    inlineInterface,
	"annotate":               annotate,
	"swap schemas":           swapSchemas,
	"write DTMIs for terms":  writeTerms,
	"repeat an interface":    repeatInterface,
	"define names of others": shareName,
}

func at(m mutator, found []spot) (spot, bool) {
	if len(found) == 0 {
		return spot{}, false
	}
	return pick(m, found), true
}

// change replaces one of the values with a name.
func change(m mutator, model []any, value func(old any) any, names ...string) bool {
	s, ok := at(m, spots(model, names...))
	if ok {
		s.object[s.key] = value(s.object[s.key])
	}
	return ok
}

func anyOf(m mutator, values ...any) func(any) any {
	return func(any) any { return clone(pick(m, values)) }
}

func removeKey(m mutator, model []any) bool {
	s, ok := at(m, spots(model))
	if ok {
		delete(s.object, s.key)
	}
	return ok
}

func replaceValue(m mutator, model []any) bool {
	return change(m, model, anyOf(m, nil, true, false, json.Number("5"), json.Number("-1"), json.Number("0"), json.Number("1.5"), json.Number("1e99"), json.Number("1.0"),
		"", "x", "integer", "dtmi:test:unknown;1", "dtmi:bad", []any{}, map[string]any{}, []any{nil}, []any{"a", "b"},
		map[string]any{"@id": "dtmi:test:unknown;1"}, map[string]any{"x": "y"}))
}

func wrapValue(m mutator, model []any) bool {
	return change(m, model, func(old any) any {
		switch m.IntN(6) {
		case 0:
			return []any{old}
		case 1:
			return []any{[]any{old}}
		case 2:
			return []any{old, old}
		case 3:
			return map[string]any{"@value": old}
		case 4:
			return map[string]any{"@value": old, "@type": pick(m, []string{"xsd:string", "xsd:integer", "xsd:boolean", "x"})}
		}
		return map[string]any{"@value": old, "@language": "en"}
	})
}

func rename(m mutator, model []any) bool {
	names := []any{"", "_a", "a_", "a-b", "1a", "a b", "ä", "a__b", "A", "a.b", "name", json.Number("7"), true}
	for _, length := range []int{64, 65, 512, 513} {
		names = append(names, strings.Repeat("n", length))
	}
	for _, s := range spots(model, "name") {
		names = append(names, s.object[s.key])
	}
	return change(m, model, anyOf(m, names...), "name")
}

var classNames = []any{
	"Interface", "Telemetry", "Property", "Command", "Component", "Relationship", "CommandPayload", "CommandRequest", "CommandResponse",
	"Array", "Enum", "EnumValue", "Map", "MapKey", "MapValue", "Object", "Field", "String", "Integer", "Schema", "Content", "Unit", "CommandType",
}

func changeClass(m mutator, model []any) bool {
	return change(m, model, anyOf(m, classNames...), "@type")
}

func addType(m mutator, model []any) bool {
	types := append([]any{
		"Temperature", "Length", "RelativeDensity", "Historized", "ValueAnnotation", "Override", "Required", "Mqtt", "Idempotent", "Cacheable", "Indexed", "Transparent",
		"State", "Event", "Location", "AccelerationVector", "QuantitativeType", "SemanticType", "Foo", "x:y", "http://x/y", "dtmi:foo:bar;1", "dtmi:foo:bar", "dtmi:_x;1",
		"boolean", "degreeCelsius", "LengthUnit", "name", "dtmi:standard:class:Temperature;2", "dtmi:dtdl:class:Property;2", "dtmi:dtdl:class:Property;3",
		"dtmi:dtdl:extension:historization:v1:Historized", nil, json.Number("1"), "",
	}, classNames...)
	return change(m, model, func(old any) any {
		list, ok := old.([]any)
		if !ok {
			list = []any{old}
		}
		return append(slices.Clone(list), pick(m, types))
	}, "@type")
}

// terms are the terms of schemas in all versions, and some that are none.
var terms = []any{
	"boolean", "date", "dateTime", "double", "duration", "float", "integer", "long", "string", "time", "byte", "bytes", "decimal", "short",
	"unsignedByte", "unsignedInteger", "unsignedLong", "unsignedShort", "uuid", "scaledDecimal", "point", "multiPoint", "lineString", "multiLineString",
	"polygon", "multiPolygon", "geopoint", "vector", "TemperatureUnit", "Integer", "Object", "foo", "int", "degreeCelsius", "synchronous", "name", "x:y",
	"dtmi:dtdl:instance:Schema:boolean;2", "dtmi:dtdl:instance:Schema:boolean;3", "dtmi:dtdl:instance:Schema:boolean;4", "dtmi:dtdl:instance:Schema:foo;2",
	"dtmi:standard:schema:geospatial:point;2", "dtmi:standard:schema:geospatial:point;3", "dtmi:iotcentral:schema:vector;2", "dtmi:test:nothing;1", "dtmi:test:nothing", "dtmi:x:_y;1",
}

func field(name string, schema any) any { return map[string]any{"name": name, "schema": schema} }

func changeSchema(m mutator, model []any) bool {
	schemas := append([]any{
		map[string]any{"@type": "Array", "elementSchema": pick(m, terms)},
		map[string]any{"@type": "Enum", "valueSchema": "string"},
		map[string]any{"@type": "Enum", "valueSchema": "integer", "enumValues": []any{}},
		map[string]any{"@type": "Enum", "valueSchema": "boolean", "enumValues": []any{map[string]any{"name": "a", "enumValue": true}}},
		map[string]any{"@type": "Object"},
		map[string]any{"@type": "Object", "fields": []any{}},
		map[string]any{"@type": "Object", "fields": field("a", pick(m, terms))},
		map[string]any{"@type": "Map", "mapKey": field("k", "string"), "mapValue": field("v", pick(m, terms))},
		map[string]any{"@type": "Map", "mapKey": field("k", "integer"), "mapValue": field("v", "integer")},
		map[string]any{"@type": "Integer"},
		map[string]any{"@type": "String", "@id": "dtmi:test:aString;1"},
		map[string]any{"elementSchema": "double"},
		map[string]any{"@type": "Interface", "@id": "dtmi:test:inlineInterface;1"},
		map[string]any{"@id": "dtmi:dtdl:instance:Schema:boolean;2"},
	}, terms...)
	return change(m, model, anyOf(m, schemas...), "schema", "elementSchema", "valueSchema")
}

func nestSchemas(m mutator, model []any) bool {
	levels := 1 + m.IntN(10)
	return change(m, model, func(old any) any {
		for range levels {
			switch m.IntN(3) {
			case 0:
				old = map[string]any{"@type": "Object", "fields": []any{field("f", old)}}
			case 1:
				old = map[string]any{"@type": "Map", "mapKey": field("k", "string"), "mapValue": field("v", old)}
			default:
				old = map[string]any{"@type": "Array", "elementSchema": old}
			}
		}
		return old
	}, "schema", "elementSchema")
}

var contexts = []any{
	"dtmi:dtdl:context;2", "dtmi:dtdl:context;3", "dtmi:dtdl:context;4", "dtmi:dtdl:context;1", "dtmi:dtdl:context;5", "dtmi:dtdl:context",
	"dtmi:iotcentral:context;2", "dtmi:iotcentral:context;3", "dtmi:foo:context;1", "dtmi:foo:context", "http://foo", "", nil, map[string]any{"a": "dtmi:a;1"},
	"dtmi:dtdl:extension:quantitativeTypes;1", "dtmi:dtdl:extension:quantitativeTypes;2", "dtmi:dtdl:extension:historization;1", "dtmi:dtdl:extension:historization;2",
	"dtmi:dtdl:extension:annotation;1", "dtmi:dtdl:extension:overriding;1", "dtmi:dtdl:extension:mqtt;1", "dtmi:dtdl:extension:requirement;1", "dtmi:dtdl:extension:streaming;1",
	"dtmi:dtdl:extension:initialization;1", "dtmi:dtdl:extension:mqtt;2", "dtmi:dtdl:extension:mqtt;3",
	"dtmi:dtdl:context;2.1", "dtmi:dtdl:context;3.1", "dtmi:dtdl:context;4.0", "dtmi:dtdl:extension:historization;1.1", "dtmi:iotcentral:context;2.1",
}

func changeContext(m mutator, model []any) bool {
	return change(m, model, func(old any) any {
		list, ok := old.([]any)
		if !ok {
			list = []any{old}
		}
		list = slices.Clone(list)
		switch m.IntN(5) {
		case 0:
			return pick(m, contexts)
		case 1:
			return append(list, pick(m, contexts))
		case 2:
			return append([]any{pick(m, contexts)}, list...)
		case 3:
			slices.Reverse(list)
			return list
		}
		return []any{}
	}, "@context")
}

// convert makes a model one of another version of DTDL.
func convert(m mutator, model []any) bool {
	to := pick(m, [][]any{
		{"dtmi:dtdl:context;2"}, {"dtmi:dtdl:context;3"}, {"dtmi:dtdl:context;4"},
		{"dtmi:dtdl:context;3", "dtmi:dtdl:extension:quantitativeTypes;1"}, {"dtmi:dtdl:context;4", "dtmi:dtdl:extension:quantitativeTypes;2"},
		{"dtmi:dtdl:context;3", "dtmi:iotcentral:context;2"},
	})
	for _, s := range spots(model, "@context") {
		s.object[s.key] = slices.Clone(to)
	}
	return true
}

func addKey(m mutator, model []any) bool {
	object := pick(m, objects(model))
	key := pick(m, []string{
		"@graph", "@value", "@language", "@foo", "@context", "@id", "@type", "foo", "x:y", "dtmi:foo:bar;1", "dtmi:foo:bar", "dtmi:_x", "unit", "writable", "nullable", "index", "comment",
		"description", "displayName", "schema", "name", "contents", "extends", "schemas", "fields", "target", "annotates", "overrides", "languageMajorVersion", "symbol", "request", "properties",
		"dtmi:dtdl:property:comment;2", "dtmi:dtdl:property:comment;3", "dtmi:dtdl:property:writable;2", "minMultiplicity", "commandType",
	})
	object[key] = anyOf(m, "x", true, json.Number("1"), nil, []any{}, map[string]any{}, "metre", "integer", "dtmi:dtdl:context;2", "dtmi:test:added;1", "asynchronous")(nil)
	return true
}

var listKeys = []string{"contents", "fields", "enumValues", "schemas", "properties", "extends", "@type"}

func repeatItem(m mutator, model []any) bool {
	return change(m, model, func(old any) any {
		list, ok := old.([]any)
		if !ok || len(list) == 0 {
			return []any{old, clone(old)}
		}
		return append(slices.Clone(list), clone(pick(m, list)))
	}, listKeys...)
}

func dropItem(m mutator, model []any) bool {
	return change(m, model, func(old any) any {
		list, ok := old.([]any)
		if !ok || len(list) == 0 {
			return []any{}
		}
		i := m.IntN(len(list))
		return slices.Delete(slices.Clone(list), i, i+1)
	}, listKeys...)
}

func moveProperty(m mutator, model []any) bool {
	from, ok := at(m, spots(model))
	if !ok {
		return false
	}
	pick(m, objects(model))[from.key] = clone(from.object[from.key])
	return true
}

func changeID(m mutator, model []any) bool {
	ids := []any{
		"", "x", "dtmi:", "dtmi:a", "dtmi:a;1", "dtmi:a;0", "dtmi:a;01", "dtmi:a;1.2", "dtmi:a;1.0", "dtmi:a;1.2.3", "dtmi:a;999999999", "dtmi:a;9999999999", "dtmi:a:b:c;1", "dtmi:a::b;1",
		"dtmi:_a;1", "dtmi:a_;1", "dtmi:1a;1", "dtmi:a-b;1", "dtmi:a;1#x", "dtmi:a;1#", "dtmi:dtdl:a;1", "dtmi:standard:a;1", "dtmi:iotcentral:a;1", "DTMI:a;1", "dtmi:ä;1", " dtmi:a;1", "dtmi:a;",
		json.Number("1"), nil, []any{"dtmi:a;1"},
	}
	for _, length := range []int{128, 129, 2048, 2049} {
		ids = append(ids, "dtmi:"+strings.Repeat("a", length-7)+";1")
	}
	for _, s := range spots(model, "@id") {
		ids = append(ids, s.object[s.key])
	}
	if m.IntN(3) == 0 {
		pick(m, objects(model))["@id"] = pick(m, ids)
		return true
	}
	return change(m, model, anyOf(m, ids...), "@id", "target", "extends")
}

// top lists the interfaces of a set that are not inline.
func top(model []any) []map[string]any {
	var found []map[string]any
	for _, v := range model {
		if object, ok := v.(map[string]any); ok {
			found = append(found, object)
		}
	}
	return found
}

func extend(m mutator, model []any) bool {
	interfaces := top(model)
	if len(interfaces) == 0 {
		return false
	}
	list := []any{pick(m, interfaces)["@id"]}
	for range m.IntN(4) {
		list = append(list, pick(m, interfaces)["@id"])
	}
	if m.IntN(4) == 0 {
		list = append(list, pick(m, []any{"dtmi:test:nothing;1", nil, "Interface", map[string]any{"@type": "Interface", "@id": "dtmi:test:in;1"}, map[string]any{"@type": "Interface"}}))
	}
	pick(m, interfaces)["extends"] = list
	return true
}

// contextOf is the version of DTDL that the first interface has.
func contextOf(model []any) any {
	for _, object := range top(model) {
		return clone(object["@context"])
	}
	return nil
}

func extendDeeply(m mutator, model []any) bool {
	interfaces := top(model)
	if len(interfaces) == 0 {
		return false
	}
	levels, loop := 1+m.IntN(14), m.IntN(6) == 0
	for i := range levels {
		next := map[string]any{"@context": contextOf(model), "@type": "Interface", "@id": fmt.Sprintf("dtmi:test:level%d;1", i)}
		if i+1 < levels || loop {
			next["extends"] = fmt.Sprintf("dtmi:test:level%d;1", (i+1)%levels)
		}
		interfaces = append(interfaces, next)
	}
	interfaces[0]["extends"] = "dtmi:test:level0;1"
	model[0] = []any{model[0], asList(interfaces[len(interfaces)-levels:])}
	return true
}

func asList[T any](items []T) []any {
	list := make([]any, len(items))
	for i, item := range items {
		list[i] = item
	}
	return list
}

func addContent(m mutator, model []any, content any) bool {
	interfaces := top(model)
	if len(interfaces) == 0 {
		return false
	}
	i := pick(m, interfaces)
	list, ok := i["contents"].([]any)
	if !ok && i["contents"] != nil {
		list = []any{i["contents"]}
	}
	i["contents"] = append(slices.Clone(list), content)
	return true
}

func nestComponent(m mutator, model []any) bool {
	interfaces := top(model)
	if len(interfaces) == 0 {
		return false
	}
	return addContent(m, model, map[string]any{"@type": "Component", "name": "added", "schema": pick(m, interfaces)["@id"]})
}

func multiply(m mutator, model []any) bool {
	what := pick(m, []string{"contents", "fields", "enumValues", "properties"})
	count := pick(m, []int{30, 31, 100, 101, 300, 301})
	return change(m, model, func(any) any {
		list := make([]any, count)
		for i := range list {
			item := map[string]any{"@type": "Property", "name": fmt.Sprintf("n%d", i), "schema": "integer"}
			switch what {
			case "fields":
				item["@type"] = "Field"
			case "enumValues":
				item = map[string]any{"name": fmt.Sprintf("n%d", i), "enumValue": json.Number(fmt.Sprint(i))}
			}
			list[i] = item
		}
		return list
	}, what)
}

func changeText(m mutator, model []any) bool {
	var texts []any
	for _, length := range []int{0, 64, 65, 512, 513} {
		text := strings.Repeat("x", length)
		texts = append(texts, text, strings.Repeat("😀", length/2), map[string]any{"en": text}, []any{text}, map[string]any{"@value": text, "@language": "en"})
	}
	for _, language := range []string{"en", "EN", "en-US", "en-us", "zh-Hans", "zh-Hans-CN", "e", "english", "es-419", "x-y", "", "@id", "@none"} {
		texts = append(texts, map[string]any{language: "x"}, []any{map[string]any{"@language": language, "@value": "x"}})
	}
	texts = append(texts, []any{"a", map[string]any{"@language": "en", "@value": "b"}}, []any{"a", map[string]any{"@language": "de", "@value": "b", "x": "y"}},
		[]any{map[string]any{"@language": "de"}}, map[string]any{"en": json.Number("1")}, map[string]any{"en": []any{"x"}}, map[string]any{"en": nil})
	pick(m, objects(model))[pick(m, []string{"displayName", "description", "comment"})] = pick(m, texts)
	return true
}

func changeEnum(m mutator, model []any) bool {
	if m.IntN(4) == 0 {
		return change(m, model, anyOf(m, "integer", "string", "boolean", "long", "dtmi:dtdl:instance:Schema:string;2", "dtmi:dtdl:instance:Schema:integer;3", "dtmi:test:nothing;1"), "valueSchema")
	}
	values := []any{
		"a", "", json.Number("1"), json.Number("1.0"), json.Number("1.5"), json.Number("2147483647"), json.Number("2147483648"), json.Number("-2147483648"), json.Number("1e2"), true, nil,
		map[string]any{"@value": "a"}, map[string]any{"@value": json.Number("1"), "@type": "xsd:integer"}, []any{"a"}, []any{}, []any{"a", "b"}, map[string]any{},
	}
	for _, s := range spots(model, "enumValue") {
		values = append(values, s.object[s.key])
	}
	return change(m, model, anyOf(m, values...), "enumValue")
}

func changeUnit(m mutator, model []any) bool {
	units := []any{
		"degreeCelsius", "kelvin", "metre", "gauss", "percent", "partsPerMillion", "unity", "foo", "", nil, json.Number("1"), "dtmi:standard:unit:degreeCelsius;2", "dtmi:standard:unit:metre;2",
		"dtmi:dtdl:extension:quantitativeTypes:v1:unit:degreeCelsius", "dtmi:test:nothing;1", []any{"metre"}, []any{}, []any{"metre", "metre"}, map[string]any{"@value": "metre"},
	}
	if m.IntN(2) == 0 {
		var found []map[string]any
		for _, object := range objects(model) {
			if object["schema"] != nil && object["@type"] != nil {
				found = append(found, object)
			}
		}
		if len(found) == 0 {
			return false
		}
		object := pick(m, found)
		object["@type"] = []any{object["@type"], pick(m, []any{"Temperature", "Length", "RelativeHumidity", "MagneticInduction", "Irradiance", "Concentration"})}
		if list, ok := object["@type"].([]any)[0].([]any); ok {
			object["@type"] = append(slices.Clone(list), object["@type"].([]any)[1])
		}
		object["schema"] = pick(m, []any{"double", "integer", "string", object["schema"]})
		object["unit"] = pick(m, units)
		return true
	}
	return change(m, model, anyOf(m, units...), "unit")
}

func referToSchema(m mutator, model []any) bool {
	var ids []any
	for _, s := range spots(model, "@id") {
		ids = append(ids, s.object[s.key])
	}
	if len(ids) == 0 {
		return false
	}
	return change(m, model, anyOf(m, ids...), "schema", "elementSchema", "valueSchema", "extends", "request", "mapValue", "contents")
}

func dropInterface(m mutator, model []any) bool {
	if len(model) < 2 {
		return false
	}
	model[1+m.IntN(len(model)-1)] = []any{}
	return true
}

func changeMultiplicity(m mutator, model []any) bool {
	relationship := map[string]any{"@type": "Relationship", "name": "addedRelationship"}
	for _, key := range []string{"minMultiplicity", "maxMultiplicity", "target", "writable"} {
		if m.IntN(2) == 0 {
			relationship[key] = pick(m, []any{json.Number("0"), json.Number("1"), json.Number("500"), json.Number("501"), json.Number("-1"), json.Number("1.5"), json.Number("3000000000"), "1", "dtmi:x;1", "dtmi:x", true, nil, []any{}})
		}
	}
	return addContent(m, model, relationship)
}

func inlineInterface(m mutator, model []any) bool {
	inline := map[string]any{"@type": "Interface", "@id": "dtmi:test:inlined;1", "contents": []any{map[string]any{"@type": "Property", "name": "p", "schema": pick(m, terms)}}}
	if m.IntN(2) == 0 {
		inline["@context"] = pick(m, contexts)
	}
	if m.IntN(2) == 0 {
		inline["schemas"] = []any{map[string]any{"@type": "Object", "@id": "dtmi:test:inlinedSchema;1", "fields": []any{field("f", "integer")}}}
		addContent(m, model, map[string]any{"@type": "Property", "name": "usesInlined", "schema": "dtmi:test:inlinedSchema;1"})
	}
	return addContent(m, model, map[string]any{"@type": "Component", "name": "inlined", "schema": inline})
}

func annotate(m mutator, model []any) bool {
	about := []any{"nothing"}
	for _, s := range spots(model, "name") {
		about = append(about, s.object[s.key])
	}
	content := map[string]any{
		"@type": []any{"Property", "ValueAnnotation"}, "name": fmt.Sprintf("annotation%d", m.IntN(3)), "annotates": pick(m, about),
		"schema": pick(m, []any{"integer", "TemperatureUnit", "LengthUnit"}),
	}
	if m.IntN(2) == 0 {
		content["@type"] = []any{"Property", "ValueAnnotation", "Override"}
		content["overrides"] = pick(m, []any{"unit", "name", "schema", "writable", "foo", "dtmi:foo;1", "", "annotates", "x:y"})
	}
	return addContent(m, model, content)
}

func swapSchemas(m mutator, model []any) bool {
	a, okA := at(m, spots(model, "schema", "elementSchema"))
	b, okB := at(m, spots(model, "schema", "elementSchema"))
	if okA && okB {
		a.object[a.key], b.object[b.key] = clone(b.object[b.key]), clone(a.object[a.key])
	}
	return okA && okB
}

func writeTerms(m mutator, model []any) bool {
	version := pick(m, []string{"2", "3", "4"})
	object := pick(m, objects(model))
	for key, value := range maps.Clone(object) {
		if text, ok := value.(string); ok && key == "@type" {
			object[key] = "dtmi:dtdl:class:" + text + ";" + version
		}
		if !strings.HasPrefix(key, "@") && m.IntN(2) == 0 {
			delete(object, key)
			object["dtmi:dtdl:property:"+key+";"+version] = value
		}
	}
	return true
}

func repeatInterface(m mutator, model []any) bool {
	model[0] = []any{model[0], clone(pick(m, model))}
	return true
}

// shareName gives an inherited name a second meaning.
func shareName(m mutator, model []any) bool {
	names := spots(model, "name")
	if len(names) == 0 {
		return false
	}
	return addContent(m, model, map[string]any{"@type": "Telemetry", "name": pick(m, names).object["name"], "schema": "integer"})
}
