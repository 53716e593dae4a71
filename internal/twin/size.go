package twin

import (
	"encoding/json"
	"unicode"
	"unicode/utf8"
)

// What scalars cost, by "Device twin size" in Microsoft's "Understand and use device twins in IoT Hub".
const (
	numberSize = 8
	boolSize   = 4
)

// desiredSize is what the declaration takes of the 32 KiB that the hub grants the desired section, in bytes: keys in full,
// strings without their control characters, component markers included, metadata not.
func desiredSize(d Declaration) int {
	size := 0
	seen := map[string]bool{"": true}
	for leaf, value := range d {
		if !seen[leaf.Component] {
			seen[leaf.Component] = true
			size += len(leaf.Component) + len(componentMarker) + len(markerValue)
		}
		size += len(leaf.Name) + valueSize(value)
	}
	return size
}

func valueSize(v any) int {
	switch v := v.(type) {
	case string:
		return textSize(v)
	case json.Number:
		return numberSize
	case bool:
		return boolSize
	case []any:
		size := 0
		for _, item := range v {
			size += valueSize(item)
		}
		return size
	case map[string]any:
		size := 0
		for name, field := range v {
			size += len(name) + valueSize(field)
		}
		return size
	}
	return 0
}

func textSize(s string) int {
	size := len(s)
	for _, r := range s {
		if unicode.IsControl(r) {
			size -= utf8.RuneLen(r)
		}
	}
	return size
}
