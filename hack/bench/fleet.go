package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

const (
	hubName = "factory-hub"
	// edited is the property that edits change.
	edited = "interval"
	// concurrency of the operator by default, and of everything that is compared with it.
	concurrency = 16
	// clients is how many objects are made at a time.
	clients = 32
)

// fleet is devices that are declared, and virtual devices that answer.
type fleet struct {
	prefix     string
	count      int
	properties int // declared of each, 3 or more
	reported   v1alpha1.ReportedScope
}

func (f fleet) name(i int) string { return fmt.Sprintf("%s-%05d", f.prefix, i) }

// object declares a device. Two properties are of components, the others of the default component, one of them a text.
func (f fleet) object(i int) *v1alpha1.PnPDevice {
	own := map[string]any{edited: i}
	for n := 3; n < f.properties; n++ {
		own[fmt.Sprintf("setting%02d", n)] = fmt.Sprintf("value %d of device %d", n, i)
	}
	return &v1alpha1.PnPDevice{
		ObjectMeta: metav1.ObjectMeta{Name: f.name(i), Namespace: namespace},
		Spec: v1alpha1.PnPDeviceSpec{
			HubRef: v1alpha1.HubReference{Name: hubName}, Properties: encoded(own), Reported: f.reported,
			Components: []v1alpha1.ComponentDeclaration{
				{Name: "thermostat1", Properties: encoded(map[string]any{"targetTemperature": 20.5 + float64(i%10)})},
				{Name: "thermostat2", Properties: encoded(map[string]any{"targetTemperature": 19.5 + float64(i%10)})},
			},
		},
	}
}

func encoded(v any) *apiextensionsv1.JSON {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers and texts
	}
	return &apiextensionsv1.JSON{Raw: raw}
}

// each does something for the numbers below count, some of them at a time.
func each(ctx context.Context, count, atATime int, do func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atATime)
	for i := range count {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return do(ctx, i) })
	}
	return g.Wait()
}

// declare makes the devices at the hub and their objects. It does not wait for anything to become of them.
func (b *bench) declare(ctx context.Context, f fleet) error {
	b.Out.Sayf("  declaring %d devices with %d properties each", f.count, f.properties)
	if err := b.Hub.AddDevices(ctx, f.prefix+"-%05d", f.count, simulator.Spec{Model: simulator.TemperatureController}); err != nil {
		return err
	}
	done := b.progress(ctx, "declared", func() (int, int) { n, _, _, _ := b.seen.counts(); return n, f.count })
	defer done()
	err := each(ctx, f.count, clients, func(ctx context.Context, i int) error { return b.client.Create(ctx, f.object(i)) })
	if err != nil {
		return fmt.Errorf("declaring devices: %w", err)
	}
	b.present = f
	return b.until(ctx, "objects", func() (int, int) { n, _, _, _ := b.seen.counts(); return n, f.count })
}

// clear removes all objects and their devices. The operator may run, and then forgets them.
func (b *bench) clear(ctx context.Context) error {
	gone := b.present
	if gone.count == 0 {
		return nil
	}
	b.Out.Sayf("  removing %d devices", gone.count)
	if err := b.removeAll(ctx, &v1alpha1.PnPDevice{}, namespace); err != nil {
		return fmt.Errorf("removing objects: %w", err)
	}
	if err := b.until(ctx, "objects left", func() (int, int) { n, _, _, _ := b.seen.counts(); return -n, 0 }); err != nil {
		return err
	}
	b.present = fleet{}
	return each(ctx, gone.count, clients, func(ctx context.Context, i int) error { return b.Hub.DeleteDevice(ctx, gone.name(i)) })
}

// removeAll deletes the objects of a kind. The API server gives a request a minute, and a busy
// machine needs longer for 10,000 objects.
func (b *bench) removeAll(ctx context.Context, kind client.Object, in string) error {
	return retry.OnError(retry.DefaultBackoff, apierrors.IsTimeout, func() error { return b.client.DeleteAllOf(ctx, kind, client.InNamespace(in)) })
}

// fresh is a fleet that was never there before.
func (b *bench) fresh(count, properties int) fleet {
	b.serial++
	return fleet{prefix: fmt.Sprintf("line%d", b.serial), count: count, properties: properties}
}

