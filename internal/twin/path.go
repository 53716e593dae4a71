package twin

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxQuoted bounds what a message repeats of a name or value, in runes: messages end up in conditions and Events.
const maxQuoted = 64

// cut shortens s to maxQuoted runes, the last one an ellipsis where something is missing.
func cut(s string) string {
	if utf8.RuneCountInString(s) <= maxQuoted {
		return s
	}
	runes := []rune(s[:min(len(s), maxQuoted*utf8.UTFMax)])
	return string(runes[:maxQuoted-1]) + "…"
}

// quote is a cut, printable form of s, whatever bytes it holds.
func quote(s string) string { return strconv.Quote(cut(s)) }

func componentPath(name string) string { return "components[" + segment(name) + "]" }

func leafPath(l Leaf) string {
	if l.Component == "" {
		return fieldPath("properties", l.Name)
	}
	return fieldPath(componentPath(l.Component)+".properties", l.Name)
}

// fieldPath appends ".name", or `["na.me"]` for a name that would make the path ambiguous.
func fieldPath(path, name string) string {
	if s := segment(name); !strings.HasPrefix(s, `"`) {
		return path + "." + s
	}
	return path + "[" + quote(name) + "]"
}

// segment is the name itself if it can stand in a path as it is, else its quoted form.
func segment(name string) string {
	plain := func(r rune) bool { return r > ' ' && r != utf8.RuneError && strconv.IsPrint(r) }
	if name == "" || strings.ContainsAny(name, `.[]"`) || strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) >= 0 {
		return quote(name)
	}
	return cut(name)
}
