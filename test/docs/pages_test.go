// Package docs holds what pages say against the code, the manifests and the tests that they speak
// of.
package docs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// TestMain has tests read files as pages name them: from the top of the clone.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// A threat is as good as the test that is named for it.
func TestSecurityPageNamesTestsThatExist(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\[([^]]+)\]\(\.\./([^)]+_test\.go)\)`).FindAllStringSubmatch(string(page), -1)
	if len(links) < 10 {
		t.Fatalf("%d tests are named", len(links))
	}
	for _, link := range links {
		source, err := os.ReadFile(filepath.FromSlash(link[2]))
		if err != nil || !strings.Contains(string(source), link[1]) {
			t.Errorf("%s has no %q (%v)", link[2], link[1], err)
		}
	}
}

// The memory budget is worth something if each bound is gone beyond by a test or an attack, and if all of them together are below the limit.
func TestMemoryBudgetAddsUp(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Memory\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| (.+?) \|.*\| (\d+) MiB \|(.*)\|$`).FindAllStringSubmatch(section, -1)
	if len(rows) < 10 {
		t.Fatalf("%d rows", len(rows))
	}
	attacks, sum := attacksOfHarness(t), 0
	for _, row := range rows {
		mebibytes, err := strconv.Atoi(row[2])
		if err != nil {
			t.Fatal(err)
		}
		if row[1] == "sum" {
			if mebibytes != sum || mebibytes >= limitOfDeployment(t) {
				t.Errorf("the sum is said to be %d MiB, the rows have %d, the Deployment %d", mebibytes, sum, limitOfDeployment(t))
			}
			return
		}
		sum += mebibytes
		named := regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(row[3], -1)
		for _, attack := range named {
			if !attacks[attack[1]] {
				t.Errorf("%s: make hostile has no attack %q", row[1], attack[1])
			}
		}
		if len(named) == 0 && !strings.Contains(row[3], "_test.go)") {
			t.Errorf("%s: no test and no attack", row[1])
		}
	}
	t.Error("no sum")
}

// attacksOfHarness are the names of those that make hostile knows.
func attacksOfHarness(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("test", "hostile", "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\{name: "([^"]+)"`).FindAllStringSubmatch(string(source), -1) {
			names[name[1]] = true
		}
	}
	return names
}

// limitOfDeployment is in MiB.
func limitOfDeployment(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("config", "manager", "manager.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	limit := regexp.MustCompile(`(?s)limits:\s+memory: (\d+)Mi\b`).FindSubmatch(raw)
	if limit == nil {
		t.Fatal("no limit of memory")
	}
	n, err := strconv.Atoi(string(limit[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What is copied from a page has to be taken: all YAML parses, and objects of the operator's kinds have no field that is unknown.
func TestExamplesInPagesParse(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	found := map[string]int{}
	for _, page := range append(pages, "README.md") {
		for _, document := range examples(t, page) {
			var o struct{ APIVersion, Kind string }
			if _ = yaml.Unmarshal(document, &o); o.APIVersion != v1alpha1.GroupVersion.String() { // a part of an object may be a list
				continue
			}
			found[o.Kind]++
			if _, _, err := decoder.Decode(document, nil, nil); err != nil {
				t.Errorf("%s: %v in\n%s", page, err, document)
			}
		}
	}
	for _, kind := range []string{"DeviceCommand", "DeviceModel", "IoTHub", "PnPDevice"} {
		if found[kind] == 0 {
			t.Errorf("no page shows a %s", kind)
		}
	}
}

// examples are the documents of a page's YAML, all of which parse.
func examples(t *testing.T, page string) [][]byte {
	t.Helper()
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var found [][]byte
	for _, block := range regexp.MustCompile("(?s)\n```yaml\n(.*?)\n```").FindAllStringSubmatch(string(raw), -1) {
		documents := utilyaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(block[1])))
		for {
			document := make([]byte, len(block[1]))
			n, err := documents.Read(document)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", page, err)
			}
			var anything any
			if err := yaml.UnmarshalStrict(document[:n], &anything); err != nil {
				t.Errorf("%s: %v in\n%s", page, err, document[:n])
			}
			found = append(found, document[:n])
		}
	}
	return found
}
