package dtdl_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

// modelsFolder is where real models are, or "" with a reason to skip. It is outside of the repository.
func modelsFolder(t testing.TB) string {
	t.Helper()
	shared := os.Getenv("PNP_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	folder := filepath.Join(shared, "models")
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("the real models are missing, set PNP_SHARED: %v", err)
	}
	return folder
}

// realModels reads the real models by path.
func realModels(t testing.TB) map[string][]byte {
	t.Helper()
	models := map[string][]byte{}
	folder := modelsFolder(t)
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".json") {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		models[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return models
}

// withDependencies parses a model, and again with what it misses.
func withDependencies(models map[string][]byte, name string) *dtdl.Model {
	documents := [][]byte{models[name]}
	for {
		m := dtdl.Parse(documents...)
		found := false
		for _, missing := range m.Missing {
			path, _ := dtdl.RepositoryPath(missing.DTMI)
			if raw, ok := models[path]; ok {
				documents, found = append(documents, raw), true
			}
		}
		if !found {
			return m
		}
	}
}

func TestRealModels(t *testing.T) {
	models := realModels(t)
	properties, commands, components := 0, 0, 0
	for name := range models {
		m := withDependencies(models, name)
		for _, e := range m.Errors {
			t.Errorf("%s: %v", name, e)
		}
		for _, missing := range m.Missing {
			t.Errorf("%s: %s is missing", name, missing.DTMI)
		}
		for _, i := range m.Interfaces() {
			if path, _ := dtdl.RepositoryPath(i.DTMI); path == name {
				properties, commands, components = properties+len(i.Properties), commands+len(i.Commands), components+len(i.Components)
			}
		}
	}
	t.Logf("%d models with %d properties, %d commands and %d components", len(models), properties, commands, components)
}
