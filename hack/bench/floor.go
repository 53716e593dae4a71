package main

import (
	"context"
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// floor is the least that anyone can do for a device: one read and one write of its twin, and two patches of its status. It has the operator's own
// clients, concurrency and payloads, and neither cache, queue, check nor safety.
type floor struct {
	hub    *iothub.Client
	client client.Client
	like   *v1alpha1.PnPDevice // a device that the operator converged, for what its status says
}

func (b *bench) newFloor(ctx context.Context) (*floor, error) {
	if err := b.learnStatus(ctx); err != nil {
		return nil, err
	}
	env := b.HubEnv
	ca, err := os.ReadFile(env["HUB_CA_FILE"])
	if err != nil {
		return nil, fmt.Errorf("reading the hub's CA: %w", err)
	}
	credential, err := iothub.ParseConnectionString(env["HUB_CONNECTION_STRING"])
	if err != nil {
		return nil, err
	}
	hub, err := iothub.New(iothub.Options{
		HostName: env["HUB_HOST_NAME"], Endpoint: env["HUB_ENDPOINT"], CABundle: ca, ConnectionString: credential,
		AllowedHostSuffixes: []string{".azure-devices.net", "localhost"},
	})
	if err != nil {
		return nil, err
	}
	c, err := client.New(rest.CopyConfig(b.admin), client.Options{Scheme: b.client.Scheme()})
	if err != nil {
		return nil, err
	}
	return &floor{hub: hub, client: c, like: b.template}, nil
}

// learnStatus has the operator converge a few devices, unless it did, and keeps what the status of one says.
func (b *bench) learnStatus(ctx context.Context) error {
	if b.template != nil {
		return nil
	}
	const few = 5
	if err := b.settle(ctx, few, 3); err != nil {
		return err
	}
	template := &v1alpha1.PnPDevice{}
	if err := b.client.Get(ctx, client.ObjectKeyFromObject(b.present.object(0)), template); err != nil {
		return err
	}
	b.template = template
	return nil
}

// converge does it all for one device, and returns nothing to be waited for: the device acknowledges in its own time.
func (f *floor) converge(ctx context.Context, device *v1alpha1.PnPDevice) error {
	t, err := f.hub.GetTwin(ctx, device.DeviceID())
	if err != nil {
		return err
	}
	t, err = f.write(ctx, device, t)
	if err != nil {
		return err
	}
	if device, err = f.tell(ctx, device, t, v1alpha1.PropertyState("Applied")); err != nil {
		return err
	}
	_, err = f.tell(ctx, device, t, v1alpha1.PropertyState("Acknowledged"))
	return err
}

// write sends what the device declares and the twin lacks, and returns the twin as it is then.
func (f *floor) write(ctx context.Context, device *v1alpha1.PnPDevice, t *twin.Twin) (*twin.Twin, error) {
	declared, err := declaration.Of(&device.Spec)
	if err != nil {
		return nil, err
	}
	changes := twin.Diff(declared, twin.Ownership{}, t)
	body, err := twin.RenderDigitalTwin(changes, t)
	if err != nil {
		return nil, err
	}
	etag, err := f.hub.PatchDigitalTwin(ctx, device.DeviceID(), body, t.ETag)
	if err != nil {
		return nil, err
	}
	return t.Apply(changes, etag, t.DesiredVersion+1), nil
}

// tell patches a status as large as the operator's, and returns the object as it is then.
func (f *floor) tell(ctx context.Context, device *v1alpha1.PnPDevice, t *twin.Twin, state v1alpha1.PropertyState) (*v1alpha1.PnPDevice, error) {
	next := device.DeepCopy()
	f.like.Status.DeepCopyInto(&next.Status)
	s := &next.Status
	s.ObservedGeneration = next.Generation
	s.Twin.DeviceID, s.Twin.DeviceEtag, s.Twin.Etag, s.Twin.Version, s.Twin.DesiredVersion = device.DeviceID(), t.DeviceETag, t.ETag, t.Version, t.DesiredVersion
	for i := range s.Properties {
		f.describe(&s.Properties[i], t.Properties[twin.Leaf{Name: s.Properties[i].Name}], state)
	}
	for c := range s.Components {
		of := &s.Components[c]
		for i := range of.Properties {
			f.describe(&of.Properties[i], t.Properties[twin.Leaf{Component: of.Name, Name: of.Properties[i].Name}], state)
		}
	}
	if state != "Acknowledged" {
		s.Acknowledged = 0
	}
	err := f.client.Status().Patch(ctx, next, client.MergeFromWithOptions(device, client.MergeFromWithOptimisticLock{}))
	return next, err
}

func (f *floor) describe(p *v1alpha1.PropertyStatus, of twin.Property, state v1alpha1.PropertyState) {
	p.State = state
	if of.Desired != nil {
		p.Desired, p.DesiredVersion = encoded(of.Desired.Value), of.Desired.Version
	}
	if state == "Acknowledged" {
		p.Reported, p.AckVersion = p.Desired, p.DesiredVersion
	} else {
		p.Reported, p.AckCode, p.AckVersion, p.AckDescription = nil, 0, 0, ""
	}
}
