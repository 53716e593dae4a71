package controllers_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/config/crd"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// published are the definitions of the operator's kinds in /openapi/v2, where Argo CD reads types.
func published() map[string]map[string]any {
	GinkgoHelper()
	described, err := discovery.NewDiscoveryClientForConfig(environment.Config)
	Expect(err).NotTo(HaveOccurred())
	raw, err := described.RESTClient().Get().AbsPath("/openapi/v2").SetHeader("Accept", "application/json").DoRaw(ctx)
	Expect(err).NotTo(HaveOccurred())
	var document struct {
		Definitions map[string]map[string]any `json:"definitions"`
	}
	Expect(json.Unmarshal(raw, &document)).To(Succeed())
	maps.DeleteFunc(document.Definitions, func(name string, _ map[string]any) bool { return !strings.HasPrefix(name, "io.pnp-operator.iot.") })
	return document.Definitions
}

// fieldsOf calls visit for a schema and everything in it.
func fieldsOf(path string, schema map[string]any, visit func(path string, schema map[string]any)) {
	visit(path, schema)
	properties, _ := schema["properties"].(map[string]any)
	for name, inner := range properties {
		fieldsOf(path+"."+name, inner.(map[string]any), visit)
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if inner, ok := schema[key].(map[string]any); ok {
			fieldsOf(path+"[]", inner, visit)
		}
	}
}

// Argo CD cannot compare items of an associative list whose key has a default, and what the API
// server fills into an item of an atomic list differs from Git for ever.
func TestItemsOfListsHaveNoDefaults(t *testing.T) {
	files, err := fs.Glob(crd.Bases, "bases/*.yaml")
	if err != nil || len(files) != 6 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		raw, err := crd.Bases.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var definition struct {
			Spec struct {
				Versions []struct {
					Schema struct{ OpenAPIV3Schema map[string]any }
				}
			}
		}
		if err := yaml.Unmarshal(raw, &definition); err != nil {
			t.Fatal(err)
		}
		fieldsOf(file, definition.Spec.Versions[0].Schema.OpenAPIV3Schema, func(path string, schema map[string]any) {
			if _, found := schema["default"]; found && strings.Contains(path, "[]") {
				t.Errorf("%s has a default", path)
			}
		})
	}
}

// asBefore is the CustomResourceDefinition of PnPDevices as it was: the maps have no
// additionalProperties, and telemetry is a list by component.
func asBefore(crd *apiextensionsv1.CustomResourceDefinition) {
	GinkgoHelper()
	preserve, listType := true, "map"
	spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	before := func(fields map[string]apiextensionsv1.JSONSchemaProps) {
		values := fields["properties"]
		Expect(values.AdditionalProperties).NotTo(BeNil())
		values.AdditionalProperties, values.XPreserveUnknownFields = nil, &preserve
		fields["properties"] = values
	}
	before(spec.Properties)
	before(spec.Properties["components"].Items.Schema.Properties)
	telemetry := spec.Properties["telemetry"]
	telemetry.XListType, telemetry.XListMapKeys, telemetry.XValidations = &listType, []string{"component"}, nil
	component := telemetry.Items.Schema.Properties["component"]
	component.Default = &apiextensionsv1.JSON{Raw: []byte(`""`)}
	telemetry.Items.Schema.Properties["component"] = component
	spec.Properties["telemetry"] = telemetry
}

// withDefinition has the API server go by another definition of PnPDevices, and waits until it
// does: it refuses what names a component twice in its words.
func withDefinition(refusal string, edit func(*apiextensionsv1.CustomResourceDefinition)) {
	GinkgoHelper()
	types := runtime.NewScheme()
	Expect(apiextensionsv1.AddToScheme(types)).To(Succeed())
	definitions, err := client.New(environment.Config, client.Options{Scheme: types})
	Expect(err).NotTo(HaveOccurred())
	Eventually(func() error {
		definition := &apiextensionsv1.CustomResourceDefinition{}
		Expect(definitions.Get(ctx, client.ObjectKey{Name: "pnpdevices." + v1alpha1.GroupVersion.Group}, definition)).To(Succeed())
		edit(definition)
		return definitions.Update(ctx, definition)
	}).Should(Succeed())
	twice := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "twice"}, Spec: v1alpha1.PnPDeviceSpec{
		HubRef: v1alpha1.HubReference{Name: "hub"}, Telemetry: []v1alpha1.TelemetrySelection{{Fields: []string{"a"}}, {Fields: []string{"b"}}},
	}}
	Eventually(func() error { return admin.Create(ctx, twice.DeepCopy(), client.DryRunAll) }).Should(MatchError(ContainSubstring(refusal)))
}

const declared = `apiVersion: iot.pnp-operator.io/v1alpha1
kind: PnPDevice
metadata: {name: %s, namespace: %s}
spec:
  hubRef: {name: hub}
  properties: %s
  components: [{name: c, properties: {limits: {low: 1, high: 2}}}]
`

