package query

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
)

// Row is one document of a collection. Lookup finds a value by path and reports false where there is none; the empty path is
// the whole document. Values are those of package jsontree.
type Row interface {
	Lookup(path []string) (any, bool)
}

// Dialect is what Microsoft does not say of the language. The zero value is what the documentation suggests.
type Dialect struct {
	// MissingDiffers has != and NIN hold for a property that a row lacks. By the documentation undefined is neither equal nor
	// unequal to anything.
	MissingDiffers bool
	// NoMetadata has conditions find nothing at a path through $metadata.
	NoMetadata bool
}

// In returns the query with the conditions of another dialect.
func (q *Query) In(d Dialect) *Query {
	next := *q
	next.dialect = d
	return &next
}

// scope is what an expression is evaluated with.
type scope struct {
	Row
	dialect Dialect
}

// undefined is the value of an attribute that a row lacks, and of every operation that makes no sense.
type undefined struct{}

// expression is a part of a WHERE clause. Its values are undefined, nil, bool, float64, string, []any and objects.
type expression interface {
	value(scope) any
}

// Matches reports whether the WHERE clause is true for the row; anything but true is false.
func (q *Query) Matches(r Row) bool {
	return q.where == nil || q.where.value(scope{r, q.dialect}) == true
}

type constant struct{ v any }

func (c constant) value(scope) any { return c.v }

// in looks the attribute up as a condition does.
func (a attribute) in(s scope) (any, bool) {
	if s.dialect.NoMetadata && slices.Contains(a, "$metadata") {
		return nil, false
	}
	return s.Lookup(a)
}

func (a attribute) value(s scope) any {
	v, ok := a.in(s)
	if !ok {
		return undefined{}
	}
	return plain(v)
}

// plain turns numbers into float64.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, _ := v.Float64()
		return f
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plain(e)
		}
		return out
	}
	return v
}

// isDefined is IS_DEFINED: true also for null.
type isDefined struct{ attribute attribute }

func (e isDefined) value(s scope) any {
	_, ok := e.attribute.in(s)
	return ok
}

// literals are an array of constants, which IN looks up: a list of a thousand ids costs a row no more than one.
type literals map[any]struct{}

// has is for primitives.
func (l literals) has(v any) bool {
	_, ok := l[v]
	return ok
}

func (l literals) value(scope) any { return l }

type array []expression

// folded returns literals for an array of primitive constants. Undefined is in no list.
func (a array) folded() expression {
	l := literals{}
	for _, e := range a {
		c, ok := e.(constant)
		if !ok {
			return a
		}
		if c.v != (undefined{}) {
			l[c.v] = struct{}{}
		}
	}
	return l
}

func (a array) value(s scope) any {
	out := make([]any, len(a))
	for i, e := range a {
		out[i] = e.value(s)
	}
	return out
}

type not struct{ operand expression }

func (e not) value(s scope) any {
	if b, ok := e.operand.value(s).(bool); ok {
		return !b
	}
	return undefined{}
}

type negative struct{ operand expression }

func (e negative) value(s scope) any {
	if f, ok := e.operand.value(s).(float64); ok {
		return -f
	}
	return undefined{}
}

// binary applies an operator to two values.
type binary struct {
	operator    string
	left, right expression
}

func (e binary) value(s scope) any {
	left, right := e.left.value(s), e.right.value(s)
	if s.dialect.MissingDiffers && slices.Contains(differing, e.operator) && (left == undefined{}) != (right == undefined{}) {
		return true
	}
	return operators[e.operator](left, right)
}

// differing are the operators that Dialect.MissingDiffers is about.
var differing = []string{"!=", "<>", "NIN"}

var operators = map[string]func(a, b any) any{
	"AND": and, "OR": or,
	"=": equal, "!=": unequal, "<>": unequal,
	"<": ordered(func(c int) bool { return c < 0 }), "<=": ordered(func(c int) bool { return c <= 0 }),
	">": ordered(func(c int) bool { return c > 0 }), ">=": ordered(func(c int) bool { return c >= 0 }),
	"+":  arithmetic(func(a, b float64) float64 { return a + b }),
	"-":  arithmetic(func(a, b float64) float64 { return a - b }),
	"*":  arithmetic(func(a, b float64) float64 { return a * b }),
	"/":  arithmetic(func(a, b float64) float64 { return a / b }),
	"%":  arithmetic(math.Mod),
	"IN": in, "NIN": func(a, b any) any { return negate(in(a, b)) },
}

// and and or have three values: false and anything is false, true or anything is true.
func and(a, b any) any {
	if a == false || b == false {
		return false
	}
	if a == true && b == true {
		return true
	}
	return undefined{}
}

func or(a, b any) any {
	if a == true || b == true {
		return true
	}
	if a == false && b == false {
		return false
	}
	return undefined{}
}

