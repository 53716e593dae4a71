package dtdl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	text    string // of a string or number
	members []member
	items   []node
	size    int // bytes in the document, of an object
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
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	n, err := readValue(dec, 0)
	if err != nil {
		return node{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return node{}, errTrailing
	}
	return n, nil
}

func readValue(dec *json.Decoder, depth int) (node, error) {
	token, err := dec.Token()
	if err != nil {
		return node{}, err
	}
	switch token := token.(type) {
	case json.Delim:
		return readNested(dec, token, depth+1)
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

func readNested(dec *json.Decoder, open json.Delim, depth int) (node, error) {
	if depth > maxNesting {
		return node{}, errTooDeep
	}
	n := node{kind: listKind}
	start := dec.InputOffset() - 1
	if open == '{' {
		n.kind = objectKind
	}
	for dec.More() {
		var key json.Token
		var err error
		if n.kind == objectKind {
			if key, err = dec.Token(); err != nil {
				return node{}, err
			}
		}
		value, err := readValue(dec, depth)
		if err != nil {
			return node{}, err
		}
		if name, ok := key.(string); ok {
			n.members = append(n.members, member{name, value})
		} else {
			n.items = append(n.items, value)
		}
	}
	_, err := dec.Token() // the closing delimiter
	n.size = int(dec.InputOffset() - start)
	return n, err
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
	values := make([]placed, 0, len(n.items))
	for i := range n.items {
		values = append(values, flatten(&n.items[i], at.item(i))...)
	}
	return values
}
