package twin

import "slices"

// What the digital-twin API takes: Microsoft's "How to manage IoT Plug and Play digital twins", and DTDL v2 on names and complex schemas.
const (
	maxDTDLName = 64
	// maxObjectDepth counts objects within one property, the property's own value being level 1.
	maxObjectDepth = 5
)

// NonConformant names, sorted, what desired or reported holds and no DTDL model could describe: a name that is not valid in
// DTDL, an array, an object nested too deep. One of them anywhere, foreign or not, and the hub refuses every digital-twin
// patch of the device ("exists within the device twin and is not digital twin conformant property").
func NonConformant(t *Twin) []string {
	var names []string
	for name := range t.Components {
		if !validDTDLName(name) {
			names = append(names, name)
		}
	}
	for leaf, property := range t.Properties {
		if !conformantProperty(leaf.Name, property) {
			names = append(names, leaf.String())
		}
	}
	slices.Sort(names)
	return names
}

func conformantProperty(name string, p Property) bool {
	return validDTDLName(name) &&
		(p.Desired == nil || conformantValue(p.Desired.Value, 1)) &&
		(p.Reported == nil || conformantValue(p.Reported.Value, 1))
}

// conformantValue takes the level that the value would have within its property if it were an object.
func conformantValue(v any, level int) bool {
	switch v := v.(type) {
	case []any:
		return false
	case map[string]any:
		for name, field := range v {
			if !validDTDLName(name) || !conformantValue(field, level+1) {
				return false
			}
		}
		return level <= maxObjectDepth
	}
	return true
}

func validDTDLName(name string) bool {
	if name == "" || len(name) > maxDTDLName || name[0] == '_' || name[len(name)-1] == '_' || isDigit(name[0]) {
		return false
	}
	for _, c := range []byte(name) {
		if !isDigit(c) && !isLetter(c) && c != '_' {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
