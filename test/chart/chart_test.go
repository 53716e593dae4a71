// Package chart_test tests charts/pnp-operator: what it renders, what it refuses, and how releases come and go on a real API server.
package chart_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

const chart = "../../charts/pnp-operator"

var update = flag.Bool("update", false, "write the snapshots anew")

// tool runs a developer tool. It is skipped if the tool was not built: make builds it.
func tool(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	path, err := filepath.Abs("../../bin/tools/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("PNP_REQUIRE_TOOLS") != "" {
			t.Fatal(err)
		}
		t.Skipf("%s is not built: hack/tools/build.sh %s", name, name)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(append(os.Environ(), "HELM_CACHE_HOME="+t.TempDir(), "HELM_CONFIG_HOME="+t.TempDir(), "HELM_DATA_HOME="+t.TempDir()), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), errors.New(stdout.String() + stderr.String())
	}
	return stdout.String(), nil
}

func must(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	out, err := tool(t, env, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return out
}

func template(t *testing.T, args ...string) string {
	t.Helper()
	return must(t, nil, "helm", append([]string{"template", "pnp", chart, "--namespace", "pnp-system"}, args...)...)
}

// objects are those of manifests, by kind, namespace and name.
func objects(t *testing.T, manifests string) map[string]*unstructured.Unstructured {
	t.Helper()
	found := map[string]*unstructured.Unstructured{}
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Object) > 0 {
			found[o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName()] = o
		}
	}
}

func TestLint(t *testing.T) {
	if out, err := tool(t, nil, "helm", "lint", "--strict", chart); err != nil {
		t.Error(out, err)
	}
}

// generated is what the chart makes anew each time, where there is no release to take it from.
var generated = regexp.MustCompile(`(?m)(^ +(?:ca\.crt|tls\.crt|tls\.key|key|caBundle|connectionString|events): |SharedAccessKey=)(?:"[^"]+"|[^";\n]+)`)

func TestSnapshots(t *testing.T) {
	for name, args := range map[string][]string{
		"default": nil,
		"single":  {"--set=replicas=1,webhook.enabled=false,metrics.enabled=false,rbac.aggregate=false"},
		"namespaces": {
			"--set=watchNamespaces={factory,office}", "--set=tenants[0].namespace=factory", "--set=tenants[0].secretNames={factory-hub}", "--set=tenants[1].namespace=office",
			"--set=tenants[2].namespace=lab", "--set=tenants[2].serviceAccountNames={iot}", "--set=tenants[3].namespace=plant", "--set=tenants[3].serviceAccountNames={iot,other}", "--set=tenants[3].secretNames={events}",
		},
		"cert-manager": {
			"--set=webhook.certManager.enabled=true", "--set=metrics.certificateSecret=metrics-tls", "--set=metrics.serviceMonitor.enabled=true", "--set=protection.enabled=true,deletionPolicy.allowClear=false",
			"--set=watchNamespaces={factory}",
		},
		"issuer":    {"--set=webhook.certManager.enabled=true", "--set=webhook.certManager.issuerRef.kind=ClusterIssuer,webhook.certManager.issuerRef.name=corporate", "--set=metrics.secure=false"},
		"simulator": {"--set=simulator.enabled=true", "--set=networkPolicy.enabled=true"},
		"everything": {
			"--set=image.digest=sha256:" + strings.Repeat("a", 64), "--set=networkPolicy.enabled=true,metrics.serviceMonitor.enabled=true,metrics.prometheusRule.enabled=true,rbac.clusterWideSecrets=true,priorityClassName=system-cluster-critical",
			"--set=serviceAccount.annotations.note=x", `--set-string=podLabels.azure\.workload\.identity/use=true`, "--set=extraArgs={--max-concurrent-reconciles=4}",
			"--set=log.level=debug", "--set=imagePullSecrets[0].name=registry", "--set=metrics.readers[0].namespace=monitoring,metrics.readers[0].name=prometheus",
			"--set=protection.enabled=true,deletionPolicy.allowClear=false", "--set=webhook.clientCASecret=api-server-clients",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := generated.ReplaceAllString(template(t, append(args, "--set=crds.enabled=false")...), "${1}GENERATED")
			path := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("the chart renders something else (go test ./test/chart -update writes it): (-want +got)\n%s", diff)
			}
			objects(t, got)
		})
	}
}

