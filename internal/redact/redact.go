// Package redact takes credentials, and what a terminal acts on, out of texts that come from
// outside.
package redact

import (
	"regexp"
	"strings"

	"github.com/pnp-operator/pnp-operator/internal/storable"
)

const (
	// Placeholder stands where a credential was.
	Placeholder = "REDACTED"
	// MaxText in bytes is what is kept of a text that comes from outside.
	MaxText = 512
	// MaxInput in bytes is what is looked at of it: enough for what cleaning removes.
	MaxInput = 16 * MaxText
)

// credential finds the value in sig=..., SharedAccessKey=..., "primaryKey":"..." and their like,
// escaped or not.
var credential = regexp.MustCompile(`(?i)\b((?:sig|SharedAccessKey|primaryKey|secondaryKey|password|access_token)\\?"?\s*(?:=|:|%3D|%3A|\\u003d)\s*\\?"?)[^\s&;,"'<>\\]+`)

// bearer finds the token of Microsoft Entra ID.
var bearer = regexp.MustCompile(`(?i)\b(Bearer\s+)[A-Za-z0-9._~+/=-]+`)

// Credentials takes the credentials out of a text.
func Credentials(s string) string {
	return bearer.ReplaceAllString(credential.ReplaceAllString(s, "${1}"+Placeholder), "${1}"+Placeholder)
}

// Text makes a text from outside fit for logs and status: on one line, without what a terminal acts
// on, without credentials, cut.
func Text(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), MaxInput)], "")
	return storable.Cut(Credentials(storable.Clean(s)), MaxText)
}
