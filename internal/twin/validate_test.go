package twin_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// one declares a single property of the default component.
func one(name, raw string) twin.Declaration {
	return twin.Declaration{{Name: name}: value(raw)}
}

// nested is n objects around a scalar.
func nested(n int) string {
	return strings.Repeat(`{"o":`, n) + `1` + strings.Repeat(`}`, n)
}

const wayOut = "; the way out is twinAPI: DeviceTwin"

func TestValidateRulesOfEveryTwin(t *testing.T) {
	long := strings.Repeat("k", 1025)
	tests := map[string]struct {
		declared twin.Declaration
		want     []string
	}{
		"nothing declared is valid": {declared: nil},
		"a dot in a key is refused": {
			declared: one("a.b", `1`),
			want:     []string{`properties["a.b"] has '.' in its name; the hub refuses control characters, whitespace, '.', '$' and '#'`},
		},
		"a dollar in a field name is refused": {
			declared: one("a", `{"$version":1}`),
			want:     []string{`properties.a.$version has '$' in its name; the hub refuses control characters, whitespace, '.', '$' and '#'`},
		},
		"a hash in a component name is refused": {
			declared: twin.Declaration{{Component: "t#1", Name: "a"}: value(`1`)},
			want:     []string{`components[t#1] has '#' in its name; the hub refuses control characters, whitespace, '.', '$' and '#'`},
		},
		"a space in a key is refused": {
			declared: one("a b", `1`),
			want:     []string{`properties["a b"] has ' ' in its name; the hub refuses control characters, whitespace, '.', '$' and '#'`},
		},
		"a C0 control character is refused": {
			declared: one("a\x01", `1`),
			want:     []string{`properties["a\x01"] has '\x01' in its name; the hub refuses control characters, whitespace, '.', '$' and '#'`},
		},
		"a C1 control character is refused": {
			declared: one("a\u0085", `1`),
			want:     []string{`properties["a\u0085"] has '\u0085' in its name; the hub refuses control characters, whitespace, '.', '$' and '#'`},
		},
		"a no-break space is whitespace": {
			declared: one("a\u00a0b", `1`),
			want:     []string{`properties["a\u00a0b"] has '\u00a0' in its name; the hub refuses control characters, whitespace, '.', '$' and '#'`},
		},
		"an empty key is refused": {declared: one("", `1`), want: []string{`properties[""] has an empty name`}},
		"a key that is not UTF-8 is refused": {
			declared: one("a\xff", `1`),
			want:     []string{`properties["a\xff"] has a name that is not valid UTF-8`},
		},
		"a key of 1024 bytes passes": {declared: one(long[1:], `1`)},
		"a key of 1025 bytes is refused": {
			declared: one(long, `1`),
			want:     []string{"properties." + long[:63] + "… has a name of 1025 bytes; the hub takes at most 1024"},
		},
		"key length counts bytes, not runes": {
			declared: one(strings.Repeat("Ж", 513), `1`),
			want:     []string{"properties." + strings.Repeat("Ж", 63) + "… has a name of 1026 bytes; the hub takes at most 1024"},
		},
		"the component marker is no property": {
			declared: one("__t", `"c"`),
			want:     []string{`properties.__t has the name "__t", which marks components in a twin`},
		},
		"the component marker is no field": {
			declared: one("a", `{"__t":"c"}`),
			want:     []string{`properties.a.__t has the name "__t", which marks components in a twin`},
		},
		"the component marker is no component": {
			declared: twin.Declaration{{Component: "__t", Name: "a"}: value(`1`)},
			want:     []string{`components[__t] has the name "__t", which marks components in a twin`},
		},
		"a string of 4096 bytes passes": {declared: one("a", `"`+strings.Repeat("x", 4096)+`"`)},
		"a longer string is refused": {
			declared: one("a", `"`+strings.Repeat("x", 5120)+`"`),
			want:     []string{"properties.a is a string of 5120 bytes; the hub takes at most 4096"},
		},
		"string length counts bytes, not runes": {
			declared: one("a", `"`+strings.Repeat("Ж", 2049)+`"`),
			want:     []string{"properties.a is a string of 4098 bytes; the hub takes at most 4096"},
		},
		"a string that is not UTF-8 is refused": {
			declared: twin.Declaration{{Name: "a"}: "x\xff"},
			want:     []string{`properties.a is a string that is not valid UTF-8: "x\xff"`},
		},
		"the extreme integers pass": {declared: one("a", `[4503599627370495,-4503599627370496]`)},
		"an integer beyond the range is refused": {
			declared: one("a", `4503599627370496`),
			want:     []string{"properties.a is the integer 4503599627370496; the hub takes -4503599627370496 to 4503599627370495"},
		},
		"an integer below the range is refused": {
			declared: one("a", `[-4503599627370497]`),
			want:     []string{"properties.a[0] is the integer -4503599627370497; the hub takes -4503599627370496 to 4503599627370495"},
		},
		"an integer beyond int64 is refused and cut": {
			declared: one("a", strings.Repeat("9", 100)),
			want: []string{"properties.a is an integer beyond 64 bits, about " + strings.Repeat("9", 63) +
				"…, which is not kept exactly on the way here; the hub takes -4503599627370496 to 4503599627370495"},
		},
		"a number that is none is refused": {
			declared: twin.Declaration{{Name: "a"}: json.Number("abc")},
			want:     []string{"properties.a is the integer abc; the hub takes -4503599627370496 to 4503599627370495"},
		},
		"a double beyond the integer range passes": {declared: one("a", `4503599627370496.0`)},
		"an exponent form is a double":             {declared: one("a", `1e300`)},
		"a double that overflows is refused": {
			declared: one("a", `1e400`),
			want:     []string{"properties.a is the number 1e400, which no double can hold"},
		},
		"null is refused": {
			declared: one("a", `null`),
			want:     []string{"properties.a is null, which deletes at the hub; leave the key out instead"},
		},
		"null in an array is refused": {
			declared: one("a", `[1,null]`),
			want:     []string{"properties.a[1] is null, which deletes at the hub; leave the key out instead"},
		},
		"null in an object in an array is refused": {
			declared: one("a", `[{"b":null}]`),
			want:     []string{"properties.a[0].b is null, which deletes at the hub; leave the key out instead"},
		},
		"ten nested objects pass": {declared: one("a", nested(10))},
		"an eleventh is refused": {
			declared: one("a", nested(11)),
			want: []string{"properties.a" + strings.Repeat(".o", 10) +
				" is nested 11 levels below desired, components included; the hub takes at most 10"},
		},
		"a component is one of the ten": {
			declared: twin.Declaration{
				{Component: "t1", Name: "a"}: value(nested(9)), {Component: "t1", Name: "b"}: value(nested(10)),
			},
			want: []string{"components[t1].properties.b" + strings.Repeat(".o", 9) +
				" is nested 11 levels below desired, components included; the hub takes at most 10"},
		},
		"an array is one of the ten": {
			declared: one("a", `[`+nested(10)+`]`),
			want: []string{"properties.a[0]" + strings.Repeat(".o", 9) +
				" is nested 11 levels below desired, components included; the hub takes at most 10"},
		},
		"arrays alone are nested ten deep at most": {
			declared: one("a", strings.Repeat("[", 12)+strings.Repeat("]", 12)),
			want: []string{"properties.a" + strings.Repeat("[0]", 10) +
				" is nested 11 levels below desired, components included; the hub takes at most 10"},
		},
		"a property and a component cannot share a name": {
			declared: twin.Declaration{{Name: "x"}: value(`1`), {Component: "x", Name: "y"}: value(`1`), {Component: "x", Name: "z"}: value(`1`)},
			want:     []string{"components[x] has the name of a property of the default component; in a twin both are the same key"},
		},
		"all violations are found, sorted by path": {
			declared: twin.Declaration{
				{Name: "b"}: value(`null`), {Name: "a"}: value(`{"y z":null}`), {Component: "t1", Name: "c"}: value(`null`),
			},
			want: []string{
				"components[t1].properties.c is null, which deletes at the hub; leave the key out instead",
				`properties.a["y z"] has ' ' in its name; the hub refuses control characters, whitespace, '.', '$' and '#'`,
				`properties.a["y z"] is null, which deletes at the hub; leave the key out instead`,
				"properties.b is null, which deletes at the hub; leave the key out instead",
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			for range 3 { // map order must not show
				checkViolations(t, tc.want, twin.Validate(tc.declared, twin.DeviceTwin))
			}
		})
	}
}

