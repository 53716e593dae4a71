package dtdl

import (
	"slices"
	"strings"
)

// Lengths of identifiers: DTDL v2 and v3, section "Digital Twin Model Identifier".
const (
	// MaxInterfaceID is how many characters the identifier of an interface may have.
	MaxInterfaceID = 128
	maxID          = 2048
)

// validDTMI reports whether a document of a DTDL version may use a DTMI. DTDL v2 wants a version of
// one part, v3 and later a version of two parts, one part or none. Source: DTDL v2 and v3, section
// "Digital Twin Model Identifier". Labels with a leading '_' are reserved for generated identifiers.
func validDTMI(id string, version int) bool {
	path, ok := strings.CutPrefix(id, "dtmi:")
	if !ok {
		return false
	}
	path, number, versioned := strings.Cut(path, ";")
	for label := range strings.SplitSeq(path, ":") {
		if !validName(label) {
			return false
		}
	}
	if !versioned {
		return version > 2
	}
	major, minor, two := strings.Cut(number, ".")
	if two && (version == 2 || !validVersion(minor, 6)) {
		return false
	}
	return validVersion(major, 9)
}

// validVersion takes 1 to digits digits that do not begin with 0.
func validVersion(s string, digits int) bool {
	if s == "" || len(s) > digits || s[0] == '0' {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}

// validName takes letters, digits and '_', a letter first, and no '_' last.
func validName(s string) bool {
	if s == "" || !isLetter(s[0]) || s[len(s)-1] == '_' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '_' {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// reservedID says whether an identifier belongs to DTDL itself, and may be used but not defined.
func reservedID(id string) bool {
	return strings.HasPrefix(id, "dtmi:dtdl:") || strings.HasPrefix(id, "dtmi:standard:")
}

// dtmi is the identifier of an element: its @id, or the one that DTDL gives to an element without, such as
// "dtmi:com:example:anInterface:_contents:__name;1". It is long where elements nest deeply, so it is made when somebody asks.
func (e *element) dtmi() string {
	var below []*element
	for ; e.id == "" && e.parent != nil; e = e.parent {
		below = append(below, e)
	}
	if len(below) == 0 {
		return e.id
	}
	path, version, versioned := strings.Cut(e.id, ";")
	var b strings.Builder
	b.WriteString(path)
	for _, el := range slices.Backward(below) {
		b.WriteString(":_" + el.via.name)
		if el.label != "" {
			b.WriteString(":__" + el.label)
		}
	}
	if versioned {
		b.WriteString(";" + version)
	}
	return b.String()
}
