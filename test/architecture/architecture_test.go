// Package architecture holds docs/architecture.md, and the rules of .golangci.yml, against the code.
package architecture

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var page = filepath.Join(root, "docs", "architecture.md")

// section returns the text below a heading of the page.
func section(t *testing.T, heading string) string {
	t.Helper()
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut("\n"+string(raw), "\n"+heading+"\n")
	if !found {
		t.Fatalf("%s has no heading %q", page, heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// oneLine takes line breaks out of a text.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// quoted are the words of a text that are in backticks.
func quoted(text string) (words []string) {
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		words = append(words, m[1])
	}
	return words
}

// tables returns the cells of each table of a text, without the headings.
func tables(text string) (all [][][]string) {
	var table [][]string
	for _, line := range append(strings.Split(text, "\n"), "") {
		if inner, ok := strings.CutPrefix(line, "| "); ok {
			table = append(table, strings.Split(strings.TrimSuffix(inner, " |"), " | "))
		} else if table != nil {
			all, table = append(all, table[2:]), nil
		}
	}
	return all
}

// drawn is a row of the page's tables of packages.
type drawn struct {
	table   int
	pattern string
	imports []string
	what    string
}

// patternOf returns the pattern of `go build` for the name of a package in the tables.
func patternOf(name string) string {
	if name == "main.go" {
		return "."
	}
	return name
}

// shortName is what the column of imports calls the packages of a row.
func (r drawn) shortName() string {
	if r.pattern == "api/v1alpha1" {
		return "api"
	}
	return strings.TrimPrefix(strings.TrimSuffix(r.pattern, "/..."), "internal/")
}

// rowOf returns the index of the row of a folder, -1 if there is none.
func rowOf(rows []drawn, folder string) int {
	return slices.IndexFunc(rows, func(r drawn) bool { return covers(r.pattern, folder) })
}

func drawnPackages(t *testing.T) (rows []drawn) {
	t.Helper()
	for i, table := range tables(section(t, "## Packages")) {
		for _, cells := range table {
			if len(cells) != 3 || len(quoted(cells[0])) != 1 {
				t.Fatalf("%s: the row %q is not one of a package, its imports and what it is", page, cells)
			}
			r := drawn{table: i, pattern: patternOf(quoted(cells[0])[0]), what: cells[2]}
			if cells[1] != "-" {
				r.imports = strings.Split(cells[1], ", ")
			}
			rows = append(rows, r)
		}
	}
	if len(rows) < 20 {
		t.Fatalf("%s has %d packages", page, len(rows))
	}
	return rows
}

func TestPageHasEachPackageOnce(t *testing.T) {
	rows := drawnPackages(t)
	used := map[string]bool{}
	for _, p := range packagesOfModule(t) {
		var by []string
		for _, r := range rows {
			if covers(r.pattern, p.folder()) {
				by = append(by, r.pattern)
				used[r.pattern] = true
			}
		}
		if len(by) != 1 {
			t.Errorf("%s: package %s has the rows %q, want one", page, p.folder(), by)
		}
	}
	for _, r := range rows {
		if !used[r.pattern] || r.what == "" {
			t.Errorf("%s: the row of %s is of no package, or says nothing", page, r.pattern)
		}
	}
}

func TestPageHasTheArrowsOfTheCode(t *testing.T) {
	packages, rows := packagesOfModule(t), drawnPackages(t)
	for _, r := range rows {
		var want []string
		for _, folder := range importsOf(packages, r.pattern) {
			if to := rowOf(rows, folder); to >= 0 { // else TestPageHasEachPackageOnce fails
				want = append(want, rows[to].shortName())
			}
		}
		slices.Sort(want)
		if diff := cmp.Diff(slices.Compact(want), r.imports); diff != "" {
			t.Errorf("%s: imports of %s (-code +page):\n%s", page, r.pattern, diff)
		}
	}
}

func TestNoArrowGoesUpward(t *testing.T) {
	packages, rows := packagesOfModule(t), drawnPackages(t)
	for at, r := range rows {
		for _, folder := range importsOf(packages, r.pattern) {
			to := rowOf(rows, folder)
			if to < 0 {
				continue // TestPageHasEachPackageOnce fails
			}
			if rows[to].table > r.table || rows[to].table == r.table && to < at {
				t.Errorf("%s imports %s, which stands above it, or beside the operator, in %s", r.pattern, folder, page)
			}
		}
	}
}

var numerals = []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}

// spelled is a list in a sentence.
func spelled(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

func TestPageHasThePhasesOfTheCode(t *testing.T) {
	found, pass := reconcilers(t), section(t, "## A pass over a PnPDevice")
	device, command := found["PnPDeviceReconciler"].phases, found["DeviceCommandReconciler"].phases
	if len(device) < 3 || len(command) < 3 {
		t.Fatalf("the code has phases %q of a device, %q of a command", device, command)
	}
	var rows []string
	known := reasons(t)
	for _, cells := range tables(pass)[0] {
		rows = append(rows, cells[0])
		for _, reason := range quoted(cells[len(cells)-1]) {
			if !known[reason] {
				t.Errorf("%s: the phase %s ends with %s, which is no reason", page, cells[0], reason)
			}
		}
	}
	if diff := cmp.Diff(device, rows); diff != "" {
		t.Errorf("%s: phases of a PnPDevice (-code +page):\n%s", page, diff)
	}
	for _, sentence := range []string{
		"then " + numerals[len(device)] + " phases.",
		"A pass over a DeviceCommand has the phases " + spelled(command) + ";",
	} {
		if !strings.Contains(oneLine(pass), sentence) {
			t.Errorf("%s does not say %q", page, sentence)
		}
	}
}

func TestCommentsOfReconcileNameThePhases(t *testing.T) {
	for name, r := range reconcilers(t) {
		if len(r.phases) > 0 && !strings.Contains(oneLine(r.comment), spelled(r.phases)) {
			t.Errorf("the comment of %s.Reconcile does not say %q:\n%s", name, spelled(r.phases), r.comment)
		}
	}
}

func TestPageCountsTheControllers(t *testing.T) {
	sentence := "one process with " + numerals[len(reconcilers(t))] + " controllers"
	if text := oneLine(section(t, "# Architecture")); !strings.Contains(text, sentence) {
		t.Errorf("%s does not say %q", page, sentence)
	}
}
