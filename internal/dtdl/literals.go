package dtdl

import (
	"encoding/json"
	"math"
	"regexp"
	"unicode/utf16"
)

var formNames = map[form]string{
	textForm: "a string", nameForm: "a string", boolForm: "true or false", integerForm: "an integer of 32 bits",
	literalForm: "a string, number or boolean", idForm: "a DTMI", unitForm: "a unit", durationForm: "an ISO 8601 duration",
	topicForm: "an MQTT topic pattern", groupForm: "an MQTT group identifier",
}

var formKinds = map[form]kind{
	textForm: stringKind, nameForm: stringKind, boolForm: boolKind, integerForm: numberKind, idForm: stringKind, unitForm: stringKind,
	durationForm: stringKind, topicForm: stringKind, groupForm: stringKind,
}

// literalFits checks the value of a property that is no element.
func (p *parser) literalFits(n placed, el *element, property *property, of *cotype) bool {
	if want, ok := formKinds[property.form]; ok && n.kind != want || n.kind == nullKind || n.kind == listKind || n.kind == objectKind {
		p.report(el, n.at, "valueInvalid", "is %s, want %s", n.show(), formNames[property.form])
		return false
	}
	switch property.form {
	case textForm:
		return p.short(n.text, n.at, el, property.maximum)
	case nameForm:
		return p.nameFits(n, el)
	case integerForm:
		return p.integerFits(n, el, property)
	case idForm:
		return p.idFits(n, el, property)
	case unitForm:
		return p.unitFits(n, el, property, of)
	case durationForm, topicForm, groupForm:
		return p.patternFits(n, el, property)
	default:
		return true
	}
}

// textLength counts as .NET does, in UTF-16 code units.
func textLength(s string) int {
	length := 0
	for _, r := range s {
		length += max(1, utf16.RuneLen(r))
	}
	return length
}

// short checks the length of a text; 0 is no limit.
func (p *parser) short(s string, at *place, el *element, longest int) bool {
	if length := textLength(s); longest > 0 && length > longest {
		p.report(el, at, "textTooLong", "has %d characters, want at most %d", length, longest)
		return false
	}
	return true
}

func (p *parser) nameFits(n placed, el *element) bool {
	longest := el.ctx.limits().name
	switch {
	case len(n.text) > longest:
		p.report(el, n.at, "nameTooLong", "is a name of %d characters, want at most %d", len(n.text), longest)
	case !validName(n.text):
		p.report(el, n.at, "nameInvalid", "is %s, want letters, digits and '_', a letter first and no '_' last", quote(n.text))
	default:
		return true
	}
	return false
}

// integerFits checks an integer of a model, such as a multiplicity.
func (p *parser) integerFits(n placed, el *element, property *property) bool {
	i, ok := smallInteger(n.text)
	if !ok {
		p.report(el, n.at, "valueInvalid", "is %s, want %s", n.show(), formNames[integerForm])
		return false
	}
	most := math.MaxInt32
	switch property.name {
	case "minMultiplicity":
		most = 0
	case "maxMultiplicity":
		if limit := el.ctx.limits().maxMultiplicity; limit > 0 {
			most = limit
		}
	}
	switch {
	case property.minimum == most && i != most:
		p.report(el, n.at, "valueInvalid", "is %d, want %d", i, most)
	case i < property.minimum || i > most:
		p.report(el, n.at, "valueInvalid", "is %d, want %d to %d", i, property.minimum, most)
	default:
		return true
	}
	return false
}

// smallInteger reads a number that is an integer of 32 bits, however it is written.
func smallInteger(text string) (int, bool) {
	f, err := json.Number(text).Float64()
	if err != nil || f != math.Trunc(f) || f < math.MinInt32 || f > math.MaxInt32 {
		return 0, false
	}
	return int(f), true
}

// idFits checks a DTMI that need not be defined in the documents, such as a relationship's target.
func (p *parser) idFits(n placed, el *element, property *property) bool {
	if property.name == "overrides" && el.ctx.knows(n.text) {
		return true
	}
	if len(n.text) > maxID || !validDTMI(n.text, el.version) {
		p.report(el, n.at, "referenceInvalid", "is %s, want a DTMI", quote(n.text))
		return false
	}
	return true
}

