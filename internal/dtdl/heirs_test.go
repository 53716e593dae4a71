package dtdl_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

// family is interfaces of DTDL v3 with the extensions for overrides, "dtmi:test:<name>;1" each.
func family(interfaces ...string) string { return "[" + strings.Join(interfaces, ",") + "]" }

// relative is an interface of a family.
func relative(name, extends string, contents ...string) string {
	if extends != "" {
		extends = fmt.Sprintf(`"extends":[%s],`, extends)
	}
	return fmt.Sprintf(`{"@context":["dtmi:dtdl:context;3",%s],"@id":"dtmi:test:%s;1","@type":"Interface",%s"contents":[%s]}`,
		overriding, name, extends, strings.Join(contents, ","))
}

const (
	note        = `{"@type":["Property","ValueAnnotation"],"name":"note","annotates":"p","schema":"string"}`
	command     = `{"@type":"Command","name":"p"}`
	temperature = `{"@type":["Property","Temperature"],"name":"p","schema":"double","unit":"kelvin"}`
	toBase      = `"dtmi:test:Base;1"`
)

// Annotations and overrides look for what they are about among all that an interface has, from the side of each heir.
func TestSiblingsOfAnnotationsComeFromTheWholeFamily(t *testing.T) {
	for name, c := range map[string]struct {
		document string
		want     []string
	}{
		"a property of the heir":                     {family(relative("Heir", toBase, property(`"double"`)), relative("Base", "", note)), nil},
		"a property of the base":                     {family(relative("Heir", toBase, note), relative("Base", "", property(`"double"`))), nil},
		"a command of the heir":                      {family(relative("Heir", toBase, command), relative("Base", "", note)), []string{"annotationInvalid"}},
		"a command of the base":                      {family(relative("Heir", toBase, note), relative("Base", "", command)), []string{"annotationInvalid"}},
		"a command of another base":                  {family(relative("Heir", toBase+`,"dtmi:test:Other;1"`), relative("Base", "", note), relative("Other", "", command)), []string{"annotationInvalid"}},
		"a command of an heir of an heir":            {family(relative("Heir", `"dtmi:test:Mid;1"`, command), relative("Mid", toBase), relative("Base", "", note)), []string{"annotationInvalid"}},
		"an annotation of the heir":                  {family(relative("Heir", toBase, strings.Replace(note, `"note","annotates":"p"`, `"p","annotates":"q"`, 1)), relative("Base", "", note)), []string{"annotationInvalid"}},
		"an error of the base, once":                 {family(relative("Heir", toBase), relative("Base", "", note, command)), []string{"annotationInvalid"}},
		"an override of a unit of the base":          {family(relative("Heir", toBase, overridesUnit("a", "TemperatureUnit")), relative("Base", "", temperature)), nil},
		"an override of another unit of the base":    {family(relative("Heir", toBase, overridesUnit("a", "LengthUnit")), relative("Base", "", temperature)), []string{"overrideSchema"}},
		"an override of a unit of the heir":          {family(relative("Heir", toBase, temperature), relative("Base", "", overridesUnit("a", "TemperatureUnit"))), nil},
		"an override of another unit of the heir":    {family(relative("Heir", toBase, temperature), relative("Base", "", overridesUnit("a", "LengthUnit"))), []string{"overrideSchema"}},
		"an override of no unit, of the heir":        {family(relative("Heir", toBase, property(`"double"`)), relative("Base", "", overridesUnit("a", "TemperatureUnit"))), []string{"overrideInvalid"}},
		"an override of the heir and one of base":    {family(relative("Heir", toBase, overridesUnit("b", "TemperatureUnit")), relative("Base", "", temperature, overridesUnit("a", "TemperatureUnit"))), []string{"overrideRepeated"}},
		"overrides of two bases":                     {family(relative("Heir", `"dtmi:test:A;1","dtmi:test:B;1"`), relative("A", toBase, overridesUnit("a", "TemperatureUnit")), relative("B", toBase, overridesUnit("b", "TemperatureUnit")), relative("Base", "", temperature)), []string{"overrideRepeated"}},
		"an override twice in the base, once":        {family(relative("Heir", toBase), relative("Base", "", temperature, overridesUnit("a", "TemperatureUnit"), overridesUnit("b", "TemperatureUnit"))), []string{"overrideRepeated"}},
		"one override that comes on two ways":        {family(relative("Heir", `"dtmi:test:A;1","dtmi:test:B;1"`), relative("A", toBase), relative("B", toBase), relative("Base", "", temperature, overridesUnit("a", "TemperatureUnit"))), nil},
		"overrides of two heirs of the same base":    {family(relative("A", toBase, overridesUnit("a", "TemperatureUnit")), relative("B", toBase, overridesUnit("b", "TemperatureUnit")), relative("Base", "", temperature)), nil},
		"a command of the heir, and of another heir": {family(relative("A", toBase, command), relative("B", toBase, property(`"double"`)), relative("Base", "", note)), []string{"annotationInvalid"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := dtdl.Parse([]byte(c.document))
			var got []string
			for _, e := range m.Errors {
				got = append(got, e.Rule)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", m.Errors, c.want)
			}
			for _, e := range m.Errors {
				if m.Interface(e.Interface) != nil {
					t.Errorf("%s has an error and is sound", e.Interface)
				}
			}
		})
	}
}

