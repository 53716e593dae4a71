package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// TestProjectFileHasAllKinds compares PROJECT with the kinds of the API.
func TestProjectFileHasAllKinds(t *testing.T) {
	raw, err := os.ReadFile("PROJECT")
	if err != nil {
		t.Fatal(err)
	}
	var project struct {
		Resources []struct{ Kind, Path string }
	}
	if err := yaml.Unmarshal(raw, &project); err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, r := range project.Resources {
		got = append(got, r.Kind)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for kind := range scheme.KnownTypes(v1alpha1.GroupVersion) {
		if _, isList := scheme.KnownTypes(v1alpha1.GroupVersion)[kind+"List"]; isList {
			want = append(want, kind)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("PROJECT has the kinds %v, the API %v", got, want)
	}
}

// TestMakeTargetsInPagesExist finds `make TARGET` in pages, and in the commands of pages.
func TestMakeTargetsInPagesExist(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("(?m)(?:`|^ *|\\$ )(?:[A-Z]+=\\S+ )*make ([a-z][a-z0-9-]*)")
	for _, page := range pages(t) {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(raw), -1) {
			if !strings.Contains(string(makefile), "\n"+m[1]+": ") {
				t.Errorf("%s: the Makefile has no target %s", page, m[1])
			}
		}
	}
}

// TestWorkflowsRunTheRepositorysOwnCommands checks that the workflows call scripts and targets that
// exist: a clone can run the same. actionlint checks the syntax, in make lint.
func TestWorkflowsRunTheRepositorysOwnCommands(t *testing.T) {
	for file, wants := range map[string][]string{
		"ci.yaml":      {"run: .ci/run\n"},
		"release.yaml": {"make image ", "make simulator-image ", "helm push ", "make sbom ", "cosign sign ", "make release-notes "},
	} {
		raw, err := os.ReadFile(filepath.Join(".github", "workflows", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(raw), want) {
				t.Errorf("%s does not have %q", file, want)
			}
		}
	}
}
