package query

import (
	"fmt"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// predicate is a condition in two forms: text for the parser, and a naive filter over plain Go maps. 1 is true, 0 is false,
// -1 is undefined.
type predicate struct {
	text  string
	holds func(map[string]int) int
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// comparison: attributes are numbers, and may be missing.
func comparison(t *rapid.T) predicate {
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "attribute")
	op := rapid.SampledFrom([]string{"=", "!=", "<", "<=", ">", ">=", "<>"}).Draw(t, "operator")
	n := rapid.IntRange(-2, 2).Draw(t, "constant")
	naive := map[string]func(a, b int) bool{
		"=": func(a, b int) bool { return a == b }, "!=": func(a, b int) bool { return a != b }, "<>": func(a, b int) bool { return a != b },
		"<": func(a, b int) bool { return a < b }, "<=": func(a, b int) bool { return a <= b },
		">": func(a, b int) bool { return a > b }, ">=": func(a, b int) bool { return a >= b },
	}
	return predicate{fmt.Sprintf("tags.%s %s %d", name, op, n), func(row map[string]int) int {
		v, ok := row[name]
		if !ok {
			return -1
		}
		return truth(naive[op](v, n))
	}}
}

func membership(t *rapid.T) predicate {
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "attribute")
	not := rapid.Bool().Draw(t, "not")
	x, y := rapid.IntRange(-2, 2).Draw(t, "x"), rapid.IntRange(-2, 2).Draw(t, "y")
	op := map[bool]string{false: "IN", true: "NIN"}[not]
	return predicate{fmt.Sprintf("tags.%s %s [%d, %d]", name, op, x, y), func(row map[string]int) int {
		v, ok := row[name]
		if !ok {
			return -1
		}
		return truth((v == x || v == y) != not)
	}}
}

func defined(t *rapid.T) predicate {
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "attribute")
	return predicate{"IS_DEFINED(tags." + name + ")", func(row map[string]int) int {
		_, ok := row[name]
		return truth(ok)
	}}
}

func condition(t *rapid.T, depth int) predicate {
	kind := rapid.IntRange(0, 5).Draw(t, "kind")
	if depth == 0 {
		kind %= 3
	}
	switch kind {
	case 0:
		return comparison(t)
	case 1:
		return membership(t)
	case 2:
		return defined(t)
	case 3:
		inner := condition(t, depth-1)
		return predicate{"NOT (" + inner.text + ")", func(row map[string]int) int {
			if v := inner.holds(row); v >= 0 {
				return 1 - v
			}
			return -1
		}}
	case 4:
		return both(condition(t, depth-1), condition(t, depth-1), "AND", 0)
	}
	return both(condition(t, depth-1), condition(t, depth-1), "OR", 1)
}

// both combines two conditions; dominant is the value that decides alone.
func both(x, y predicate, op string, dominant int) predicate {
	return predicate{"(" + x.text + ") " + op + " (" + y.text + ")", func(row map[string]int) int {
		a, b := x.holds(row), y.holds(row)
		switch {
		case a == dominant || b == dominant:
			return dominant
		case a < 0 || b < 0:
			return -1
		}
		return 1 - dominant
	}}
}

func TestEvaluationIsTheNaiveFilter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := condition(rt, 3)
		q, err := Parse("SELECT * FROM devices WHERE " + want.text)
		if err != nil {
			rt.Fatalf("%s: %v", want.text, err)
		}
		tags := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c"}), rapid.IntRange(-2, 2), 0, 3).Draw(rt, "tags")
		if got := q.Matches(tagged(tags)); got != (want.holds(tags) == 1) {
			rt.Fatalf("%s on %v is %v", want.text, tags, got)
		}
	})
}

func tagged(tags map[string]int) Row {
	o := jsontree.Object{}
	for name, v := range tags {
		parsed, err := jsontree.Parse([]byte(strconv.Itoa(v)))
		if err != nil {
			panic(err)
		}
		o = o.With(name, parsed)
	}
	return document{jsontree.Object{{Name: "tags", Value: o}}}
}
