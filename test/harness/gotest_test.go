package harness

import "testing"

func TestTestsOfTheWholeRunWhereTheyAreNamed(t *testing.T) {
	for pattern, want := range map[string]bool{
		"":                            false, // go test ./...
		".":                           false,
		"TestE":                       false,
		"TestEndToEnd":                true,
		"^TestEndToEnd$/":             true, // make e2e
		"TestEndToEnd/edit$":          true,
		"TestStorm|TestEndToEnd/edit": true,
	} {
		if got := isNamed("TestEndToEnd", pattern); got != want {
			t.Errorf("with -run %q it runs: %t, want %t", pattern, got, want)
		}
	}
}

func TestPatternWithinIsThatOfTheTestsWithin(t *testing.T) {
	for pattern, want := range map[string]string{
		"": "", "TestEngines": "", "^TestEngines$": "", "TestEngines/": "", "^TestEngines$/stop|model": "stop|model", "Other/x": "",
	} {
		if got := patternWithin("TestEngines", pattern); got != want {
			t.Errorf("within %q: %q, want %q", pattern, got, want)
		}
	}
}

func TestATestOfTheWholeIsLeftOutOtherwise(t *testing.T) {
	reached := false
	t.Run("inner", func(t *testing.T) {
		Begin(t, "demo", false)
		reached = true
	})
	if reached {
		t.Error("it has begun, though -run does not name it")
	}
}
