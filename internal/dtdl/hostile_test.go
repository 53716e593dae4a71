package dtdl_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

// ring is count interfaces, each of which names the next in a way of its own.
func ring(version, count int, keys string) string {
	documents := make([]string, count)
	for i := range documents {
		documents[i] = fmt.Sprintf(`{"@context":"dtmi:dtdl:context;%d","@id":"dtmi:r%d;1","@type":"Interface",%s}`, version, i,
			strings.ReplaceAll(keys, "NEXT", fmt.Sprintf("dtmi:r%d;1", (i+1)%count)))
	}
	return "[" + strings.Join(documents, ",") + "]"
}

// diamond is levels of interfaces, each of which extends all of the next level.
func diamond(version, levels, width int) string {
	var documents []string
	for level := range levels {
		extends := ""
		if level+1 < levels {
			extends = `,"extends":[` + many(width, fmt.Sprintf(`"dtmi:l%dn`, level+1)+`%d;1"`) + `]`
		}
		documents = append(documents, many(width, fmt.Sprintf(`{"@context":"dtmi:dtdl:context;%d","@id":"dtmi:l%dn`, version, level)+
			`%d;1","@type":"Interface","contents":{"@type":"Command","name":"`+fmt.Sprintf("c%dn", level)+`%d"}`+extends+`}`))
	}
	return "[" + strings.Join(documents, ",") + "]"
}

// schemas are objects, each of which has many fields of the next.
func schemas(version, levels, width int) string {
	list := make([]string, levels)
	for i := range list {
		schema := "string"
		if i+1 < levels {
			schema = fmt.Sprintf("dtmi:s%d;1", i+1)
		}
		list[i] = fmt.Sprintf(`{"@id":"dtmi:s%d;1","@type":"Object","fields":[%s]}`, i, many(width, `{"name":"f%d","schema":"`+schema+`"}`))
	}
	return thing(version, `"schemas":[`+strings.Join(list, ",")+`],"contents":`+property(`"dtmi:s0;1"`))
}

// heirs are interfaces that each extend the first, which has contents.
func heirs(contents, count int) string {
	base := `{"@context":"dtmi:dtdl:context;3","@id":"dtmi:b;1","@type":"Interface","contents":[` + many(contents, `{"@type":"Command","name":"c%d"}`) + `]}`
	return "[" + base + "," + many(count, `{"@context":"dtmi:dtdl:context;3","@id":"dtmi:x%d;1","@type":"Interface","extends":"dtmi:b;1"}`) + "]"
}

