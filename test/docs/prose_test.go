package docs

import (
	"bufio"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	lower  = flag.Bool("lower", false, "lower the ceilings of testdata/prose.txt to what is there now")
	accept = flag.Bool("accept", false, "with -lower: raise ceilings, and add folders, after a folder was moved or split")
)

// Limits of the pronoun rate, in 100 words.
const (
	maxRateOfPages    = 3.0
	maxRateOfComments = 4.0
)

// ceilings has the pages and folders that do not comply yet.
const ceilings = "test/docs/testdata/prose.txt"

// ceiling limits a page, or the comments of a folder, until it complies.
type ceiling struct {
	rate     float64
	findings int
}

// measured is what a page, or the comments of a folder, have now.
type measured struct {
	ceiling
	limit float64
	shown []string
}

func (m measured) complies() bool { return m.findings == 0 && m.rate <= m.limit }

// TestProse checks pages and comments, except those with a ceiling: these may only improve.
func TestProse(t *testing.T) {
	all := measure(t)
	known := readCeilings(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m, allowed := all[name], known[name]
		if m.rate > max(m.limit, allowed.rate) {
			t.Errorf("%s: %.1f of 100 words are pronouns (who, what, which, that, it, they, one ...), at most %.1f are allowed: name the thing instead",
				name, m.rate, max(m.limit, allowed.rate))
		}
		if m.findings > allowed.findings {
			t.Errorf("%s: %d findings, %d are allowed:\n\t%s", name, m.findings, allowed.findings, strings.Join(m.shown, "\n\t"))
		}
	}
	for name := range known {
		if m, ok := all[name]; !ok || m.complies() {
			t.Errorf("%s complies, or does not exist: remove its line from %s, or run go test ./test/docs -run TestProse -lower", name, ceilings)
		}
	}
	if *lower {
		writeCeilings(t, all, known)
	}
}

// measure reads all pages, and the comments of all folders.
func measure(t *testing.T) map[string]measured {
	t.Helper()
	all := map[string]measured{}
	for _, path := range pages(t) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = measureText(markdown(string(raw)), maxRateOfPages, "")
	}
	for folder, files := range goFolders(t) {
		var comments text
		m := measured{limit: maxRateOfComments}
		for _, file := range files {
			one := commentsOf(t, file)
			of := measureText(one, maxRateOfComments, filepath.Base(file)+" ")
			m.findings += of.findings
			m.shown = append(m.shown, of.shown...)
			comments.lines = append(comments.lines, one.lines...)
		}
		m.rate = roundUp(comments.rate())
		all[folder+"/*.go"] = m
	}
	return all
}

func measureText(from text, limit float64, prefix string) measured {
	m := measured{limit: limit}
	m.rate = roundUp(from.rate())
	for _, f := range from.check() {
		m.findings++
		m.shown = append(m.shown, prefix+f.String())
	}
	return m
}

// roundUp keeps one decimal.
func roundUp(rate float64) float64 { return math.Ceil(rate*10) / 10 }

// pages are all pages for readers.
func pages(t *testing.T) (all []string) {
	t.Helper()
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", ".github/*.md", ".github/*/*.md", "charts/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	if len(all) < 50 {
		t.Fatalf("%d pages", len(all))
	}
	return all
}

// goFolders are the folders of the module with Go code, and their files.
func goFolders(t *testing.T) map[string][]string {
	t.Helper()
	folders := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{"bin", ".git", "node_modules", "testdata"}, entry.Name()):
			return filepath.SkipDir
		case filepath.Ext(path) == ".go" && !strings.HasPrefix(entry.Name(), "zz_generated"):
			folder := filepath.ToSlash(filepath.Dir(path))
			folders[folder] = append(folders[folder], path)
		}
		return nil
	})
	if err != nil || len(folders) < 50 {
		t.Fatalf("%d folders, %v", len(folders), err)
	}
	return folders
}

// directive matches comments for programs.
var directive = regexp.MustCompile(`^//(?:go:|nolint|\s?\+|line |export |\s*#|\s*Output:)`)

// commentsOf reads the comments of a file, line by line.
func commentsOf(t *testing.T, path string) (found text) {
	t.Helper()
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, path, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(source), "\n")
	for _, group := range parsed.Comments {
		starts := true
		for _, comment := range group.List {
			body, isLine := strings.CutPrefix(comment.Text, "//")
			if !isLine || directive.MatchString(comment.Text) {
				continue
			}
			if strings.TrimSpace(body) == "" || strings.HasPrefix(body, "\t") || strings.HasPrefix(body, "   ") {
				starts = true // an empty line, or code
				continue
			}
			at := files.Position(comment.Pos())
			before := lines[at.Line-1][:at.Column-1]
			found.lines = append(found.lines, line{
				number: at.Line, words: plainWords(body), width: len(before) + widthOf(comment.Text), starts: starts,
				wide: strings.TrimSpace(before) != "", // behind code, whose width the code decides
			})
			starts = false
		}
	}
	return found
}

func readCeilings(t *testing.T) map[string]ceiling {
	t.Helper()
	file, err := os.Open(ceilings)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	known := map[string]ceiling{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		var name string
		var c ceiling
		if _, err := fmt.Sscanf(lines.Text(), "%s %f %d", &name, &c.rate, &c.findings); err != nil {
			t.Fatalf("%s: %q: %v", ceilings, lines.Text(), err)
		}
		known[name] = c
	}
	return known
}

func writeCeilings(t *testing.T, all map[string]measured, known map[string]ceiling) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Pages, and comments of folders, that do not comply yet: pronouns in 100 words, other findings. Lower only.\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m := all[name]
		c, listed := known[name]
		if !listed || *accept {
			c = m.ceiling
		}
		if m.complies() || !listed && !*accept {
			continue
		}
		fmt.Fprintf(&b, "%s %.1f %d\n", name, min(c.rate, m.rate), min(c.findings, m.findings))
	}
	if err := os.WriteFile(ceilings, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}
