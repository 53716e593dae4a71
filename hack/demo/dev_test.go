package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSourcesOfTheOperator(t *testing.T) {
	for name, want := range map[string]bool{
		"main.go": true, "go.mod": true, "go.sum": true, "internal/twin/diff.go": true, "controllers/device/claim.go": true,
		"config/crd/bases/iot.pnp-operator.io_iothubs.yaml": true, "main_test.go": false, "internal/twin/diff_test.go": false,
		"docs/README.md": false, "simulator/hub/hub.go": false, "internal/twin/.#diff.go": false, "config/rbac/role.yaml": false,
	} {
		if got := isSource(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestChangesOfSourcesAreReportedOnce(t *testing.T) {
	root := t.TempDir()
	for _, folder := range watchedFolders {
		if err := os.MkdirAll(filepath.Join(root, filepath.FromSlash(folder)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	changes, err := watchSources(ctx, root)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(name)), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("internal/a_test.go")
	write("internal/a.go")
	write("internal/b.go")
	if got := <-changes; got != filepath.FromSlash("internal/a.go") {
		t.Errorf("changed: %q, want the first source", got)
	}
	if err := os.Mkdir(filepath.Join(root, "internal", "new"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("main.go")
	if got := <-changes; got != "main.go" {
		t.Errorf("changed: %q, want main.go", got)
	}
	write("internal/new/c.go") // the folder was there before main.go
	if got := <-changes; got != filepath.FromSlash("internal/new/c.go") {
		t.Errorf("changed: %q, want the file in the new folder", got)
	}
	cancel()
}

func TestLogIsFollowedOverARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "manager.log")
	var out bytes.Buffer
	offset := copyFrom(&out, path, 0)
	for _, text := range []string{"one\n", "one\ntwo\n", "three\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		offset = copyFrom(&out, path, offset)
	}
	if out.String() != "one\ntwo\nthree\n" {
		t.Errorf("followed %q", out.String())
	}
}