// hostile are documents that are made to cost as much as possible, of up to 3 MiB.
var hostile = map[string]string{
	"lists in lists":                    strings.Repeat("[", 1<<20),
	"objects in objects":                strings.Repeat(`{"a":`, 1<<18),
	"schemas in schemas":                having(4, property(nested(30, `"string"`))),
	"a short ring of extends":           ring(3, 3, `"extends":"NEXT"`),
	"a long ring of extends":            ring(3, 8000, `"extends":"NEXT"`),
	"a long chain of extends":           chain(4, 8000),
	"a ring of components":              ring(3, 5000, `"contents":{"@type":"Component","name":"c","schema":"NEXT"}`),
	"a ring of both":                    ring(3, 3000, `"extends":"NEXT","contents":{"@type":"Component","name":"c","schema":"NEXT"}`),
	"a diamond of v2":                   diamond(2, 10, 2),
	"a diamond of v3":                   diamond(3, 10, 100),
	"a wide diamond":                    diamond(4, 2, 170),
	"a deep diamond":                    diamond(3, 600, 3),
	"a diamond of schemas":              schemas(3, 5, 1000),
	"a deep diamond of schemas":         schemas(4, 1000, 10),
	"a ring of schemas":                 strings.Replace(schemas(4, 1000, 10), `"string"`, `"dtmi:s0;1"`, 1),
	"a ring of schemas in v2":           strings.Replace(schemas(2, 1000, 10), `"string"`, `"dtmi:s0;1"`, 1),
	"an interface of many contents":     having(3, many(20000, `{"@type":"Command","name":"c%d"}`)),
	"an interface of the same contents": having(3, many(20000, `{"@type":"Command","name":"c"}`)),
	"many errors":                       having(3, many(30000, `{"@type":"Foo","name":"%d"}`)),
	"many keys":                         thing(3, many(80000, `"k%d":1`)),
	"many keywords":                     thing(2, many(4000, `"@k%d":1`)),
	"the same keyword, often":           thing(2, strings.TrimSuffix(strings.Repeat(`"@k":1,`, 100000), ",")),
	"many annotations":                  extended(3, `"dtmi:dtdl:extension:annotation;1","dtmi:dtdl:extension:overriding;1"`, many(7000, `{"@type":["Property","ValueAnnotation","Override"],"name":"a%d","annotates":"a0","overrides":"name","schema":"string"}`)),
	"many types":                        having(2, `{"@type":["Command",`+many(80000, `"t%d"`)+`],"name":"c"}`),
	"many contexts":                     `{"@context":["dtmi:dtdl:context;2",` + many(40000, `"dtmi:c%d;1"`) + `],"@id":"dtmi:a;1","@type":"Interface"}`,
	"a huge number":                     having(3, `{"@type":"Relationship","name":"r","maxMultiplicity":`+strings.Repeat("9", 1<<19)+`}`),
	"a huge exponent":                   having(3, property(enum("integer", `{"name":"a","enumValue":1e999999999}`))),
	"a huge string":                     having(3, property(`"`+strings.Repeat("x", 1<<20)+`"`)),
	"wrong UTF-8":                       thing(3, "\"comment\":\"\xff\xfe\""),
	"a lone surrogate":                  thing(3, `"displayName":"\ud800"`),
	"numbers at the top":                "[" + strings.Repeat("0,", 700_000) + "0]",
	"lists at the top":                  "[" + strings.Repeat("[],", 39_000) + "[]]",
	"numbers in lists in lists":         strings.Repeat("[", 60) + strings.Repeat("0,", 79_900) + "0" + strings.Repeat("]", 60),
	"contents that are empty":           having(3, strings.Repeat("{},", 39_000)+"{}"),
	"fields that are empty":             having(3, property(`{"@type":"Object","fields":[`+strings.Repeat("{},", 39_000)+`{}]}`)),
	"short keys":                        thing(3, many(79_000, `"%d":0`)),
	"long keys":                         thing(3, many(20, `"`+strings.Repeat("k", 100_000)+`%d":0`)),
	"long keys of a foreign type":       having(2, `{"@type":["Command","x"],"name":"c",`+many(20_000, `"dtmi:`+strings.Repeat("k", 50)+`%d":0`)+`}`),
	"heirs of many contents":            heirs(2300, 950),
	"fewer heirs":                       heirs(2300, 40),
	"as many heirs as may be":           heirs(60, 1499),
	"as many contents as may be":        having(3, many(26_000, `{"@type":"Command","name":"c%d"}`)),
	"as many properties as may be":      having(3, many(19_500, `{"@type":"Property","name":"c%d","schema":"string"}`)),
	"as many fields as may be":          having(3, property(`{"@type":"Object","fields":[`+many(26_000, `{"name":"f%d","schema":"string"}`)+`]}`)),
	"as many enum values as may be":     having(3, property(enum("integer", many(26_000, `{"name":"e%d","enumValue":%d}`)))),
	"as many schemas as may be":         having(3, property(`{"@type":"Object","fields":[`+many(11_000, `{"name":"f%d","schema":{"@type":"Array","elementSchema":"string"}}`)+`]}`)),
	"as many interfaces as may be":      "[" + many(1500, `{"@context":"dtmi:dtdl:context;3","@id":"dtmi:x%d;1","@type":"Interface"}`) + "]",
	"too many interfaces":               "[" + many(20_000, `{"@context":"dtmi:dtdl:context;3","@id":"dtmi:x%d;1","@type":"Interface"}`) + "]",
	"a long chain of schemas":           thing(4, `"schemas":[`+many(19_500, `{"@id":"dtmi:s%d;1","@type":"Array","elementSchema":"dtmi:s%d9;1"}`)+`]`),
	"elements that are missing":         thing(3, `"extends":[`+many(79_000, `"dtmi:a%d;1"`)+`]`),
	"schemas that are missing":          having(3, many(20_000, `{"@type":"Property","name":"c%d","schema":"dtmi:a%d;1"}`)),
	"fields below a long @id":           thing(3, `"schemas":{"@id":"dtmi:`+strings.Repeat("a", 2030)+`;1","@type":"Object","fields":[`+many(26_000, `{"name":"f%d","schema":"string"}`)+`]}`),
	"errors below long names":           having(4, property(strings.Repeat(`{"@type":"Object","fields":[{"name":"`+strings.Repeat("n", 500)+`","schema":`, 28)+`{"@type":"Enum","valueSchema":"string","enumValues":[`+many(20_000, `{"name":"%d"}`)+`]}`+strings.Repeat(`}]}`, 28))),
	"texts in many languages":           thing(3, `"displayName":[`+many(40_000, `{"@value":"x","@language":"l%d"}`)+`]`),
	"contexts":                          "[" + many(9_000, `{"@context":["dtmi:dtdl:context;3",`+quantitative1+`],"@id":"%d","@type":"Interface"}`) + "]",
	"types":                             having(3, many(9_000, `{"@type":["Property","Telemetry","Command","Component","Relationship","Interface"],"name":"c%d"}`)),
	"relationships of annotations":      extended(3, `"dtmi:dtdl:extension:annotation;1"`, `{"@type":"Relationship","name":"r","properties":[`+many(7_000, `{"@type":["Property","ValueAnnotation"],"name":"a%d","annotates":"b","schema":"string"}`)+`]}`),
	"components of many contents":       components(10_000),
	"text of 3 MiB":                     thing(3, `"comment":"`+strings.Repeat("x", 3<<20-200)+`"`),
	"text of more":                      thing(3, `"comment":"`+strings.Repeat("x", 3<<20)+`"`),
}

