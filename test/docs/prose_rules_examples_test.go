package docs

import (
	"strings"
	"testing"
)

func TestRulesFindBadSentences(t *testing.T) {
	for name, c := range map[string]struct {
		page string
		want string // a part of the only finding, or nothing
	}{
		"a good sentence":                    {"limitsOf returns the limits in `spec.requestBudget`.", ""},
		"an opening with Who":                {"The gate waits. Who asks is found in the context.", `begins with "Who"`},
		"an opening with What":               {"What was sent is on record.", `begins with "What"`},
		"an opening in a cell":               {"| a | b |\n| --- | --- |\n| What is left | 1 |", `begins with "What"`},
		"an opening on a continued line":     {"The device\nanswers.\nWhoever waits goes on.", `line 3: a sentence begins with "Whoever"`},
		"a question in the middle":           {"The test asks what became of the write.", ""},
		"has X done":                         {"hintDelay has one read answer all the hints.", `name the actor`},
		"has X done, with a participle":      {"The sweep has the devices read.", `name the actor`},
		"a perfect tense":                    {"The operator has read the twin and has not written yet.", ""},
		"a possession":                       {"The object has a value of 42.", ""},
		"one that":                           {"A device replaces one that failed.", `repeat the noun`},
		"a wide line":                        {strings.Repeat("word ", 21), "columns: wrap at 100"},
		"a line that is wide by a link only": {"See [the page](" + strings.Repeat("x", 100) + ").", ""},
		"a wide table":                       {"| " + strings.Repeat("word ", 30) + " |", ""},
		"a wide line of code":                {"```\n" + strings.Repeat("word ", 30) + "\n```", ""},
	} {
		t.Run(name, func(t *testing.T) {
			found := markdown(c.page).check()
			switch {
			case c.want == "" && len(found) > 0:
				t.Errorf("found %v, want nothing", found)
			case c.want != "" && (len(found) != 1 || !strings.Contains(found[0].String(), c.want)):
				t.Errorf("found %v, want %q", found, c.want)
			}
		})
	}
}

func TestRateCountsPronouns(t *testing.T) {
	for sentence, want := range map[string]float64{
		"The operator writes the value":                           0,
		"It tells whoever waits what it was that they asked for.": 600.0 / 11,
		"Call `it()` of `that`":                                   0,
		"":                                                        0,
	} {
		if got := markdown(sentence).rate(); got != want {
			t.Errorf("%q: %v, want %v", sentence, got, want)
		}
	}
}
