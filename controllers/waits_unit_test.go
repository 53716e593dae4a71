package controllers

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTriesAreAsFarApartAsACauseHasLasted(t *testing.T) {
	row := &waitRow{first: time.Second, most: 30 * time.Second, each: 2 * time.Second}
	for name, c := range map[string]struct {
		row    *waitRow
		many   int
		lasted time.Duration
		want   time.Duration
	}{
		"at first":                   {row, 1, 0, 2 * time.Second},
		"after a while":              {row, 1, 12 * time.Second, 12 * time.Second},
		"for ever":                   {row, 1, time.Hour, 30 * time.Second},
		"of many at one hub":         {row, 1000, time.Hour, 2000 * time.Second},
		"with a clock that was set":  {row, 0, -time.Hour, time.Second},
		"with a row of one length":   {&waitRow{most: time.Minute}, 1, time.Hour, time.Minute},
		"nothing counts at the hubs": {&waitRow{first: time.Second, most: time.Minute}, 1000, time.Second, time.Second},
	} {
		if got := c.row.among(c.many, c.lasted); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// The page has a table with a line for each row, in their order.
func TestPageShowsTheRegisterOfWaits(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("| object | waits for the end of | ended by | and else asks |\n| --- | --- | --- | --- |\n")
	for _, w := range waits {
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", w.kind, w.cause, w.event, w.asks())
	}
	if !strings.Contains(string(page), "\n## What heals by itself, and how fast\n") || !strings.Contains(string(page), want.String()) {
		t.Errorf("docs/operations.md has not this table in its section What heals by itself, and how fast:\n%s", want.String())
	}
}

// asks says in words when an object asks by itself.
func (w *waitRow) asks() string {
	text := "every " + spoken(w.most)
	if w.first > 0 {
		text = fmt.Sprintf("after %s, then as long as it has lasted, %s at most", spoken(w.first), spoken(w.most))
	}
	if w.each > 0 {
		text += fmt.Sprintf("; with many at one hub, %s for each", spoken(w.each))
	}
	return text
}

func spoken(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return fmt.Sprintf("%g min", d.Minutes())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%g s", d.Seconds())
}

// Each row is walked by a test or a spec.
func TestEachRowOfTheRegisterHasItsProof(t *testing.T) {
	var tests strings.Builder
	for _, pattern := range []string{"*_test.go", "../internal/*/*_test.go"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(raw)
		}
	}
	for _, w := range waits {
		if w.proof == "" || !strings.Contains(tests.String(), `"`+w.proof) && !strings.Contains(tests.String(), "func "+w.proof+"(") {
			t.Errorf("no test %q walks: %s: %s", w.proof, w.kind, w.cause)
		}
	}
}

// notWaits are durations in the code of controllers that no object waits for.
var notWaits = map[string]string{
	"DefaultGrace":       "how long a failure lasts before status speaks of it",
	"forRecord":          "bound of a request to the API server",
	"rest":               "an entry of the record of commands costs that much of a pause",
	"retryMargin":        "clocks of commands",
	"expire":             "rounds up",
	"censusFor":          "how old a count may be",
	"ofLeader":           "bound of a request to the cache",
	"sendWithin":         "how old a claim may be",
	"drainFor":           "a stop",
	"timeouts":           "those of the spec",
	"within":             "the spec's",
	"proofTime":          "bound of a request to the hub",
	"brakeWindow":        "what counts as one sync",
	"reservedFor":        "what counts as one sync",
	"reserve":            "rounds up",
	"review":             "rounds",
	"reservation":        "rounds",
	"fightWindow":        "what counts as a fight",
	"DefaultClearWithin": "how long a session is kept",
	"lookHolds":          "how old a look may be",
	"damagedFor":         "how long the record of commands may be damaged",
	"lateAfter":          "when an Event says so",
	"ledgerCall":         "bound of a request to the API server",
	"quietTime":          "status patches of reports are gathered",
	"answerTime":         "status waits for an answer",
	"untilCached":        "bound of a wait for the cache",
	"install":            "the spec's",
	"collect":            "the spec's",
	"hold":               "the spec's",
	"seen":               "rounds",
	"restOffline":        "rests of commands have rows of their own in devicecommand_rest.go",
	"restAbsent":         "the same",
	"restPostponed":      "the same",
	"settleFor":          "the same",
	"placeRetry":         "the same, in devicecommand_phases.go",
	"ledgerRetry":        "the same",
	"cacheRetry":         "the same, in devicecommand_controller.go",
	"retryLook":          "the same, in devicecommand_looks.go",
	"recordRetry":        "the same, in devicecommand_flight.go",
	"showAfter":          "the same",
	"hearFor":            "the same",
	"gatherFor":          "the same, in devicecommand_ledger.go",
	"verifyEvery":        "the same",
	"ledgerSweep":        "the same",
	"countAfter":         "waits of DeviceModels, in devicemodel_controller.go",
	"fetchRetry":         "the same",
	"otherWithin":        "the same",
	"parseSoon":          "the same",
}

// Nothing waits for a time that is not in the register: there are no others in the code.
func TestDurationsAreThoseOfTheRegister(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "waits.go" {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			for name, node := range namedIn(d) {
				if hasDuration(node) && notWaits[name] == "" {
					t.Errorf("%s: %s has a time of its own: give it a row in waits.go", file, name)
				}
			}
		}
	}
}

// namedIn are the functions, constants and variables of a declaration.
func namedIn(d ast.Decl) map[string]ast.Node {
	named := map[string]ast.Node{}
	switch d := d.(type) {
	case *ast.FuncDecl:
		named[d.Name.Name] = d
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if v, ok := spec.(*ast.ValueSpec); ok {
				named[v.Names[0].Name] = v
			}
		}
	}
	return named
}

// hasDuration reports whether a time is spelled in some code.
func hasDuration(node ast.Node) (has bool) {
	ast.Inspect(node, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			of, isName := s.X.(*ast.Ident)
			has = has || isName && of.Name == "time" && slices.Contains([]string{"Millisecond", "Second", "Minute", "Hour"}, s.Sel.Name)
		}
		return !has
	})
	return has
}
