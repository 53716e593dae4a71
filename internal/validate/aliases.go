package validate

import (
	"bytes"
	"fmt"

	yamlv3 "go.yaml.in/yaml/v3"
)

// checkAliases refuses a document whose aliases make it longer than a document may be: a text of a
// megabyte that is named a thousand times would be written out as often.
func checkAliases(document []byte) error {
	if !bytes.ContainsRune(document, '&') || !bytes.ContainsRune(document, '*') {
		return nil
	}
	var root yamlv3.Node
	if err := yamlv3.Unmarshal(document, &root); err != nil {
		return fmt.Errorf("kustomize and Flux do not read it: %w", err)
	}
	if expanded(&root, map[*yamlv3.Node]int{}) > maxDocument {
		return fmt.Errorf("with its aliases written out the document has more than %d bytes, which is what the API server takes", maxDocument)
	}
	return nil
}

// expanded is how many bytes the values of a node take with what its aliases stand for, at most one
// more than a document may have. seen has the nodes with anchors. A node within itself is as long
// as can be.
func expanded(node *yamlv3.Node, seen map[*yamlv3.Node]int) int {
	if node.Kind == yamlv3.AliasNode {
		node = node.Alias
	}
	if size, known := seen[node]; known {
		return size
	}
	if node.Anchor != "" {
		seen[node] = maxDocument + 1
	}
	size := len(node.Value)
	for _, inner := range node.Content {
		size = min(size+expanded(inner, seen), maxDocument+1)
	}
	if node.Anchor != "" {
		seen[node] = size
	}
	return size
}