func TestValuesThatDoNotFit(t *testing.T) {
	for set, want := range map[string]string{
		"tenants[0].serviceAccountNames={a/b}":             "/tenants/0/serviceAccountNames/0",
		"tenants[0].serviceAccountNames=iot":               "/tenants/0/serviceAccountNames",
		"replicas=two":                                     "/replicas",
		"replicas=-1":                                      "/replicas",
		"image.digest=sha256:123":                          "/image/digest",
		"image.pullPolicy=Sometimes":                       "/image/pullPolicy",
		"simulator.image.digest=latest":                    "/simulator/image/digest",
		"imagee.tag=x":                                     "imagee",
		"webhook.port=80":                                  "/webhook/port",
		"webhook.enabled=perhaps":                          "/webhook/enabled",
		"log.level=chatty":                                 "/log/level",
		"tenants[0].secretNames={a}":                       "namespace",
		"tenants[0].namespace=Factory":                     "/tenants/0/namespace",
		"watchNamespaces=factory":                          "/watchNamespaces",
		"allowedHubSuffixes={https://x}":                   "/allowedHubSuffixes/0",
		"metrics.serviceMonitor.interval=often":            "/metrics/serviceMonitor/interval",
		"extraArgs={version}":                              "/extraArgs/0",
		"networkPolicy=true":                               "/networkPolicy",
		"kubeAPIQPS=0":                                     "/kubeAPIQPS",
		"deletionPolicy.default=Delete":                    "/deletionPolicy/default",
		"deletionPolicy.default=Clear,crds.enabled=false":  "crds.enabled has to be true",
		"protection.enabled=yes please":                    "/protection/enabled",
		"metrics.readers[0].name=prometheus":               "namespace",
		"metrics.certificateSecret=Bad_Name":               "/metrics/certificateSecret",
		"webhook.certManager.issuerRef.kind=ClusterIssuer": "name",
		"simulator.devices=0":                              "/simulator/devices",
		"simulator.namespace=a.b":                          "/simulator/namespace",
		"simulator.enabled=true,watchNamespaces={factory}": "is not among watchNamespaces",
	} {
		out, err := tool(t, nil, "helm", "template", "pnp", chart, "--set="+set)
		if err == nil {
			t.Errorf("%s is taken", set)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s%v does not name %s", set, out, err, want)
		}
	}
}

func TestDefaultDeletionPolicy(t *testing.T) {
	for set, want := range map[string]string{"": "Retain", "deletionPolicy.default=Clear": "Clear"} {
		crd := objects(t, template(t, "--set="+set))["CustomResourceDefinition /pnpdevices.iot.pnp-operator.io"]
		versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
		if err != nil || len(versions) != 1 {
			t.Fatal(versions, err)
		}
		path := []string{"schema", "openAPIV3Schema", "properties", "spec", "properties", "deletionPolicy", "default"}
		if got, _, err := unstructured.NestedString(versions[0].(map[string]any), path...); err != nil || got != want {
			t.Errorf("%q: the default is %q, %v, want %q", set, got, err, want)
		}
	}
}

