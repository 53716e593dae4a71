package query

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind int

const (
	end kind = iota
	word
	name // a word in [[double brackets]]: never a keyword
	number
	text
	symbol
)

// token is one lexical element. text is the decoded value of a string, and of everything else what was written.
type token struct {
	kind  kind
	text  string
	value float64 // of a number
}

// is reports whether t is the keyword or symbol; keywords have no case.
func (t token) is(s string) bool {
	return (t.kind == word || t.kind == symbol) && strings.EqualFold(t.text, s)
}

func (t token) String() string {
	if t.kind == end {
		return "the end"
	}
	return strconv.Quote(t.text)
}

// symbols, longest first.
var symbols = []string{"!=", "<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", "[", "]", ",", "."}

type lexer struct {
	rest string
	out  []token
}

func lex(s string) ([]token, error) {
	l := lexer{rest: s}
	for {
		l.rest = strings.TrimLeftFunc(l.rest, unicode.IsSpace)
		if l.rest == "" {
			return append(l.out, token{kind: end}), nil
		}
		if err := l.next(); err != nil {
			return nil, err
		}
	}
}

func (l *lexer) next() error {
	c := l.rest[0]
	switch {
	case c == '\'' || c == '"':
		return l.string(c)
	case c >= '0' && c <= '9':
		return l.number()
	case startsName(l.rest):
		l.emit(word, l.take(partOfName))
		return nil
	case strings.HasPrefix(l.rest, "[[") && l.afterDot():
		return l.bracketed()
	}
	for _, s := range symbols {
		if rest, ok := strings.CutPrefix(l.rest, s); ok {
			l.emit(symbol, s)
			l.rest = rest
			return nil
		}
	}
	return fmt.Errorf("unexpected character %q", c)
}

func (l *lexer) emit(k kind, s string) { l.out = append(l.out, token{kind: k, text: s}) }

func (l *lexer) afterDot() bool {
	return len(l.out) > 0 && l.out[len(l.out)-1].is(".")
}

// take cuts off the longest prefix whose runes satisfy f.
func (l *lexer) take(f func(rune) bool) string {
	i := strings.IndexFunc(l.rest, func(r rune) bool { return !f(r) })
	if i < 0 {
		i = len(l.rest)
	}
	taken := l.rest[:i]
	l.rest = l.rest[i:]
	return taken
}

func startsName(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsLetter(r) || r == '_' || r == '$'
}

func partOfName(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '$'
}

// bracketed reads a [[name]] that may hold any character.
func (l *lexer) bracketed() error {
	inner, rest, ok := strings.Cut(l.rest[2:], "]]")
	if !ok || inner == "" {
		return fmt.Errorf("[[ without ]]")
	}
	l.emit(name, inner)
	l.rest = rest
	return nil
}

func (l *lexer) number() error {
	before := l.rest
	if strings.HasPrefix(l.rest, "0x") || strings.HasPrefix(l.rest, "0X") {
		return l.hex()
	}
	isDigit := func(r rune) bool { return r >= '0' && r <= '9' }
	l.take(isDigit)
	if strings.HasPrefix(l.rest, ".") {
		l.rest = l.rest[1:]
		l.take(isDigit)
	}
	if strings.HasPrefix(l.rest, "e") || strings.HasPrefix(l.rest, "E") {
		l.rest = l.rest[1:]
		if l.rest != "" && (l.rest[0] == '+' || l.rest[0] == '-') {
			l.rest = l.rest[1:]
		}
		l.take(isDigit)
	}
	written := before[:len(before)-len(l.rest)]
	value, err := strconv.ParseFloat(written, 64)
	if err != nil || startsName(l.rest) {
		return fmt.Errorf("bad number at %.20q", before)
	}
	l.out = append(l.out, token{number, written, value})
	return nil
}

func (l *lexer) hex() error {
	l.rest = l.rest[2:]
	digits := l.take(partOfName)
	value, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return fmt.Errorf("bad hexadecimal number %q", digits)
	}
	l.out = append(l.out, token{number, "0x" + digits, float64(value)})
	return nil
}

func (l *lexer) string(quote byte) error {
	var b strings.Builder
	for i := 1; i < len(l.rest); i++ {
		switch c := l.rest[i]; c {
		case quote:
			l.emit(text, b.String())
			l.rest = l.rest[i+1:]
			return nil
		case '\\':
			n, err := unescape(&b, l.rest[i+1:])
			if err != nil {
				return err
			}
			i += n
		default:
			b.WriteByte(c)
		}
	}
	return fmt.Errorf("string without an end")
}

// unescape decodes what follows a backslash and returns how many bytes that was.
func unescape(b *strings.Builder, s string) (int, error) {
	if s == "" {
		return 0, fmt.Errorf("string without an end")
	}
	switch s[0] {
	case '\'', '"', '\\':
		b.WriteByte(s[0])
		return 1, nil
	case 'u':
		if len(s) < 5 {
			break
		}
		code, err := strconv.ParseUint(s[1:5], 16, 16)
		if err != nil {
			break
		}
		b.WriteRune(rune(code))
		return 5, nil
	}
	return 0, fmt.Errorf("bad escape at %.6q", s)
}
