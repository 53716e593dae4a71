package architecture

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// importRule is a rule of depguard.
type importRule struct {
	Files    []string `json:"files"`
	ListMode string   `json:"list-mode"`
	Allow    []string `json:"allow"`
}

// linterConfig is what the tests need of .golangci.yml.
type linterConfig struct {
	Linters struct {
		Disable  []string `json:"disable"`
		Settings struct {
			Depguard struct {
				Rules map[string]importRule `json:"rules"`
			} `json:"depguard"`
		} `json:"settings"`
	} `json:"linters"`
}

func configOfLinters(t *testing.T) (c linterConfig) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// patternOfFiles returns the pattern of `go build` for a pattern of files.
func patternOfFiles(t *testing.T, files string) string {
	t.Helper()
	inner, ok := strings.CutPrefix(files, "${base-path}/")
	if tree, isTree := strings.CutSuffix(inner, "/**"); isTree && ok {
		return tree + "/..."
	}
	folder, name := filepath.Split(inner)
	if !ok || name != "*.go" {
		t.Fatalf("the files %q are neither those of a folder nor those of a tree", files)
	}
	return filepath.Clean(folder)
}

// allowed are the folders of the module that a rule allows to import, less those of its pattern.
func (r importRule) allowed(pattern string) (folders []string) {
	for _, path := range r.Allow {
		if folder := folderOf(strings.TrimSuffix(path, "$")); folder != "" && !covers(pattern, folder) {
			folders = append(folders, folder)
		}
	}
	slices.Sort(folders)
	return folders
}

func TestEachPackageHasARuleOfItsImports(t *testing.T) {
	packages, rules := packagesOfModule(t), configOfLinters(t).Linters.Settings.Depguard.Rules
	for _, p := range packages {
		if len(p.GoFiles) == 0 || covers("hack/...", p.folder()) {
			continue
		}
		var by []string
		for name, rule := range rules {
			if rule.ListMode == "strict" && covers(patternOfFiles(t, rule.Files[0]), p.folder()) {
				by = append(by, name)
			}
		}
		if len(by) != 1 {
			t.Errorf("package %s has the strict rules %q of depguard in .golangci.yml, want one", p.folder(), by)
		}
	}
	for name, rule := range rules {
		for _, files := range rule.Files {
			pattern := patternOfFiles(t, files)
			if !slices.ContainsFunc(packages, func(p codePackage) bool { return covers(pattern, p.folder()) }) {
				t.Errorf("the rule %s of depguard is for %s, where no package is", name, pattern)
			}
			if diff := cmp.Diff(importsOf(packages, pattern), rule.allowed(pattern)); diff != "" && rule.ListMode == "strict" {
				t.Errorf("imports of %s (-code +depguard):\n%s", pattern, diff)
			}
		}
	}
}

// A directive for a linter that does not run is a comment that looks like a check.
func TestDirectivesAreForLintersThatRun(t *testing.T) {
	off := configOfLinters(t).Linters.Disable
	directive := regexp.MustCompile(`//` + `nolint:([a-z0-9,_]+)`)
	for _, file := range goFiles(t) {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range directive.FindAllStringSubmatch(string(source), -1) {
			for linter := range strings.SplitSeq(m[1], ",") {
				if slices.Contains(off, linter) || isOfOtherModule(file) {
					t.Errorf("%s has a directive for %s, which does not run there", file, linter)
				}
			}
		}
	}
}

func goFiles(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"bin", ".git", "node_modules"}, d.Name()):
			return filepath.SkipDir
		case filepath.Ext(path) == ".go":
			files = append(files, path)
		}
		return nil
	})
	if err != nil || len(files) < 200 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return files
}

// isOfOtherModule reports whether a file belongs to one of the modules of hack and test.
func isOfOtherModule(file string) bool {
	for folder := filepath.Dir(file); folder != filepath.Clean(root); folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return true
		}
	}
	return false
}