// equal compares primitives of one type; everything else is undefined.
func equal(a, b any) any {
	if !samePrimitive(a, b) {
		return undefined{}
	}
	return a == b
}

func unequal(a, b any) any { return negate(equal(a, b)) }

func negate(v any) any {
	if b, ok := v.(bool); ok {
		return !b
	}
	return undefined{}
}

func samePrimitive(a, b any) bool {
	switch a.(type) {
	case nil:
		return b == nil
	case bool:
		_, ok := b.(bool)
		return ok
	case float64:
		_, ok := b.(float64)
		return ok
	case string:
		_, ok := b.(string)
		return ok
	}
	return false
}

// ordered compares two numbers or two strings.
func ordered(accept func(int) bool) func(a, b any) any {
	return func(a, b any) any {
		if c, ok := compare(a, b); ok {
			return accept(c)
		}
		return undefined{}
	}
}

func compare(a, b any) (int, bool) {
	if !samePrimitive(a, b) {
		return 0, false
	}
	switch a := a.(type) {
	case float64:
		return order(a, b.(float64)), true
	case string:
		return strings.Compare(a, b.(string)), true
	}
	return 0, false
}

func order(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func arithmetic(f func(a, b float64) float64) func(a, b any) any {
	return func(a, b any) any {
		x, ok1 := a.(float64)
		y, ok2 := b.(float64)
		if result := f(x, y); ok1 && ok2 && !math.IsNaN(result) && !math.IsInf(result, 0) {
			return result
		}
		return undefined{}
	}
}

// in compares with each element of an array, across types: what differs in type is not the same.
func in(a, b any) any {
	if (a == undefined{}) {
		return undefined{}
	}
	if l, ok := b.(literals); ok {
		return samePrimitive(a, a) && l.has(a)
	}
	list, ok := b.([]any)
	if !ok {
		return undefined{}
	}
	return slices.ContainsFunc(list, func(e any) bool { return equal(a, e) == true })
}

// The grammar, loosest first: OR, AND, NOT, comparison, sum, product, sign.

func (p *parser) expression() expression {
	return p.chain(p.conjunction, "OR")
}

func (p *parser) conjunction() expression {
	return p.chain(p.negation, "AND")
}

func (p *parser) negation() expression {
	if p.accept("NOT") {
		return not{p.negation()}
	}
	return p.comparison()
}

func (p *parser) comparison() expression {
	return p.chain(p.sum, "=", "!=", "<>", "<=", ">=", "<", ">", "IN", "NIN")
}

func (p *parser) sum() expression { return p.chain(p.product, "+", "-") }

func (p *parser) product() expression { return p.chain(p.sign, "*", "/", "%") }

func (p *parser) sign() expression {
	if p.accept("-") {
		return negative{p.sign()}
	}
	return p.primary()
}

// chain parses operands with operators of one precedence between them, from the left.
func (p *parser) chain(operand func() expression, operators ...string) expression {
	left := operand()
	for {
		i := slices.IndexFunc(operators, func(op string) bool { return p.peek().is(op) })
		if i < 0 {
			return left
		}
		p.next()
		left = binary{operators[i], left, operand()}
	}
}

func (p *parser) primary() expression {
	t := p.peek()
	switch {
	case t.kind == number:
		return constant{p.next().value}
	case t.kind == text:
		return constant{p.next().text}
	case p.accept("("):
		e := p.expression()
		p.expect(")")
		return e
	case p.accept("["):
		return p.array()
	case p.call():
		return p.function()
	case t.kind == word:
		return p.wordValue()
	}
	p.failf("expected a value, found %s", t)
	return constant{undefined{}}
}

func (p *parser) array() expression {
	if p.accept("]") {
		return literals{}
	}
	a := array(list(p, p.expression))
	p.expect("]")
	return a.folded()
}

// function: IS_DEFINED is the only documented one for twins; the Azure CLI finds the children of an edge device by ARRAY_CONTAINS.
func (p *parser) function() expression {
	t := p.next()
	p.expect("(")
	var e expression
	switch strings.ToUpper(t.text) {
	case "IS_DEFINED":
		e = isDefined{p.attribute()}
	case "ARRAY_CONTAINS":
		list := p.attribute()
		p.expect(",")
		e = binary{"IN", p.expression(), list}
	default:
		p.failf("no function %s", t)
	}
	p.expect(")")
	return e
}

func (p *parser) wordValue() expression {
	switch strings.ToUpper(p.peek().text) {
	case "TRUE", "FALSE":
		return constant{strings.EqualFold(p.next().text, "TRUE")}
	case "NULL":
		p.next()
		return constant{nil}
	case "UNDEFINED":
		p.next()
		return constant{undefined{}}
	}
	return p.attribute()
}
