package reasons

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const top = "../../"

// constant is one of a reason.
type constant struct{ name, value, doc string }

// constants are those of api/v1alpha1 whose names begin with Reason.
func constants(t *testing.T) (all []constant) {
	t.Helper()
	packages, err := filepath.Glob(top + "api/v1alpha1/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range packages {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Reason") {
				value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, constant{spec.Names[0].Name, value, spec.Doc.Text()})
			}
			return true
		})
	}
	return all
}

func TestEachConstantHasItsNameItsWordsAndARow(t *testing.T) {
	var values []string
	for _, c := range constants(t) {
		values = append(values, c.value)
		if c.name != "Reason"+c.value {
			t.Errorf("constant %s has the value %q, want it to be named Reason%s", c.name, c.value, c.value)
		}
		if !strings.HasPrefix(c.doc, c.name+" surfaces ") {
			t.Errorf("the comment of %s is %q, want it to say when it surfaces", c.name, c.doc)
		}
		if _, known := table[c.value]; !known {
			t.Errorf("constant %s has no row in internal/reasons/table.go", c.name)
		}
	}
	if len(values) < 80 {
		t.Errorf("found %d constants, want all", len(values))
	}
	for reason := range table {
		if !slices.Contains(values, reason) {
			t.Errorf("the row of %q has no constant in api/v1alpha1", reason)
		}
	}
}

func TestEachRowAgreesWithItself(t *testing.T) {
	for reason, row := range table {
		all := row.Device | row.Hub | row.Command | row.Model | row.Fleet
		switch {
		case all == 0:
			t.Errorf("%s is on no kind", reason)
		case row.Heals && all&(InProgress|Beside) == 0:
			t.Errorf("%s passes by itself, and never shows that something is waited for", reason)
		case row.Warns != IfStalled && all&ofReady == 0:
			t.Errorf("%s is never in Ready, and says when that is worth an Event", reason)
		case row.ReadAgain && row.Device&ofReady == 0:
			t.Errorf("%s has twins read again, and is not in Ready of a PnPDevice", reason)
		case row.ReadAgain && row.Device&Current != 0:
			t.Errorf("%s leaves open what the hub holds, and is there with Ready=True", reason)
		}
	}
}

// listed are the reasons of the tables of a docs page whose heads name them: the cells that are
// below "reason".
func listed(page string) (all []string) {
	column := -1
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if !strings.HasPrefix(line, "|") {
			column = -1
			continue
		}
		if at := slices.IndexFunc(cells, func(cell string) bool { return strings.TrimSpace(cell) == "reason" }); at >= 0 {
			column = at
			continue
		}
		if column < 0 || column >= len(cells) {
			continue
		}
		for _, match := range regexp.MustCompile("`([A-Za-z]+)`").FindAllStringSubmatch(cells[column], -1) {
			all = append(all, match[1])
		}
	}
	return all
}

func TestEachReasonIsInTheDocsOfItsKinds(t *testing.T) {
	for _, kind := range Kinds {
		raw, err := os.ReadFile(top + Page(kind))
		if err != nil {
			t.Fatal(err)
		}
		documented := listed(string(raw))
		for reason, row := range table {
			if row.On(kind) != 0 && !slices.Contains(documented, reason) {
				t.Errorf("%s has no table of reasons with %s, which a %s may have", Page(kind), reason, kind)
			}
		}
		for _, reason := range documented {
			if Of(reason).On(kind) == 0 {
				t.Errorf("%s lists reason %s, which no %s has", Page(kind), reason, kind)
			}
		}
	}
}

// mayReadReasons are the functions that compare reasons, and why that is not what a pass depends on,
// or what is on record nowhere else.
var mayReadReasons = map[string]string{
	"expiredText":  "a text",
	"lastKnown":    "a text",
	"unreached":    "on record: what the object says of an IoTHub that was not there, or not ready",
	"WasGone":      "on record: the hub did not know the device",
	"showsHalt":    "on record: the object told of its own removals that are halted",
	"presentSince": "on record: since when a device that the hub calls disconnected has been there",
	"isSetAside":   "on record: the model ended the operator, which nobody has undone",
	"quotaEnded":   "on record: the hub had no messages left, which no number of an IoTHub says",
}

// Behaviour hangs on facts: nothing compares a reason with a constant, or switches over them.
func TestNothingHangsOnAReason(t *testing.T) {
	used := map[string]bool{}
	for _, folder := range []string{"controllers", "internal"} {
		err := filepath.WalkDir(top+folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			return comparisons(path, func(function string, at token.Position) {
				used[function] = true
				if mayReadReasons[function] == "" {
					t.Errorf("%s: %s compares a reason: decide by a fact, or by a column of the table in internal/reasons", at, function)
				}
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for function := range mayReadReasons {
		if !used[function] {
			t.Errorf("%s is allowed to compare reasons, and does not", function)
		}
	}
}

// comparisons finds the comparisons of reasons in a file, by their function.
func comparisons(path string, found func(function string, at token.Position)) error {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, 0)
	if err != nil {
		return err
	}
	for _, declaration := range file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok {
			continue
		}
		ast.Inspect(function, func(n ast.Node) bool {
			var sides []ast.Expr
			switch n := n.(type) {
			case *ast.BinaryExpr:
				if n.Op == token.EQL || n.Op == token.NEQ {
					sides = []ast.Expr{n.X, n.Y}
				}
			case *ast.CaseClause:
				sides = n.List
			}
			if slices.ContainsFunc(sides, isReason) {
				found(function.Name.Name, files.Position(n.Pos()))
			}
			return true
		})
	}
	return nil
}

// isReason reports whether an expression is a constant of api/v1alpha1 that is one.
func isReason(e ast.Expr) bool {
	selector, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	of, ok := selector.X.(*ast.Ident)
	return ok && of.Name == "v1alpha1" && strings.HasPrefix(selector.Sel.Name, "Reason")
}