// components are many of an interface with many contents.
func components(count int) string {
	return "[" + having(3, many(count, `{"@type":"Component","name":"p%d","schema":"dtmi:b;1"}`)) +
		`,{"@context":"dtmi:dtdl:context;3","@id":"dtmi:b;1","@type":"Interface","contents":[` + many(count, `{"@type":"Command","name":"c%d"}`) + `]}]`
}

// What a document may cost, whatever it is. Allocations are the most that can be held at once; what
// is held in the end is that with all of the interfaces, of which a library keeps one.
const (
	mostAllocated = 64 << 20
	mostHeld      = 16 << 20
	mostTime      = 20 * time.Second // on a machine that does much else; a second otherwise
)

func TestHostileDocuments(t *testing.T) {
	for name, document := range hostile {
		t.Run(name, func(t *testing.T) {
			raw := []byte(document)
			var before, after, end runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			m := dtdl.Parse(raw)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			interfaces := m.Interfaces()
			errors, missing := len(m.Errors), len(m.Missing)
			for _, e := range m.Errors {
				if len(e.Message) > 2000 {
					t.Errorf("a message of %d bytes: %.200s", len(e.Message), e.Message)
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&end)
			allocated, held, size := after.TotalAlloc-before.TotalAlloc, int64(end.HeapAlloc)-int64(before.HeapAlloc), 0
			for _, i := range interfaces {
				size += i.Size()
			}
			if took > mostTime || allocated > mostAllocated || held > mostHeld {
				t.Errorf("%d bytes took %v, %d MiB and in the end %d MiB", len(raw), took, allocated>>20, held>>20)
			}
			if held > 1<<20 && int64(size) < held {
				t.Errorf("the interfaces say that they take %d bytes, and take %d", size, held)
			}
			if errors > 1000 || missing > 1000 {
				t.Errorf("%d errors, %d missing", errors, missing)
			}
			t.Logf("%d bytes, %d errors, %d sound, %v, %d MiB, %d KiB in the end", len(raw), errors, len(interfaces), took.Round(time.Millisecond), allocated>>20, held>>10)
			runtime.KeepAlive(interfaces)
			runtime.KeepAlive(raw)
		})
	}
}

// Values are checked against the largest schemas that there can be, and are wrong everywhere.
func TestHostileValues(t *testing.T) {
	wide := property(`{"@type":"Object","fields":[` + many(20_000, `{"name":"f%d","schema":"string"}`) + `]}`)
	list := func(schema string) string { return property(`{"@type":"Array","elementSchema":` + schema + `}`) }
	for name, c := range map[string]struct{ content, value string }{
		"fields that there are not": {wide, "{" + many(30_000, `"g%d":0`) + "}"},
		"fields of another type":    {wide, "{" + many(20_000, `"f%d":0`) + "}"},
		"integers of an enum":       {list(enum("integer", many(20_000, `{"name":"e%d","enumValue":%d}`))), "[" + strings.Repeat("-1,", 40_000) + "-1]"},
		"texts of an enum":          {list(enum("string", many(20_000, `{"name":"e%d","enumValue":"%d"}`))), "[" + strings.Repeat(`"x",`, 30_000) + "0]"},
		"right values of an enum":   {list(enum("integer", many(20_000, `{"name":"e%d","enumValue":%d}`))), "[" + many(20_000, "%d") + "]"},
	} {
		t.Run(name, func(t *testing.T) {
			m := dtdl.Parse([]byte(having(3, c.content)))
			if len(m.Errors) > 0 {
				t.Fatal(m.Errors[0])
			}
			schema, value := m.Interface("dtmi:test:Thing;1").Property("p").Schema, decode(t, c.value)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			found := schema.Validate(value, "p")
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if allocated := after.TotalAlloc - before.TotalAlloc; took > mostTime || allocated > 16<<20 {
				t.Errorf("%v and %d MiB", took, allocated>>20)
			}
			if len(found) > 100 {
				t.Errorf("%d errors", len(found))
			}
		})
	}
}

func TestValuesOfAnyDepth(t *testing.T) {
	m := dtdl.Parse([]byte(thing(4, `"schemas":{"@id":"dtmi:test:list;1","@type":"Array","elementSchema":"dtmi:test:list;1"},"contents":`+property(`"dtmi:test:list;1"`))))
	schema := m.Interface("dtmi:test:Thing;1").Property("p").Schema
	var value any = []any{}
	for range 10000 {
		value = []any{value}
	}
	if errs := schema.Validate(value, "p"); len(errs) > 0 {
		t.Errorf("%.200v", errs)
	}
	wide := make([]any, 100000)
	if errs := schema.Validate(wide, "p"); len(errs) != 100 {
		t.Errorf("%d errors, want the first 100", len(errs))
	}
}