func TestAnErrorThatAnHeirMakesIsTheHeirs(t *testing.T) {
	m := dtdl.Parse([]byte(family(relative("Heir", toBase, command), relative("Base", "", note))))
	want := `inherits "note" of "dtmi:test:Base;1", whose "annotates" is the Command "p", want a Property or Telemetry`
	if len(m.Errors) != 1 || m.Errors[0].Message != want || m.Errors[0].Path != "/0/extends" {
		t.Errorf("got %+v", m.Errors)
	}
	if m.Interface("dtmi:test:Base;1") == nil {
		t.Error("the base is sound by itself, and is not given")
	}
}

// DTDL v4, "Context": the limits follow the language without them, at once.
func TestPartsOfTheContext(t *testing.T) {
	for contexts, want := range map[string]string{
		`"dtmi:dtdl:context;4#limitless","dtmi:dtdl:context;4"`:                                            "",
		`"dtmi:dtdl:context;4#limitless","dtmi:dtdl:context;4#limits"`:                                     "",
		`"dtmi:dtdl:context;4#limitless","dtmi:dtdl:context;4#limits","dtmi:dtdl:extension:requirement;1"`: "",
		`"dtmi:dtdl:context;3","dtmi:dtdl:context;4#limitless","dtmi:dtdl:context;4#limits"`:               "",
		`"dtmi:dtdl:context;4#limitless"`:                                                                  "contextUnknown",
		`"dtmi:dtdl:context;4#limits"`:                                                                     "contextUnknown",
		`"dtmi:dtdl:context;4","dtmi:dtdl:context;4#limits"`:                                               "contextUnknown",
		`"dtmi:dtdl:context;4#limitless","dtmi:dtdl:limits:onvif;1"`:                                       "contextUnknown",
		`"dtmi:dtdl:context;4#limitless","dtmi:dtdl:context;3"`:                                            "contextUnknown",
		`"dtmi:dtdl:context;4#unlimited","dtmi:dtdl:context;4"`:                                            "contextUnknown",
		`"dtmi:dtdl:context;3#limitless","dtmi:dtdl:context;3"`:                                            "contextUnknown",
		`"dtmi:dtdl:context;4","dtmi:dtdl:extension:requirement;1","dtmi:dtdl:context;4#limitless"`:        "contextOrder",
	} {
		m := dtdl.Parse(fmt.Appendf(nil, `{"@context":[%s],"@id":"dtmi:test:Thing;1","@type":"Interface"}`, contexts))
		got := ""
		if len(m.Errors) > 0 {
			got = m.Errors[0].Rule
		}
		if got != want {
			t.Errorf("[%s] got %v, want %q", contexts, m.Errors, want)
		}
	}
	deep := dtdl.Parse([]byte(strings.Replace(thing(4, `"schemas":[`+deepSchema(20)+`]`), `"dtmi:dtdl:context;4"`, `["dtmi:dtdl:context;4#limitless","dtmi:dtdl:context;4#limits"]`, 1)))
	if len(deep.Errors) == 0 || deep.Errors[0].Rule != "schemaTooDeep" {
		t.Errorf("DTDL's limits do not count: %v", deep.Errors)
	}
}

// deepSchema is an Object with an identifier, of some levels.
func deepSchema(levels int) string {
	return strings.Replace(nested(levels, `"string"`), `"@type"`, `"@id":"dtmi:test:deep;1","@type"`, 1)
}
