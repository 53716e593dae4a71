// Package query is the query language of IoT Hub: a parser and an evaluator for what "IoT Hub query language for device and
// module twins, jobs, and message routing" defines. It does no I/O and knows no twins: rows answer look-ups by path.
package query

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// Collections that a query may read.
const (
	Devices = "devices"
	Modules = "devices.modules"
	Jobs    = "devices.jobs"
)

// Query is a parsed query.
type Query struct {
	Top     int // 0 is no limit
	Star    bool
	From    string // Devices, Modules or Jobs
	columns []column
	where   expression
	groupBy []attribute
	dialect Dialect
	named   []attribute // in WHERE
}

// Conditions returns the paths that the WHERE clause is about.
func (q *Query) Conditions() [][]string {
	paths := make([][]string, len(q.named))
	for i, a := range q.named {
		paths[i] = a
	}
	return paths
}

// column is one element of the SELECT list.
type column struct {
	name      string
	aggregate string // COUNT, AVG, SUM, MIN or MAX; empty for an attribute
	attribute attribute
}

// Aggregates reports whether rows of the result stand for groups of rows.
func (q *Query) Aggregates() bool {
	return len(q.groupBy) > 0 || slices.ContainsFunc(q.columns, func(c column) bool { return c.aggregate != "" })
}

// Parse reads a query.
func Parse(s string) (*Query, error) {
	tokens, err := lex(s)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	q := p.query()
	if p.err == nil && p.peek().kind != end {
		p.failf("%s is not expected here", p.peek())
	}
	if p.err != nil {
		return nil, p.err
	}
	return q, q.check()
}

// check refuses what the grammar allows and the language does not.
func (q *Query) check() error {
	switch {
	case q.From == Jobs && (!q.Star || len(q.groupBy) > 0):
		return errors.New("devices.jobs allows SELECT * only")
	case q.Star && len(q.groupBy) > 0:
		return errors.New("SELECT * cannot be grouped")
	case !q.Aggregates():
		return nil
	}
	for _, c := range q.columns {
		if c.aggregate == "" && !slices.ContainsFunc(q.groupBy, func(a attribute) bool { return slices.Equal(a, c.attribute) }) {
			return fmt.Errorf("%s is not in GROUP BY", strings.Join(c.attribute, "."))
		}
	}
	return nil
}

// parser is a recursive descent over tokens. After the first failure it reports the end of input and keeps the error.
type parser struct {
	tokens []token
	named  []attribute // parsed so far
	err    error
}

func (p *parser) failf(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
		p.tokens = []token{{kind: end}}
	}
}

func (p *parser) peek() token { return p.tokens[0] }

func (p *parser) next() token {
	t := p.tokens[0]
	if t.kind != end {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *parser) accept(s string) bool {
	if p.peek().is(s) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(s string) {
	if !p.accept(s) {
		p.failf("expected %s, found %s", s, p.peek())
	}
}

func (p *parser) query() *Query {
	q := &Query{}
	p.expect("SELECT")
	if p.accept("TOP") {
		q.Top = p.count()
	}
	if p.accept("*") {
		q.Star = true
	} else {
		q.columns = p.columns()
	}
	p.expect("FROM")
	q.From = p.collection()
	if p.accept("WHERE") {
		p.named = nil
		q.where = p.expression()
		q.named = p.named
	}
	if p.accept("GROUP") {
		p.expect("BY")
		q.groupBy = list(p, p.attribute)
	}
	return q
}

func (p *parser) count() int {
	t := p.next()
	if t.kind != number || t.value < 1 || t.value != float64(int(t.value)) {
		p.failf("TOP needs a positive whole number, found %s", t)
	}
	return int(t.value)
}

// list parses one or more elements with commas between them.
func list[T any](p *parser, element func() T) []T {
	out := []T{element()}
	for p.accept(",") {
		out = append(out, element())
	}
	return out
}

func (p *parser) collection() string {
	from := strings.ToLower(strings.Join(p.attribute(), "."))
	if !slices.Contains([]string{Devices, Modules, Jobs}, from) {
		p.failf("no collection %q", from)
	}
	return from
}

// columns names what has no alias: an attribute by its last segment, an aggregate $1, $2 and so on.
func (p *parser) columns() []column {
	columns := list(p, p.column)
	n := 0
	for i := range columns {
		if c := &columns[i]; c.name == "" && c.aggregate != "" {
			n++
			c.name = fmt.Sprintf("$%d", n)
		} else if c.name == "" && len(c.attribute) > 0 {
			c.name = c.attribute[len(c.attribute)-1]
		}
	}
	return columns
}

var aggregates = []string{"COUNT", "AVG", "SUM", "MIN", "MAX"}

func (p *parser) column() column {
	var c column
	if p.call() && slices.Contains(aggregates, strings.ToUpper(p.peek().text)) {
		c = p.aggregate()
	} else {
		c.attribute = p.attribute()
	}
	if p.accept("AS") {
		t := p.next()
		if t.kind != word {
			p.failf("AS needs a name, found %s", t)
		}
		c.name = t.text
	}
	return c
}

// call reports whether a word with an opening parenthesis comes next.
func (p *parser) call() bool {
	return p.peek().kind == word && len(p.tokens) > 1 && p.tokens[1].is("(")
}

func (p *parser) aggregate() column {
	c := column{aggregate: strings.ToUpper(p.next().text)}
	p.expect("(")
	if c.aggregate == "COUNT" {
		p.accept("*")
	} else {
		c.attribute = p.attribute()
	}
	p.expect(")")
	return c
}

// attribute is a path into a row.
type attribute []string

var keywords = []string{
	"SELECT", "TOP", "FROM", "WHERE", "GROUP", "BY", "AS", "AND", "OR", "NOT", "IN", "NIN", "TRUE", "FALSE", "NULL", "UNDEFINED",
}

func (p *parser) attribute() attribute {
	t := p.next()
	if t.kind != word || slices.Contains(keywords, strings.ToUpper(t.text)) {
		p.failf("expected a name, found %s", t)
	}
	a := attribute{t.text}
	for p.accept(".") {
		t := p.next()
		if t.kind != word && t.kind != name {
			p.failf("expected a name after the dot, found %s", t)
		}
		a = append(a, t.text)
	}
	p.named = append(p.named, a)
	return a
}

// Project returns what the SELECT list makes of a row; attributes that the row lacks are left out.
func (q *Query) Project(r Row) any {
	if q.Star {
		v, _ := r.Lookup(nil)
		return v
	}
	o := make(jsontree.Object, 0, len(q.columns))
	for _, c := range q.columns {
		if v, ok := r.Lookup(c.attribute); ok {
			o = o.With(c.name, v)
		}
	}
	return o
}
