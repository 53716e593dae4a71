package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/hack/node"
)

// withinScenario is how long something may take on a machine that is busy with other things.
const withinScenario = 30 * time.Second

// stage is what a scenario plays on.
type stage struct {
	*demo
	*fleet
	*observer
}

// outcome is what a scenario has to show: the time between two things.
type outcome struct {
	from, to string
	took     time.Duration
}

// scenario is one end-to-end test. It has devices of its own, named after it.
type scenario struct {
	name, title string
	play        func(ctx context.Context, s stage, id string) (outcome, error)
}

// e2e plays the scenarios with devices on Microsoft's SDK, all of them even if one fails, and cleans up.
func e2e(ctx context.Context, c clone, out *report) error {
	if err := node.Missing(); err != nil {
		return err
	}
	if err := c.build(ctx, out); err != nil {
		return err
	}
	if err := errors.Join(c.buildHelm(ctx, out), c.buildDevices(ctx, out)); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(c.path("bin"), "e2e-run-")
	if err != nil {
		return fmt.Errorf("making the folder of the tests: %w", err)
	}
	d := newDemo(c, dir, out)
	d.release = true
	return d.conclude(ctx, d.playEndToEnd(ctx))
}

func (d *demo) playEndToEnd(ctx context.Context) (err error) {
	d.out.scenario("Starting a control plane, a simulated hub, the operator and devices on Microsoft's SDK for Node")
	ctx, err = d.setUp(ctx)
	if err != nil {
		return err
	}
	stop, err := d.record(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := d.applyHub(ctx); err != nil {
		return err
	}
	f, err := d.startFleet(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	o, err := d.observe(ctx)
	if err != nil {
		return err
	}
	d.out.scenario("Scenarios, with the time that something took to show in status")
	return stage{d, f, o}.playAll(ctx)
}

// playAll goes on after a failure: scenarios have nothing in common.
func (s stage) playAll(ctx context.Context) error {
	var failed []error
	for _, one := range scenarios {
		began := time.Now()
		o, err := one.play(ctx, s, one.name)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			s.out.sayf("FAILED: %s: %v", one.title, err)
			failed = append(failed, fmt.Errorf("%s: %w", one.title, err))
			continue
		}
		s.out.passf("%-62s %s -> %s %d ms  (in all %.1f s)", one.title, o.from, o.to, o.took.Milliseconds(), time.Since(began).Seconds())
	}
	for _, kind := range []string{devicesResource, "dcmd"} {
		if _, err := s.kubectl.show(ctx, "get", kind, "-n", namespace); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// without removes the objects of a kind.
func without(apiVersion, kind string) patch {
	return patch{
		Target: target{Kind: kind},
		Patch:  fmt.Sprintf("$patch: delete\napiVersion: %s\nkind: %s\nmetadata:\n  name: any\n", apiVersion, kind),
	}
}

// applyHub makes the IoTHub of the samples alone: without the models, scenarios may do what these do not allow.
func (d *demo) applyHub(ctx context.Context) error {
	edits, err := d.hubEdits()
	if err != nil {
		return err
	}
	overlay := kustomization{Namespace: namespace, Resources: []string{d.path("config/samples")}}
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
	if err := overlay.writeTo(d.file("hub")); err != nil {
		return err
	}
	if _, err := d.kubectl.show(ctx, "apply", "--server-side", "-k", d.file("hub")); err != nil {
		return err
	}
	_, err = d.kubectl.show(ctx, "wait", "--for=condition=EventStreamReady", "hub", sampleHub, "-n", namespace, "--timeout=30s")
	return err
}

// newConnected makes an identity and connects a device for it.
func (s stage) newConnected(ctx context.Context, id, model string) error {
	if err := s.create(ctx, id); err != nil {
		return err
	}
	return s.connect(ctx, id, model)
}

// newDeclared is newConnected for a device that has acknowledged a declaration.
func (s stage) newDeclared(ctx context.Context, id, model string, properties map[string]map[string]any) error {
	if err := s.newConnected(ctx, id, model); err != nil {
		return err
	}
	_, err := s.converge(ctx, id, model, properties)
	return err
}

// applied is a declaration, and when it was made.
type applied struct {
	at         time.Time
	generation int64
}

// apply declares properties of a device: those of the default component under "", and of others by their names.
func (s stage) apply(ctx context.Context, id, model string, properties map[string]map[string]any) (applied, error) {
	spec := v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: sampleHub}, ModelID: model}
	for _, component := range slices.Sorted(maps.Keys(properties)) {
		raw, err := json.Marshal(properties[component])
		if err != nil {
			return applied{}, err
		}
		if component == "" {
			spec.Properties = &apiextensionsv1.JSON{Raw: raw}
			continue
		}
		spec.Components = append(spec.Components, v1alpha1.ComponentDeclaration{Name: component, Properties: &apiextensionsv1.JSON{Raw: raw}})
	}
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "PnPDevice",
		"metadata": map[string]any{"name": id, "namespace": namespace}, "spec": spec,
	})
	if err != nil {
		return applied{}, err
	}
	began := time.Now()
	out, err := s.kubectl.output(ctx, string(manifest), "apply", "--server-side", "-f", "-", "-o", "json")
	if err != nil {
		return applied{}, err
	}
	var object v1alpha1.PnPDevice
	err = json.Unmarshal([]byte(out), &object)
	return applied{began, object.Generation}, err
}

// converge applies properties and waits until the device has acknowledged them.
func (s stage) converge(ctx context.Context, id, model string, properties map[string]map[string]any) (outcome, error) {
	a, err := s.apply(ctx, id, model, properties)
	if err != nil {
		return outcome{}, err
	}
	return s.acknowledged(ctx, id, "apply", a)
}

// acknowledged waits until the device has acknowledged all of a declaration.
func (s stage) acknowledged(ctx context.Context, id, from string, a applied) (outcome, error) {
	at, err := s.await(ctx, id, "Ready, acknowledged by the device", func(device *v1alpha1.PnPDevice) bool {
		return device.Generation >= a.generation && isReady(device)
	})
	return outcome{from, "acknowledged", at.Sub(a.at)}, err
}

// notReady waits until a declaration is not Ready for a reason.
func (s stage) notReady(ctx context.Context, id, reason string, a applied) (time.Time, error) {
	return s.await(ctx, id, "not Ready: "+reason, func(device *v1alpha1.PnPDevice) bool {
		return device.Generation >= a.generation && isNotReady(device, reason)
	})
}

// reported returns what the hub holds as reported by a device.
func (s stage) reported(ctx context.Context, id string, path ...string) (any, error) {
	raw, err := s.demo.hub.Twin(ctx, id)
	if err != nil {
		return nil, err
	}
	var twin struct {
		Properties struct{ Reported map[string]any }
	}
	if err := json.Unmarshal(raw, &twin); err != nil {
		return nil, err
	}
	value, _ := at(twin.Properties.Reported, path...)
	return value, nil
}
