// Package storabletest asks whether a field shows text from outside as a terminal may have it.
package storabletest

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pnp-operator/pnp-operator/internal/storable"
)

// Surface is a field in which a person reads text from outside.
type Surface struct {
	// Limit of the field in bytes.
	Limit int
	// Show returns the field with a text from outside in it.
	Show func(t *testing.T, text string) string
}

// hostile are texts that do harm in a terminal, an API server or a log.
var hostile = map[string]string{
	"ESC": "a\x1b[2Jb", "BEL": "a\x07b", "C1": "a\u009b32mb", "C1 as a byte": "a\x9bb", "bidi": "a\u202eb", "isolates": "a\u2066b\u2069", "CR LF": "a\r\n::error::b",
	"NUL": "a\x00b", "invalid UTF-8": "a\xff\xc3b", "separators": "a\u2028b\u2029c\u0085d", "tags": "a\U000e0041b", "DEL": "a\x7fb",
	"100 KB": strings.Repeat("温\x1b", 25_000), "quotes": `a"\b`,
}

// Check has each surface show each hostile text.
func Check(t *testing.T, surfaces map[string]Surface) {
	t.Helper()
	for name, s := range surfaces {
		for kind, text := range hostile {
			t.Run(name+"/"+kind, func(t *testing.T) {
				got := s.Show(t, text)
				if !utf8.ValidString(got) || !storable.IsClean(got) || strings.ContainsAny(got, "\x00\x1b\x07\r\n\x7f") {
					t.Errorf("%.200q", got)
				}
				if len(got) > s.Limit {
					t.Errorf("%d bytes, want at most %d", len(got), s.Limit)
				}
			})
		}
	}
}
