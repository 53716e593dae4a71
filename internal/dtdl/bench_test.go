package dtdl_test

import (
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

func BenchmarkParse(b *testing.B) {
	largest := ""
	models := realModels(b)
	for name, raw := range models {
		if len(raw) > len(models[largest]) {
			largest = name
		}
	}
	b.SetBytes(int64(len(models[largest])))
	b.ReportAllocs()
	for b.Loop() {
		dtdl.Parse(models[largest])
	}
}

func BenchmarkValidate(b *testing.B) {
	schema := schemaOf(b, person)
	value := decode(b, `{"name":"a","age":5,"mood":"b","rooms":{"x":[1,2],"y":[3.0,4e1]}}`)
	b.ReportAllocs()
	for b.Loop() {
		if errs := schema.Validate(value, "spec.properties.person"); len(errs) > 0 {
			b.Fatal(errs)
		}
	}
}
