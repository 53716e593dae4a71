package command

import (
	"encoding/json"

	"github.com/pnp-operator/pnp-operator/internal/storable"
)

// MaxResponse is how much of a response status holds, in bytes of JSON.
const MaxResponse = 16 << 10

// Response makes of what a device answered something that status can hold: JSON as it is, and anything else as a string of
// its text, cleaned and cut as needed. Anything else is also a number that a double cannot hold, an integer that it would change, text that a terminal acts on, what is
// nested deeper than storable.MaxDepth, and more than MaxResponse. nil is no response.
func Response(payload []byte) (value json.RawMessage, truncated bool) {
	switch {
	case len(payload) == 0:
		return nil, false
	case len(payload) <= MaxResponse && storable.IsReadable(payload):
		return payload, false
	case json.Valid(payload):
		payload = storable.Escape(payload)
	}
	return cutString(storable.Clean(string(payload)))
}

// cutString encodes as much of a text as fits.
func cutString(text string) (value json.RawMessage, truncated bool) {
	whole := text
	for limit := MaxResponse; ; {
		text = storable.Cut(text, limit)
		encoded, err := json.Marshal(text)
		if err != nil {
			return nil, true // strings always encode
		}
		if len(encoded) <= MaxResponse {
			return encoded, text != whole
		}
		// Escapes take more room than what they stand for.
		limit = len(text)*MaxResponse/len(encoded) - 1
	}
}
