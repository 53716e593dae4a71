package harness

import (
	"os"
	"path/filepath"
	"testing"
)

// file writes a file of a test's folder and returns its path.
func file(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheCloneIsFoundFromAnyFolderOfIt(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file(t, root, "go.mod", "module "+modulePath+"\n\ngo 1.26\n")
	file(t, root, "hack/tool/go.mod", "module "+modulePath+"/hack/tool\n")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{
		"the root":                  root,
		"a folder with a module":    filepath.Join(root, "hack", "tool"),
		"the root by another name":  link,
		"a folder by another name":  filepath.Join(link, "hack"),
		"a folder that is not made": filepath.Join(root, "bin", "demo"),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := findRoot(dir); got != root || err != nil {
				t.Errorf("findRoot(%q) = %q, %v; want %q", dir, got, err, root)
			}
		})
	}
	if got, err := findRoot(t.TempDir()); err == nil {
		t.Errorf("found %q from a folder that is in no clone", got)
	}
}

func TestProgramsOfTheControlPlaneAreThoseThatTheBuildScriptChooses(t *testing.T) {
	root, assets := t.TempDir(), t.TempDir()
	built := filepath.Join(root, "bin", "k8s")
	t.Setenv("KUBEBUILDER_ASSETS", "")
	if got := assetsOf(root); got != built {
		t.Errorf("without the variable: %q, want %q", got, built)
	}
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	if got := assetsOf(root); got != built {
		t.Errorf("with an empty folder: %q, want %q", got, built)
	}
	for _, program := range []string{"etcd", "kube-apiserver", "kubectl"} {
		file(t, assets, program, "")
	}
	if got := assetsOf(root); got != assets {
		t.Errorf("with a whole folder: %q, want %q", got, assets)
	}
}
