package dtdl_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

// thing is an interface of a version of DTDL with some more keys.
func thing(version int, keys string) string {
	if keys != "" {
		keys = "," + keys
	}
	return fmt.Sprintf(`{"@context":"dtmi:dtdl:context;%d","@id":"dtmi:test:Thing;1","@type":"Interface"%s}`, version, keys)
}

// having is an interface with contents.
func having(version int, contents ...string) string {
	return thing(version, `"contents":[`+strings.Join(contents, ",")+`]`)
}

// property is a Property with a schema and more keys.
func property(schema string, more ...string) string {
	return fmt.Sprintf(`{%s}`, strings.Join(append([]string{`"@type":"Property","name":"p","schema":` + schema}, more...), ","))
}

// telemetry is a Telemetry with a schema.
func telemetry(schema string) string {
	return fmt.Sprintf(`{"@type":"Telemetry","name":"t","schema":%s}`, schema)
}

// extended is an interface of a version of DTDL with extensions, and contents.
func extended(version int, extensions string, contents ...string) string {
	return fmt.Sprintf(`{"@context":["dtmi:dtdl:context;%d",%s],"@id":"dtmi:test:Thing;1","@type":"Interface","contents":[%s]}`, version, extensions, strings.Join(contents, ","))
}

// nested wraps a schema in objects.
func nested(levels int, schema string) string {
	for range levels {
		schema = `{"@type":"Object","fields":[{"name":"f","schema":` + schema + `}]}`
	}
	return schema
}

// many makes count items of a format that takes a number.
func many(count int, format string) string {
	items := make([]string, count)
	for i := range items {
		items[i] = strings.ReplaceAll(format, "%d", fmt.Sprint(i))
	}
	return strings.Join(items, ",")
}

// enum is an Enum with values.
func enum(valueSchema, values string) string {
	return fmt.Sprintf(`{"@type":"Enum","valueSchema":%q,"enumValues":[%s]}`, valueSchema, values)
}

const (
	quantitative1 = `"dtmi:dtdl:extension:quantitativeTypes;1"`
	quantitative2 = `"dtmi:dtdl:extension:quantitativeTypes;2"`
	overriding    = quantitative1 + `,"dtmi:dtdl:extension:annotation;1","dtmi:dtdl:extension:overriding;1"`
	base          = `{"@context":"dtmi:dtdl:context;2","@id":"dtmi:test:Base;1","@type":"Interface","contents":[{"@type":"Property","name":"p","schema":"double"}]}`
)

// overridesUnit is a Property that overrides the unit of "p".
func overridesUnit(name, schema string) string {
	return fmt.Sprintf(`{"@type":["Property","ValueAnnotation","Override"],"name":%q,"annotates":"p","overrides":"unit","schema":%q}`, name, schema)
}

