package harness

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

func TestAnOverlayNamesItsResourcesRelativeToItself(t *testing.T) {
	root := t.TempDir()
	e := Edit{Target{Kind: "PnPDevice", Name: ControllerObject}, Operation{Op: "remove", Path: "/spec/components/1"}}
	p, err := e.asPatch()
	if err != nil {
		t.Fatal(err)
	}
	k := kustomization{Namespace: "factory", Resources: []string{filepath.Join(root, "config", "samples")}, Patches: []patch{p}}
	dir := filepath.Join(root, "bin", "demo-run-1", "samples")
	if err := k.writeTo(dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := `namespace: factory
patches:
- patch: '[{"op":"remove","path":"/spec/components/1"}]'
  target:
    kind: PnPDevice
    name: line-3-controller
resources:
- ../../../config/samples
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func raw(s string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(s)} }

func TestEveryDeclaredLeafIsChecked(t *testing.T) {
	got, err := LeavesOf(&v1alpha1.PnPDeviceSpec{
		Properties: raw(`{"a":1}`),
		Components: []v1alpha1.ComponentDeclaration{{Name: "c", Properties: raw(`{"b":"x"}`)}, {Name: "empty"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b leaf) int { return slices.Compare(a.Path, b.Path) })
	want := []leaf{{[]string{"a"}, 1.0}, {[]string{"c", "b"}, "x"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(leaf{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheOperatorsKubeconfigHoldsNoCertificateOfTheAdministrator(t *testing.T) {
	got, err := withToken(`{"clusters":[{"name":"c"}],"users":[{"name":"admin","user":{"client-key-data":"SECRET"}}],
		"contexts":[{"name":"c","context":{"cluster":"c","user":"admin"}}],"current-context":"c"}`, "TOKEN")
	if err != nil {
		t.Fatal(err)
	}
	if text := string(got); strings.Contains(text, "SECRET") || !strings.Contains(text, "TOKEN") || strings.Contains(text, "admin") {
		t.Errorf("got %s", text)
	}
	if _, err := withToken(`{"contexts":[]}`, "TOKEN"); err == nil {
		t.Error("a kubeconfig without a context is accepted")
	}
}
