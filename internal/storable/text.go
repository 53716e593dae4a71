// Package storable makes of what devices, hubs and tenants say what the API server stores and a person can read: text on one
// line that no terminal acts on, and JSON values that come back from a status as they went into it. It is pure.
package storable

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// ellipsis ends a text that was cut.
const ellipsis = "…"

// looked is how many times the limit is looked at of a text before it is cleaned: enough for what cleaning removes.
const looked = 16

// Text is s as it may be shown: clean, and at most limit bytes of it.
func Text(s string, limit int) string {
	if len(s) > looked*limit {
		s = s[:looked*limit]
	}
	return Cut(Clean(s), limit)
}

// Clean puts a text on one line without control and format characters (escapes, line breaks, C0 and C1, bidirectional
// overrides, zero-width ones): a run of them and of white space becomes one space. What is not UTF-8 becomes U+FFFD. A clean
// text stays as it is.
func Clean(s string) string {
	if IsClean(s) {
		return s
	}
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "\uFFFD"), isUnclean), " ")
}

// IsClean reports whether a text can be shown as it is.
func IsClean(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") || r != ' ' && isUnclean(r) {
			return false
		}
	}
	return true
}

// isUnclean is true for everything that a terminal does not simply draw.
func isUnclean(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }

// Cut is at most limit bytes of a text, up to a rune's end, the last rune an ellipsis where something is missing.
func Cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := max(0, limit-len(ellipsis))
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// Escape writes as \u what a terminal would act on in a JSON text, beyond the control characters that JSON has escaped
// already: C1, format characters, and bytes that are not UTF-8. The text stays JSON, and means the same.
func Escape(json []byte) []byte {
	if IsPlain(json) {
		return json
	}
	var out bytes.Buffer
	for rest := json; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			out.WriteString(`\ufffd`)
		case r < 0x7f || r != ' ' && !isUnclean(r):
			out.Write(rest[:size])
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
		rest = rest[size:]
	}
	return out.Bytes()
}

// IsPlain reports whether Escape has nothing to do.
func IsPlain(json []byte) bool {
	for rest := json; len(rest) > 0; {
		if rest[0] < 0x7f {
			rest = rest[1:]
			continue
		}
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 || isUnclean(r) {
			return false
		}
		rest = rest[size:]
	}
	return true
}