// rules are documents and the rules that they break, none for a valid one.
var rules = map[string]struct {
	document string
	want     []string
}{
	"an interface alone":                       {thing(2, ""), nil},
	"a list of interfaces":                     {"[" + thing(3, "") + "]", nil},
	"what is not JSON":                         {`{"@id":`, []string{"jsonInvalid"}},
	"two values":                               {thing(2, "") + thing(2, ""), []string{"jsonInvalid"}},
	"a string":                                 {`"x"`, []string{"notAnInterface"}},
	"nothing":                                  {``, []string{"jsonInvalid"}},
	"an empty list":                            {`[]`, nil},
	"JSON that is too deep":                    {strings.Repeat("[", 65) + strings.Repeat("]", 65), []string{"jsonInvalid"}},
	"no context":                               {`{"@id":"dtmi:test:Thing;1","@type":"Interface"}`, []string{"contextMissing"}},
	"an empty context":                         {`{"@context":[],"@id":"dtmi:test:Thing;1","@type":"Interface"}`, []string{"contextMissing"}},
	"a context of version 5":                   {thing(5, ""), []string{"contextUnknown"}},
	"a context that is a number":               {`{"@context":2,"@id":"dtmi:test:Thing;1","@type":"Interface"}`, []string{"contextInvalid"}},
	"IoT Central's context first":              {`{"@context":["dtmi:iotcentral:context;2","dtmi:dtdl:context;2"],"@id":"dtmi:test:Thing;1","@type":"Interface"}`, nil},
	"another extension first":                  {`{"@context":["dtmi:dtdl:extension:mqtt;1","dtmi:dtdl:context;3"],"@id":"dtmi:test:Thing;1","@type":"Interface"}`, []string{"contextMissing"}},
	"DTDL's context after an extension":        {extended(2, `"dtmi:foo:bar;1","dtmi:dtdl:context;2"`), []string{"contextOrder"}},
	"an unknown extension in v2":               {extended(2, `"dtmi:foo:bar;1"`), nil},
	"an unknown extension in v3":               {extended(3, `"dtmi:foo:bar;1"`), []string{"contextUnknown"}},
	"an extension that is no DTMI":             {extended(2, `"http://foo"`), []string{"contextInvalid"}},
	"minor versions of contexts":               {`{"@context":["dtmi:dtdl:context;3.1","dtmi:dtdl:extension:mqtt;1.2"],"@id":"dtmi:test:Thing;1","@type":"Interface"}`, nil},
	"minor versions of contexts in v2":         {`{"@context":"dtmi:dtdl:context;2.1","@id":"dtmi:test:Thing;1","@type":"Interface"}`, []string{"contextUnknown"}},
	"limits of another kind":                   {extended(4, `"dtmi:dtdl:limits:onvif;1"`), []string{"contextUnknown"}},
	"no identifier":                            {`{"@context":"dtmi:dtdl:context;2","@type":"Interface"}`, []string{"idMissing"}},
	"an identifier without version in v2":      {`{"@context":"dtmi:dtdl:context;2","@id":"dtmi:test:Thing","@type":"Interface"}`, []string{"idInvalid"}},
	"an identifier without version in v3":      {`{"@context":"dtmi:dtdl:context;3","@id":"dtmi:test:Thing","@type":"Interface"}`, nil},
	"an identifier with a minor version in v3": {`{"@context":"dtmi:dtdl:context;3","@id":"dtmi:test:Thing;1.2","@type":"Interface"}`, nil},
	"an identifier with a minor version in v2": {`{"@context":"dtmi:dtdl:context;2","@id":"dtmi:test:Thing;1.2","@type":"Interface"}`, []string{"idInvalid"}},
	"an identifier of version 0":               {`{"@context":"dtmi:dtdl:context;3","@id":"dtmi:test:Thing;0","@type":"Interface"}`, []string{"idInvalid"}},
	"an identifier of 128 characters":          {`{"@context":"dtmi:dtdl:context;2","@id":"dtmi:` + strings.Repeat("a", 121) + `;1","@type":"Interface"}`, nil},
	"an identifier of 129 characters":          {`{"@context":"dtmi:dtdl:context;2","@id":"dtmi:` + strings.Repeat("a", 122) + `;1","@type":"Interface"}`, []string{"idTooLong"}},
	"an element's identifier of 2049":          {having(2, `{"@id":"dtmi:`+strings.Repeat("a", 2042)+`;1","@type":"Command","name":"c"}`), []string{"idTooLong"}},
	"an element's identifier of 2048":          {having(2, `{"@id":"dtmi:`+strings.Repeat("a", 2041)+`;1","@type":"Command","name":"c"}`), nil},
	"an identifier of DTDL's":                  {`{"@context":"dtmi:dtdl:context;2","@id":"dtmi:dtdl:Thing;1","@type":"Interface"}`, []string{"idReserved"}},
	"an identifier that is a number":           {`{"@context":"dtmi:dtdl:context;2","@id":1,"@type":"Interface"}`, []string{"idInvalid"}},
	"an identifier twice":                      {"[" + thing(2, "") + "," + thing(2, "") + "]", []string{"idRepeated"}},
	"an element that is only an identifier":    {having(2, `{"@id":"dtmi:a;1"}`), []string{"idOnly"}},
	"no type":                                  {`{"@context":"dtmi:dtdl:context;2","@id":"dtmi:test:Thing;1"}`, []string{"typeMissing"}},
	"a type that does not fit":                 {having(2, `{"@type":"Field","name":"f","schema":"string"}`), []string{"typeInvalid"}},
	"two types":                                {having(2, `{"@type":["Property","Telemetry"],"name":"f","schema":"string"}`), []string{"typeInvalid"}},
	"a type that is a number":                  {having(2, `{"@type":[1],"name":"f","schema":"string"}`), []string{"typeInvalid"}},
	"a type by its DTMI":                       {having(2, `{"@type":"dtmi:dtdl:class:Command;2","name":"f"}`), nil},
	"a type by the DTMI of another version":    {having(2, `{"@type":"dtmi:dtdl:class:Command;3","name":"f"}`), []string{"typeUnknown"}},
	"a type of one in a list":                  {having(2, `{"@type":["Command"],"name":"f"}`), nil},
	"contents of one without a list":           {thing(2, `"contents":{"@type":"Command","name":"f"}`), nil},
	"an unknown co-type and property in v2":    {having(2, `{"@type":["Command","Foo"],"name":"f","bar":1}`), nil},
	"an unknown property alone in v2":          {having(2, `{"@type":"Command","name":"f","bar":1}`), []string{"propertyUnknown"}},
	"an unknown co-type in v3":                 {having(3, `{"@type":["Command","Foo"],"name":"f"}`), []string{"typeUnknown"}},
	"an unknown property in v3":                {having(3, `{"@type":"Command","name":"f","bar":1}`), []string{"propertyUnknown"}},
	"a co-type that is a term":                 {having(2, `{"@type":["Command","boolean"],"name":"f"}`), []string{"typeUnknown"}},
	"a keyword in v2":                          {thing(2, `"@foo":1`), nil},
	"a keyword in v3":                          {thing(3, `"@foo":1`), []string{"keywordUnknown"}},
	"a graph":                                  {thing(2, `"@graph":[]`), []string{"keywordUnknown"}},
	"a repeated property":                      {thing(2, `"comment":"a","comment":"b"`), []string{"keyRepeated"}},
	"a repeated keyword":                       {thing(2, `"@type":"Interface"`), []string{"keyRepeated"}},
	"a property by its DTMI":                   {thing(2, `"dtmi:dtdl:property:comment;2":"a"`), nil},
	"a property by its term and DTMI":          {thing(2, `"comment":"a","dtmi:dtdl:property:comment;2":"a"`), []string{"keyRepeated"}},
	"an empty key":                             {thing(2, `"":1`), []string{"propertyUnknown"}},
	"no name":                                  {having(2, `{"@type":"Command"}`), []string{"propertyMissing"}},
	"a name with a dash":                       {having(2, `{"@type":"Command","name":"a-b"}`), []string{"nameInvalid"}},
	"a name that begins with a digit":          {having(2, `{"@type":"Command","name":"1a"}`), []string{"nameInvalid"}},
	"a name that ends with _":                  {having(2, `{"@type":"Command","name":"a_"}`), []string{"nameInvalid"}},
	"a name of one letter":                     {having(2, `{"@type":"Command","name":"a"}`), nil},
	"a name of 64 characters in v2":            {having(2, `{"@type":"Command","name":"`+strings.Repeat("a", 64)+`"}`), nil},
	"a name of 65 characters in v2":            {having(2, `{"@type":"Command","name":"`+strings.Repeat("a", 65)+`"}`), []string{"nameTooLong"}},
	"a name of 512 characters in v3":           {having(3, `{"@type":"Command","name":"`+strings.Repeat("a", 512)+`"}`), nil},
	"a name of 513 characters in v3":           {having(3, `{"@type":"Command","name":"`+strings.Repeat("a", 513)+`"}`), []string{"nameTooLong"}},
	"a name that is a number":                  {having(2, `{"@type":"Command","name":1}`), []string{"valueInvalid"}},
	"a name in a value object":                 {having(2, `{"@type":"Command","name":{"@value":"a","@type":"xsd:string"}}`), nil},
	"a name in a value object of another type": {having(2, `{"@type":"Command","name":{"@value":"a","@type":"xsd:integer"}}`), []string{"valueInvalid"}},
	"a name twice":                             {having(2, `{"@type":"Command","name":"p"}`, property(`"string"`)), []string{"nameRepeated"}},
	"two names":                                {having(2, `{"@type":"Command","name":["a","b"]}`), []string{"valueCount"}},
	"a display name by language":               {thing(2, `"displayName":{"en":"Thing","de":"Ding","zh-Hans":"x"}`), nil},
	"a display name in a wrong language":       {thing(2, `"displayName":{"english":"Thing"}`), []string{"languageInvalid"}},
	"a display name of 65 characters in v2":    {thing(2, `"displayName":"`+strings.Repeat("a", 65)+`"`), []string{"textTooLong"}},
	"a display name of 65 characters in v3":    {thing(3, `"displayName":{"en":"`+strings.Repeat("a", 65)+`"}`), nil},
	"a display name of 513 characters in v3":   {thing(3, `"displayName":{"en":"`+strings.Repeat("a", 513)+`"}`), []string{"textTooLong"}},
	"a description of 513 characters":          {thing(2, `"description":"`+strings.Repeat("a", 513)+`"`), []string{"textTooLong"}},
	"a description of 256 emojis":              {thing(2, `"description":"`+strings.Repeat("😀", 256)+`"`), nil},
	"a description of 257 emojis":              {thing(2, `"description":"`+strings.Repeat("😀", 257)+`"`), []string{"textTooLong"}},
	"a comment of 513 characters":              {thing(2, `"comment":"`+strings.Repeat("a", 513)+`"`), []string{"textTooLong"}},
	"a comment by language":                    {thing(2, `"comment":{"en":"a"}`), []string{"valueInvalid"}},
	"tagged texts":                             {thing(2, `"displayName":["a",{"@language":"de","@value":"b"}]`), nil},
	"tagged texts of the same language":        {thing(2, `"displayName":["a",{"@language":"en","@value":"b"}]`), []string{"languageRepeated"}},
	"no schema":                                {having(2, `{"@type":"Property","name":"p"}`), []string{"propertyMissing"}},
	"an unknown schema":                        {having(2, property(`"int"`)), []string{"referenceInvalid"}},
	"a schema of v4 in v3":                     {having(3, property(`"byte"`)), []string{"referenceInvalid"}},
	"a schema of v4 in v4":                     {having(4, property(`"byte"`)), nil},
	"an inline primitive schema":               {having(2, property(`{"@type":"Integer"}`)), []string{"typeInvalid"}},
	"a schema that is a number":                {having(2, property(`5`)), []string{"valueInvalid"}},
	"two schemas":                              {having(2, property(`["string","integer"]`)), []string{"valueCount"}},
	"one schema in a list":                     {having(2, property(`["string"]`)), nil},
	"no schema in a list":                      {having(2, property(`[]`)), []string{"tooFew"}},
	"an array in a property of v2":             {having(2, property(`{"@type":"Object","fields":[{"name":"f","schema":{"@type":"Array","elementSchema":"string"}}]}`)), []string{"arrayInProperty"}},
	"an array in a property of v3":             {having(3, property(`{"@type":"Array","elementSchema":"string"}`)), nil},
	"an array in telemetry of v2":              {having(2, telemetry(`{"@type":"Array","elementSchema":"string"}`)), nil},
	"a point in a property of v2":              {having(2, property(`"point"`)), []string{"arrayInProperty"}},
	"a point in telemetry":                     {having(2, telemetry(`"point"`)), nil},
	"an object of 30 fields in v2":             {having(2, property(`{"@type":"Object","fields":[`+many(30, `{"name":"f%d","schema":"string"}`)+`]}`)), nil},
	"an object of 31 fields in v2":             {having(2, property(`{"@type":"Object","fields":[`+many(31, `{"name":"f%d","schema":"string"}`)+`]}`)), []string{"tooMany"}},
	"an object of 31 fields in v3":             {having(3, property(`{"@type":"Object","fields":[`+many(31, `{"name":"f%d","schema":"string"}`)+`]}`)), nil},
	"an object without fields in v2":           {having(2, property(`{"@type":"Object","fields":[]}`)), []string{"tooFew"}},
	"an object without any fields in v2":       {having(2, property(`{"@type":"Object"}`)), []string{"propertyMissing"}},
	"an object without any fields in v3":       {having(3, property(`{"@type":"Object"}`)), nil},
	"a field twice":                            {having(2, property(`{"@type":"Object","fields":[{"name":"f","schema":"string"},{"name":"f","schema":"string"}]}`)), []string{"nameRepeated"}},
	"five levels of objects in v2":             {having(2, property(nested(5, `"string"`))), nil},
	"six levels of objects in v2":              {having(2, property(nested(6, `"string"`))), []string{"schemaTooDeep"}},
	"eight levels of objects in v4":            {having(4, property(nested(8, `"string"`))), nil},
	"nine levels of objects in v4":             {having(4, property(nested(9, `"string"`))), []string{"schemaTooDeep"}},
	"an enum":                                  {having(2, property(enum("string", `{"name":"a","enumValue":"x"}`))), nil},
	"an enum without values in v2":             {having(2, property(enum("string", ``))), []string{"tooFew"}},
	"an enum without values in v3":             {having(3, property(enum("string", ``))), nil},
	"an enum of 101 values in v2":              {having(2, property(enum("integer", many(101, `{"name":"a%d","enumValue":%d}`)))), []string{"tooMany"}},
	"an enum of 101 values in v3":              {having(3, property(enum("integer", many(101, `{"name":"a%d","enumValue":%d}`)))), nil},
	"an enum of booleans":                      {having(2, property(enum("boolean", `{"name":"a","enumValue":true}`))), []string{"referenceInvalid"}},
	"an enum of integers with a string":        {having(2, property(enum("integer", `{"name":"a","enumValue":"x"}`))), []string{"enumValueInvalid"}},
	"an enum of integers with a fraction":      {having(2, property(enum("integer", `{"name":"a","enumValue":1.5}`))), []string{"enumValueInvalid"}},
	"an enum of integers with a long":          {having(2, property(enum("integer", `{"name":"a","enumValue":3000000000}`))), []string{"enumValueInvalid"}},
	"an enum of strings with an integer":       {having(2, property(enum("string", `{"name":"a","enumValue":1}`))), []string{"enumValueInvalid"}},
	"an enum value twice":                      {having(2, property(enum("integer", `{"name":"a","enumValue":1},{"name":"b","enumValue":1.0}`))), []string{"enumValueRepeated"}},
	"an enum name twice":                       {having(2, property(enum("integer", `{"name":"a","enumValue":1},{"name":"a","enumValue":2}`))), []string{"nameRepeated"}},
	"a map":                                    {having(2, property(`{"@type":"Map","mapKey":{"name":"k","schema":"string"},"mapValue":{"name":"v","schema":"integer"}}`)), nil},
	"a map with integers as keys":              {having(2, property(`{"@type":"Map","mapKey":{"name":"k","schema":"integer"},"mapValue":{"name":"v","schema":"integer"}}`)), []string{"referenceInvalid"}},
	"a map without values":                     {having(2, property(`{"@type":"Map","mapKey":{"name":"k","schema":"string"}}`)), []string{"propertyMissing"}},
	"an array without a schema":                {having(2, telemetry(`{"@type":"Array"}`)), []string{"propertyMissing"}},
	"a reusable schema":                        {thing(2, `"schemas":{"@id":"dtmi:s;1","@type":"Object","fields":{"name":"f","schema":"string"}},"contents":`+property(`"dtmi:s;1"`)), nil},
	"a reusable schema without identifier":     {thing(2, `"schemas":[{"@type":"Object","fields":{"name":"f","schema":"string"}}]`), []string{"idMissing"}},
	"a schema of itself in v3":                 {thing(3, `"schemas":{"@id":"dtmi:s;1","@type":"Object","fields":{"name":"f","schema":"dtmi:s;1"}}`), []string{"schemaCycle"}},
	"a schema of itself in v4":                 {thing(4, `"schemas":{"@id":"dtmi:s;1","@type":"Object","fields":{"name":"f","schema":"dtmi:s;1"}}`), nil},
	"a schema of another interface":            {`[` + thing(2, `"contents":`+property(`"dtmi:s;1"`)) + `,{"@context":"dtmi:dtdl:context;2","@id":"dtmi:o;1","@type":"Interface","schemas":{"@id":"dtmi:s;1","@type":"Object","fields":{"name":"f","schema":"string"}}}]`, []string{"referenceForeign"}},
	"an interface as a schema":                 {`[` + having(2, property(`"dtmi:test:Base;1"`)) + `,` + base + `]`, []string{"referenceInvalid"}},
	"an unknown element of DTDL's":             {having(2, property(`"dtmi:dtdl:instance:Schema:int;2"`)), []string{"referenceInvalid"}},
	"a primitive of another version":           {having(2, property(`"dtmi:dtdl:instance:Schema:float;4"`)), nil},
	"300 contents in v2":                       {having(2, many(300, `{"@type":"Command","name":"c%d"}`)), nil},
	"301 contents in v2":                       {having(2, many(301, `{"@type":"Command","name":"c%d"}`)), []string{"tooMany"}},
	"301 contents in v3":                       {having(3, many(301, `{"@type":"Command","name":"c%d"}`)), nil},
	"an inherited name again":                  {`[` + thing(2, `"extends":"dtmi:test:Base;1","contents":`+property(`"string"`)) + `,` + base + `]`, []string{"nameRepeated"}},
	"the same twice inherited":                 {`[` + thing(2, `"extends":["dtmi:test:Base;1","dtmi:m;1"]`) + `,{"@context":"dtmi:dtdl:context;2","@id":"dtmi:m;1","@type":"Interface","extends":"dtmi:test:Base;1"},` + base + `]`, nil},
	"an interface that extends itself":         {thing(2, `"extends":"dtmi:test:Thing;1"`), []string{"extendsCycle"}},
	"ten levels of extends in v2":              {chain(2, 10), nil},
	"eleven levels of extends in v2":           {chain(2, 11), []string{"extendsTooDeep"}},
	"twelve levels of extends in v4":           {chain(4, 12), nil},
	"thirteen levels of extends in v4":         {chain(4, 13), []string{"extendsTooDeep"}},
	"two parents in v2":                        {parents(2, 2), nil},
	"three parents in v2":                      {parents(2, 3), []string{"tooMany"}},
	"three parents in v3":                      {parents(3, 3), nil},
	"1025 parents in v3":                       {parents(3, 1025), []string{"extendsTooMany"}},
	"a v2 interface that extends v3":           {`[` + thing(2, `"extends":"dtmi:n;1"`) + `,{"@context":"dtmi:dtdl:context;3","@id":"dtmi:n;1","@type":"Interface"}]`, []string{"versionMixed"}},
	"a v3 interface that extends v2":           {`[` + thing(3, `"extends":"dtmi:test:Base;1"`) + `,` + base + `]`, nil},
	"an interface of a megabyte in v3":         {thing(3, `"contents":[`+many(1100, `{"@type":"Command","name":"c%d","description":"`+strings.Repeat("a", 500)+`","comment":"`+strings.Repeat("a", 500)+`"}`)+`]`), []string{"tooLarge"}},
	"a component":                              {`[` + having(2, `{"@type":"Component","name":"c","schema":"dtmi:test:Base;1"}`) + `,` + base + `]`, nil},
	"a component within a component":           {`[` + having(2, `{"@type":"Component","name":"c","schema":"dtmi:m;1"}`) + `,{"@context":"dtmi:dtdl:context;2","@id":"dtmi:m;1","@type":"Interface","contents":{"@type":"Component","name":"d","schema":"dtmi:test:Base;1"}},` + base + `]`, []string{"componentNested"}},
	"a component of its own interface":         {having(2, `{"@type":"Component","name":"c","schema":"dtmi:test:Thing;1"}`), []string{"componentNested"}},
	"a component with a primitive schema":      {having(2, `{"@type":"Component","name":"c","schema":"string"}`), []string{"referenceInvalid"}},
	"an inline component":                      {having(2, `{"@type":"Component","name":"c","schema":{"@type":"Interface","@id":"dtmi:i;1"}}`), nil},
	"an inline component without identifier":   {having(2, `{"@type":"Component","name":"c","schema":{"@type":"Interface"}}`), []string{"idMissing"}},
	"a relationship":                           {having(2, `{"@type":"Relationship","name":"r","minMultiplicity":0,"maxMultiplicity":500,"target":"dtmi:x;1","properties":[`+property(`"string"`)+`]}`), nil},
	"a relationship to what is no DTMI":        {having(2, `{"@type":"Relationship","name":"r","target":"x"}`), []string{"referenceInvalid"}},
	"a relationship with a minimum of 1":       {having(2, `{"@type":"Relationship","name":"r","minMultiplicity":1}`), []string{"valueInvalid"}},
	"a relationship with a maximum of 501":     {having(2, `{"@type":"Relationship","name":"r","maxMultiplicity":501}`), []string{"valueInvalid"}},
	"a relationship with a maximum of 501, v3": {having(3, `{"@type":"Relationship","name":"r","maxMultiplicity":501}`), nil},
	"a relationship with a maximum of 0":       {having(3, `{"@type":"Relationship","name":"r","maxMultiplicity":0}`), []string{"valueInvalid"}},
	"a relationship with 301 properties":       {having(2, `{"@type":"Relationship","name":"r","properties":[`+many(301, `{"@type":"Property","name":"p%d","schema":"string"}`)+`]}`), []string{"tooMany"}},
	"a relationship with a property twice":     {having(2, `{"@type":"Relationship","name":"r","properties":[`+property(`"string"`)+`,`+property(`"string"`)+`]}`), []string{"nameRepeated"}},
	"a command":                                {having(2, `{"@type":"Command","name":"c","request":{"@type":"CommandPayload","name":"r","schema":"string"},"response":{"name":"r","schema":"string"},"commandType":"synchronous"}`), nil},
	"a command with a payload of v2 in v3":     {having(3, `{"@type":"Command","name":"c","request":{"@type":"CommandPayload","name":"r","schema":"string"}}`), []string{"typeInvalid"}},
	"a command with a payload of v3":           {having(3, `{"@type":"Command","name":"c","request":{"@type":"CommandRequest","name":"r","schema":"string"}}`), nil},
	"a command with a request without schema":  {having(3, `{"@type":"Command","name":"c","request":{"name":"r"}}`), []string{"propertyMissing"}},
	"a command of an unknown type":             {having(2, `{"@type":"Command","name":"c","commandType":"sometimes"}`), []string{"referenceInvalid"}},
	"a nullable request in v4":                 {having(4, `{"@type":"Command","name":"c","request":{"name":"r","schema":"string","nullable":true}}`), nil},
	"a nullable request in v3":                 {having(3, `{"@type":"Command","name":"c","request":{"name":"r","schema":"string","nullable":true}}`), []string{"propertyUnknown"}},
	"writable that is a string":                {having(2, property(`"string"`, `"writable":"true"`)), []string{"valueInvalid"}},
	"a quantity":                               {having(2, `{"@type":["Property","Temperature"],"name":"p","schema":"double","unit":"degreeCelsius"}`), nil},
	"a quantity without unit":                  {having(2, `{"@type":["Property","Temperature"],"name":"p","schema":"double"}`), []string{"propertyMissing"}},
	"a unit without quantity":                  {having(2, property(`"double"`, `"unit":"degreeCelsius"`)), []string{"propertyUnknown"}},
	"a quantity in another's unit":             {having(2, `{"@type":["Property","Temperature"],"name":"p","schema":"double","unit":"metre"}`), []string{"unitInvalid"}},
	"a quantity that is a string":              {having(2, `{"@type":["Property","Temperature"],"name":"p","schema":"string","unit":"degreeCelsius"}`), []string{"cotypeSchema"}},
	"a quantity that is a command":             {having(2, `{"@type":["Command","Temperature"],"name":"p","unit":"degreeCelsius"}`), []string{"cotypeInvalid"}},
	"two quantities":                           {having(2, `{"@type":["Property","Temperature","Length"],"name":"p","schema":"double","unit":"degreeCelsius"}`), []string{"cotypeConflict", "propertyMissing"}},
	"a quantity in v3 without the extension":   {having(3, `{"@type":["Property","Temperature"],"name":"p","schema":"double","unit":"degreeCelsius"}`), []string{"typeUnknown"}},
	"a quantity in v3":                         {extended(3, quantitative1, `{"@type":["Property","Temperature"],"name":"p","schema":"double","unit":"degreeCelsius"}`), nil},
	"a quantity of the extension for v4 in v3": {extended(3, quantitative2, `{"@type":["Property","Temperature"],"name":"p","schema":"double","unit":"degreeCelsius"}`), []string{"cotypeInvalid"}},
	"the extension for quantities in v2":       {extended(2, quantitative1, `{"@type":["Property","Temperature"],"name":"p","schema":"double","unit":"kelvin"}`), nil},
	"a unit of the extension in v2":            {having(2, `{"@type":["Property","Pressure"],"name":"p","schema":"double","unit":"hectopascal"}`), []string{"unitInvalid"}},
	"a unit of the extension":                  {extended(4, quantitative2, `{"@type":["Property","Pressure"],"name":"p","schema":"decimal","unit":"hectopascal"}`), nil},
	"a unit by its DTMI":                       {having(2, `{"@type":["Property","Temperature"],"name":"p","schema":"double","unit":"dtmi:standard:unit:kelvin;2"}`), nil},
	"IoT Central's types":                      {extended(2, `"dtmi:iotcentral:context;2"`, `{"@type":["Telemetry","Location"],"name":"a","schema":"geopoint"},{"@type":["Telemetry","State"],"name":"b","schema":`+enum("integer", `{"name":"a","enumValue":1}`)+`},{"@type":["Telemetry","AccelerationVector"],"name":"c","schema":"vector"}`), nil},
	"a Location that is a string":              {extended(2, `"dtmi:iotcentral:context;2"`, `{"@type":["Telemetry","Location"],"name":"a","schema":"string"}`), []string{"cotypeSchema"}},
	"a State that is no enum":                  {extended(2, `"dtmi:iotcentral:context;2"`, `{"@type":["Telemetry","State"],"name":"a","schema":"string"}`), []string{"cotypeSchema"}},
	"history":                                  {extended(3, `"dtmi:dtdl:extension:historization;1"`, `{"@type":["Property","Historized"],"name":"p","schema":"double"}`), nil},
	"history of a command":                     {extended(3, `"dtmi:dtdl:extension:historization;1"`, `{"@type":["Command","Historized"],"name":"p"}`), []string{"cotypeInvalid"}},
	"an annotation":                            {extended(3, `"dtmi:dtdl:extension:annotation;1"`, property(`"double"`), `{"@type":["Property","ValueAnnotation"],"name":"a","annotates":"p","schema":"double"}`), nil},
	"an annotation of a command":               {extended(3, `"dtmi:dtdl:extension:annotation;1"`, `{"@type":"Command","name":"p"}`, `{"@type":["Property","ValueAnnotation"],"name":"a","annotates":"p","schema":"double"}`), []string{"annotationInvalid"}},
	"an annotation of an annotation":           {extended(3, `"dtmi:dtdl:extension:annotation;1"`, `{"@type":["Property","ValueAnnotation"],"name":"a","annotates":"a","schema":"double"}`), []string{"annotationInvalid"}},
	"an override without its annotation":       {extended(3, `"dtmi:dtdl:extension:overriding;1"`, `{"@type":["Property","Override"],"name":"a","overrides":"unit","schema":"double"}`), []string{"cotypeMissing", "referenceInvalid"}},
	"an override of a unit":                    {extended(3, overriding, `{"@type":["Property","Temperature"],"name":"p","schema":"double","unit":"kelvin"}`, overridesUnit("a", "TemperatureUnit")), nil},
	"an override of another unit":              {extended(3, overriding, `{"@type":["Property","Temperature"],"name":"p","schema":"double","unit":"kelvin"}`, overridesUnit("a", "LengthUnit")), []string{"overrideSchema"}},
	"an override of a unit twice":              {extended(3, overriding, `{"@type":["Property","Temperature"],"name":"p","schema":"double","unit":"kelvin"}`, overridesUnit("a", "TemperatureUnit"), overridesUnit("b", "TemperatureUnit")), []string{"overrideRepeated"}},
	"an override of a unit that is not there":  {extended(3, overriding, property(`"double"`), overridesUnit("a", "TemperatureUnit")), []string{"overrideInvalid"}},
	"a required field":                         {extended(4, `"dtmi:dtdl:extension:requirement;1"`, property(`{"@type":"Object","fields":{"@type":["Field","Required"],"name":"f","schema":"string"}}`)), nil},
	"a required property":                      {extended(4, `"dtmi:dtdl:extension:requirement;1"`, `{"@type":["Property","Required"],"name":"p","schema":"string"}`), []string{"cotypeInvalid"}},
	"an idempotent command":                    {extended(3, `"dtmi:dtdl:extension:mqtt;1"`, `{"@type":["Command","Idempotent","Cacheable"],"name":"c","ttl":"PT10S"}`), nil},
	"a cacheable command that is not":          {extended(3, `"dtmi:dtdl:extension:mqtt;1"`, `{"@type":["Command","Cacheable"],"name":"c","ttl":"PT10S"}`), []string{"cotypeMissing"}},
	"a cacheable command for no duration":      {extended(3, `"dtmi:dtdl:extension:mqtt;1"`, `{"@type":["Command","Idempotent","Cacheable"],"name":"c","ttl":"10 s"}`), []string{"valueInvalid"}},
	"an index twice":                           {extended(3, `"dtmi:dtdl:extension:mqtt;1"`, `{"@type":["Telemetry","Indexed"],"name":"a","schema":"string","index":1},{"@type":["Telemetry","Indexed"],"name":"b","schema":"string","index":1}`), []string{"indexRepeated"}},
	"a transparent response that is no object": {extended(4, `"dtmi:dtdl:extension:mqtt;2"`, `{"@type":"Command","name":"c","response":{"@type":["CommandResponse","Transparent"],"name":"r","schema":"string"}}`), []string{"cotypeSchema"}},
	"all errors, of all interfaces":            {`[` + thing(2, `"contents":[{"@type":"Property","name":"1","schema":"int"},{"@type":"Foo"}]`) + `,` + base[:len(base)-1] + `,"foo":1}]`, []string{"nameInvalid", "propertyUnknown", "referenceInvalid", "typeInvalid"}},
}

