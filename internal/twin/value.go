package twin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// DecodeValue reads one JSON value with its numbers kept as written, so that an int64 survives exactly. Of a repeated key the
// last one wins, as at the hub. Anything after the value is an error. No error repeats the input.
func DecodeValue(raw []byte) (any, error) {
	if v, ok := decodeScalar(raw); ok {
		return v, nil
	}
	var v any
	if err := decode(raw, &v); err != nil {
		return nil, fmt.Errorf("decode JSON value: %w", err)
	}
	return v, nil
}

// decodeScalar reads a text or a number, as most values are, without a decoder: the buffers of one take fifty times as much as the value.
func decodeScalar(raw []byte) (v any, ok bool) {
	if len(raw) == 0 {
		return nil, false
	}
	var err error
	switch c := raw[0]; {
	case c == '"':
		var text string
		err = json.Unmarshal(raw, &text)
		v = text
	case c == '-' || '0' <= c && c <= '9':
		var number json.Number
		err = json.Unmarshal(raw, &number)
		v = number
	default:
		return nil, false
	}
	return v, err == nil
}

var errTrailingData = errors.New("more data after the JSON value")

func decode(raw []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return withoutInput(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errTrailingData
	}
	return nil
}

// withoutInput drops what a type error repeats of the input, which may be a number of any length.
func withoutInput(err error) error {
	var mismatch *json.UnmarshalTypeError
	if !errors.As(err, &mismatch) {
		return err
	}
	kind, _, _ := strings.Cut(mismatch.Value, " ")
	return fmt.Errorf("%q is of JSON type %s, want %s", cut(mismatch.Field), kind, mismatch.Type)
}

// EncodeValue writes canonical JSON: keys sorted, no HTML escapes, numbers verbatim. It panics on a value that is not
// decoded JSON: written as null instead, it would delete a property at the hub.
func EncodeValue(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("twin: %T is not decoded JSON: %v", v, err))
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// Equal compares two values: numbers by what they amount to (42 == 42.0 == 4.2e1), objects and arrays deeply, and what is
// Omitted by its digest.
func Equal(a, b any) bool {
	if o, ok := b.(Omitted); ok {
		return o.isOf(a)
	}
	switch a := a.(type) {
	case Omitted:
		return a.isOf(b)
	case json.Number:
		b, ok := b.(json.Number)
		return ok && equalNumbers(a, b)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, Equal)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, Equal)
	case string, bool, nil:
		return a == b
	}
	return false
}

// EqualReported says whether a device that reports the second value holds the first. It forgives what devices do to values:
// numbers may be equal as float32 only, and an object may lack fields, so it is compared on those that the device returned.
// A returned field that was not declared is a difference.
func EqualReported(declared, reported any) bool {
	switch reported := reported.(type) {
	case Omitted:
		return Equal(declared, reported) || reported.Matched != nil && Equal(declared, reported.Matched)
	case json.Number:
		declared, ok := declared.(json.Number)
		return ok && (equalNumbers(declared, reported) || equalFloat32(declared, reported))
	case []any:
		declared, ok := declared.([]any)
		return ok && slices.EqualFunc(declared, reported, EqualReported)
	case map[string]any:
		declared, ok := declared.(map[string]any)
		return ok && equalReportedFields(declared, reported)
	}
	return Equal(declared, reported)
}

func equalReportedFields(declared, reported map[string]any) bool {
	for name, value := range reported {
		want, ok := declared[name]
		if !ok || !EqualReported(want, value) {
			return false
		}
	}
	return true
}
