package command

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/internal/storable"
)

func TestResponse(t *testing.T) {
	long := `"` + strings.Repeat("x", MaxResponse) + `"`
	tests := map[string]struct {
		payload, want string
		truncated     bool
	}{
		"nothing":                            {"", "", false},
		"null":                               {"null", "null", false},
		"an object":                          {`{"a": 1}`, `{"a": 1}`, false},
		"not JSON":                           {"it's done", `"it's done"`, false},
		"not even text":                      {"a\xff", `"a` + "\uFFFD" + `"`, false},
		"a null within":                      {`{"a":null}`, `{"a":null}`, false},
		"a number beyond a double":           {`[1e999]`, `"[1e999]"`, false},
		"a number that is too exact for one": {`0.1234567890123456789012345`, `0.1234567890123456789012345`, false},
		"an integer beyond 64 bits":          {`12345678901234567890`, `"12345678901234567890"`, false},
		"one within an object":               {`{"a":[-9223372036854775809]}`, `"{\"a\":[-9223372036854775809]}"`, false},
		"one that a double holds":            {`100000000000000000000`, `100000000000000000000`, false},
		"the largest one of 64 bits":         {`9223372036854775807`, `9223372036854775807`, false},
		"escapes":                            {`{"a": "\u001b[2J"}`, `"{\"a\": \"\\u001b[2J\"}"`, false},
		"text with its direction turned":     {"\"\u202egnp.exe\"", `"\"\\u202egnp.exe\""`, false},
		"two lines that are not JSON":        {"one\r\n\x1b[2Jtwo", `"one [2Jtwo"`, false},
		"nested as deep as it may be":        {nested(64), nested(64), false},
		"nested deeper":                      {nested(65), `"` + nested(65) + `"`, false},
		"nested 8,000 deep":                  {nested(8000), `"` + nested(8000) + `"`, false},
		"exactly enough":                     {long[:MaxResponse-1] + `"`, long[:MaxResponse-1] + `"`, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, truncated := Response([]byte(test.payload))
			if string(got) != test.want || truncated != test.truncated {
				t.Errorf("got %.80s, %v", got, truncated)
			}
		})
	}
	if _, truncated := Response([]byte(long)); !truncated {
		t.Error("a response that is too long is not truncated")
	}
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestAResponseIsAlwaysJSONThatFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "unit")
		payload := []byte(strings.Repeat(string(unit), rapid.IntRange(1, 4000).Draw(t, "times")))
		got, truncated := Response(payload)
		if !json.Valid(got) || !utf8.Valid(got) || len(got) > MaxResponse {
			t.Fatalf("%d bytes, valid %v", len(got), json.Valid(got))
		}
		var text string
		if !truncated && !storable.IsReadable(payload) {
			if err := json.Unmarshal(got, &text); err != nil || text != storable.Clean(string(payload)) {
				t.Fatalf("%v: %q", err, text)
			}
		}
	})
}
