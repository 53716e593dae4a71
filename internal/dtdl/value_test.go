package dtdl_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

// decode reads a JSON value with its numbers as they are written.
func decode(t testing.TB, raw string) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader([]byte(raw)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// schemaOf parses a schema of DTDL v4 as the response of a command, which may have any.
func schemaOf(t testing.TB, schema string) *dtdl.Schema {
	t.Helper()
	m := dtdl.Parse([]byte(extended(4, `"dtmi:dtdl:extension:requirement;1","dtmi:dtdl:extension:quantitativeTypes;2"`,
		`{"@type":"Command","name":"c","response":{"name":"r","schema":`+schema+`}}`)))
	if len(m.Errors) > 0 {
		t.Fatal(m.Errors)
	}
	return m.Interface("dtmi:test:Thing;1").Command("c").Response.Schema
}

// primitives are the values that primitive schemas take, and those that they do not.
var primitives = map[string]struct{ good, bad []string }{
	"boolean":         {[]string{`true`, `false`}, []string{`1`, `"true"`, `null`, `{}`}},
	"byte":            {[]string{`-128`, `127`, `0`, `-0`, `1.0`, `1e2`}, []string{`-129`, `128`, `0.5`, `"1"`, `true`, `1e3`}},
	"unsignedByte":    {[]string{`0`, `255`, `2.55e2`}, []string{`-1`, `256`, `[1]`}},
	"short":           {[]string{`-32768`, `32767`}, []string{`-32769`, `32768`}},
	"unsignedShort":   {[]string{`0`, `65535`}, []string{`-1`, `65536`}},
	"integer":         {[]string{`-2147483648`, `2147483647`, `100e-2`}, []string{`-2147483649`, `2147483648`, `1.5`, `1e-1`, `"5"`}},
	"unsignedInteger": {[]string{`0`, `4294967295`}, []string{`-1`, `4294967296`}},
	"long":            {[]string{`-9223372036854775808`, `9223372036854775807`, `9007199254740993`}, []string{`-9223372036854775809`, `9223372036854775808`, `1e400`, `1e99999999999`}},
	"unsignedLong":    {[]string{`0`, `18446744073709551615`, `1e19`}, []string{`-1`, `18446744073709551616`, `1e20`}},
	"float":           {[]string{`1`, `-1.5`, `3.4e38`}, []string{`3.5e38`, `"1"`, `null`}},
	"double":          {[]string{`1`, `1.7e308`, `5e-324`}, []string{`1e309`, `"NaN"`, `false`}},
	"decimal":         {[]string{`"0"`, `"-12.50"`, `"+1."`, `"123456789012345678901234567890"`}, []string{`1`, `""`, `"01"`, `"1e5"`, `".5"`}},
	"string":          {[]string{`""`, `"ä"`}, []string{`1`, `null`, `["a"]`}},
	"bytes":           {[]string{`""`, `"AQID"`, `"AQI="`, `"AQ=="`}, []string{`"AQI"`, `"A-_="`, `1`}},
	"uuid":            {[]string{`"f81d4fae-7dec-11d0-a765-00a0c91e6bf6"`, `"F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"`}, []string{`"f81d4fae7dec11d0a76500a0c91e6bf6"`, `"x"`, `1`}},
	"date":            {[]string{`"2026-07-31"`, `"2024-02-29"`}, []string{`"2026-02-29"`, `"2026-7-31"`, `"31.07.2026"`, `"2026-07-31T00:00:00Z"`, `20260731`}},
	"dateTime": {
		[]string{`"2026-07-31T12:30:00Z"`, `"2026-07-31T12:30:00.123456789012+02:00"`, `"2016-12-31T23:59:60Z"`},
		[]string{`"2026-07-31"`, `"2026-07-31T12:30:00"`, `"2026-07-31t12:30:00z"`, `"2026-07-31 12:30:00Z"`, `"2026-02-30T12:30:00Z"`, `"2026-07-31T24:30:00Z"`, `"2026-07-31T12:30:00,5Z"`, `5`},
	},
	"time":     {[]string{`"12:30:00Z"`, `"12:30:00.5-01:00"`}, []string{`"12:30"`, `"12:30:00"`, `"25:00:00Z"`, `1230`}},
	"duration": {[]string{`"PT1H30M"`, `"P1Y2M3DT4H5M6.7S"`, `"P2W"`, `"P1W2D"`, `"P0.5D"`, `"P1DT0.5H"`}, []string{`""`, `"P"`, `"PT"`, `"P1DT"`, `"P1.5DT1H"`, `"P1Y1W"`, `"P1M1Y"`, `"1H"`, `"P1S"`, `"-P1D"`, `90`}},
	"point":    {[]string{`{"type":"Point","coordinates":[47.6,-122.1]}`}, []string{`{"type":"Line","coordinates":[1]}`, `{"type":"Point","coordinates":["1"]}`, `[1,2]`}},
	"multiPolygon": {
		[]string{`{"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1,1],[0,0]]]]}`},
		[]string{`{"type":"MultiPolygon","coordinates":[[[0,0]]]}`},
	},
	"scaledDecimal":   {[]string{`{"value":"1.5","scale":-2}`}, []string{`{"value":1.5,"scale":-2}`, `{"scale":40000}`}},
	"TemperatureUnit": {[]string{`"kelvin"`}, []string{`"metre"`, `1`}},
}

func TestPrimitiveValues(t *testing.T) {
	for name, c := range primitives {
		t.Run(name, func(t *testing.T) {
			schema := schemaOf(t, fmt.Sprintf("%q", name))
			for _, value := range c.good {
				if errs := schema.Validate(decode(t, value), "p"); len(errs) > 0 {
					t.Errorf("%s: %v", value, errs)
				}
			}
			for _, value := range c.bad {
				if errs := schema.Validate(decode(t, value), "p"); len(errs) == 0 {
					t.Errorf("%s is taken", value)
				}
			}
		})
	}
}

const person = `{"@type":"Object","fields":[
	{"@type":["Field","Required"],"name":"name","schema":"string"},
	{"name":"age","schema":"byte"},
	{"name":"mood","schema":{"@type":"Enum","valueSchema":"string","enumValues":[{"name":"good","enumValue":"g"},{"name":"bad","enumValue":"b"}]}},
	{"name":"rooms","schema":{"@type":"Map","mapKey":{"name":"k","schema":"string"},"mapValue":{"name":"v","schema":{"@type":"Array","elementSchema":"integer"}}}}
]}`

func TestComplexValues(t *testing.T) {
	for name, c := range map[string]struct {
		schema, value string
		want          []string
	}{
		"an object":                 {person, `{"name":"a","age":5,"mood":"b","rooms":{"x":[1,2],"y":[]}}`, nil},
		"an object without fields":  {person, `{}`, []string{`p.name is missing, want a value, because the field is required`}},
		"an object that is a list":  {person, `[]`, []string{`p is an array, want an object`}},
		"all errors, sorted":        {person, `{"rooms":{"y":[1,"2"],"x":3},"mood":"x","hat":1,"age":128}`, []string{`p.age is 128, want an integer from -128 to 127`, `p.hat is 1, want no field but age, mood, name or rooms`, `p.mood is "x", want "g" or "b"`, `p.name is missing, want a value, because the field is required`, `p.rooms.x is 3, want an array`, `p.rooms.y[1] is "2", want an integer from -2147483648 to 2147483647`}},
		"a null field":              {person, `{"name":"a","age":null}`, []string{`p.age is null, want an integer from -128 to 127`}},
		"an enum of integers":       {enum("integer", `{"name":"a","enumValue":1},{"name":"b","enumValue":2}`), `2.0`, nil},
		"an enum of other integers": {enum("integer", `{"name":"a","enumValue":1},{"name":"b","enumValue":2}`), `3`, []string{`p is 3, want 1 or 2`}},
		"an integer as a string":    {enum("integer", `{"name":"a","enumValue":1}`), `"1"`, []string{`p is "1", want 1`}},
		"an enum without values":    {enum("integer", ``), `1`, []string{`p is 1, want nothing, since the enum has no values`}},
		"an enum of many values":    {enum("integer", many(30, `{"name":"a%d","enumValue":%d}`)), `99`, []string{`p is 99, want 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 or 10 others`}},
		"a long string is cut":      {`"integer"`, `"` + strings.Repeat("ä", 100) + `"`, []string{`p is "` + strings.Repeat("ä", 40) + `…", want an integer from -2147483648 to 2147483647`}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range schemaOf(t, c.schema).Validate(decode(t, c.value), "p") {
				got = append(got, e.Error())
			}
			if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPayloadsMayBeNull(t *testing.T) {
	m := dtdl.Parse([]byte(extended(4, `"dtmi:dtdl:extension:requirement;1"`,
		`{"@type":"Command","name":"c","request":{"name":"r","nullable":true,"schema":`+person+`},"response":{"name":"s","schema":"string"}}`)))
	c := m.Interface("dtmi:test:Thing;1").Command("c")
	for value, want := range map[string]string{
		`null`:                    "[]",
		`{"name":"a"}`:            "[]",
		`{"age":1}`:               "[p.name is missing, want a value, because the field is required]",
		`{"name":"a","age":1000}`: "[p.age is 1000, want an integer from -128 to 127]",
	} {
		if got := fmt.Sprint(c.Request.Validate(decode(t, value), "p")); got != want {
			t.Errorf("%s: %s, want %s", value, got, want)
		}
	}
	if got := fmt.Sprint(c.Response.Validate(nil, "p")); got != "[p is null, want a string]" {
		t.Error(got)
	}
}

// TestIntegersAreWhatTheyAmountTo holds the ranges against exact arithmetic.
func TestIntegersAreWhatTheyAmountTo(t *testing.T) {
	long, unsigned := schemaOf(t, `"long"`), schemaOf(t, `"unsignedLong"`)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?(0|[1-9][0-9]{0,21})(\.[0-9]{1,6})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number")
		exact, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%s is no number", text)
		}
		isLong := exact.IsInt() && exact.Num().IsInt64()
		isUnsigned := exact.IsInt() && exact.Num().IsUint64()
		if got := len(long.Validate(json.Number(text), "p")) == 0; got != isLong {
			t.Errorf("%s is a long: %v, want %v", text, got, isLong)
		}
		if got := len(unsigned.Validate(json.Number(text), "p")) == 0; got != isUnsigned {
			t.Errorf("%s is an unsigned long: %v, want %v", text, got, isUnsigned)
		}
	})
}
