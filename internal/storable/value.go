package storable

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	// MaxValue is what one value may take of a status, in bytes as Size counts them. What a hub grants all properties of a
	// device is 32 KiB as it counts, which no value of ordinary text exceeds here.
	MaxValue = 128 << 10
	// MaxDepth is how deep objects and arrays may be nested. A hub's limit is 10.
	MaxDepth = 64
)

// Reasons of twin.Omitted.
const (
	// TooLarge: there is no room for the value.
	TooLarge = "TooLarge"
	// TooDeep: the value is nested deeper than MaxDepth.
	TooDeep = "TooDeep"
)

// textKey holds a value as JSON text that the API server would change or refuse, or a terminal act on. Hubs refuse keys with
// "$", so that it is never part of a value.
const textKey = "$json"

// Encode is v, which is decoded JSON, in the form that a status has it in. That is the value itself where the API server
// keeps it and a terminal draws it. Otherwise it is {"$json": "..."}, the value as escaped JSON text, or, beyond MaxValue
// and MaxDepth, what twin.Omitted says. Decode is the inverse. There is no form of null: it is nil.
func Encode(v any) []byte {
	switch o, isOmitted := v.(twin.Omitted); {
	case v == nil:
		return nil
	case isOmitted:
		return encode(o)
	case depth(v) > MaxDepth:
		return Omit(v, TooDeep)
	}
	var raw []byte
	if isKept(v) {
		raw = twin.EncodeValue(stored(v))
	} else {
		raw = encode(map[string]any{textKey: string(Escape(twin.EncodeValue(v)))})
	}
	if Size(raw) > MaxValue {
		return Omit(v, TooLarge)
	}
	return raw
}

// Omit is the form of a value that is not there, for a reason.
func Omit(v any, reason string) []byte {
	return encode(twin.Omitted{Reason: reason, Digest: twin.Digest(v)})
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("storable: a map of texts always encodes: " + err.Error())
	}
	return raw
}

// Decode reads what Encode wrote: the value, or twin.Omitted in its place. Nil means that there is none. A status of an
// operator that had no such forms is read as it is.
func Decode(raw []byte) any {
	v := decode(raw)
	fields, ok := v.(map[string]any)
	if !ok || len(fields) > 2 || !IsForm(raw) {
		return v
	}
	if o, ok := twin.OmittedOf(fields); ok {
		return o
	}
	if text, ok := fields[textKey].(string); ok {
		return decode([]byte(text))
	}
	return v
}

// IsForm reports whether a stored value is one of those that stand for another one.
func IsForm(raw []byte) bool { return bytes.HasPrefix(raw, []byte(`{"$`)) }

func decode(raw []byte) any {
	if len(raw) == 0 {
		return nil
	}
	v, err := twin.DecodeValue(raw)
	if err != nil {
		return nil
	}
	return v
}

// Size is what a JSON text takes at the API server, in bytes: it writes <, > and & as \u.
func Size(raw []byte) int {
	const more = len(`\u003c`) - 1
	size := len(raw)
	for _, c := range []byte("<>&") {
		size += more * bytes.Count(raw, []byte{c})
	}
	return size
}

// TextSize is what a text takes at the API server as a JSON string, in bytes.
func TextSize(s string) int { return Size(twin.EncodeValue(s)) }

// isKept reports whether the API server stores a value as it is, and a terminal draws its text. It takes numbers for int64
// or float64, and drops null from the objects of a merge patch. Keys with "$" are those of forms.
func isKept(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case json.Number:
		return isKeptNumber(v)
	case string:
		return IsClean(v)
	case []any:
		return !slices.ContainsFunc(v, func(item any) bool { return !isKept(item) })
	case map[string]any:
		for key, field := range v {
			if strings.HasPrefix(key, "$") || !IsClean(key) || !isKept(field) {
				return false
			}
		}
	}
	return true
}

func isKeptNumber(n json.Number) bool {
	as, ok := storedNumber(n)
	return ok && (n == as || twin.Equal(n, as))
}

// KeptNumber is a number as the API server writes it, and whether that is the same number: it has int64 and doubles, so that an
// integer beyond int64 gets other digits, unless a double holds just these.
func KeptNumber(n json.Number) (as json.Number, same bool) {
	as, ok := storedNumber(n)
	if !ok || n == as {
		return as, ok
	}
	if f, err := n.Float64(); err != nil || math.Abs(f) < 1<<63 {
		return as, twin.Equal(n, as)
	}
	exact, okN := new(big.Rat).SetString(string(n))
	kept, okAs := new(big.Rat).SetString(string(as))
	return as, okN && okAs && exact.Cmp(kept) == 0
}

// storedNumber is a number as the API server writes it, false if it refuses it.
func storedNumber(n json.Number) (json.Number, bool) {
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
		return json.Number(strconv.FormatInt(i, 10)), true
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		return n, false
	}
	if f == 0 {
		return "0", true // of either sign: it reads its own -0 as an integer
	}
	raw, err := json.Marshal(f)
	return json.Number(raw), err == nil
}

// stored is a value that is kept as the API server writes it: what comes back takes as much room as what was sent.
func stored(v any) any {
	switch v := v.(type) {
	case json.Number:
		as, _ := storedNumber(v)
		return as
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = stored(item)
		}
		return items
	case map[string]any:
		fields := make(map[string]any, len(v))
		for key, field := range v {
			fields[key] = stored(field)
		}
		return fields
	}
	return v
}

// depth is how deep objects and arrays are nested, 0 for a scalar. It is at most MaxDepth + 1.
func depth(v any) int { return depthWithin(v, MaxDepth+1) }

func depthWithin(v any, limit int) int {
	deepest := 0
	if limit == 0 {
		return 0
	}
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			deepest = max(deepest, 1+depthWithin(item, limit-1))
		}
		return max(deepest, 1)
	case map[string]any:
		for _, field := range v {
			deepest = max(deepest, 1+depthWithin(field, limit-1))
		}
		return max(deepest, 1)
	}
	return 0
}

// Shown is a value as a message quotes it: JSON without anything that a terminal acts on, at most limit bytes.
func Shown(v any, limit int) string {
	if o, ok := v.(twin.Omitted); ok {
		return "a value that status omits (" + o.Reason + ")"
	}
	return Text(string(Escape(twin.EncodeValue(v))), limit)
}

// IsReadable reports whether the API server takes a JSON text as it is, though it may write a fraction otherwise, and a
// terminal draws its texts. It is for a text that no merge patch carries: that would drop null.
func IsReadable(raw []byte) bool {
	v, err := twin.DecodeValue(raw)
	return utf8.Valid(raw) && err == nil && depth(v) <= MaxDepth && isClean(v)
}

// isClean reports whether a terminal draws all texts of a value, and the API server keeps its numbers.
func isClean(v any) bool {
	switch v := v.(type) {
	case json.Number:
		_, same := KeptNumber(v)
		return same
	case string:
		return IsClean(v)
	case []any:
		return !slices.ContainsFunc(v, func(item any) bool { return !isClean(item) })
	case map[string]any:
		for key, field := range v {
			if !IsClean(key) || !isClean(field) {
				return false
			}
		}
	}
	return true
}
