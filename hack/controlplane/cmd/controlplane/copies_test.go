package main

import (
	"os"
	"strings"
	"testing"
)

// The command is in a module of its own, which does without the main one.
func TestSharedFilesAreCopies(t *testing.T) {
	for _, name := range []string{"freeport", "liveness"} {
		copied, err := os.ReadFile(name + ".go")
		if err != nil {
			t.Fatal(err)
		}
		original, err := os.ReadFile("../../../" + name + "/" + name + ".go")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Replace(string(original), "\npackage "+name+"\n", "\npackage main\n", 1) != string(copied) {
			t.Errorf("%[1]s.go is no copy of hack/%[1]s/%[1]s.go: copy it, and have it say package main", name)
		}
	}
}