// settle has a fleet of that size converged, with the operator running as users run it.
func (b *bench) settle(ctx context.Context, count, properties int) error {
	if err := b.connectHub(ctx); err != nil {
		return err
	}
	if b.present.count != count || b.present.properties != properties || b.present.reported != "" {
		if err := b.clear(ctx); err != nil {
			return err
		}
		if err := b.declare(ctx, b.fresh(count, properties)); err != nil {
			return err
		}
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	return b.awaitSettled(ctx)
}

func (b *bench) awaitSettled(ctx context.Context) error {
	return b.until(ctx, "acknowledged", func() (int, int) { _, n, _, _ := b.seen.counts(); return n, b.present.count })
}

// until waits until a count reaches what is wanted, and fails once it does not move any more.
func (b *bench) until(ctx context.Context, what string, count func() (is, wanted int)) error {
	defer b.progress(ctx, what, count)()
	last, moved := -1, time.Now()
	for {
		is, wanted := count()
		if _, _, _, err := b.seen.counts(); err != nil {
			return err
		}
		if is >= wanted {
			return nil
		}
		if is != last {
			last, moved = is, time.Now()
		}
		if time.Since(moved) > patience {
			return fmt.Errorf("%s: %d of %d, and no more for %s", what, is, wanted, patience)
		}
		if !pause(ctx, 2*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// progress tells every five seconds how far something is, until the function that it returns is called.
func (b *bench) progress(ctx context.Context, what string, count func() (is, wanted int)) (stop func()) {
	ctx, stop = context.WithCancel(ctx)
	go func() {
		for pause(ctx, 5*time.Second) {
			is, wanted := count()
			b.Out.Sayf("    %s: %d of %d", what, is, wanted)
		}
	}()
	return stop
}

var hubKind = schema.GroupVersionKind{Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Kind: "IoTHub"}

// connectHub makes the IoTHub, unless it is there. No request to the hub is rationed: what is measured is the operator.
func (b *bench) connectHub(ctx context.Context) error {
	env := b.HubEnv
	ca, err := os.ReadFile(env["HUB_CA_FILE"])
	if err != nil {
		return fmt.Errorf("reading the hub's CA: %w", err)
	}
	spec := map[string]any{
		"hostName": env["HUB_HOST_NAME"], "endpoint": env["HUB_ENDPOINT"], "caBundle": string(ca),
		"authentication": map[string]any{"connectionStringSecretRef": map[string]any{"name": "factory-hub", "key": "connectionString"}},
		"events": map[string]any{
			"connectionStringSecretRef": map[string]any{"name": "factory-hub", "key": "events"},
			"endpoint":                  env["EVENTHUB_ADDRESS"], "caBundle": string(ca),
		},
	}
	budget, err := b.unlimited(ctx)
	if err != nil {
		return err
	}
	if budget != nil {
		spec["requestBudget"] = budget
	}
	hub := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	hub.SetGroupVersionKind(hubKind)
	hub.SetNamespace(namespace)
	hub.SetName(hubName)
	return client.IgnoreAlreadyExists(b.client.Create(ctx, hub))
}

// unlimited is a request budget with every field at its maximum, nil if IoTHubs have none.
func (b *bench) unlimited(ctx context.Context) (map[string]any, error) {
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
	if err := b.client.Get(ctx, types.NamespacedName{Name: "iothubs." + hubKind.Group}, crd); err != nil {
		return nil, fmt.Errorf("reading the CRD of IoTHubs: %w", err)
	}
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, v := range versions {
		version, _ := v.(map[string]any)
		fields, found, _ := unstructured.NestedMap(version, "schema", "openAPIV3Schema", "properties", "spec", "properties", "requestBudget", "properties")
		if found {
			return maxima(fields), nil
		}
	}
	return nil, nil
}

// maxima are the largest values that the schemas of some numbers allow.
func maxima(fields map[string]any) map[string]any {
	budget := map[string]any{}
	for name, f := range fields {
		field, _ := f.(map[string]any)
		if kind := field["type"]; kind != "integer" && kind != "number" {
			continue
		}
		budget[name] = int64(1_000_000)
		switch most := field["maximum"].(type) {
		case int64:
			budget[name] = most
		case float64:
			budget[name] = int64(most)
		}
	}
	return budget
}

// edit changes a property of one device as a user does, and returns the generation that it made.
func (b *bench) edit(ctx context.Context, name string) (generation int64, err error) {
	b.serial++
	return b.editTo(ctx, name, b.serial)
}

func (b *bench) editTo(ctx context.Context, name string, value int) (generation int64, err error) {
	device := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	patch := fmt.Appendf(nil, `{"spec":{"properties":{%q:%d}}}`, edited, 1_000_000+value)
	if err := b.client.Patch(ctx, device, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return 0, fmt.Errorf("editing PnPDevice %q: %w", name, err)
	}
	return device.Generation, nil
}
