package docs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	yamlv3 "go.yaml.in/yaml/v3"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// readByKubectl is what kubectl and Helm make of a document.
func readByKubectl(document []byte) (value any, err error) {
	raw, err := yaml.YAMLToJSON(document)
	if err != nil {
		return nil, err
	}
	err = utiljson.Unmarshal(raw, &value)
	return value, err
}

// readByKustomize is what kustomize and Flux make of it.
func readByKustomize(document []byte) (value any, err error) {
	if err := yamlv3.Unmarshal(document, &value); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	value = nil
	err = utiljson.Unmarshal(raw, &value)
	return value, err
}

// isReadAlike reports whether all make the same of a document.
func isReadAlike(document []byte) bool {
	a, errA := readByKubectl(document)
	b, errB := readByKustomize(document)
	return errA == nil && errB == nil && reflect.DeepEqual(a, b)
}

// TestYAMLIsReadAlike has examples and manifests arrive as they are written, whichever tool reads them.
func TestYAMLIsReadAlike(t *testing.T) {
	documents := map[string][][]byte{}
	pages, err := filepath.Glob(filepath.Join("docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "README.md") {
		documents[page] = examples(t, page)
	}
	for _, root := range []string{"config", filepath.Join("charts", "pnp-operator", "files")} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".yaml") {
				return err
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			split := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
			for {
				document, err := split.Read()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				documents[path] = append(documents[path], document)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	count := 0
	for path, all := range documents {
		for _, document := range all {
			if count++; !isReadAlike(document) {
				a, errA := readByKubectl(document)
				b, errB := readByKustomize(document)
				t.Errorf("%s: kubectl reads %v (%v), kustomize %v (%v) in\n%s", path, a, errA, b, errB, document)
			}
		}
	}
	if count < 100 {
		t.Errorf("only %d documents were read", count)
	}
	for _, different := range []string{`{on: 1}`, `{x: 1, y: 2}`, `{mode: off}`, `{installed: 2020-01-01}`} {
		if isReadAlike([]byte(different)) {
			t.Errorf("%s is read alike: the test finds nothing", different)
		}
	}
}
