package jsonscan

import (
	"encoding/json"
	"testing"
)

func TestValues(t *testing.T) {
	for text, want := range map[string]int{
		``: 1, `1`: 1, `"a,b[{"`: 1, `"\",["`: 1, `"\\",`: 2, `[1,2]`: 3, `[[1],[2,3]]`: 6, `{"a":1,"b":{"c,":"[["}}`: 4, `[]`: 2, `{}`: 2,
	} {
		if got := Values([]byte(text)); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

// FuzzValues holds the count against what a decoder makes of a text.
func FuzzValues(f *testing.F) {
	for _, text := range []string{`[0,0,0]`, `{"a":{"b":[1,"x,y"]},"c":null}`, `[[],{},[[]]]`, `["\\\"",{"\"[":1}]`, `1`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var value any
		if json.Unmarshal(raw, &value) != nil {
			return
		}
		if got, least := Values(raw), count(value); got < least {
			t.Fatalf("%.300q: %d values, want at least %d", raw, got, least)
		}
	})
}

func count(value any) int {
	total := 1
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			total += count(item)
		}
	case map[string]any:
		for _, member := range value {
			total += count(member)
		}
	}
	return total
}
