package hub

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// Limits of "Understand and use device twins in IoT Hub" (Tags and properties format, Device twin size).
const (
	maxKeyBytes    = 1024
	maxStringBytes = 4096
	maxDepth       = 10
	minInteger     = -4503599627370496
	maxInteger     = 4503599627370495

	maxTagsBytes       = 8 << 10
	maxPropertiesBytes = 32 << 10
)

const notValid = "Provided json is not a valid 'tags' or 'properties' object: "

// sectionPatch checks a written tags, desired or reported object and returns it without the read-only members that
// the hub ignores. An absent section, and a null one, is nil.
func sectionPatch(v any) (jsontree.Object, error) {
	if v == nil {
		return nil, nil
	}
	o, ok := v.(jsontree.Object)
	if !ok {
		return nil, argumentInvalid(notValid + "not an object")
	}
	o = o.Without("$metadata", "$version", "$etag")
	return o, validateObject(o, 1)
}

func validateObject(o jsontree.Object, depth int) error {
	for _, m := range o {
		if err := validateKey(m.Name); err != nil {
			return err
		}
		if err := validateValue(m.Name, m.Value, depth); err != nil {
			return err
		}
	}
	return nil
}

func validateKey(key string) error {
	if key == "" || len(key) > maxKeyBytes {
		return argumentInvalid(notValid+"the key %.40q must be 1 to %d bytes long", key, maxKeyBytes)
	}
	if i := strings.IndexFunc(key, forbiddenInKey); i >= 0 {
		return argumentInvalid(notValid+"the key %q must not contain control characters, '.', '$', '#' or white space", key)
	}
	return nil
}

func forbiddenInKey(r rune) bool {
	return r == '.' || r == '$' || r == '#' || unicode.IsControl(r) || unicode.IsSpace(r)
}

// validateValue checks one value found at the given depth; the section itself is depth 1.
func validateValue(key string, v any, depth int) error {
	switch v := v.(type) {
	case string:
		if len(v) > maxStringBytes {
			return argumentInvalid("Property or Tag value should be maximum %d bytes. Key: %q", maxStringBytes, key)
		}
	case json.Number:
		return validateNumber(key, v)
	case []any:
		return validateArray(key, v, depth)
	case jsontree.Object:
		if depth > maxDepth {
			return argumentInvalid(notValid+"the depth of nested objects exceeds %d at %q", maxDepth, key)
		}
		return validateObject(v, depth+1)
	}
	return nil
}

func validateNumber(key string, n json.Number) error {
	if strings.ContainsAny(string(n), ".eE") {
		return nil
	}
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil || i < minInteger || i > maxInteger {
		return argumentInvalid(notValid+"the integer at %q is not between %d and %d", key, int64(minInteger), int64(maxInteger))
	}
	return nil
}

func validateArray(key string, a []any, depth int) error {
	for _, e := range a {
		if holdsNull(e) {
			return argumentInvalid("Arrays cannot contain 'null' as value. Key: %q", key)
		}
		if err := validateValue(key, e, depth); err != nil {
			return err
		}
	}
	return nil
}

// holdsNull reports whether an array element is or contains null: arrays are replaced whole, so there is nothing that a
// null could remove.
func holdsNull(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case jsontree.Object:
		for _, m := range v {
			if holdsNull(m.Value) {
				return true
			}
		}
	}
	return false
}

func validateSize(section string, n *node, limit int) error {
	if n != nil && n.size() > limit {
		return argumentInvalid("The size of %s must not exceed %d bytes", section, limit)
	}
	return nil
}

// sizeOfString leaves control characters out, as the documented size does.
func sizeOfString(s string) int {
	n := 0
	for _, r := range s {
		if !unicode.IsControl(r) {
			n += utf8.RuneLen(r)
		}
	}
	return n
}
