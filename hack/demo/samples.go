package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

const (
	sampleHub    = "factory-hub"
	sampleSecret = "factory-hub"
	secretKey    = "connectionString"
	eventsKey    = "events"
	// The sweep is as good as off, so that it is the events that tell.
	sweepSeconds = 3600

	thermostat = "my-thermostat"
	controller = "line-3-controller"
)

// kustomization is what the demonstration needs of a kustomization.yaml. Resources are given as absolute paths.
type kustomization struct {
	Namespace string   `json:"namespace,omitempty"`
	Resources []string `json:"resources"`
	Patches   []patch  `json:"patches,omitempty"`
}

type patch struct {
	Target target `json:"target"`
	Patch  string `json:"patch"`
}

type target struct {
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
}

// writeTo writes the kustomization.yaml of a folder. Resources become relative to it, as kustomize wants them.
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

// operation is one step of a JSON Patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// edit changes one sample.
type edit struct {
	target target
	operation
}

func (e edit) asPatch() (patch, error) {
	data, err := json.Marshal([]operation{e.operation})
	return patch{Target: e.target, Patch: string(data)}, err
}

// plenty is a budget that no scenario is held up by: the simulator does not throttle, and the demo sweeps every few seconds.
var plenty = map[string]any{
	"twinReadsPerSecond": 10_000, "twinWritesPerSecond": 10_000, "queriesPerMinute": 100_000, "commandsPerSecond": 10_000, "dailyMessages": 1_000_000_000,
}

// hubEdits lead the sample hub to the simulator. The committed samples stay as they are.
func (d *demo) hubEdits() ([]edit, error) {
	ca, err := os.ReadFile(d.file(hubCAFile))
	if err != nil {
		return nil, fmt.Errorf("reading the hub's CA: %w", err)
	}
	hub := target{Kind: "IoTHub", Name: sampleHub}
	return []edit{
		{hub, operation{"add", "/spec/hostName", d.hubEnv["HUB_HOST_NAME"]}},
		{hub, operation{"add", "/spec/endpoint", d.hubEnv["HUB_ENDPOINT"]}},
		{hub, operation{"add", "/spec/caBundle", string(ca)}},
		{hub, operation{"add", "/spec/sweepIntervalSeconds", sweepSeconds}},
		{hub, operation{"add", "/spec/requestBudget", plenty}},
		{hub, operation{"add", "/spec/events", map[string]any{
			"connectionStringSecretRef": map[string]any{"name": sampleSecret, "key": eventsKey},
			"endpoint":                  d.hubEnv["EVENTHUB_ADDRESS"], "caBundle": string(ca),
		}}},
	}, nil
}

// addHubSecret makes the namespace with the operator's rights in it, unless the chart did, and the Secret. The connection strings go by standard input: command lines can be read by
// every user of the machine.
func (d *demo) addHubSecret(ctx context.Context) error {
	if !d.release {
		if err := d.addTenant(ctx); err != nil {
			return err
		}
	}
	secret, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret",
		"metadata":   map[string]any{"name": sampleSecret, "namespace": namespace},
		"stringData": map[string]any{secretKey: d.hubEnv["HUB_CONNECTION_STRING"], eventsKey: d.hubEnv["EVENTHUB_CONNECTION_STRING"]},
	})
	if err != nil {
		return fmt.Errorf("encoding the Secret: %w", err)
	}
	_, err = d.kubectl.showInput(ctx, string(secret), "create", "-f", "-")
	return err
}

func (d *demo) addTenant(ctx context.Context) error {
	if _, err := d.kubectl.show(ctx, "create", "namespace", namespace); err != nil {
		return err
	}
	_, err := d.kubectl.show(ctx, "apply", "-k", d.path("config/tenant"), "-n", namespace)
	return err
}

// applySamples applies config/samples with the edits made so far and these.
func (d *demo) applySamples(ctx context.Context, edits ...edit) error {
	if len(d.edits) == 0 {
		first, err := d.hubEdits()
		if err != nil {
			return err
		}
		d.edits = first
	}
	d.edits = append(d.edits, edits...)
	overlay := kustomization{Namespace: namespace, Resources: []string{d.path("config/samples")}}
	for _, e := range d.edits {
		p, err := e.asPatch()
		if err != nil {
			return fmt.Errorf("encoding an edit: %w", err)
		}
		overlay.Patches = append(overlay.Patches, p)
	}
	dir := d.file("samples")
	if err := overlay.writeTo(dir); err != nil {
		return err
	}
	_, err := d.kubectl.show(ctx, "apply", "--server-side", "-k", dir)
	return err
}

// device returns a PnPDevice as it is now.
func (d *demo) device(ctx context.Context, name string) (*v1alpha1.PnPDevice, error) {
	var device v1alpha1.PnPDevice
	return &device, d.kubectl.get(ctx, &device, devicesResource, name, "-n", namespace)
}

// devices returns all PnPDevices as they are now.
func (d *demo) devices(ctx context.Context) ([]*v1alpha1.PnPDevice, error) {
	var list v1alpha1.PnPDeviceList
	err := d.kubectl.get(ctx, &list, devicesResource, "-n", namespace)
	return list.Items, err
}

// leaf is one declared property.
type leaf struct {
	path  []string
	value any
}

// leavesOf returns what a PnPDevice declares.
func leavesOf(spec *v1alpha1.PnPDeviceSpec) ([]leaf, error) {
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
