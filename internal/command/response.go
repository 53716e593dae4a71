package command

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// MaxResponse is how much of a response status holds, in bytes of JSON.
const MaxResponse = 16 << 10

// Response makes of what a device answered something that status can hold: JSON as it is, and anything else, a number beyond a double, or more than
// MaxResponse, as a string of its text, cut as needed. nil is no response.
func Response(payload []byte) (value json.RawMessage, truncated bool) {
	if len(payload) == 0 {
		return nil, false
	}
	if len(payload) <= MaxResponse && isStorable(payload) {
		return payload, false
	}
	return cutString(strings.ToValidUTF8(string(payload), "\uFFFD"))
}

// isStorable reports whether the API server takes a payload as it is. JSON's grammar allows numbers that no double holds; they are refused.
func isStorable(payload []byte) bool {
	var value any
	return utf8.Valid(payload) && json.Unmarshal(payload, &value) == nil
}

// cutString encodes as much of a text as fits.
func cutString(text string) (value json.RawMessage, truncated bool) {
	if len(text) > MaxResponse {
		text, truncated = runes(text, MaxResponse), true
	}
	for {
		encoded, err := json.Marshal(text)
		if err != nil {
			return nil, true // strings always encode
		}
		if len(encoded) <= MaxResponse {
			return encoded, truncated
		}
		// Escapes take more room than what they stand for.
		text, truncated = runes(text, len(text)*MaxResponse/len(encoded)-1), true
	}
}

// runes cuts a text to at most n bytes between two runes.
func runes(text string, n int) string {
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:max(n, 0)]
}
