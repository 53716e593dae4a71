package validate

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/models"
)

// write writes a file in dir and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// link makes a link in dir, as Git does for whoever clones.
func link(t *testing.T, dir, name, to string) {
	t.Helper()
	if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// pipe makes a named pipe that nobody writes to.
func pipe(t *testing.T, dir, name string) {
	t.Helper()
	if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyRegularFilesAreRead(t *testing.T) {
	for name, test := range map[string]struct {
		make func(t *testing.T, dir string)
		want string // part of the error; empty: there is none
	}{
		"a named pipe":            {func(t *testing.T, dir string) { pipe(t, dir, "x.yaml") }, `x.yaml": is a named pipe, want a regular file`},
		"a link to a named pipe":  {func(t *testing.T, dir string) { pipe(t, dir, "x"); link(t, dir, "y.yaml", "x") }, `y.yaml": is a named pipe`},
		"an endless device":       {func(t *testing.T, dir string) { link(t, dir, "x.yaml", "/dev/zero") }, `x.yaml": is a device`},
		"a device without an end": {func(t *testing.T, dir string) { link(t, dir, "x.json", "/dev/tty") }, `x.json": is a device`},
		"a socket": {func(t *testing.T, dir string) {
			l, err := net.Listen("unix", filepath.Join(dir, "x.yml"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
		}, `x.yml": is a socket`},
		"a link to a folder":       {func(t *testing.T, dir string) { link(t, dir, "x.yaml", t.TempDir()) }, `x.yaml": is a link to a folder`},
		"a link to itself":         {func(t *testing.T, dir string) { link(t, dir, "x.yaml", "x.yaml") }, `x.yaml": too many levels`},
		"a link to nothing":        {func(t *testing.T, dir string) { link(t, dir, "x.yaml", "nothing") }, `x.yaml": no such file`},
		"a name that prints lines": {func(t *testing.T, dir string) { pipe(t, dir, "x\n::error::.yaml") }, `x\n::error::.yaml": is a named pipe`},
		"a pipe of another name":   {func(t *testing.T, dir string) { pipe(t, dir, "x") }, ""},
		"a link to a file":         {func(t *testing.T, dir string) { write(t, dir, "x", model); link(t, dir, "y.yaml", "x") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			test.make(t, dir)
			_, err := Files(t.Context(), []string{dir}, models.NewRepositories(nil, nil))
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestAPipeThatIsNamedIsRefused(t *testing.T) {
	dir := t.TempDir()
	pipe(t, dir, "x")
	_, err := Files(t.Context(), []string{filepath.Join(dir, "x")}, models.NewRepositories(nil, nil))
	if err == nil || !strings.Contains(err.Error(), "is a named pipe") {
		t.Error(err)
	}
}

func TestLongFiles(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "long.yaml", "")
	if err := os.Truncate(path, maxFiles+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Files(t.Context(), []string{dir}, models.NewRepositories(nil, nil)); err == nil || !strings.Contains(err.Error(), `long.yaml": the files have more than 64 MiB`) {
		t.Error(err)
	}
}

func TestManyFiles(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "half.yaml", "#"+strings.Repeat("\n#", maxFiles/4))
	_, err := Files(t.Context(), []string{path, path}, models.NewRepositories(nil, nil))
	if err == nil || !strings.Contains(err.Error(), "the files have more than 64 MiB") {
		t.Error(err)
	}
}

func TestALongDocument(t *testing.T) {
	result := files(t, model+"---\n"+head+"kind: PnPDevice\nmetadata: {name: "+strings.Repeat("x", maxDocument)+"}\n")
	if len(result.Findings) != 1 || result.Objects != 1 || !strings.Contains(result.Findings[0].Message, "want at most 3145728") {
		t.Errorf("%d objects, findings %.300v", result.Objects, result.Findings)
	}
}
