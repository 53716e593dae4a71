package query

import (
	"encoding/json"
	"iter"
	"strconv"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// Aggregate returns one object per group, in the order in which the groups first appear. Rows that WHERE excludes are
// skipped. Without GROUP BY all rows are one group, even if there are none.
func (q *Query) Aggregate(rows iter.Seq[Row]) []jsontree.Object {
	groups := map[string]*group{}
	var inOrder []*group
	if len(q.groupBy) == 0 {
		inOrder = append(inOrder, newGroup(q, nil))
		groups[""] = inOrder[0]
	}
	for r := range rows {
		if !q.Matches(r) {
			continue
		}
		key := q.key(r)
		g := groups[key]
		if g == nil {
			g = newGroup(q, r)
			groups[key], inOrder = g, append(inOrder, g)
		}
		g.add(r)
	}
	out := make([]jsontree.Object, len(inOrder))
	for i, g := range inOrder {
		out[i] = g.result()
	}
	return out
}

// key encodes the values that a row is grouped by; a missing one differs from every other.
func (q *Query) key(r Row) string {
	var b []byte
	for _, a := range q.groupBy {
		if v, ok := r.Lookup(a); ok {
			b = jsontree.Append(b, v)
		}
		b = append(b, '\n')
	}
	return string(b)
}

// group is what has been seen of one group.
type group struct {
	query  *Query
	sample Row // its first row
	count  int
	totals []total // one per column
}

// total is what a column needs of the values seen so far.
type total struct {
	n        int
	sum      float64
	min, max any
}

func newGroup(q *Query, sample Row) *group {
	return &group{query: q, sample: sample, totals: make([]total, len(q.columns))}
}

func (g *group) add(r Row) {
	g.count++
	for i, c := range g.query.columns {
		if c.aggregate != "" && c.aggregate != "COUNT" {
			g.totals[i].add(c.attribute.value(scope{Row: r}))
		}
	}
}

// add counts numbers in sums, and numbers and strings in minimum and maximum.
func (t *total) add(v any) {
	if f, ok := v.(float64); ok {
		t.n++
		t.sum += f
	}
	if _, ok := compare(v, v); !ok {
		return
	}
	if c, ok := compare(v, t.min); t.min == nil || ok && c < 0 {
		t.min = v
	}
	if c, ok := compare(v, t.max); t.max == nil || ok && c > 0 {
		t.max = v
	}
}

func (g *group) result() jsontree.Object {
	o := make(jsontree.Object, 0, len(g.totals))
	for i, c := range g.query.columns {
		if v, ok := g.column(c, g.totals[i]); ok {
			o = o.With(c.name, v)
		}
	}
	return o
}

func (g *group) column(c column, t total) (any, bool) {
	switch c.aggregate {
	case "":
		return g.sample.Lookup(c.attribute)
	case "COUNT":
		return g.count, true
	case "SUM":
		return decimal(t.sum), true
	case "AVG":
		return decimal(t.sum / float64(max(t.n, 1))), t.n > 0
	case "MIN":
		return extreme(t.min)
	}
	return extreme(t.max)
}

func extreme(v any) (any, bool) {
	if f, ok := v.(float64); ok {
		return decimal(f), true
	}
	return v, v != nil
}

func decimal(f float64) json.Number {
	return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
}
