package conformance_test

import "testing"

// Texts that mutations cannot make, as they change models and not their JSON.
func TestOddTextsGetMicrosoftsVerdict(t *testing.T) {
	m := startMicrosoft(t)
	const whole = `{"@context":"dtmi:dtdl:context;2","@id":"dtmi:a:b;1","@type":"Interface"}`
	with := func(more string) string { return `[` + whole[:len(whole)-1] + `,` + more + `}]` }
	for name, text := range map[string]string{
		"a comma too many":                      with(`"contents":[],`),
		"a comment":                             `[` + whole[:len(whole)-1] + ` /* c */}]`,
		"a repeated type":                       with(`"@type":"Interface"`),
		"a repeated text":                       with(`"displayName":"a","displayName":"b"`),
		"a repeated name":                       with(`"contents":[{"@type":"Telemetry","name":"a","name":"b","schema":"double"}]`),
		"a byte order mark":                     "\ufeff" + with(`"contents":[]`),
		"something behind it":                   with(`"contents":[]`) + "x",
		"two texts":                             with(`"contents":[]`) + with(`"contents":[]`),
		"no list":                               whole,
		"a list in a list in a list":            `[[[` + whole + `]]]`,
		"an object without anything":            `[{}]`,
		"an empty list":                         `[]`,
		"null":                                  `null`,
		"a list of null":                        `[null]`,
		"a text":                                `"x"`,
		"half a surrogate":                      with(`"displayName":"\ud800"`),
		"a NUL":                                 with(`"displayName":"\u0000"`),
		"a language twice, in two cases":        with(`"displayName":{"en":"a","EN":"b"}`),
		"an empty language":                     with(`"displayName":{"":"a"}`),
		"an empty key":                          with(`"":"x"`),
		"a number with an exponent for a count": with(`"contents":[{"@type":"Relationship","name":"r","maxMultiplicity":1e2}]`),
		"a number with a fraction of zero":      with(`"contents":[{"@type":"Relationship","name":"r","maxMultiplicity":5.0}]`),
		"an enum value beyond 32 bits":          with(`"contents":[{"@type":"Telemetry","name":"t","schema":{"@type":"Enum","valueSchema":"integer","enumValues":[{"name":"a","enumValue":2147483648}]}}]`),
	} {
		theirs := m.judge(t, []byte(text))
		if our, _ := ours([]byte(text)); !agree(theirs, our) {
			t.Errorf("%s: %s\ntheirs is %+v\nours is %+v", name, text, theirs, our)
		}
	}
}