func checkViolations(t *testing.T, want []string, got []twin.Violation) {
	t.Helper()
	var texts []string
	for _, v := range got {
		texts = append(texts, v.String())
	}
	if diff := cmp.Diff(want, texts, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Validate() (-want +got):\n%s", diff)
	}
}

func TestValidateRulesOfTheDigitalTwinDialect(t *testing.T) {
	name := func(path string) string {
		return path + " has a name that is not DTDL: 1 to 64 of a-z, A-Z, 0-9 and '_', no digit first, no '_' first or last" + wayOut
	}
	tests := map[string]struct {
		declared twin.Declaration
		want     []string
	}{
		"a DTDL name of 64 characters passes":    {declared: one(strings.Repeat("a", 64), `1`)},
		"one letter passes":                      {declared: one("a", `1`)},
		"an inner underscore passes":             {declared: one("a_1", `1`)},
		"a DTDL name of 65 is refused":           {declared: one(strings.Repeat("a", 65), `1`), want: []string{name("properties." + strings.Repeat("a", 63) + "…")}},
		"a hyphen is refused":                    {declared: one("a-b", `1`), want: []string{name("properties.a-b")}},
		"a leading digit is refused":             {declared: one("1a", `1`), want: []string{name("properties.1a")}},
		"a leading underscore is refused":        {declared: one("_a", `1`), want: []string{name("properties._a")}},
		"a trailing underscore is refused":       {declared: one("a_", `1`), want: []string{name("properties.a_")}},
		"a letter beyond ASCII is refused":       {declared: one("ä", `1`), want: []string{name("properties.ä")}},
		"the name of a field is checked":         {declared: one("a", `{"b-c":1}`), want: []string{name("properties.a.b-c")}},
		"the name of a component is checked":     {declared: twin.Declaration{{Component: "t-1", Name: "a"}: value(`1`)}, want: []string{name("components[t-1]")}},
		"an array is refused":                    {declared: one("a", `[1]`), want: []string{"properties.a is an array, which the digital-twin API does not take" + wayOut}},
		"an array inside an object is refused":   {declared: one("a", `{"b":[]}`), want: []string{"properties.a.b is an array, which the digital-twin API does not take" + wayOut}},
		"five levels of objects pass":            {declared: one("a", nested(5))},
		"a sixth level is refused, named once":   {declared: one("a", nested(8)), want: []string{"properties.a.o.o.o.o.o is an object at level 6 of its property; the digital-twin API takes at most 5" + wayOut}},
		"a component is not one of the five":     {declared: twin.Declaration{{Component: "t1", Name: "a"}: value(nested(5))}},
		"what no dialect takes has no way out":   {declared: one("a.b", `1`), want: []string{`properties["a.b"] has '.' in its name; the hub refuses control characters, whitespace, '.', '$' and '#'`}},
		"rules of every twin hold in arrays too": {declared: one("a", `[null]`), want: []string{"properties.a is an array, which the digital-twin API does not take" + wayOut, "properties.a[0] is null, which deletes at the hub; leave the key out instead"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			checkViolations(t, tc.want, twin.Validate(tc.declared, twin.DigitalTwin))
			for _, v := range twin.Validate(tc.declared, twin.DeviceTwin) {
				if strings.Contains(v.Rule, "twinAPI") {
					t.Errorf("in the DeviceTwin dialect: %s", v)
				}
			}
		})
	}
}

