package chart_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/validate"
)

// renamed builds the samples as one site of several: with a prefix, and a Secret whose name has its digest.
func renamed(t *testing.T, more string) string {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{"samples", "references"} {
		if err := os.CopyFS(filepath.Join(dir, folder), os.DirFS("../../config/"+folder)); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("identity.yaml", `apiVersion: v1
kind: ServiceAccount
metadata: {name: iot}
---
apiVersion: iot.pnp-operator.io/v1alpha1
kind: IoTHub
metadata: {name: second-hub}
spec:
  hostName: second.azure-devices.net
  authentication:
    workloadIdentity: {clientID: 11111111-1111-1111-1111-111111111111, tenantID: 22222222-2222-2222-2222-222222222222, serviceAccountName: iot}
`)
	write("kustomization.yaml", "namePrefix: site1-\nresources: [samples, identity.yaml]\nsecretGenerator: [{name: factory-hub, literals: [connectionString=HostName=x]}]\n"+more)
	return must(t, nil, "kustomize", "build", dir)
}

// warnings are what validate says of manifests.
func warnings(t *testing.T, manifests string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(path, []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	result, err := validate.Files(t.Context(), []string{path}, models.NewRepositories(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range result.Findings {
		found = append(found, f.String())
	}
	return found
}

func TestKustomizeChangesReferencesWithNames(t *testing.T) {
	names := map[string]string{}
	all := objects(t, renamed(t, "components: [references]\n"))
	for _, o := range all {
		names[o.GetKind()] += " " + o.GetName()
	}
	referring := 0
	for _, o := range all {
		for _, path := range [][]string{
			{"spec", "hubRef", "name", "IoTHub"}, {"spec", "deviceRef", "name", "PnPDevice"}, {"spec", "authentication", "connectionStringSecretRef", "name", "Secret"},
			{"spec", "events", "connectionStringSecretRef", "name", "Secret"}, {"spec", "authentication", "workloadIdentity", "serviceAccountName", "ServiceAccount"},
		} {
			to, has, err := unstructured.NestedString(o.Object, path[:len(path)-1]...)
			if err != nil || !has {
				continue
			}
			referring++
			if !strings.HasPrefix(to, "site1-") || !strings.Contains(names[path[len(path)-1]]+" ", " "+to+" ") {
				t.Errorf("%s %s refers to %q, there are%s", o.GetKind(), o.GetName(), to, names[path[len(path)-1]])
			}
		}
	}
	if referring < 5 {
		t.Errorf("only %d references were looked at", referring)
	}
	if found := warnings(t, renamed(t, "components: [references]\n")); len(found) > 0 {
		t.Errorf("validate finds %q", found)
	}
}

func TestValidateFindsReferencesThatKustomizeLeft(t *testing.T) {
	found := strings.Join(warnings(t, renamed(t, "")), "\n")
	for _, want := range []string{
		`warning: PnPDevice site1-my-thermostat: spec.hubRef.name is "factory-hub", and no IoTHub among the manifests has that name`,
		`spec.deviceRef.name is`, `spec.authentication.connectionStringSecretRef.name is "factory-hub"`, `serviceAccountName is "iot"`,
	} {
		if !strings.Contains(found, want) {
			t.Errorf("%q is not told:\n%s", want, found)
		}
	}
}
