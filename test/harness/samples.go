package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// The objects of config/samples, and the keys of the Secret that their IoTHub names.
const (
	SampleHub    = "factory-hub"
	sampleSecret = "factory-hub"
	SecretKey    = "connectionString"
	EventsKey    = "events"
	// The sweep is as good as off, so that it is the events that tell.
	SweepSeconds = 3600

	ThermostatObject = "my-thermostat"
	ControllerObject = "line-3-controller"
)

// kustomization is what a testbed needs of a kustomization.yaml. Resources are given as absolute
// paths.
type kustomization struct {
	Namespace string   `json:"namespace,omitempty"`
	Resources []string `json:"resources"`
	Patches   []patch  `json:"patches,omitempty"`
}

type patch struct {
	Target Target `json:"target"`
	Patch  string `json:"patch"`
}

// Target says which objects a patch of a kustomization is for.
type Target struct {
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
}

// writeTo writes the kustomization.yaml of a folder. Resources become relative to it, as kustomize
// wants them.
func (k kustomization) writeTo(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making an overlay: %w", err)
	}
	resources := make([]string, len(k.Resources))
	for i, path := range k.Resources {
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return fmt.Errorf("making an overlay: %w", err)
		}
		resources[i] = relative
	}
	k.Resources = resources
	data, err := yaml.Marshal(k)
	if err != nil {
		return fmt.Errorf("encoding an overlay: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), data, 0o600); err != nil {
		return fmt.Errorf("writing an overlay: %w", err)
	}
	return nil
}

// Operation is one step of a JSON Patch.
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Edit changes one sample.
type Edit struct {
	Target Target
	Operation
}

func (e Edit) asPatch() (patch, error) {
	data, err := json.Marshal([]Operation{e.Operation})
	return patch{Target: e.Target, Patch: string(data)}, err
}

// AmpleBudget is a budget that no scenario is held up by: the simulator does not throttle, and the
// demo sweeps every few seconds.
var AmpleBudget = map[string]any{
	"twinReadsPerSecond": 10_000, "twinWritesPerSecond": 10_000, "queriesPerMinute": 100_000, "commandsPerSecond": 10_000, "dailyMessages": 1_000_000_000,
}

// hubEdits lead the sample hub to the simulator. The committed samples stay as they are.
func (d *Testbed) hubEdits() ([]Edit, error) {
	ca, err := os.ReadFile(d.File(HubCAFile))
	if err != nil {
		return nil, fmt.Errorf("reading the hub's CA: %w", err)
	}
	hub := Target{Kind: "IoTHub", Name: SampleHub}
	return []Edit{
		{hub, Operation{"add", "/spec/hostName", d.HubEnv["HUB_HOST_NAME"]}},
		{hub, Operation{"add", "/spec/endpoint", d.HubEnv["HUB_ENDPOINT"]}},
		{hub, Operation{"add", "/spec/caBundle", string(ca)}},
		{hub, Operation{"add", "/spec/sweepIntervalSeconds", SweepSeconds}},
		{hub, Operation{"add", "/spec/requestBudget", AmpleBudget}},
		{hub, Operation{"add", "/spec/events", map[string]any{
			"connectionStringSecretRef": map[string]any{"name": sampleSecret, "key": EventsKey},
			"endpoint":                  d.HubEnv["EVENTHUB_ADDRESS"], "caBundle": string(ca),
		}}},
	}, nil
}

// addHubSecret makes the namespace with the operator's rights in it, unless the chart did, and the
// Secret. The connection strings go by standard input: command lines can be read by every user of
// the machine.
func (d *Testbed) addHubSecret(ctx context.Context) error {
	if !d.Release {
		if err := d.addTenant(ctx); err != nil {
			return err
		}
	}
	secret, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret",
		"metadata":   map[string]any{"name": sampleSecret, "namespace": Namespace},
		"stringData": map[string]any{SecretKey: d.HubEnv["HUB_CONNECTION_STRING"], EventsKey: d.HubEnv["EVENTHUB_CONNECTION_STRING"]},
	})
	if err != nil {
		return fmt.Errorf("encoding the Secret: %w", err)
	}
	_, err = d.Kubectl.ShowInput(ctx, string(secret), "create", "-f", "-")
	return err
}

