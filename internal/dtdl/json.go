package dtdl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pnp-operator/pnp-operator/internal/jsonscan"
)

// maxNesting is how deep JSON may nest: the limit of System.Text.Json, which Microsoft's parser leaves at its default.
const maxNesting = 64

// kind is a kind of JSON value.
type kind uint8

const (
	nullKind kind = iota
	boolKind
	numberKind
	stringKind
	objectKind
	listKind
)

// node is a JSON value that keeps the order of its keys and the ones that are repeated.
type node struct {
	kind    kind
	truth   bool
	size    int32  // bytes in the document, of an object
	text    string // of a string or number
	members []member
	items   []node
}

type member struct {
	key   string
	value node
}

// get finds the first member with a key.
func (n *node) get(key string) (*node, bool) {
	for i := range n.members {
		if n.members[i].key == key {
			return &n.members[i].value, true
		}
	}
	return nil, false
}

// show describes a value for a message.
func (n *node) show() string {
	switch n.kind {
	case nullKind:
		return "null"
	case boolKind:
		return fmt.Sprint(n.truth)
	case numberKind:
		return "the number " + cut(n.text)
	case stringKind:
		return "the string " + quote(n.text)
	case objectKind:
		return "an object"
	default:
		return "a list"
	}
}

var (
	errTooDeep  = fmt.Errorf("is nested more than %d levels deep", maxNesting)
	errTrailing = errors.New("has more data after the JSON value")
)

// parseJSON reads one JSON value.
func parseJSON(raw []byte) (node, error) {
	r := reader{dec: json.NewDecoder(bytes.NewReader(raw)), open: make([]member, 0, jsonscan.Values(raw))}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err != nil {
		return node{}, err
	}
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return node{}, errTrailing
	}
	return n, nil
}

// reader makes nodes of tokens.
type reader struct {
	dec *json.Decoder
	// open are the parts of the objects and lists whose end is to come: there, nothing has to grow.
	open []member
}

func (r *reader) value(depth int) (node, error) {
	token, err := r.dec.Token()
	if err != nil {
		return node{}, err
	}
	switch token := token.(type) {
	case json.Delim:
		return r.nested(token, depth+1)
	case string:
		return node{kind: stringKind, text: token}, nil
	case json.Number:
		return node{kind: numberKind, text: string(token)}, nil
	case bool:
		return node{kind: boolKind, truth: token}, nil
	default:
		return node{kind: nullKind}, nil
	}
}

func (r *reader) nested(open json.Delim, depth int) (node, error) {
	if depth > maxNesting {
		return node{}, errTooDeep
	}
	n := node{kind: listKind}
	if open == '{' {
		n.kind = objectKind
	}
	start, first := r.dec.InputOffset()-1, len(r.open)
	for r.dec.More() {
		part, err := r.part(n.kind, depth)
		if err != nil {
			return node{}, err
		}
		r.open = append(r.open, part)
	}
	n.take(r.open[first:])
	r.open = r.open[:first]
	_, err := r.dec.Token()                     // the closing delimiter
	n.size = int32(r.dec.InputOffset() - start) //nolint:gosec // at most MaxBytes
	return n, err
}

// part reads an item of a list, or a member of an object.
func (r *reader) part(of kind, depth int) (member, error) {
	var m member
	if of == objectKind {
		key, err := r.dec.Token()
		if err != nil {
			return member{}, err
		}
		m.key, _ = key.(string)
	}
	var err error
	m.value, err = r.value(depth)
	return m, err
}

func (n *node) take(parts []member) {
	if n.kind == objectKind {
		n.members = slices.Clone(parts)
		return
	}
	n.items = make([]node, len(parts))
	for i := range parts {
		n.items[i] = parts[i].value
	}
}

// placed is a value with its place.
type placed struct {
	*node
	at *place
}

// flatten gives the values of a property: JSON-LD takes a single value for a list of one, and a list within a list for its
// items.
func flatten(n *node, at *place) []placed {
	if n.kind != listKind {
		return []placed{{n, at}}
	}
	return appendFlat(make([]placed, 0, len(n.items)), n, at)
}

func appendFlat(values []placed, n *node, at *place) []placed {
	if n.kind != listKind {
		return append(values, placed{n, at})
	}
	for i := range n.items {
		values = appendFlat(values, &n.items[i], at.item(i))
	}
	return values
}
