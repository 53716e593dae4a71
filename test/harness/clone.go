package harness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

const modulePath = "github.com/pnp-operator/pnp-operator"

// Clone is the clone of the repository that this program is of.
type Clone struct {
	Root   string
	Assets string // the folder of etcd, kube-apiserver and kubectl
}

// Path returns where a file of the clone is, whose name has slashes.
func (c Clone) Path(name string) string { return filepath.Join(c.Root, filepath.FromSlash(name)) }

// KubectlProgram returns where kubectl is.
func (c Clone) KubectlProgram() string { return filepath.Join(c.Assets, "kubectl") }

// findRoot returns the folder above or at dir that has the go.mod of the main module.
func findRoot(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		data, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && bytes.HasPrefix(data, []byte("module "+modulePath+"\n")) {
			return filepath.EvalSymlinks(at) // processes are known by their folder, so it has one name only
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("folder %q is not in a clone of %s", dir, modulePath)
		}
	}
}

// assetsOf returns the folder of the control plane's programs as hack/controlplane/build.sh chooses it.
func assetsOf(root string) string {
	named := os.Getenv("KUBEBUILDER_ASSETS")
	built := filepath.Join(root, "bin", "k8s")
	if named == "" {
		return built
	}
	for _, program := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if _, err := os.Stat(filepath.Join(named, program)); err != nil {
			return built
		}
	}
	if full, err := filepath.Abs(named); err == nil {
		return full
	}
	return named
}

// FindClone returns the clone that the working directory is in, else the one that this program is
// in.
func FindClone() (Clone, error) {
	root, err := here()
	return Clone{Root: root, Assets: assetsOf(root)}, err
}

// here returns the clone that the working directory is in, else the one that this program is in.
func here() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the working directory: %w", err)
	}
	if root, err := findRoot(dir); err == nil {
		return root, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	return findRoot(filepath.Dir(self))
}
