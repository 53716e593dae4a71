package query

import (
	"iter"
	"slices"
	"testing"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// document is a Row that is a plain JSON object.
type document struct{ jsontree.Object }

func (d document) Lookup(path []string) (any, bool) {
	var v any = d.Object
	for _, name := range path {
		o, ok := v.(jsontree.Object)
		if !ok {
			return nil, false
		}
		if v, ok = o.Get(name); !ok {
			return nil, false
		}
	}
	return v, true
}

func row(t testing.TB, s string) Row {
	t.Helper()
	o, err := jsontree.ParseObject([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return document{o}
}

func parse(t testing.TB, s string) *Query {
	t.Helper()
	q, err := Parse(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return q
}

func rows(t testing.TB, documents ...string) iter.Seq[Row] {
	out := make([]Row, len(documents))
	for i, d := range documents {
		out[i] = row(t, d)
	}
	return slices.Values(out)
}

func encode(v any) string { return string(jsontree.Append(nil, v)) }
