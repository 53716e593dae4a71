package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

const modulePath = "github.com/pnp-operator/pnp-operator"

// clone is the clone of the repository that the demonstration is about.
type clone struct {
	root   string
	assets string // the folder of etcd, kube-apiserver and kubectl
}

func (c clone) path(name string) string { return filepath.Join(c.root, filepath.FromSlash(name)) }
func (c clone) kubectl() string         { return filepath.Join(c.assets, "kubectl") }

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
