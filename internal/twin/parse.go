package twin

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Keys that the hub adds to what user and device wrote.
const (
	metadataKey       = "$metadata"
	versionKey        = "$version"
	lastUpdatedKey    = "$lastUpdated"
	setByVersionKey   = "$lastUpdatedVersion"
	configurationKey  = "$lastUpdatedBy"
	reservedKeyPrefix = "$"
)

// isLeafName is false for the keys that the hub and the conventions put among properties.
func isLeafName(key string) bool {
	return key != componentMarker && !strings.HasPrefix(key, reservedKeyPrefix)
}

// object is the object under key, nil if there is none or null. Anything else is an error.
func object(fields map[string]any, key string) (map[string]any, error) {
	switch v := fields[key].(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return v, nil
	default:
		return nil, fmt.Errorf("%q is not an object", cut(key))
	}
}

// text is the string under key, "" if there is none or null. Anything else is an error.
func text(fields map[string]any, key string) (string, error) {
	switch v := fields[key].(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	default:
		return "", fmt.Errorf("%q is not a string", cut(key))
	}
}

// version is the integer under key, 0 if there is none or null. Anything else is an error: a version taken for 0 would make
// any acknowledgement count.
func version(fields map[string]any, key string) (int64, error) {
	if fields[key] == nil {
		return 0, nil
	}
	v, ok := integer(fields[key])
	switch {
	case !ok:
		return 0, fmt.Errorf("%q is not an integer", cut(key))
	case v < 0:
		return 0, fmt.Errorf("%q is %d, want 0 or more", cut(key), v)
	}
	return v, nil
}

// integer accepts any spelling of an integer ("200", "2e2"): firmware that only knows floats writes 200.0.
func integer(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	return parseInteger(string(n))
}

// instant reads the hub's times, which carry up to 7 fractional digits and lack the zone where they are unset. It is zero
// and false for anything unreadable.
func instant(v any) (t time.Time, ok bool) {
	s, _ := v.(string)
	t, err := time.Parse(time.RFC3339Nano, s)
	if t = t.UTC(); err != nil || !isWritable(t) {
		return time.Time{}, false
	}
	return t, true
}

func (t *Twin) setDesired(leaf Leaf, d *Desired) {
	p := t.Properties[leaf]
	p.Desired = d
	t.Properties[leaf] = p
}

func (t *Twin) setReported(leaf Leaf, r *Reported) {
	p := t.Properties[leaf]
	p.Reported = r
	t.Properties[leaf] = p
}
