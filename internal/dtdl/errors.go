package dtdl

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error is a rule of DTDL that a document breaks.
type Error struct {
	// Document is the index of the document among those given to Parse.
	Document int
	// Interface is the DTMI of the interface that holds the error, "" if the document has none.
	Interface string
	// Element is the DTMI of the element that is wrong: its @id, or the one that DTDL generates.
	Element string
	// Path leads to the place in the document, as a JSON pointer (RFC 6901).
	Path string
	// Rule is a short name that does not change between releases, such as "nameInvalid".
	Rule string
	// Message says what is there and what is expected, a sentence without its period.
	Message string
}

// Error names the element, the place, what is wrong and the rule.
func (e Error) Error() string {
	subject := e.Element
	if subject == "" {
		subject = fmt.Sprintf("document %d", e.Document)
	}
	return fmt.Sprintf("%s: %s: %s (%s)", subject, e.Path, e.Message, e.Rule)
}

// Missing is a DTMI that the documents need and do not define.
type Missing struct {
	DTMI string
	// Interface, Document and Path say where it is needed first.
	Interface string
	Document  int
	Path      string
}

// place is a position in a document. Its pointer is only written out when somebody asks.
type place struct {
	parent   *place
	key      string
	index    int // of a list, -1 if it is a member of an object
	document int
}

func (p *place) member(key string) *place {
	return &place{parent: p, key: key, index: -1, document: p.document}
}

func (p *place) item(i int) *place { return &place{parent: p, index: i, document: p.document} }

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// pointer writes the place as RFC 6901 has it.
func (p *place) pointer() string {
	if p.parent == nil {
		return ""
	}
	var steps []*place
	for ; p.parent != nil; p = p.parent {
		steps = append(steps, p)
	}
	var b strings.Builder
	for _, step := range slices.Backward(steps) {
		b.WriteByte('/')
		if step.index >= 0 {
			b.WriteString(strconv.Itoa(step.index))
		} else {
			b.WriteString(pointerEscapes.Replace(cut(step.key)))
		}
	}
	return b.String()
}

// report keeps an error and marks the interface that holds it as unsound.
func (p *parser) report(el *element, at *place, rule, message string, args ...any) {
	if el != nil && el.owner != nil {
		el.owner.unsound = true
	}
	if p.stopped {
		return
	}
	if len(p.errors) == maxErrors || p.errorBytes > maxErrorBytes {
		p.stopped = true
		return
	}
	e := Error{Document: at.document, Rule: rule, Path: at.pointer(), Message: fmt.Sprintf(message, args...)}
	if el != nil {
		e.Element = el.dtmi()
		if el.owner != nil {
			e.Interface = el.owner.dtmi()
		}
	}
	p.errorBytes += len(e.Interface) + len(e.Element) + len(e.Path) + len(e.Message)
	p.errors = append(p.errors, e)
}

func sortErrors(errors []Error) {
	slices.SortStableFunc(errors, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Document, b.Document), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
}

const maxQuoted = 80

// cut shortens a text that may be of any length, at a rune's boundary.
func cut(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	end := maxQuoted
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// quote shows a text of any length.
func quote(s string) string { return fmt.Sprintf("%q", cut(s)) }

// oneOf lists alternatives: "a", "a or b", "a, b or c".
func oneOf[T ~string](names []T) string {
	var b strings.Builder
	for i, name := range names {
		switch {
		case i == 0:
		case i == len(names)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(name))
	}
	return b.String()
}
