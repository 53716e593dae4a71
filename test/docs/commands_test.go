package docs

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var (
	console = regexp.MustCompile("(?ms)^( *)```console\n(.*?)^ *```$")
	// repositoryPath matches a file of the repository in a command.
	repositoryPath = regexp.MustCompile(`(?:^|[\s=(])((?:config|charts|hack|integrations|test)/[\w./-]+)`)
	// jsonArgument matches the JSON of kubectl's and curl's options.
	jsonArgument = regexp.MustCompile(`(?:-p|--patch|-d) '([^']*)'`)
	setOption    = regexp.MustCompile(`--set ([\w.]+)=`)
)

// commandsOf returns the blocks of commands of a page, without blocks with a prompt, which show
// output.
func commandsOf(t *testing.T, page string) (blocks []string) {
	t.Helper()
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range console.FindAllStringSubmatch(string(raw), -1) {
		block := strings.ReplaceAll("\n"+m[2], "\n"+m[1], "\n")[1:]
		if !strings.HasPrefix(block, "$ ") && !isOutput(block) {
			blocks = append(blocks, block)
		}
	}
	return blocks
}

// isOutput reports whether a block shows what a command prints.
func isOutput(block string) bool {
	return strings.HasPrefix(block, "FACT ") || strings.HasPrefix(block, "manifests/")
}

// TestCommandsInPagesAreWellFormed checks shell syntax, files, JSON and chart values of all
// commands. Specs in controllers and scenarios in test/engines run the commands of four sections:
// Stop everything, Confirm removals, Backup and restore, and the health script of Argo CD.
func TestCommandsInPagesAreWellFormed(t *testing.T) {
	values := chartValues(t)
	count := 0
	for _, page := range pages(t) {
		for _, block := range commandsOf(t, page) {
			count++
			shell := exec.CommandContext(t.Context(), "bash", "-n")
			shell.Stdin = strings.NewReader(block)
			if out, err := shell.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s in\n%s", page, err, out, block)
			}
			for _, m := range repositoryPath.FindAllStringSubmatch(block, -1) {
				if _, err := os.Stat(m[1]); err != nil {
					t.Errorf("%s: %v", page, err)
				}
			}
			for _, m := range jsonArgument.FindAllStringSubmatch(block, -1) {
				if !json.Valid([]byte(m[1])) {
					t.Errorf("%s: no JSON: %s", page, m[1])
				}
			}
			for _, m := range setOption.FindAllStringSubmatch(block, -1) {
				if !hasValue(values, strings.Split(m[1], ".")) {
					t.Errorf("%s: the chart has no value %s", page, m[1])
				}
			}
		}
	}
	if count < 40 {
		t.Errorf("found %d blocks of commands", count)
	}
}

func chartValues(t *testing.T) (values map[string]any) {
	t.Helper()
	raw, err := os.ReadFile("charts/pnp-operator/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// hasValue reports whether values have a key at a path.
func hasValue(values map[string]any, path []string) bool {
	value, ok := values[path[0]]
	if !ok || len(path) == 1 {
		return ok
	}
	inner, ok := value.(map[string]any)
	return ok && hasValue(inner, path[1:])
}