// chain is an interface that extends others, a level each.
func chain(version, levels int) string {
	documents := make([]string, levels+1)
	for i := range documents {
		keys := ""
		if i < levels {
			keys = fmt.Sprintf(`,"extends":"dtmi:l%d;1"`, i+1)
		}
		documents[i] = fmt.Sprintf(`{"@context":"dtmi:dtdl:context;%d","@id":"dtmi:l%d;1","@type":"Interface"%s}`, version, i, keys)
	}
	return "[" + strings.Join(documents, ",") + "]"
}

// parents is an interface that extends others directly.
func parents(version, count int) string {
	return fmt.Sprintf(`[%s,%s]`, thing(version, `"extends":[`+many(count, `"dtmi:p%d;1"`)+`]`),
		many(count, fmt.Sprintf(`{"@context":"dtmi:dtdl:context;%d","@id":"dtmi:p`, version)+`%d;1","@type":"Interface"}`))
}

func TestRules(t *testing.T) {
	for name, c := range rules {
		t.Run(name, func(t *testing.T) {
			m := dtdl.Parse([]byte(c.document))
			var got []string
			for _, e := range m.Errors {
				got = append(got, e.Rule)
			}
			slices.Sort(got)
			got = slices.Compact(got)
			if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("rules (-want +got):\n%s\n%.2000v", diff, m.Errors)
			}
			if len(m.Missing) > 0 {
				t.Errorf("%v is missing", m.Missing)
			}
		})
	}
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	m := dtdl.Parse([]byte(base), []byte(`[{"@context":"dtmi:dtdl:context;2","@id":"dtmi:com:example:Thing;1","@type":"Interface","displayName":{"d~/e":"x"},
		"contents":[{"@type":"Property","name":"a","schema":{"@type":"Object","fields":[{"name":"b-c","schema":"string"}]}}]}]`))
	want := []dtdl.Error{
		{
			Document: 1, Interface: "dtmi:com:example:Thing;1", Element: "dtmi:com:example:Thing:_contents:__a:_schema:_fields:__b-c;1",
			Path: "/0/contents/0/schema/fields/0/name", Rule: "nameInvalid",
			Message: `is "b-c", want letters, digits and '_', a letter first and no '_' last`,
		},
		{
			Document: 1, Interface: "dtmi:com:example:Thing;1", Element: "dtmi:com:example:Thing;1",
			Path: "/0/displayName/d~0~1e", Rule: "languageInvalid", Message: `is for the language "d~/e", want a tag such as "en" or "en-US"`,
		},
	}
	if diff := cmp.Diff(want, m.Errors); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if got := m.Errors[1].Error(); got != `dtmi:com:example:Thing;1: /0/displayName/d~0~1e: is for the language "d~/e", want a tag such as "en" or "en-US" (languageInvalid)` {
		t.Error(got)
	}
}
