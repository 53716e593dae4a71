package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
	fence   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
)

// anchors returns the anchors of a page's headings, as GitHub makes them.
func anchors(page string) map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		plain := strings.ToLower(strings.NewReplacer("`", "", "*", "").Replace(linkTarget.ReplaceAllString(m[1], "]")))
		anchor := strings.ReplaceAll(regexp.MustCompile(`[^\pL\pN _-]`).ReplaceAllString(plain, ""), " ", "-")
		found[anchor] = true
	}
	return found
}

// TestLinksLeadSomewhere checks each relative link: its file exists, and its anchor is a heading.
func TestLinksLeadSomewhere(t *testing.T) {
	count := 0
	for _, from := range pages(t) {
		raw, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(string(raw), ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			count++
			path := from
			if target != "" {
				path = filepath.Join(filepath.Dir(from), target)
			}
			page, err := os.ReadFile(path)
			if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
				err = nil
			}
			switch {
			case err != nil:
				t.Errorf("%s: the link %s leads nowhere", from, m[1])
			case anchor != "" && !anchors(string(page))[anchor]:
				t.Errorf("%s: %s has no heading for the anchor of %s", from, path, m[1])
			}
		}
	}
	if count < 300 {
		t.Errorf("found %d links", count)
	}
}

// TestIndexesAreComplete checks that the index of docs names each page, that of decisions each
// record once with one line, and that README leads to both.
func TestIndexesAreComplete(t *testing.T) {
	for _, c := range []struct{ index, pattern string }{
		{"docs/README.md", "docs/*.md"},
		{"docs/decisions/README.md", "docs/decisions/[0-9]*.md"},
	} {
		raw, err := os.ReadFile(c.index)
		if err != nil {
			t.Fatal(err)
		}
		all, err := filepath.Glob(c.pattern)
		if err != nil || len(all) < 10 {
			t.Fatalf("%d pages, %v", len(all), err)
		}
		for _, page := range all {
			if page != c.index && !strings.Contains(string(raw), "]("+filepath.Base(page)) {
				t.Errorf("%s lacks %s", c.index, page)
			}
		}
		for row := range strings.Lines(string(raw)) {
			if strings.HasPrefix(row, "| [0") && strings.Count(row, "](0") != 1 {
				t.Errorf("%s: want one record in the row %s", c.index, row)
			}
		}
	}
}

// TestFrontDoor checks the promises of README and glossary to a reader in a hurry.
func TestFrontDoor(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(readme), "\n"); lines > 100 {
		t.Errorf("README.md has %d lines, want at most 100", lines)
	}
	glossary, err := os.ReadFile("docs/glossary.md")
	if err != nil {
		t.Fatal(err)
	}
	if words := strings.Count(string(glossary), "\n| ") - 2; words > 40 {
		t.Errorf("docs/glossary.md has %d words, want at most 40", words)
	}
	for page, want := range map[string]string{"README.md": "(docs/glossary.md)", "CONTRIBUTING.md": "(docs/glossary.md)"} {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s has no link %s", page, want)
		}
	}
}

// TestNoCommentNamesAMissingPage checks the names of pages in code and configuration.
func TestNoCommentNamesAMissingPage(t *testing.T) {
	named := regexp.MustCompile(`(?:[\w./-]+/)?[\w-]+\.md\b`)
	for _, files := range goFolders(t) {
		for _, file := range files {
			for _, l := range commentsOf(t, file).lines {
				for _, page := range named.FindAllString(l.words, -1) {
					if !isAPage(page, file) {
						t.Errorf("%s:%d: there is no page %s", file, l.number, page)
					}
				}
			}
		}
	}
}

// isAPage reports whether a comment of a file names a page that exists.
func isAPage(page, file string) bool {
	for _, folder := range []string{"", "docs", "docs/decisions", filepath.Dir(file)} {
		for _, name := range []string{page, strings.ToLower(page)} { // a sentence begins with a capital
			if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
				return true
			}
		}
	}
	return strings.ContainsAny(page, "*{")
}

// TestNamesOfCodeExist checks links with a name of code as text: the target declares the name.
func TestNamesOfCodeExist(t *testing.T) {
	count := 0
	for _, page := range []string{"docs/tour.md", "CONTRIBUTING.md"} {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("\\[`(\\w+)`\\]\\(([^)#]+)\\)").FindAllStringSubmatch(string(raw), -1) {
			count++
			if !declares(filepath.Join(filepath.Dir(page), m[2]), m[1]) {
				t.Errorf("%s: %s does not declare %s", page, m[2], m[1])
			}
		}
	}
	if count < 20 {
		t.Errorf("found %d names", count)
	}
}

// declares reports whether a file, or a Go file below a folder, declares a name.
func declares(path, name string) (found bool) {
	declaration := regexp.MustCompile(`(?m)^(?:func (?:\([^)]*\) )?|type |var |const |\t)` + name + `\b`)
	_ = filepath.WalkDir(path, func(file string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(file) != ".go" {
			return err
		}
		source, err := os.ReadFile(file)
		found = found || declaration.Match(source)
		return err
	})
	return found
}
