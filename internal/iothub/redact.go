package iothub

import (
	"regexp"
	"strings"

	"github.com/pnp-operator/pnp-operator/internal/storable"
)

const (
	redacted = "REDACTED"
	// maxMessage in bytes is what is kept of a text that comes from outside.
	maxMessage = 512
	// maxRaw in bytes is what is looked at of it: enough for what cleaning removes.
	maxRaw = 16 * maxMessage
)

// credential finds the value in sig=..., SharedAccessKey=..., "primaryKey":"..." and their like, escaped or not.
var credential = regexp.MustCompile(`(?i)\b((?:sig|SharedAccessKey|primaryKey|secondaryKey|password|access_token)\\?"?\s*(?:=|:|%3D|%3A|\\u003d)\s*\\?"?)[^\s&;,"'<>\\]+`)

// bearer finds the token of Microsoft Entra ID.
var bearer = regexp.MustCompile(`(?i)\b(Bearer\s+)[A-Za-z0-9._~+/=-]+`)

// localPort is the address that a connection had on our side, which differs every time.
var localPort = regexp.MustCompile(`\S+:\d+->`)

func withoutLocalPort(s string) string { return localPort.ReplaceAllString(s, "") }

// redact takes the credentials out of a text.
func redact(s string) string {
	return bearer.ReplaceAllString(credential.ReplaceAllString(s, "${1}"+redacted), "${1}"+redacted)
}

// clean makes a text from outside fit for logs and status: on one line, without what a terminal acts on, without
// credentials, cut.
func clean(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxRaw)], "")
	return storable.Cut(redact(storable.Clean(s)), maxMessage)
}
