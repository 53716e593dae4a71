// Package jsontree holds JSON as IoT Hub does: members keep their order and numbers are kept verbatim, so that
// 1 and 1.0 each come back as they were sent.
//
// A value is one of Object, []any, json.Number, string, bool or nil.
package jsontree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// Object is a JSON object that keeps the order of its members.
type Object []Member

// Member is one name and value of an Object.
type Member struct {
	Name  string
	Value any
}

// Get returns the value of the named member.
func (o Object) Get(name string) (any, bool) {
	for _, m := range o {
		if m.Name == name {
			return m.Value, true
		}
	}
	return nil, false
}

// Object returns the named member if it is an object, and nil otherwise.
func (o Object) Object(name string) Object {
	v, _ := o.Get(name)
	child, _ := v.(Object)
	return child
}

// With returns a copy of o in which name has the given value.
func (o Object) With(name string, value any) Object {
	next := make(Object, len(o), len(o)+1)
	copy(next, o)
	for i := range next {
		if next[i].Name == name {
			next[i].Value = value
			return next
		}
	}
	return append(next, Member{name, value})
}

// Without returns a copy of o that lacks the named members.
func (o Object) Without(names ...string) Object {
	next := make(Object, 0, len(o))
	for _, m := range o {
		if !slices.Contains(names, m.Name) {
			next = append(next, m)
		}
	}
	return next
}

// MarshalJSON encodes o with its members in order.
func (o Object) MarshalJSON() ([]byte, error) { return Append(nil, o), nil }

// Parse decodes exactly one JSON value. Of members that share a name the last one wins.
func Parse(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := parseValue(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the JSON value")
	}
	return v, nil
}

// ParseObject decodes exactly one JSON object.
func ParseObject(data []byte) (Object, error) {
	v, err := Parse(data)
	if err != nil {
		return nil, err
	}
	o, ok := v.(Object)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	return o, nil
}

func parseValue(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		return parseMembers(d)
	case json.Delim('['):
		return parseElements(d)
	}
	return t, nil
}

func parseMembers(d *json.Decoder) (any, error) {
	o := Object{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := parseValue(d)
		if err != nil {
			return nil, err
		}
		o = o.set(name.(string), v)
	}
	_, err := d.Token()
	return o, err
}

func (o Object) set(name string, value any) Object {
	for i := range o {
		if o[i].Name == name {
			o[i].Value = value
			return o
		}
	}
	return append(o, Member{name, value})
}

func parseElements(d *json.Decoder) (any, error) {
	a := []any{}
	for d.More() {
		v, err := parseValue(d)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	_, err := d.Token()
	return a, err
}

// Append appends the encoding of v to b. A value of no JSON type is a programming error and panics.
func Append(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case json.Number:
		return append(b, v...)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case string:
		return appendString(b, v)
	case []any:
		return appendArray(b, v)
	case Object:
		return appendObject(b, v)
	}
	panic(fmt.Sprintf("jsontree: cannot encode a %T", v))
}

func appendObject(b []byte, o Object) []byte {
	b = append(b, '{')
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, m.Name), ':')
		b = Append(b, m.Value)
	}
	return append(b, '}')
}

func appendArray(b []byte, a []any) []byte {
	b = append(b, '[')
	for i, v := range a {
		if i > 0 {
			b = append(b, ',')
		}
		b = Append(b, v)
	}
	return append(b, ']')
}

func appendString(b []byte, s string) []byte {
	if plain(s) {
		return append(append(append(b, '"'), s...), '"')
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // a string always encodes
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// plain reports whether s needs no escaping.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
