package storable

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestText(t *testing.T) {
	tests := map[string]struct {
		in    string
		limit int
		want  string
	}{
		"plain text stays":                   {"a  b, c", 20, "a  b, c"},
		"text of any script stays":           {"größer 温度 קר", 40, "größer 温度 קר"},
		"line breaks become a space":         {"a\r\nb\u2028c\u0085d", 20, "a b c d"},
		"escape sequences lose their escape": {"\x1b]0;OWNED\x07\x1b[2J\u009b32m", 40, "]0;OWNED [2J 32m"},
		"directions are not turned":          {"\u202egnp.exe", 20, "gnp.exe"},
		"nothing is invisible":               {"a\u200bb\ufeffc\u00add", 20, "a b c d"},
		"NUL and DEL go":                     {"a\x00b\x7fc", 20, "a b c"},
		"what is not UTF-8 is replaced":      {"a\xffb", 20, "a\uFFFDb"},
		"a limit counts bytes":               {"äöü", 5, "ä…"},
		"a text of exactly the limit stays":  {"äöü", 6, "äöü"},
		"no rune is cut in two":              {"ab温温", 7, "ab…"},
		"nothing but what is cleaned":        {"\x1b\r\n", 7, ""},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Text(c.in, c.limit); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTextIsAlwaysCleanAndWithinItsLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := anyText().Draw(t, "text")
		limit := rapid.IntRange(3, 2000).Draw(t, "limit")
		got := Text(in, limit)
		if len(got) > limit || !utf8.ValidString(got) || !IsClean(got) || Text(got, limit) != got {
			t.Fatalf("%q", got)
		}
	})
}

func TestEscapedJSONMeansTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.ToValidUTF8(anyText().Draw(t, "text"), "")
		raw, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		escaped := Escape(raw)
		var back string
		if err := json.Unmarshal(escaped, &back); err != nil || back != text {
			t.Fatalf("%v: got %q, want %q", err, back, text)
		}
		if i := bytes.IndexFunc(escaped, func(r rune) bool { return r != ' ' && (unicode.IsSpace(r) || !unicode.IsPrint(r)) }); i >= 0 {
			t.Fatalf("%q is left in %s", escaped[i:], escaped)
		}
	})
}

// anyText draws bytes, and characters that a terminal acts on.
func anyText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(rapid.OneOf(
			rapid.SampledFrom([]string{"\x1b[2J", "\x07", "\u009b", "\u202e", "\u2066", "\r\n", "\x00", "\x7f", "\u2028", "\ufeff", "\xff", "\xc3", "😀", "\U000e0041", " ", "<"}),
			rapid.String(), rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) }),
		), 0, 40).Draw(t, "parts")
		return strings.Join(parts, "")
	})
}
