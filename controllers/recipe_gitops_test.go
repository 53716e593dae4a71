package controllers_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

var fleet = filepath.Join("..", "config", "recipes", "gitops")

// applied is what of a Kustomization of Flux, or an Application of Argo CD, has to fit the folders.
type applied struct {
	Kind     string
	Metadata metav1.ObjectMeta
	Spec     struct {
		Path      string
		Prune     bool
		Force     bool
		DependsOn []struct{ Name string }
		Source    struct{ Path, RepoURL string }
	}
}

func appliedIn(t *testing.T, file string) []applied {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(fleet, file))
	if err != nil {
		t.Fatal(err)
	}
	var all []applied
	for document := range strings.SplitSeq(string(raw), "\n---\n") {
		var a applied
		if err := yaml.Unmarshal([]byte(document), &a); err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

// Each folder of the fleet is applied by one Kustomization and by one Application, after what it
// needs.
func TestFoldersOfTheGitOpsRecipe(t *testing.T) {
	var folders []string
	for _, pattern := range []string{"operator", "factory/*"} {
		found, err := filepath.Glob(filepath.Join(fleet, "fleet", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range found {
			relative, err := filepath.Rel(filepath.Join(fleet, "fleet"), folder)
			if err != nil {
				t.Fatal(err)
			}
			folders = append(folders, relative)
		}
	}
	var paths, names []string
	for _, k := range appliedIn(t, "flux/factory.yaml") {
		if k.Kind != "Kustomization" {
			continue
		}
		paths = append(paths, strings.TrimPrefix(k.Spec.Path, "./"))
		if !k.Spec.Prune || k.Spec.Force {
			t.Errorf("%s: prune is %v and force is %v", k.Metadata.Name, k.Spec.Prune, k.Spec.Force)
		}
		for _, before := range k.Spec.DependsOn {
			if !slices.Contains(names, before.Name) {
				t.Errorf("%s depends on %s, which does not come before it", k.Metadata.Name, before.Name)
			}
			if before.Name == "factory-hub" {
				t.Errorf("%s would wait for a hub that is not Ready, with a revert in it", k.Metadata.Name)
			}
		}
		names = append(names, k.Metadata.Name)
	}
	want := slices.Sorted(slices.Values(folders))
	if got := slices.Sorted(slices.Values(paths)); !slices.Equal(got, want) {
		t.Errorf("Flux applies %v, the folders are %v", got, want)
	}
	paths = []string{"operator"} // which Argo CD installs from the chart
	for _, a := range appliedIn(t, "argocd/factory.yaml") {
		if a.Spec.Source.RepoURL == "https://git.example.com/fleet" {
			paths = append(paths, a.Spec.Source.Path)
		}
	}
	if got := slices.Sorted(slices.Values(paths)); !slices.Equal(got, want) {
		t.Errorf("Argo CD applies %v, the folders are %v", got, want)
	}
}

var _ = Describe("The recipe for GitOps", func() {
	It("brings up a site, folder by folder, with the rights that it grants", func() {
		s := &site{namespace: newForeignNamespace(), sim: newHub()}
		for _, name := range []string{"line-1-thermostat", "line-2-thermostat"} {
			s.virtual(name, simulator.Thermostat, simulator.Acknowledge())
		}
		Expect(admin.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "factory-hub"},
			StringData: map[string]string{"connectionString": s.sim.ConnectionString("service")},
		})).To(Succeed())
		for _, folder := range []string{"models", "hub", "devices", "commands"} {
			dry, err := kubectl("", "apply", "--server-side", "--dry-run=server", "--kustomize", s.overlay(folder))
			Expect(err).NotTo(HaveOccurred(), dry)
			out, err := kubectl("", "apply", "--server-side", "--field-manager=kustomize-controller", "--kustomize", s.overlay(folder))
			Expect(err).NotTo(HaveOccurred(), out)
		}
		s.eventually("line-1-thermostat", And(beReady(), haveState("", "targetTemperature", "Acknowledged")))
		s.eventually("line-2-thermostat", beReady())
		Eventually(func(g Gomega) {
			model := &v1alpha1.DeviceModel{}
			g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "thermostat"}, model)).To(Succeed())
			g.Expect(model.Status.Devices).To(BeEquivalentTo(2))
		}).Should(Succeed())
		var commands v1alpha1.DeviceCommandList
		Eventually(func(g Gomega) {
			g.Expect(admin.List(ctx, &commands, client.InNamespace(s.namespace))).To(Succeed())
			g.Expect(commands.Items).To(ConsistOf(HaveField("Status.Outcome", v1alpha1.CommandSucceeded)))
		}).Should(Succeed())
	})
})

// overlay has a folder of the recipe for this site: its namespace, and the simulator instead of a
// hub.
func (s *site) overlay(folder string) string {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	resource, err := filepath.Rel(dir, absolute(filepath.Join(fleet, "fleet", "factory", folder)))
	Expect(err).NotTo(HaveOccurred())
	kustomization := map[string]any{"namespace": s.namespace, "resources": []string{resource}}
	if folder == "hub" {
		ca, err := json.Marshal(string(s.sim.CAPEM()))
		Expect(err).NotTo(HaveOccurred())
		patch := fmt.Sprintf(`[{"op": "replace", "path": "/spec/hostName", "value": %q}, {"op": "add", "path": "/spec/endpoint", "value": %q}, {"op": "add", "path": "/spec/caBundle", "value": %s}]`,
			s.sim.HostName(), s.sim.Endpoint(), ca)
		kustomization["patches"] = []any{map[string]any{"target": map[string]string{"kind": "IoTHub"}, "patch": patch}}
	}
	raw, err := yaml.Marshal(kustomization)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(filepath.Join(dir, "kustomization.yaml"), raw, 0o600)).To(Succeed())
	return dir
}
