package models

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

func TestIntegersThatKubernetesRounds(t *testing.T) {
	for name, c := range map[string]struct {
		schema, payload string
		want            []string
	}{
		"the largest that is kept":          {"", `9223372036854775807`, nil},
		"the least that is kept":            {"", `-9223372036854775808`, nil},
		"one more":                          {"", `9223372036854775808`, []string{"spec.payload is an integer beyond 64 bits signed"}},
		"one less":                          {"", `-9223372036854775809`, []string{"makes -9223372036854775809"}},
		"within objects and arrays":         {"", `{"b":[1,18446744073709552000],"a":{"c":99999999999999999999}}`, []string{"spec.payload.a.c", "spec.payload.b[1]"}},
		"a text":                            {"", `"18446744073709551615"`, nil},
		"a double in its own form":          {"", `1.8446744073709552e19`, nil},
		"an unsigned long":                  {`"unsignedLong"`, `10000000000000000000`, []string{"spec.payload is"}},
		"a double":                          {`"double"`, `10000000000000000000`, nil},
		"doubles of an array":               {`{"@type":"Array","elementSchema":"double"}`, `[10000000000000000000]`, nil},
		"a double and a long of one object": {`{"@type":"Object","fields":[{"name":"a","schema":"double"},{"name":"b","schema":"unsignedLong"}]}`, `{"a":10000000000000000000,"b":10000000000000000000}`, []string{"spec.payload.b"}},
		"no payload":                        {"", ``, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var schema *dtdl.Schema
			if c.schema != "" {
				m := dtdl.Parse([]byte(`{"@context":"dtmi:dtdl:context;4","@id":"dtmi:test:Thing;1","@type":"Interface","contents":[{"@type":"Command","name":"c","request":{"name":"r","schema":` + c.schema + `}}]}`))
				schema = m.Interface("dtmi:test:Thing;1").Command("c").Request.Schema
			}
			got := rounded(schema, &apiextensionsv1.JSON{Raw: []byte(c.payload)})
			if len(got) != len(c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			for i := range c.want {
				if !strings.Contains(got[i], c.want[i]) {
					t.Errorf("got %q, want %q", got[i], c.want[i])
				}
			}
		})
	}
}