var _ = Describe("The schema", func() {
	// Argo CD takes an atomic field without a type apart, and sees no change in it.
	It("has a type for each atomic field", func() {
		atomic := 0
		Eventually(published).Should(HaveLen(12)) // six kinds and their lists
		for name, definition := range published() {
			fieldsOf(name, definition, func(path string, schema map[string]any) {
				if schema["x-kubernetes-map-type"] == "atomic" || schema["x-kubernetes-list-type"] == "atomic" {
					atomic++
					Expect(schema).To(HaveKey("type"), path)
				}
			})
		}
		Expect(atomic).To(BeNumerically(">=", 8))
	})

	It("has one owner for all properties of a component", func() {
		s := &site{namespace: newNamespace()}
		out, err := kubectl(fmt.Sprintf(declared, "d", s.namespace, `{a: {x: 1}}`), "apply", "--server-side", "--field-manager=one", "-f", "-")
		Expect(err).NotTo(HaveOccurred(), out)
		for _, field := range s.get("d").ManagedFields {
			if field.Manager == "one" {
				Expect(field.FieldsV1.GetRawString()).To(And(ContainSubstring(`"f:properties":{}`), Not(ContainSubstring(`"f:a"`)), Not(ContainSubstring(`"f:limits"`))))
			}
		}
		out, err = kubectl(fmt.Sprintf(declared, "d", s.namespace, `{a: {y: 2}}`), "apply", "--server-side", "--field-manager=two", "-f", "-")
		Expect(err).To(HaveOccurred(), out)
		Expect(out).To(And(ContainSubstring(`conflict with "one"`), ContainSubstring(".spec.properties")))
	})

	// The API server drops a null from an object unless its schema says nullable: the key would
	// look as if it had left the declaration. Client-side kubectl apply drops nulls itself.
	for mode, args := range map[string][]string{"create": {"create", "-f", "-"}, "server-side apply": {"apply", "--server-side", "-f", "-"}} {
		It("keeps a null, which is refused then, by "+mode, func() {
			s := newSite()
			s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
			out, err := kubectl(fmt.Sprintf(declared, "d", s.namespace, `{a: null, b: {c: null}}`), args...)
			Expect(err).NotTo(HaveOccurred(), out)
			s.eventually("d", And(beStalled(v1alpha1.ReasonInvalidDeclaration), haveMessage("properties.a is null", "properties.b.c is null")))
			Expect(s.writes("d")).To(BeZero())
		})
	}
})

var _ = Describe("Objects that an older definition let in", func() {
	It("stay as they are when the definition changes and they are applied again, and take edits", func() {
		var now apiextensionsv1.CustomResourceDefinitionSpec
		withDefinition("two items", func(crd *apiextensionsv1.CustomResourceDefinition) { crd.Spec.DeepCopyInto(&now) })
		asNow := func(crd *apiextensionsv1.CustomResourceDefinition) { now.DeepCopyInto(&crd.Spec) }
		DeferCleanup(withDefinition, "two items", asNow)
		withDefinition("Duplicate value", asBefore)

		s := &site{namespace: newNamespace()}
		modes := map[string][]string{"client-side": {"apply", "-f", "-"}, "server-side": {"apply", "--server-side", "--field-manager=flux", "-f", "-"}}
		const values, telemetry = `{a: {x: 1, y: 2}, big: 9007199254740993}`, "  telemetry: [{fields: [t]}, {component: c, fields: [t]}]\n"
		apply := func(mode, name, properties, more string) *v1alpha1.PnPDevice {
			GinkgoHelper()
			out, err := kubectl(fmt.Sprintf(declared, name, s.namespace, properties)+more, modes[mode]...)
			Expect(err).NotTo(HaveOccurred(), out)
			s.eventually(name, beWaiting(v1alpha1.ReasonHubNotFound))
			return s.get(name)
		}
		before := map[string]*v1alpha1.PnPDevice{}
		for mode := range modes {
			before[mode] = apply(mode, mode, values, "")
			before[mode+"-telemetry"] = apply(mode, mode+"-telemetry", values, telemetry)
		}
		withDefinition("two items", asNow)
		for mode := range modes {
			for range 2 {
				Expect(apply(mode, mode, values, "")).To(HaveField("ResourceVersion", before[mode].ResourceVersion), mode)
			}
			name := mode + "-telemetry" // loses the component that the older definition filled in, once
			once := apply(mode, name, values, telemetry)
			Expect(once).To(And(HaveField("Generation", before[name].Generation+1), HaveField("Spec", before[name].Spec)), mode)
			Expect(apply(mode, name, values, telemetry)).To(HaveField("ResourceVersion", once.ResourceVersion), mode)

			edited := apply(mode, mode, `{a: {x: 3}, big: 9007199254740993}`, "")
			Expect(edited.Generation).To(Equal(before[mode].Generation + 1))
			Expect(string(edited.Spec.Properties.Raw)).To(MatchJSON(`{"a":{"x":3},"big":9007199254740993}`))
			Expect(apply(mode, name, values, "").Spec.Telemetry).To(BeEmpty())
		}
	})
})
