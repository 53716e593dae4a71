package architecture

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	root       = "../.."
	modulePath = "github.com/pnp-operator/pnp-operator"
)

// codePackage is a package of the module as `go list` has it.
type codePackage struct {
	ImportPath string
	GoFiles    []string
	Imports    []string
}

// folder is where the package is in the module; the one at the top is in ".".
func (p codePackage) folder() string { return folderOf(p.ImportPath) }

// folderOf returns the folder of a package of the module, and "" for a package of another one.
func folderOf(importPath string) string {
	if importPath == modulePath {
		return "."
	}
	folder, ok := strings.CutPrefix(importPath, modulePath+"/")
	if !ok {
		return ""
	}
	return folder
}

var listed = sync.OnceValues(func() ([]codePackage, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,GoFiles,Imports", "./...")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var packages []codePackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p codePackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
})

// packagesOfModule lists all packages of the module.
func packagesOfModule(t *testing.T) []codePackage {
	t.Helper()
	packages, err := listed()
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 20 {
		t.Fatalf("go list names %d packages", len(packages))
	}
	return packages
}

// covers reports whether a pattern of `go build`, such as internal/session or hack/..., means a folder.
func covers(pattern, folder string) bool {
	tree, ok := strings.CutSuffix(pattern, "/...")
	return folder == pattern || ok && (folder == tree || strings.HasPrefix(folder, tree+"/"))
}

// importsOf are the folders of the module that the packages of a pattern import, less their own.
func importsOf(packages []codePackage, pattern string) []string {
	var folders []string
	for _, p := range packages {
		if !covers(pattern, p.folder()) {
			continue
		}
		for _, path := range p.Imports {
			if folder := folderOf(path); folder != "" && !covers(pattern, folder) {
				folders = append(folders, folder)
			}
		}
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}

// reconciler is what the code of controllers says of one of its reconcilers.
type reconciler struct {
	// comment of its method Reconcile.
	comment string
	// phases are the methods that a pass goes through, in order, if it has such a list.
	phases []string
}

// reconcilers reads those of the kinds, by the names of their types.
func reconcilers(t *testing.T) map[string]reconciler {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*.go", "*/*.go"} {
		of, err := filepath.Glob(filepath.Join(root, "controllers", filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, of...)
	}
	found, phases := map[string]reconciler{}, map[string][]string{}
	for _, file := range files {
		source, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range source.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || !strings.HasSuffix(receiverOf(f), "Reconciler") {
				continue
			}
			name := receiverOf(f)
			if f.Name.Name == "Reconcile" {
				found[name] = reconciler{comment: f.Doc.Text()}
			}
			phases[name] = append(phases[name], phasesIn(f)...)
		}
	}
	for name, r := range found {
		r.phases = phases[name]
		found[name] = r
	}
	return found
}

func receiverOf(f *ast.FuncDecl) string {
	of := f.Recv.List[0].Type
	if pointer, ok := of.(*ast.StarExpr); ok {
		of = pointer.X
	}
	if name, ok := of.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

// phasesIn finds the list of methods that a function goes through: a literal of a slice of functions.
func phasesIn(f *ast.FuncDecl) (names []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		list, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		if of, ok := list.Type.(*ast.ArrayType); !ok || !isFunction(of.Elt) {
			return true
		}
		for _, e := range list.Elts {
			if method, ok := e.(*ast.SelectorExpr); ok {
				names = append(names, method.Sel.Name)
			}
		}
		return true
	})
	return names
}

func isFunction(e ast.Expr) bool {
	_, ok := e.(*ast.FuncType)
	return ok
}

// reasons are the values of the constants of the API whose names begin with Reason.
func reasons(t *testing.T) map[string]bool {
	t.Helper()
	source, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "api", "v1alpha1", "conditions.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]bool{}
	ast.Inspect(source, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(v.Names[0].Name, "Reason") || len(v.Values) == 0 {
			return true
		}
		if value, ok := v.Values[0].(*ast.BasicLit); ok {
			values[strings.Trim(value.Value, `"`)] = true
		}
		return true
	})
	return values
}
