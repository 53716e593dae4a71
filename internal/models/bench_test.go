package models

import (
	"encoding/json"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// BenchmarkAdmission is what checking a PnPDevice against a model that is compiled costs: it is to stay under a millisecond.
func BenchmarkAdmission(b *testing.B) {
	l, _ := newTestLibrary(inline("pump", pumpDTDL), inline("valve", valveDTDL))
	declared := twin.Declaration{
		{Name: "limits"}:                       map[string]any{"low": json.Number("1"), "high": json.Number("2.5")},
		{Component: "inlet", Name: "opening"}:  json.Number("50"),
		{Component: "inlet", Name: "openning"}: json.Number("50"),
	}
	b.ReportAllocs()
	for b.Loop() {
		if v, err := l.CheckDevice(b.Context(), "", pumpID, declared); err != nil || len(v.Violations) != 1 {
			b.Fatal(v, err)
		}
	}
}
