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
	"syscall"

	yamlv3 "go.yaml.in/yaml/v3"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/storable"
)

// manifest is one object of our API in a file.
type manifest struct {
	file string
	line int
	kind string
	name string // with its namespace, if it says one
	raw  map[string]any
	text []remark // on what it is written like
}

// Limits, in bytes. The API server takes no request above 3 MiB, so no object is longer.
const (
	maxDocument = 3 << 20
	maxFiles    = 64 << 20 // all files together
	// maxName is what is kept of a name or a kind to be shown: those of objects have 253.
	maxName = 256
)

// reader is told of every object, and takes the manifests of our API.
type reader struct {
	see  func(raw map[string]any)
	take func(manifest)
}

// read hands on what is in files and folders. A text that is no YAML is a finding of its own. A link is followed to a file, not to a
// folder.
func (r reader) read(paths []string) (broken []Finding, err error) {
	left := int64(maxFiles)
	for _, path := range paths {
		err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
			if err != nil {
				return unreadable(file, err)
			}
			if entry.IsDir() || file != path && !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file)) {
				return nil
			}
			data, err := readFile(file, left)
			if err != nil {
				return unreadable(file, err)
			}
			left -= int64(len(data))
			broken = append(broken, r.documents(file, data)...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return broken, nil
}

// unreadable names the file, quoted: its name may be anybody's.
func unreadable(file string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("reading %q: %w", file, err)
}

// readFile reads a regular file of at most limit bytes. Another kind of file may never end, or have nothing to read for
// ever.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := checkRegular(info.Mode()); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // what the user names; should it be a pipe by now, nothing waits for its writer
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if info, err = file.Stat(); err != nil {
		return nil, err
	}
	if err := checkRegular(info.Mode()); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("the files have more than %d MiB, want at most that in all", maxFiles>>20)
	}
	return data, err
}

func checkRegular(mode fs.FileMode) error {
	var is string
	switch {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		is = "a link to a folder"
	case mode&fs.ModeNamedPipe != 0:
		is = "a named pipe"
	case mode&fs.ModeSocket != 0:
		is = "a socket"
	case mode&fs.ModeDevice != 0:
		is = "a device"
	default:
		is = "a file of kind " + mode.String()
	}
	return fmt.Errorf("is %s, want a regular file", is)
}

func (r reader) documents(file string, data []byte) (broken []Finding) {
	split := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for line := 1; ; {
		document, err := split.Read()
		if errors.Is(err, io.EOF) {
			return broken
		}
		if err != nil {
			return append(broken, Finding{File: file, Line: line, Message: err.Error()})
		}
		if err := r.objects(file, line, document); err != nil {
			broken = append(broken, Finding{File: file, Line: line + leading(document), Message: err.Error()})
		}
		line += bytes.Count(document, []byte("\n")) + 1 // and the line that separates
	}
}

// objects hands on those of a document that begins at a line of its file.
func (r reader) objects(file string, line int, document []byte) error {
	object, err := decode(document)
	if err != nil {
		return err
	}
	var nodes []*yamlv3.Node // for ours alone
	all, first := unlisted(object), line+leading(document)
	for i, raw := range all {
		r.see(raw)
		m, ok := ours(raw)
		if !ok {
			continue
		}
		if nodes == nil {
			if nodes, err = nodesOf(document, len(all)); err != nil {
				return err
			}
		}
		m.file, m.line = file, first
		for _, found := range remarksOn(nodes[i]) {
			found.line += line - 1
			m.text = append(m.text, found)
		}
		r.take(m)
	}
	return nil
}

// nodesOf reads a document as kustomize and Flux do, for the texts of its objects, of which kubectl finds so many.
func nodesOf(document []byte, count int) ([]*yamlv3.Node, error) {
	var root yamlv3.Node
	if err := yamlv3.Unmarshal(document, &root); err != nil {
		return nil, fmt.Errorf("kubectl reads it, kustomize and Flux do not: %w", err)
	}
	nodes := texts(&root)
	if len(nodes) != count {
		return nil, errors.New("kubectl and kustomize find other objects in it")
	}
	return nodes, nil
}

// decode reads a document as the API server does: whole numbers stay whole. What is no object is no manifest.
func decode(document []byte) (map[string]any, error) {
	if len(document) > maxDocument {
		return nil, fmt.Errorf("the document has %d bytes, want at most %d, which is what the API server takes", len(document), maxDocument)
	}
	if err := checkAliases(document); err != nil {
		return nil, err
	}
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
		name = fmt.Sprintf("%s/%s", storable.Cut(namespace, maxName), storable.Cut(name, maxName))
	}
	return manifest{kind: storable.Cut(kind, maxName), name: storable.Cut(name, 2*maxName), raw: raw}, version == v1alpha1.GroupVersion.String()
}
