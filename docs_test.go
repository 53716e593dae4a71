package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A threat is as good as the test that is named for it.
func TestSecurityPageNamesTestsThatExist(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\[([^]]+)\]\(\.\./([^)]+_test\.go)\)`).FindAllStringSubmatch(string(page), -1)
	if len(links) < 10 {
		t.Fatalf("%d tests are named", len(links))
	}
	for _, link := range links {
		source, err := os.ReadFile(filepath.FromSlash(link[2]))
		if err != nil || !strings.Contains(string(source), link[1]) {
			t.Errorf("%s has no %q (%v)", link[2], link[1], err)
		}
	}
}
