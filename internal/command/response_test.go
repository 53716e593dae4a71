package command

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
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

func TestAResponseIsAlwaysJSONThatFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "unit")
		payload := []byte(strings.Repeat(string(unit), rapid.IntRange(1, 4000).Draw(t, "times")))
		got, truncated := Response(payload)
		if !json.Valid(got) || !utf8.Valid(got) || len(got) > MaxResponse {
			t.Fatalf("%d bytes, valid %v", len(got), json.Valid(got))
		}
		var text string
		if !truncated && !isStorable(payload) {
			if err := json.Unmarshal(got, &text); err != nil || text != strings.ToValidUTF8(string(payload), "\uFFFD") {
				t.Fatalf("%v: %q", err, text)
			}
		}
	})
}