func (p *parser) unitFits(n placed, el *element, property *property, of *cotype) bool {
	if of.extension.hasUnit(property.family, n.text) {
		return true
	}
	if validDTMI(n.text, el.version) && !reservedID(n.text) {
		el.links = append(el.links, &link{property: property, id: n.text, at: n.at}) // Microsoft's parser asks for it first
		return false
	}
	p.report(el, n.at, "unitInvalid", "is %s, want a unit of the family %s", quote(n.text), property.family)
	return false
}

// patterns are those of the MQTT extension (DTDL.mqtt v1 and v2), and ISO 8601's durations.
var patterns = map[form]func(string) bool{
	durationForm: isDuration,
	topicForm:    regexp.MustCompile(`^(?:[!%-*,-.0-z|~][!$-*,-.0-z|~]*|\{(?:[A-Za-z]+:)?[A-Za-z]+\})(?:/(?:[!$-*,-.0-z|~]+|\{(?:[A-Za-z]+:)?[A-Za-z]+\}))*$`).MatchString,
	groupForm:    regexp.MustCompile(`^[!$-*,-.0-z|~]+$`).MatchString,
}

func (p *parser) patternFits(n placed, el *element, property *property) bool {
	if patterns[property.form](n.text) {
		return true
	}
	p.report(el, n.at, "valueInvalid", "is %s, want %s", quote(n.text), formNames[property.form])
	return false
}

// languagePattern is a language tag: DTDL v2 to v4, "Internationalization".
var languagePattern = regexp.MustCompile(`^[a-z]{2,4}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|[0-9]{3}))?$`)

// languages reads a text that may be in several languages: a string, a map by language, or a list of tagged strings.
func (p *parser) languages(n *node, at *place, el *element, property *property) {
	longest := maxDescription
	if property.name == "displayName" {
		longest = el.ctx.limits().displayName
	}
	if n.kind == objectKind {
		p.languageMap(n, at, el, longest)
		return
	}
	seen := map[string]bool{}
	for _, value := range flatten(n, at) {
		if p.stopped {
			return
		}
		language, text, ok := p.tagged(value, el)
		if !ok {
			continue
		}
		if seen[language] {
			p.report(el, value.at, "languageRepeated", "is a second text for the language %s", quote(language))
		}
		seen[language] = true
		p.short(text, value.at, el, longest)
	}
}

func (p *parser) languageMap(n *node, at *place, el *element, longest int) {
	seen := map[string]bool{}
	for i := range n.members {
		if p.stopped {
			return
		}
		language, value := n.members[i].key, &n.members[i].value
		here := at.member(language)
		switch {
		case !languagePattern.MatchString(language):
			p.report(el, here, "languageInvalid", "is for the language %s, want a tag such as \"en\" or \"en-US\"", quote(language))
		case seen[language]:
			p.report(el, here, "languageRepeated", "is a second text for the language %s", quote(language))
		case value.kind != stringKind:
			p.report(el, here, "valueInvalid", "is %s, want a string", value.show())
		default:
			p.short(value.text, here, el, longest)
		}
		seen[language] = true
	}
}

// tagged reads one text of a list: a string, or {"@language": "de", "@value": "Temperatur"}. A string alone is English.
func (p *parser) tagged(value placed, el *element) (language, text string, ok bool) {
	language = "en"
	if value.kind == stringKind {
		return language, value.text, true
	}
	if value.kind != objectKind {
		p.report(el, value.at, "valueInvalid", "is %s, want a string", value.show())
		return "", "", false
	}
	found, has := value.get("@value")
	if !has || found.kind != stringKind {
		p.report(el, value.at, "valueInvalid", "is an object without a string as @value")
		return "", "", false
	}
	for i := range value.members {
		m := &value.members[i]
		switch {
		case m.key == "@value":
		case m.key != "@language" || m.value.kind != stringKind || !languagePattern.MatchString(m.value.text):
			p.report(el, value.at.member(m.key), "languageInvalid", "is %s, want only an @value and an @language", m.value.show())
			return "", "", false
		default:
			language = m.value.text
		}
	}
	return language, found.text, true
}
