// Package gitops asks Argo CD's own diff engine whether it sees what changed in Git.
package gitops

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/argoproj/gitops-engine/pkg/diff"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/kube-openapi/pkg/util/proto"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"
)

// manager is the name that Argo CD applies under.
const manager = "argocd-controller"

// modes are the ways in which Argo CD compares, by the options of an Application.
var modes = map[string]struct {
	serverSideApply bool
	options         func(c *cluster) []diff.Option
}{
	"no option":       {false, func(*cluster) []diff.Option { return nil }},
	"ServerSideApply": {true, func(*cluster) []diff.Option { return []diff.Option{diff.WithStructuredMergeDiff(true)} }},
	"ServerSideApply and ServerSideDiff": {true, func(c *cluster) []diff.Option {
		return []diff.Option{diff.WithStructuredMergeDiff(true), diff.WithServerSideDiff(true), diff.WithServerSideDryRunner(c)}
	}},
}

// odd are declarations beside those of the samples.
const odd = `
apiVersion: iot.pnp-operator.io/v1alpha1
kind: PnPDevice
metadata: {name: numbers}
spec:
  hubRef: {name: factory-hub}
  properties: {int: 42, float: 42.0, half: 19.5, exponent: 1e3, small: 1.5e-7, minus: -0.0, big: 4503599627370495, huge: 1e300, text: "42", flag: true}
---
apiVersion: iot.pnp-operator.io/v1alpha1
kind: PnPDevice
metadata: {name: objects}
spec:
  hubRef: {name: factory-hub}
  twinAPI: DeviceTwin
  properties:
    empty: {}
    list: [1, 2.0, {a: 1}]
    schedule: {from: "06:00", days: {monday: true}}
  components:
  - {name: bare}
  - {name: nothing, properties: {}}
  - {name: valve, properties: {position: {turns: 1, limits: {high: 2}}}}
---
apiVersion: iot.pnp-operator.io/v1alpha1
kind: PnPDevice
metadata: {name: telemetry}
spec:
  hubRef: {name: factory-hub}
  telemetry:
  - fields: [temperature, humidity]
  - {component: thermostat1, fields: [temperature]}
---
apiVersion: iot.pnp-operator.io/v1alpha1
kind: DeviceCommand
metadata: {name: payload}
spec:
  deviceRef: {name: objects}
  command: move
  payload: {to: {x: 1.0, y: 1e3}, by: []}
  notAfter: "2030-01-01T00:00:00Z"
---
apiVersion: iot.pnp-operator.io/v1alpha1
kind: DeviceCommand
metadata: {name: no-payload}
spec:
  deviceRef: {name: objects}
  command: move
  payload: null
  notAfter: "2030-01-01T00:00:00+01:00"
`

// What Git says is what Argo CD compares with what is there. An edit that the API server would
// store has to make a difference, and no edit none.
func TestArgoCDSeesEachEdit(t *testing.T) {
	c := newCluster(t)
	for mode, m := range modes {
		t.Run(mode, func(t *testing.T) {
			namespace := c.newNamespace(t)
			options := append(m.options(c), diff.WithGVKParser(c.parser), diff.WithManager(manager))
			for _, git := range append(samples(t), documents(t, odd)...) {
				t.Run(git.GetKind()+" "+git.GetName(), func(t *testing.T) {
					git.SetNamespace(namespace)
					live := c.sync(t, git, m.serverSideApply)
					c.check(t, git, live, options)
				})
			}
		})
	}
}

func (c *cluster) check(t *testing.T, git, live *unstructured.Unstructured, options []diff.Option) {
	t.Helper()
	if differs(t, git, live, options) {
		t.Error("a difference is seen that is none")
	}
	stored := 0
	for name, spec := range edits("spec", git.Object["spec"]) {
		edited := git.DeepCopy()
		edited.Object["spec"] = spec
		if !c.changes(t, edited, live) {
			continue
		}
		stored++
		if !differs(t, edited, live, options) {
			t.Errorf("not seen: %s", name)
		}
	}
	if immutable := git.GetKind() == "DeviceCommand"; (stored == 0) != immutable {
		t.Errorf("%d edits were tried", stored)
	}
}

// differs is what Argo CD says. It panics where its own libraries do.
func differs(t *testing.T, git, live *unstructured.Unstructured, options []diff.Option) (modified bool) {
	t.Helper()
	result, err := diff.Diff(git.DeepCopy(), live.DeepCopy(), options...)
	if err != nil {
		t.Error(err)
		return false
	}
	return result.Modified
}

// edits are all objects with one value changed, removed or added, by what was done.
func edits(path string, value any) map[string]any {
	all := map[string]any{}
	within := func(path string, inner any, with func(any) any) {
		for name, edited := range edits(path, inner) {
			all[name] = with(edited)
		}
	}
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			within(path+"."+key, inner, func(edited any) any { return withKey(value, key, edited) })
			without := maps.Clone(value)
			delete(without, key)
			all[path+"."+key+" is removed"] = without
		}
		all[path+".added is added"] = withKey(value, "added", map[string]any{"a": int64(1)})
	case []any:
		for i, inner := range value {
			within(fmt.Sprintf("%s[%d]", path, i), inner, func(edited any) any { return withItem(value, i, edited) })
			all[fmt.Sprintf("%s[%d] is removed", path, i)] = slices.Delete(slices.Clone(value), i, i+1)
		}
		all[path+" has one more"] = append(slices.Clone(value), "added")
	default:
		all[path+" is changed"] = other(value)
	}
	return all
}

