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

func TestHostileDocuments(t *testing.T) {
	for name, document := range map[string]string{
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
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			m := dtdl.Parse([]byte(document))
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			allocated := (after.TotalAlloc - before.TotalAlloc) >> 20
			if took > 20*time.Second || allocated > 1024 {
				t.Errorf("%d bytes took %v and %d MiB", len(document), took, allocated)
			}
			if len(m.Errors) > 1000 {
				t.Errorf("%d errors", len(m.Errors))
			}
			for _, e := range m.Errors {
				if len(e.Message) > 2000 {
					t.Errorf("a message of %d bytes: %.200s", len(e.Message), e.Message)
				}
			}
			t.Logf("%d bytes, %d errors, %v, %d MiB", len(document), len(m.Errors), took.Round(time.Millisecond), allocated)
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
