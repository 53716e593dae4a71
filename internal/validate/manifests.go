package validate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// manifest is one object of our API in a file.
type manifest struct {
	file string
	line int
	kind string
	name string // with its namespace, if it says one
	raw  map[string]any
}

// read finds the manifests of our API in files and folders, whatever else is there. What is no YAML is a finding of its own.
func read(paths []string) (found []manifest, broken []Finding, err error) {
	for _, path := range paths {
		err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			if file != path && !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file)) {
				return nil
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			in, problems := documents(file, data)
			found, broken = append(found, in...), append(broken, problems...)
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return found, broken, nil
}

func documents(file string, data []byte) (found []manifest, broken []Finding) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for line := 1; ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return found, broken
		}
		if err != nil {
			return found, append(broken, Finding{File: file, Line: line, Message: err.Error()})
		}
		at := line + leading(document)
		line += bytes.Count(document, []byte("\n")) + 1 // and the line that separates
		object, err := decode(document)
		if err != nil {
			broken = append(broken, Finding{File: file, Line: at, Message: err.Error()})
			continue
		}
		for _, raw := range unlisted(object) {
			if m, ok := ours(raw); ok {
				m.file, m.line = file, at
				found = append(found, m)
			}
		}
	}
}

// decode reads a document as the API server does: whole numbers stay whole. What is no object is no manifest.
func decode(document []byte) (map[string]any, error) {
	raw, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, err
	}
	var value any
	if err := utiljson.Unmarshal(raw, &value); err != nil {
		return nil, err
	}
	object, _ := value.(map[string]any)
	return object, nil
}

// unlisted are the objects of a List, or the object itself.
func unlisted(object map[string]any) []map[string]any {
	items, isList := object["items"].([]any)
	if kind, _ := object["kind"].(string); !isList || !strings.HasSuffix(kind, "List") {
		return []map[string]any{object}
	}
	var objects []map[string]any
	for _, item := range items {
		if one, ok := item.(map[string]any); ok {
			objects = append(objects, unlisted(one)...)
		}
	}
	return objects
}

// leading counts the lines before the first that says something.
func leading(document []byte) int {
	n := 0
	for line := range bytes.Lines(document) {
		if text := bytes.TrimSpace(line); len(text) > 0 && text[0] != '#' {
			return n
		}
		n++
	}
	return 0
}

func ours(raw map[string]any) (manifest, bool) {
	version, _ := raw["apiVersion"].(string)
	kind, _ := raw["kind"].(string)
	metadata, _ := raw["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	if namespace, _ := metadata["namespace"].(string); namespace != "" {
		name = fmt.Sprintf("%s/%s", namespace, name)
	}
	return manifest{kind: kind, name: name, raw: raw}, version == v1alpha1.GroupVersion.String()
}
