// Package disguise tells what stands in the place of a connection string.
package disguise

import (
	"encoding/base64"
	"strings"
)

// Of says what a text looks like that holds a connection string and is none, "" if it does not. Files and Secrets are
// made in many ways. It repeats nothing of the text.
func Of(s string) string {
	s = strings.TrimSpace(s)
	switch {
	case strings.HasPrefix(s, "\ufeff"):
		return "begins with a byte order mark (BOM): store it as UTF-8 without one"
	case strings.Contains(s, "\x00"):
		return "looks like UTF-16, as PowerShell writes files: store it as UTF-8"
	case strings.HasPrefix(s, `"`) || strings.HasPrefix(s, "'"):
		return "begins with a quotation mark: store it without quotes"
	case isEncoded(s):
		return "looks like base64, encoded twice: put the text into stringData of the Secret, or encode it once in data"
	}
	return ""
}

// isEncoded reports whether a text is base64 of a connection string.
func isEncoded(s string) bool {
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(s), ""))
	return err == nil && strings.Contains(strings.ToLower(string(raw)), "sharedaccesskey")
}