func (d *Testbed) addTenant(ctx context.Context) error {
	if _, err := d.Kubectl.Show(ctx, "create", "namespace", Namespace); err != nil {
		return err
	}
	_, err := d.Kubectl.Show(ctx, "apply", "-k", d.Path("config/tenant"), "-n", Namespace)
	return err
}

// ApplySamples applies config/samples with the edits made so far and these.
func (d *Testbed) ApplySamples(ctx context.Context, edits ...Edit) error {
	if len(d.edits) == 0 {
		first, err := d.hubEdits()
		if err != nil {
			return err
		}
		d.edits = first
	}
	d.edits = append(d.edits, edits...)
	overlay := kustomization{Namespace: Namespace, Resources: []string{d.Path("config/samples")}}
	for _, e := range d.edits {
		p, err := e.asPatch()
		if err != nil {
			return fmt.Errorf("encoding an edit: %w", err)
		}
		overlay.Patches = append(overlay.Patches, p)
	}
	dir := d.File("samples")
	if err := overlay.writeTo(dir); err != nil {
		return err
	}
	_, err := d.Kubectl.Show(ctx, "apply", "--server-side", "-k", dir)
	return err
}

// Device returns a PnPDevice as it is now.
func (d *Testbed) Device(ctx context.Context, name string) (*v1alpha1.PnPDevice, error) {
	var device v1alpha1.PnPDevice
	return &device, d.Kubectl.Get(ctx, &device, DevicesResource, name, "-n", Namespace)
}

// Devices returns all PnPDevices as they are now.
func (d *Testbed) Devices(ctx context.Context) ([]*v1alpha1.PnPDevice, error) {
	var list v1alpha1.PnPDeviceList
	err := d.Kubectl.Get(ctx, &list, DevicesResource, "-n", Namespace)
	return list.Items, err
}

// leaf is one declared property.
type leaf struct {
	Path  []string
	Value any
}

// LeavesOf returns what a PnPDevice declares.
func LeavesOf(spec *v1alpha1.PnPDeviceSpec) ([]leaf, error) {
	declarations := []v1alpha1.ComponentDeclaration{{Properties: spec.Properties}}
	var leaves []leaf
	for _, c := range append(declarations, spec.Components...) {
		if c.Properties == nil {
			continue
		}
		var values map[string]any
		if err := json.Unmarshal(c.Properties.Raw, &values); err != nil {
			return nil, fmt.Errorf("decoding the properties of component %q: %w", c.Name, err)
		}
		for name, value := range values {
			path := []string{name}
			if c.Name != "" {
				path = []string{c.Name, name}
			}
			leaves = append(leaves, leaf{path, value})
		}
	}
	return leaves, nil
}

// without removes the objects of a kind.
func without(apiVersion, kind string) patch {
	return patch{
		Target: Target{Kind: kind},
		Patch:  fmt.Sprintf("$patch: delete\napiVersion: %s\nkind: %s\nmetadata:\n  name: any\n", apiVersion, kind),
	}
}

// ApplyHub makes the IoTHub of the samples alone: without the models, scenarios may do what these
// do not allow.
func (d *Testbed) ApplyHub(ctx context.Context) error {
	edits, err := d.hubEdits()
	if err != nil {
		return err
	}
	overlay := kustomization{Namespace: Namespace, Resources: []string{d.Path("config/samples")}}
	for _, kind := range []string{"PnPDevice", "DeviceCommand", "DeviceModel"} {
		overlay.Patches = append(overlay.Patches, without(v1alpha1.GroupVersion.String(), kind))
	}
	for _, e := range edits {
		p, err := e.asPatch()
		if err != nil {
			return err
		}
		overlay.Patches = append(overlay.Patches, p)
	}
	if err := overlay.writeTo(d.File("hub")); err != nil {
		return err
	}
	if _, err := d.Kubectl.Show(ctx, "apply", "--server-side", "-k", d.File("hub")); err != nil {
		return err
	}
	_, err = d.Kubectl.Show(ctx, "wait", "--for=condition=EventStreamReady", "hub", SampleHub, "-n", Namespace, "--timeout=30s")
	return err
}

// ObjectMeta returns the metadata of an object of the samples' namespace.
func ObjectMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: Namespace}
}