// TestValidateSize fills the 32 KiB to the byte with each kind of value.
func TestValidateSize(t *testing.T) {
	const limit = 32 * 1024
	fill := func(used int) twin.Declaration { // strings of 4000 and a rest
		d := twin.Declaration{}
		for i := 0; used < limit; i++ {
			name := fmt.Sprintf("f%d", i)
			n := min(4000, limit-used-len(name))
			d[twin.Leaf{Name: name}] = strings.Repeat("x", n)
			used += len(name) + n
		}
		return d
	}
	tests := map[string]struct {
		leaf twin.Leaf
		raw  string
		size int
	}{
		"a string costs its bytes":                    {leaf: twin.Leaf{Name: "ab"}, raw: `"xЖ"`, size: 2 + 3},
		"control characters of a string are free":     {leaf: twin.Leaf{Name: "ab"}, raw: `"x\u0001\u0085"`, size: 2 + 1},
		"a number costs 8":                            {leaf: twin.Leaf{Name: "ab"}, raw: `1`, size: 2 + 8},
		"a boolean costs 4":                           {leaf: twin.Leaf{Name: "ab"}, raw: `true`, size: 2 + 4},
		"an object costs its keys and values":         {leaf: twin.Leaf{Name: "ab"}, raw: `{"abc":1,"d":{"e":true}}`, size: 2 + 3 + 8 + 1 + 1 + 4},
		"an array costs its items":                    {leaf: twin.Leaf{Name: "ab"}, raw: `[1,"x",[true]]`, size: 2 + 8 + 1 + 4},
		"a component costs its name and its marker":   {leaf: twin.Leaf{Component: "t1", Name: "ab"}, raw: `1`, size: 2 + 3 + 1 + 2 + 8},
		"an empty object costs nothing but its key":   {leaf: twin.Leaf{Name: "ab"}, raw: `{}`, size: 2},
		"a key costs its bytes, not its letters only": {leaf: twin.Leaf{Name: "Ж"}, raw: `{}`, size: 2},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			d := fill(tc.size)
			d[tc.leaf] = value(tc.raw)
			checkViolations(t, nil, twin.Validate(d, twin.DeviceTwin))
			d[twin.Leaf{Name: "z"}] = ""
			checkViolations(t, []string{"spec takes 32769 bytes of the desired properties; the hub takes at most 32768"},
				twin.Validate(d, twin.DeviceTwin))
		})
	}
}

func TestViolationsStayReadableWhateverIsDeclared(t *testing.T) {
	huge := strings.Repeat("Ж\x00", 1<<16)
	deep, err := twin.DecodeValue([]byte(strings.Repeat(`{"`+strings.Repeat("k", 2000)+`":`, 100) + "null" + strings.Repeat("}", 100)))
	if err != nil {
		t.Fatal(err)
	}
	d := twin.Declaration{
		{Component: huge, Name: huge}: huge + "\xff", {Name: huge}: json.Number(strings.Repeat("1", 1<<16)), {Name: "deep"}: deep,
	}
	got := twin.Validate(d, twin.DigitalTwin)
	if len(got) == 0 {
		t.Fatal("Validate() found nothing")
	}
	for _, v := range got {
		if s := v.String(); len(s) > 2500 || !utf8.ValidString(s) {
			t.Errorf("violation of %d bytes: %.200q", len(s), s)
		}
	}
}
