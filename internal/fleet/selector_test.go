package fleet

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

func tagged(text string) map[string]any {
	var tags map[string]any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&tags); err != nil {
		panic(err)
	}
	return tags
}

func expression(key string, operator v1alpha1.TagOperator, values ...intstr.IntOrString) v1alpha1.FleetSelector {
	return v1alpha1.FleetSelector{MatchExpressions: []v1alpha1.TagExpression{{Key: key, Operator: operator, Values: values}}}
}

func equals(key string, v intstr.IntOrString) v1alpha1.FleetSelector {
	return v1alpha1.FleetSelector{MatchTags: map[string]intstr.IntOrString{key: v}}
}

func TestSelectorIsStrictAboutTypes(t *testing.T) {
	text, number := intstr.FromString("43"), intstr.FromInt32(43)
	for name, c := range map[string]struct {
		selector v1alpha1.FleetSelector
		tags     string
		want     bool
	}{
		"a text equals the text":                {equals("a", text), `{"a": "43"}`, true},
		"a text is no number":                   {equals("a", text), `{"a": 43}`, false},
		"a number equals the number":            {equals("a", number), `{"a": 43}`, true},
		"a number equals it in other digits":    {equals("a", number), `{"a": 43.0}`, true},
		"a number is no text":                   {equals("a", number), `{"a": "43"}`, false},
		"a text is no boolean":                  {equals("a", intstr.FromString("true")), `{"a": true}`, false},
		"an object equals nothing":              {equals("a", text), `{"a": {"43": 1}}`, false},
		"an array equals nothing":               {equals("a", text), `{"a": ["43"]}`, false},
		"an absent tag equals no empty text":    {equals("a", intstr.FromString("")), `{}`, false},
		"an empty text equals the empty text":   {equals("a", intstr.FromString("")), `{"a": ""}`, true},
		"a nested tag":                          {equals("a.b.c", text), `{"a": {"b": {"c": "43"}}}`, true},
		"below a text there is nothing":         {equals("a.b", text), `{"a": "b"}`, false},
		"case counts":                           {equals("a", intstr.FromString("X")), `{"a": "x"}`, false},
		"In":                                    {expression("a", v1alpha1.TagIn, text, number), `{"a": 43}`, true},
		"In of another":                         {expression("a", v1alpha1.TagIn, text), `{"a": "44"}`, false},
		"NotIn matches an absent tag":           {expression("a", v1alpha1.TagNotIn, text), `{}`, true},
		"NotIn matches another type":            {expression("a", v1alpha1.TagNotIn, text), `{"a": 43}`, true},
		"NotIn":                                 {expression("a", v1alpha1.TagNotIn, text), `{"a": "43"}`, false},
		"Exists of an object":                   {expression("a", v1alpha1.TagExists), `{"a": {}}`, true},
		"Exists of nothing":                     {expression("a", v1alpha1.TagExists), `{}`, false},
		"DoesNotExist":                          {expression("a.b", v1alpha1.TagDoesNotExist), `{"a": {}}`, true},
		"DoesNotExist of what does":             {expression("a", v1alpha1.TagDoesNotExist), `{"a": false}`, false},
		"IsTrue":                                {expression("a", v1alpha1.TagIsTrue), `{"a": true}`, true},
		"IsTrue of a text":                      {expression("a", v1alpha1.TagIsTrue), `{"a": "true"}`, false},
		"IsFalse":                               {expression("a", v1alpha1.TagIsFalse), `{"a": false}`, true},
		"IsFalse of nothing":                    {expression("a", v1alpha1.TagIsFalse), `{}`, false},
		"a model that is another":               {v1alpha1.FleetSelector{ModelID: "dtmi:a;1"}, `{}`, false},
		"a device that is listed":               {v1alpha1.FleetSelector{DeviceIDs: []string{"d"}}, `{}`, true},
		"a device that is not":                  {v1alpha1.FleetSelector{DeviceIDs: []string{"e"}}, `{}`, false},
		"a device that is listed, and excluded": {v1alpha1.FleetSelector{DeviceIDs: []string{"d"}, Exclude: []string{"d"}}, `{}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewSelector(&v1alpha1.DeviceFleetSpec{Selector: c.selector})
			if got := s.Matches("d", "", tagged(c.tags)); got != c.want {
				t.Errorf("got %v", got)
			}
			set := &tagSet{values: s.valuesOf(tagged(c.tags))}
			if got := s.matchesSet("d", set); got != c.want {
				t.Errorf("by what is known of a member: %v", got)
			}
		})
	}
}

func TestAChangeOfTagsIsJudgedByItsContent(t *testing.T) {
	spec := &v1alpha1.DeviceFleetSpec{Selector: v1alpha1.FleetSelector{
		MatchTags:        map[string]intstr.IntOrString{"kind": intstr.FromString("c"), "location.plant": intstr.FromInt32(4)},
		MatchExpressions: []v1alpha1.TagExpression{{Key: "stage", Operator: v1alpha1.TagNotIn, Values: []intstr.IntOrString{intstr.FromString("lab")}}},
	}}
	s := NewSelector(spec)
	for name, c := range map[string]struct {
		patch string
		want  Touches
	}{
		"another tag":                     {`{"other": 1}`, TouchesNothing},
		"another tag of the same object":  {`{"location": {"line": 3}}`, TouchesNothing},
		"the same value":                  {`{"kind": "c"}`, TouchesSome},
		"another value":                   {`{"kind": "lamp"}`, TouchesOut},
		"a removal":                       {`{"kind": null}`, TouchesOut},
		"the object is removed":           {`{"location": null}`, TouchesOut},
		"the object becomes a text":       {`{"location": "4"}`, TouchesOut},
		"a removal of what must not be":   {`{"stage": null}`, TouchesSome},
		"one that stays and one that not": {`{"kind": "c", "stage": "lab"}`, TouchesOut},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.Touched(tagged(c.patch)); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestQueriesTakeNothingForMoreThanAText(t *testing.T) {
	for name, c := range map[string]struct {
		selector v1alpha1.FleetSelector
		want     string
	}{
		"a quote":             {equals("a", intstr.FromString("x' OR 1=1 OR 'y")), `tags.a IN ['x'' OR 1=1 OR ''y']`},
		"quotes alone":        {equals("a", intstr.FromString("'''")), `tags.a IN ['''''''']`},
		"operators":           {equals("a.b", intstr.FromString("] AND (true)")), `tags.a.b IN ['] AND (true)']`},
		"what cannot be told": {equals("a", intstr.FromString(`x\' OR 1=1`)), ""},
		"a control character": {equals("a", intstr.FromString("x\ny")), ""},
		"one of several":      {expression("a", v1alpha1.TagIn, intstr.FromString(`\`), intstr.FromString("b")), ""},
		"a number":            {equals("a", intstr.FromInt32(-4)), `tags.a IN [-4]`},
		"NotIn is not asked":  {expression("a", v1alpha1.TagNotIn, intstr.FromString("b")), ""},
		"nor DoesNotExist":    {expression("a", v1alpha1.TagDoesNotExist), ""},
		"Exists":              {expression("a.b", v1alpha1.TagExists), "IS_DEFINED(tags.a.b)"},
		"IsTrue":              {expression("a", v1alpha1.TagIsTrue), "tags.a = true"},
		"a model":             {v1alpha1.FleetSelector{ModelID: "dtmi:a;1"}, "modelId = 'dtmi:a;1'"},
	} {
		t.Run(name, func(t *testing.T) {
			query, err := MembershipQuery(&v1alpha1.DeviceFleetSpec{Selector: c.selector})
			if err != nil {
				t.Fatal(err)
			}
			_, where, _ := strings.Cut(query, " WHERE ")
			if where != c.want {
				t.Errorf("got %s\nwant %s", where, c.want)
			}
		})
	}
}

func TestH10QueriesForDifferencesAreShortAndSaySoOfWhatTheyLeaveOut(t *testing.T) {
	values := map[string]any{"list": []any{num(1)}, "it's [odd]": "x", "schedule": map[string]any{"on": "06:00", "off": num(22)}}
	for i := range 300 {
		values[strings.Repeat("n", 20)+num(i).String()] = strings.Repeat("v", 30)
	}
	spec := enforcing()
	s := New(Identity{Name: "f"}, spec, declaring(values))
	queries, unasked := s.DifferenceQueries()
	if len(queries) < 3 {
		t.Errorf("%d queries", len(queries))
	}
	for _, query := range queries {
		if len(query) > maxQuery {
			t.Errorf("a query of %d characters", len(query))
		}
		if !strings.Contains(query, "WHERE tags.kind IN ['controller'] AND (NOT IS_DEFINED(") {
			t.Errorf("got %s", query[:200])
		}
	}
	if all := strings.Join(queries, " "); !strings.Contains(all, "properties.desired.schedule.on NIN ['06:00']") || !strings.Contains(all, "schedule.off NIN [22]") {
		t.Error("an object is not asked for by its fields")
	}
	if len(unasked) != 2 {
		t.Errorf("unasked are %v, want the list and the name with brackets", unasked)
	}
}

func FuzzQuote(f *testing.F) {
	for _, text := range []string{"", "'", "a'b", `\`, "\x00", "]] OR true", "ü"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		quoted, ok := Quote(text)
		if !ok {
			return
		}
		inner := quoted[1 : len(quoted)-1]
		if strings.Contains(strings.ReplaceAll(inner, "''", ""), "'") || strings.ReplaceAll(inner, "''", "'") != text {
			t.Errorf("%q became %s", text, quoted)
		}
	})
}

func TestShares(t *testing.T) {
	for name, c := range map[string]struct {
		text        string
		n, up, down int
	}{
		"up to at least one":            {"1%", 3, 1, 0},
		"1 % within 10 %":               {"1%", 48901, 490, 489},
		"10 %":                          {"10%", 48901, 4891, 4890},
		"a tenth of a percent":          {"0.1%", 1_000_000, 1000, 1000},
		"all":                           {"100%", 7, 7, 7},
		"a number":                      {"12", 100, 12, 12},
		"a number above all":            {"12", 10, 10, 12},
		"a budget of a percent of none": {"2%", 49, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, ok := ParseShare(c.text)
			if !ok || s.up(c.n) != c.up || s.down(c.n) != c.down {
				t.Errorf("got %v, %d and %d", ok, s.up(c.n), s.down(c.n))
			}
		})
	}
	for _, text := range []string{"", "%", "-1", "101%", "1.5", "x%", "NaN%"} {
		if _, ok := ParseShare(text); ok {
			t.Errorf("%q is a share", text)
		}
	}
}
