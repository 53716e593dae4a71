package command

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// MaxResponse is how much of a response status holds, in bytes of JSON.
const MaxResponse = 16 << 10

// Response makes of what a device answered something that status can hold: JSON as it is, and anything else, or more than MaxResponse, as a
// string of its text, cut as needed. nil is no response.
func Response(payload []byte) (value json.RawMessage, truncated bool) {
	if len(payload) == 0 {
		return nil, false
	}
	if json.Valid(payload) && utf8.Valid(payload) {
		if len(payload) <= MaxResponse {
			return payload, false
		}
		truncated = true
	}
	return cutString(strings.ToValidUTF8(string(payload), "\uFFFD"), truncated)
}

// cutString encodes as much of a text as fits.
func cutString(text string, truncated bool) (json.RawMessage, bool) {
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