func TestDashboardIsInAConfigMap(t *testing.T) {
	want, err := os.ReadFile("../../config/grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	o := objects(t, template(t, "--set=metrics.dashboard.enabled=true"))["ConfigMap pnp-system/pnp-operator-dashboard"]
	if o == nil || o.GetLabels()["grafana_dashboard"] != "1" {
		t.Fatalf("%v", o)
	}
	got, _, err := unstructured.NestedString(o.Object, "data", "pnp-operator.json")
	if diff := cmp.Diff(strings.TrimSpace(string(want)), strings.TrimSpace(got)); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// TestOnlyOneServiceAccountMayChangeTheWebhook: whoever may can have the API server show them every Secret that is written.
func TestOnlyOneServiceAccountMayChangeTheWebhook(t *testing.T) {
	const changes = "pnp-operator-certificate"
	for set, want := range map[string][]string{
		"replicas=1":                       {"ClusterRole /" + changes, "Role pnp-system/" + changes},
		"watchNamespaces={factory}":        {"ClusterRole /" + changes, "Role pnp-system/" + changes},
		"rbac.clusterWideSecrets=true":     {"ClusterRole /" + changes, "ClusterRole /pnp-operator-secrets", "Role pnp-system/" + changes},
		"webhook.certManager.enabled=true": nil,
		"webhook.enabled=false":            nil,
	} {
		var got []string
		rendered := objects(t, template(t, "--set="+set))
		for key, o := range rendered {
			raw, err := json.Marshal(o.Object["rules"])
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(o.GetKind(), "Role") && (strings.Contains(string(raw), `"secrets"`) || strings.Contains(string(raw), "admissionregistration")) {
				got = append(got, key)
			}
			subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
			if o.GetName() == changes && strings.HasSuffix(o.GetKind(), "Binding") && subjects[0].(map[string]any)["name"] != changes {
				t.Errorf("%s: %s is for %v", set, key, subjects)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: roles on Secrets and webhooks (-want +got):\n%s", set, diff)
		}
		if _, has := rendered["Deployment pnp-system/"+changes]; has != (want != nil) {
			t.Errorf("%s: a Deployment that makes the certificate: %v", set, has)
		}
	}
}

// TestNetworkPolicyOpensThePortsOfAllowedHosts: the operator may call such a host, so its pod has to.
func TestNetworkPolicyOpensThePortsOfAllowedHosts(t *testing.T) {
	usual := []string{"53", "53", "443", "6443", "5671"}
	for set, more := range map[string][]string{
		"replicas=1": nil,
		"allowedHubSuffixes={.azure-devices.net,hub.example:8443}": {"8443"},
		"allowedHubSuffixes={a.example:8443,b.example:8443,c:443}": {"8443"},
		"allowedEventHubSuffixes={events.example:9093}":            {"9093"},
		"allowedModelRepositories={models.example:8080,b.example}": {"8080"},
		"allowedHubSuffixes={proxy.example:*,other.example:50000}": {"any", "50000"},
	} {
		policy := objects(t, template(t, "--set=networkPolicy.enabled=true,"+set))["NetworkPolicy pnp-system/pnp-operator"]
		rules, _, err := unstructured.NestedSlice(policy.Object, "spec", "egress")
		if err != nil || len(rules) != 1 {
			t.Fatal(rules, err)
		}
		var got []string
		for _, port := range rules[0].(map[string]any)["ports"].([]any) {
			number, names := port.(map[string]any)["port"]
			if !names {
				number = "any"
			}
			got = append(got, fmt.Sprint(number))
		}
		if diff := cmp.Diff(append(slices.Clone(usual), more...), got); diff != "" {
			t.Errorf("%s: ports that are open (-want +got):\n%s", set, diff)
		}
	}
}

// TestKustomizeSaysTheSame renders config/default and the chart. What differs is listed here.
func TestKustomizeSaysTheSame(t *testing.T) {
	charted := objects(t, template(t, "--set=replicas=1"))
	compare(t, objects(t, must(t, nil, "kustomize", "build", "../../config/default")), charted)
}

// TestComponentsSayTheSame adds what config/default leaves out.
func TestComponentsSayTheSame(t *testing.T) {
	charted := objects(t, template(t, "--set=replicas=1,protection.enabled=true,deletionPolicy.allowClear=false,rbac.clusterWideSecrets=true"))
	dir, err := filepath.Abs("../../config")
	if err != nil {
		t.Fatal(err)
	}
	overlay := t.TempDir()
	relative, err := filepath.Rel(overlay, dir)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll("resources: [C/default]\ncomponents: [C/protection, C/no-clear, C/cluster-wide-secrets]\n", "C", relative)
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	compare(t, objects(t, must(t, nil, "kustomize", "build", overlay)), charted)
}

func compare(t *testing.T, kustomized, charted map[string]*unstructured.Unstructured) {
	t.Helper()
	delete(kustomized, "Namespace /pnp-system") // Helm makes it if asked to
	for key, k := range kustomized {
		c := charted[key]
		if c == nil {
			t.Errorf("the chart has no %s", key)
			continue
		}
		delete(charted, key)
		for _, o := range []*unstructured.Unstructured{k, c} {
			normalise(o)
		}
		if k.GetKind() == "Deployment" {
			checkArgs(t, args(t, k), args(t, c))
		}
		if diff := cmp.Diff(k.Object, c.Object); diff != "" {
			t.Errorf("%s (-kustomize +chart):\n%s", key, diff)
		}
	}
	for key := range charted {
		t.Errorf("config/default has no %s", key)
	}
}

// TestATenantsIdentityIsTheSameBothWays compares what config/tenant/workload-identity and tenants[].serviceAccountNames grant.
func TestATenantsIdentityIsTheSameBothWays(t *testing.T) {
	raw, err := os.ReadFile("../../config/tenant/workload-identity/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	charted := objects(t, template(t, "--set=tenants[0].namespace=factory", "--set=tenants[0].serviceAccountNames={iot}"))
	for _, k := range objects(t, string(raw)) {
		k.SetNamespace("factory")
		c := charted[k.GetKind()+" factory/"+k.GetName()]
		if c == nil {
			t.Errorf("the chart has no %s %s", k.GetKind(), k.GetName())
			continue
		}
		normalise(c)
		if diff := cmp.Diff(k.Object, c.Object); diff != "" {
			t.Errorf("%s (-config +chart):\n%s", k.GetKind(), diff)
		}
	}
	if charted["Role factory/pnp-operator-tenant"] != nil {
		t.Error("who names ServiceAccounts and no Secrets grants Secrets")
	}
}

// normalise takes out what the two ways have of their own: labels of tools, the policy that keeps CRDs, and the image.
func normalise(o *unstructured.Unstructured) {
	if o.GetKind() != "ClusterRole" || strings.HasPrefix(o.GetName(), "pnp-operator") { // of the others labels are what they are for
		o.SetLabels(nil)
	}
	annotations := o.GetAnnotations()
	delete(annotations, "helm.sh/resource-policy")
	o.SetAnnotations(annotations)
	if len(annotations) == 0 {
		o.SetAnnotations(nil)
	}
	for _, container := range containers(o) {
		delete(container, "image")
		delete(container, "imagePullPolicy")
	}
}

func containers(o *unstructured.Unstructured) []map[string]any {
	list, _, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "template", "spec", "containers")
	var found []map[string]any
	all, _ := list.([]any)
	for _, one := range all {
		if c, ok := one.(map[string]any); ok {
			found = append(found, c)
		}
	}
	return found
}

// args takes the arguments out.
func args(t *testing.T, o *unstructured.Unstructured) []string {
	t.Helper()
	found := containers(o)
	if len(found) != 1 {
		t.Fatalf("%d containers", len(found))
	}
	list, _, err := unstructured.NestedStringSlice(found[0], "args")
	if err != nil {
		t.Fatal(err)
	}
	delete(found[0], "args")
	return list
}

// checkArgs wants all arguments of the one in the other, which spells out its defaults.
func checkArgs(t *testing.T, kustomized, charted []string) {
	t.Helper()
	for _, arg := range kustomized {
		if !slices.Contains(charted, arg) {
			t.Errorf("the chart does not set %s", arg)
		}
	}
	if len(kustomized) == 0 {
		t.Error("no arguments")
	}
}