func withKey(m map[string]any, key string, value any) map[string]any {
	edited := maps.Clone(m)
	edited[key] = value
	return edited
}

func withItem(list []any, i int, value any) []any {
	edited := slices.Clone(list)
	edited[i] = value
	return edited
}

// other is a value of the same type.
func other(value any) any {
	switch value := value.(type) {
	case string:
		return value + "1"
	case bool:
		return !value
	case int64:
		return value - 1
	case float64:
		return value / 2
	}
	return "was null"
}

// cluster is a real API server, and what Argo CD knows of its types.
type cluster struct {
	objects dynamic.Interface
	parser  *managedfields.GvkParser
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		assets = "../../bin/k8s"
	}
	definitions := os.Getenv("PNP_CRDS") // another folder shows what other definitions would do
	if definitions == "" {
		definitions = "../../config/crd/bases"
	}
	environment := &envtest.Environment{
		BinaryAssetsDirectory: assets, CRDDirectoryPaths: []string{definitions}, ErrorIfCRDPathMissing: true,
		ControlPlaneStartTimeout: 2 * time.Minute, // on a machine that builds other things
	}
	config, err := environment.Start()
	must(t, err)
	t.Cleanup(func() { must(t, environment.Stop()) })
	config.QPS, config.Burst, config.WarningHandler = 1000, 1000, rest.NoWarnings{}
	objects, err := dynamic.NewForConfig(config)
	must(t, err)
	described, err := discovery.NewDiscoveryClientForConfig(config)
	must(t, err)
	return &cluster{objects, newParser(t, described)}
}

// newParser reads types from /openapi/v2, as Argo CD does.
func newParser(t *testing.T, described discovery.OpenAPISchemaInterface) *managedfields.GvkParser {
	t.Helper()
	var parser *managedfields.GvkParser
	eventually(t, "the types of the operator's kinds", func() bool {
		document, err := described.OpenAPISchema()
		must(t, err)
		models, err := proto.NewOpenAPIData(document)
		must(t, err)
		parser, err = managedfields.NewGVKParser(models, false)
		must(t, err)
		for _, kind := range []string{"DeviceCommand", "DeviceModel", "IoTHub", "PnPDevice"} {
			if parser.Type(schema.GroupVersionKind{Group: "iot.pnp-operator.io", Version: "v1alpha1", Kind: kind}) == nil {
				return false
			}
		}
		return true
	})
	return parser
}

func (c *cluster) newNamespace(t *testing.T) string {
	t.Helper()
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"generateName": "site-"}}}
	created, err := c.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Create(t.Context(), namespace, metav1.CreateOptions{})
	must(t, err)
	return created.GetName()
}

func (c *cluster) of(o *unstructured.Unstructured) dynamic.ResourceInterface {
	resource, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
	return c.objects.Resource(resource).Namespace(o.GetNamespace())
}

// sync makes the object as Argo CD does: by server-side apply, or as kubectl apply does.
func (c *cluster) sync(t *testing.T, git *unstructured.Unstructured, serverSide bool) *unstructured.Unstructured {
	t.Helper()
	if serverSide {
		live, err := c.of(git).Apply(t.Context(), git.GetName(), git.DeepCopy(), metav1.ApplyOptions{FieldManager: manager, Force: true})
		must(t, err)
		return live
	}
	applied, err := json.Marshal(git)
	must(t, err)
	created := git.DeepCopy()
	annotations := created.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[diff.AnnotationLastAppliedConfig] = string(applied)
	created.SetAnnotations(annotations)
	live, err := c.of(git).Create(t.Context(), created, metav1.CreateOptions{FieldManager: manager})
	must(t, err)
	return live
}

// changes reports whether the API server would store another spec than the one that it has.
func (c *cluster) changes(t *testing.T, git, live *unstructured.Unstructured) bool {
	t.Helper()
	would := git.DeepCopy()
	would.SetResourceVersion(live.GetResourceVersion())
	updated, err := c.of(git).Update(t.Context(), would, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		return false
	}
	must(t, err)
	return !reflect.DeepEqual(updated.Object["spec"], live.Object["spec"])
}

// Run applies an object without effect, as Argo CD does for ServerSideDiff.
func (c *cluster) Run(ctx context.Context, o *unstructured.Unstructured, manager string) (string, error) {
	raw, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	force := true
	predicted, err := c.of(o).Patch(ctx, o.GetName(), types.ApplyPatchType, raw, metav1.PatchOptions{FieldManager: manager, Force: &force, DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return "", err
	}
	text, err := predicted.MarshalJSON()
	return string(text), err
}

// samples are the objects of config/samples.
func samples(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	files, err := filepath.Glob("../../config/samples/*.yaml")
	must(t, err)
	var all []*unstructured.Unstructured
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		raw, err := os.ReadFile(file)
		must(t, err)
		all = append(all, documents(t, string(raw))...)
	}
	if len(all) == 0 {
		t.Fatal("there are no samples")
	}
	return all
}

func documents(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for reader := utilyaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(text))); ; {
		document := make([]byte, len(text))
		n, err := reader.Read(document)
		if err == io.EOF {
			return all
		}
		must(t, err)
		raw, err := yaml.YAMLToJSON(document[:n])
		must(t, err)
		o := &unstructured.Unstructured{}
		must(t, o.UnmarshalJSON(raw))
		all = append(all, o)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still waiting for " + what)
		}
	}
}
