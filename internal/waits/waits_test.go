package waits

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/reasons"
)

func TestTriesAreAsFarApartAsACauseHasLasted(t *testing.T) {
	row := &Row{First: time.Second, Most: 30 * time.Second, Each: 2 * time.Second}
	for name, c := range map[string]struct {
		row    *Row
		many   int
		lasted time.Duration
		want   time.Duration
	}{
		"at first":                   {row, 1, 0, 2 * time.Second},
		"after a while":              {row, 1, 12 * time.Second, 12 * time.Second},
		"for ever":                   {row, 1, time.Hour, 30 * time.Second},
		"of many at one hub":         {row, 1000, time.Hour, 2000 * time.Second},
		"with a clock that was set":  {row, 0, -time.Hour, time.Second},
		"with a row of one length":   {&Row{Most: time.Minute}, 1, time.Hour, time.Minute},
		"nothing counts at the hubs": {&Row{First: time.Second, Most: time.Minute}, 1000, time.Second, time.Second},
	} {
		if got := c.row.Among(c.many, c.lasted); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// The page has a table with a line for each row, in their order.
func TestPageShowsTheRegisterOfWaits(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("| object | waits for the end of | ended by | and else asks |\n| --- | --- | --- | --- |\n")
	for _, w := range Register {
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", w.kind, w.cause, w.event, w.asks())
	}
	if !strings.Contains(string(page), "\n## What heals by itself, and how fast\n") || !strings.Contains(string(page), want.String()) {
		t.Errorf("docs/operations.md has not this table in its section What heals by itself, and how fast:\n%s", want.String())
	}
}

// asks says in words when an object asks by itself.
func (w *Row) asks() string {
	text := "every " + spoken(w.Most)
	if w.First > 0 {
		text = fmt.Sprintf("after %s, then as long as it has lasted, %s at most", spoken(w.First), spoken(w.Most))
	}
	if w.Each > 0 {
		text += fmt.Sprintf("; with many at one hub, %s for each", spoken(w.Each))
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
	for _, pattern := range []string{"../*/*_test.go", "../../controllers/*_test.go", "../../controllers/*/*_test.go"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(raw)
		}
	}
	for _, w := range Register {
		if w.proof == "" || !strings.Contains(tests.String(), `"`+w.proof) && !strings.Contains(tests.String(), "func "+w.proof+"(") {
			t.Errorf("no test %q walks: %s: %s", w.proof, w.kind, w.cause)
		}
	}
}

// oneReason is a word after the colon of a cause that stands for itself.
var oneReason = regexp.MustCompile(`^[A-Z][a-z]+([A-Z][a-z]+)+$`)

// The reasons that rows name exist, on objects of their kinds.
func TestEachRowOfTheRegisterNamesReasonsOfItsKind(t *testing.T) {
	for _, w := range Register {
		_, named, _ := strings.Cut(w.cause, ": ")
		for word := range strings.SplitSeq(named, ", ") {
			row := reasons.Of(word)
			if oneReason.MatchString(word) && row.On(w.kind) == 0 && (w.kind != "any" || row == reasons.Row{}) {
				t.Errorf("%s: %s: the table of reasons has no %s there", w.kind, w.cause, word)
			}
		}
	}
}

// registerFiles have the rows.
var registerFiles = []string{"waits.go", "waits_commands.go"}

// notWaits are names of what has a duration in the code, and no object waits for it.
var notWaits = map[string]string{
	"bound of one request, of the code or the spec":                         `proofTime ForRecord Collect CallTime dialTime save closing managementTimeout call longest show install collect deadline`,
	"rounded, or turned into a time":                                        `reserve review wasReadAfter describeConnection describeEnablement transition connection on until roll began next soonest Accepted StartClock summarise deadline`,
	"how old something may be, or how long it may last before it is told":   `censusFor brakeWindow reservedFor DefaultClearWithin DefaultGrace sendWithin lookHolds retryMargin damagedFor lateAfter holdFor DefaultEchoWithin valueSweepEvery grace afterMidnight clocksDiffer probeWithin whileAsked confirmAfter slowBy restoreIn restoreStep recently eventEvery minWait withDefaults Settled drainFor pace tolerance early tellsWithin claimsWithin FightWindow`,
	"steps of waits that have a row, or gather what came for less than one": `quietTime answerTime untilCached judgeEvery hintDelay resyncRetry firstLook firstSweepDelay eventDelay askFree followUpDelays SettleFor`,
	"waits of DeviceCommands and DeviceModels, to be given rows":            `cacheRetry recordRetry showAfter hearFor gatherFor verifyEvery ledgerSweep countAfter parseSoon`,
	"times that rows of the register have by another name":                  `RetryTerminal RetryAbsent Soon`,
}

// Nothing waits for a time that is not in the register: there are no others in the code.
func TestDurationsAreThoseOfTheRegister(t *testing.T) {
	var register []byte
	for _, file := range registerFiles {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		register = append(register, raw...)
	}
	known := strings.Fields(strings.Join(slices.Collect(maps.Values(notWaits)), " "))
	for _, pattern := range []string{
		"../../controllers/*.go", "../../controllers/*/*.go", "../backoff/*.go", "../budget/*.go", "../command/*.go", "../convergence/*.go", "../eventstream/*.go",
		"../halt/*.go", "../hubcalls/*.go", "../revision/*.go", "../session/*.go",
	} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range parsed.Decls {
				for name, node := range namedIn(d) {
					if hasDuration(node) && !slices.Contains(known, name) && !strings.Contains(string(register), "."+name+",") {
						t.Errorf("%s: %s has a time of its own: give it a row in internal/waits", file, name)
					}
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
