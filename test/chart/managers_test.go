package chart_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// unserved are the groups of what the chart makes for operators that the API server of the tests does not have.
var unserved = []string{"monitoring.coreos.com", "cert-manager.io"}

// kustomizations are all folders of config that can be built by themselves.
func kustomizations(t *testing.T) []string {
	t.Helper()
	var folders []string
	err := filepath.WalkDir("../../config", func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Base(path) != "kustomization.yaml" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(raw), "kind: Component") {
			folders = append(folders, filepath.Dir(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return folders
}

// early are the kinds that others need, and that all sets have alike.
var early = []string{"CustomResourceDefinition", "Namespace"}

// inOrder are objects that the API server serves, what others need first.
func inOrder(all map[string]*unstructured.Unstructured) []*unstructured.Unstructured {
	rank := func(o *unstructured.Unstructured) string {
		return fmt.Sprint(!slices.Contains(early, o.GetKind()), o.GetKind(), o.GetNamespace(), o.GetName())
	}
	ordered := slices.SortedFunc(maps.Values(all), func(a, b *unstructured.Unstructured) int { return strings.Compare(rank(a), rank(b)) })
	return slices.DeleteFunc(ordered, func(o *unstructured.Unstructured) bool { return slices.Contains(unserved, o.GroupVersionKind().Group) })
}

// apply applies an object by server-side apply, without force, as a manager.
func (c *cluster) apply(o *unstructured.Unstructured, manager string) error {
	c.t.Helper()
	if isNamespaced, err := c.IsObjectNamespaced(o); err != nil {
		return err
	} else if isNamespaced && o.GetNamespace() == "" {
		o.SetNamespace("default")
	}
	return c.Apply(c.t.Context(), client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.FieldOwner(manager))
}

// haveNamespaces makes the namespaces that objects are in.
func (c *cluster) haveNamespaces(all []*unstructured.Unstructured) {
	c.t.Helper()
	for _, o := range all {
		if name := o.GetNamespace(); name != "" && !c.has(&corev1.Namespace{}, "", name) {
			c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
		}
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestManifestsAreWhatTheServerStores applies all manifests with two managers. A default that is not spelled out in a list
// that the API server replaces as a whole is a conflict, although both want the same.
func TestManifestsAreWhatTheServerStores(t *testing.T) {
	c := newCluster(t)
	sets := map[string]string{
		"the chart": template(t, "--set=networkPolicy.enabled=true,metrics.serviceMonitor.enabled=true,metrics.prometheusRule.enabled=true,rbac.clusterWideSecrets=true,protection.enabled=true,deletionPolicy.allowClear=false,simulator.enabled=true",
			"--set=metrics.readers[0].namespace=monitoring,metrics.readers[0].name=prometheus", "--set=webhook.clientCASecret=api-server-clients", "--set=metrics.certificateSecret=metrics-tls"),
		"the chart for namespaces": template(t, "--set=watchNamespaces={factory},webhook.certManager.enabled=true,protection.enabled=true,deletionPolicy.allowClear=false",
			"--set=tenants[0].namespace=factory,tenants[0].secretNames={hub},tenants[0].serviceAccountNames={iot}"),
		"config/protection": text(t, "../../config/protection/hub-in-use.yaml"),
		"config/no-clear":   text(t, "../../config/no-clear/no-clear.yaml"),
	}
	for _, folder := range kustomizations(t) {
		sets[folder] = must(t, nil, "kustomize", "build", folder)
	}
	if len(sets) < 12 {
		t.Fatalf("%d sets of manifests", len(sets))
	}
	const first = "../../config/default" // it has the CustomResourceDefinitions
	order := slices.DeleteFunc(slices.Sorted(maps.Keys(sets)), func(name string) bool { return name == first })
	applied := 0
	for _, name := range append([]string{first}, order...) {
		all := inOrder(objects(t, sets[name]))
		c.haveNamespaces(all)
		for _, o := range all {
			for _, manager := range []string{"kubectl", "Helm"} {
				if err := c.apply(o, manager); err != nil {
					t.Errorf("%s: %s %s, as %s applies it: %v", name, o.GetKind(), o.GetName(), manager, err)
				}
			}
			applied++
		}
		for _, o := range all { // another set may want something else of the same name
			if !slices.Contains(early, o.GetKind()) {
				c.done(client.IgnoreNotFound(c.Delete(t.Context(), o)))
			}
		}
	}
	if applied < 100 {
		t.Errorf("%d objects were applied", applied)
	}
}

// TestFromKustomizeToHelmAndBack goes the way of docs/install.md. Nothing of the operator may be removed on it: its rights
// and its objects are what devices depend on.
func TestFromKustomizeToHelmAndBack(t *testing.T) {
	c := newCluster(t)
	all := inOrder(objects(t, must(t, nil, "kustomize", "build", "../../config/default")))
	c.haveNamespaces(all)
	for _, o := range all {
		c.done(c.apply(o, "kubectl"))
	}
	c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "factory"}}, newHub())
	before := c.identities(all)
	stays := func(when string) {
		t.Helper()
		if diff := cmp.Diff(before, c.identities(all)); diff != "" {
			t.Errorf("%s: objects went, or were made anew (-before +now):\n%s", when, diff)
		}
		if !c.has(&v1alpha1.IoTHub{}, "factory", "hub") {
			t.Errorf("%s: the objects of users are gone", when)
		}
	}

	if out, err := tool(t, c.env, "helm", "install", "pnp", chart, "--namespace", "pnp-system", "--take-ownership"); err == nil {
		t.Errorf("without --force-conflicts Helm takes values that kubectl set otherwise: %s", out)
	}
	stays("after an installation that stopped half-way")
	c.helm("upgrade", "--install", "pnp", chart, "--take-ownership", "--force-conflicts")
	stays("with Helm")
	replicas := &appsv1.Deployment{}
	if !c.has(replicas, "pnp-system", "pnp-operator") || *replicas.Spec.Replicas != 2 {
		t.Error("Helm's values do not count")
	}

	for _, o := range all {
		c.done(c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.FieldOwner("kubectl"), client.ForceOwnership))
	}
	c.done(c.DeleteAllOf(t.Context(), &corev1.Secret{}, client.InNamespace("pnp-system"), client.MatchingLabels{"owner": "helm", "name": "pnp"}))
	if out, err := tool(t, c.env, "helm", "uninstall", "pnp", "--namespace", "pnp-system"); err == nil {
		t.Errorf("Helm still knows of the release: %s", out)
	}
	stays("with kustomize again")
	if !c.has(replicas, "pnp-system", "pnp-operator") || *replicas.Spec.Replicas != 1 {
		t.Error("the values of config/default do not count")
	}
}

// identities are the UIDs of objects.
func (c *cluster) identities(all []*unstructured.Unstructured) map[string]string {
	c.t.Helper()
	found := map[string]string{}
	for _, o := range all {
		is := o.DeepCopy()
		if c.has(is, o.GetNamespace(), o.GetName()) {
			found[o.GetKind()+" "+o.GetName()] = string(is.GetUID())
		}
	}
	return found
}
