// Package cached reduces the objects of the cache to what the controllers read, and finds objects in it.
package cached

import (
	"context"
	"hash/fnv"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/models"
)

const (
	indexHub = "spec.hubRef.name"
	// indexDevice is the bucket of the device id, see DeclarationsOf.
	indexDevice = "deviceBucket"
	// IndexUnfinished is the device of a command that is not finished.
	IndexUnfinished = "unfinished"
	// IndexModel is the model of a PnPDevice, and the one that a DeviceModel is for.
	IndexModel = "modelID"
	// indexInterface is an interface that a DeviceModel brings along.
	indexInterface = "interface"
)

// Index registers the look-ups that the controllers make in the cache.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	for _, index := range []struct {
		object  client.Object
		field   string
		extract client.IndexerFunc
	}{
		{&v1alpha1.PnPDevice{}, indexHub, func(o client.Object) []string {
			return []string{o.(*v1alpha1.PnPDevice).Spec.HubRef.Name}
		}},
		{&v1alpha1.PnPDevice{}, indexDevice, func(o client.Object) []string {
			return []string{bucketOf(o.(*v1alpha1.PnPDevice).DeviceID())}
		}},
		{&v1alpha1.DeviceCommand{}, IndexUnfinished, func(o client.Object) []string {
			if o.(*v1alpha1.DeviceCommand).Finished() {
				return nil
			}
			return []string{o.(*v1alpha1.DeviceCommand).Spec.DeviceRef.Name}
		}},
		{&v1alpha1.PnPDevice{}, IndexModel, func(o client.Object) []string {
			return []string{o.(*v1alpha1.PnPDevice).ModelID()}
		}},
		{&v1alpha1.DeviceModel{}, IndexModel, func(o client.Object) []string {
			return []string{models.ModelIDOf(o.(*v1alpha1.DeviceModel))}
		}},
		{&v1alpha1.DeviceModel{}, indexInterface, func(o client.Object) []string {
			return models.InterfacesOf(o.(*v1alpha1.DeviceModel))
		}},
	} {
		if err := indexer.IndexField(ctx, index.object, index.field, index.extract); err != nil {
			return err
		}
	}
	return nil
}

// deviceBuckets is how many entries the index by device has. An entry of its own for each of ten thousand devices, twice since the cache indexes by namespace
// and across them, would take a seventh of the memory that a device takes.
const deviceBuckets = 1024

func bucketOf(deviceID string) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(deviceID))
	return strconv.Itoa(int(hash.Sum32() % deviceBuckets))
}

// DeclarationsOf lists the PnPDevices that declare a device. They are the cache's own: not to be changed.
func DeclarationsOf(ctx context.Context, c client.Reader, deviceID string, where ...client.ListOption) ([]*v1alpha1.PnPDevice, error) {
	var list v1alpha1.PnPDeviceList
	err := c.List(ctx, &list, append(where, client.MatchingFields{indexDevice: bucketOf(deviceID)}, client.UnsafeDisableDeepCopy)...)
	return slices.DeleteFunc(list.Items, func(d *v1alpha1.PnPDevice) bool { return d.DeviceID() != deviceID }), err
}

// DeclarationsAt lists those at one IoTHub.
func DeclarationsAt(ctx context.Context, c client.Reader, hub types.NamespacedName, deviceID string) ([]*v1alpha1.PnPDevice, error) {
	declarations, err := DeclarationsOf(ctx, c, deviceID, client.InNamespace(hub.Namespace))
	return slices.DeleteFunc(declarations, func(d *v1alpha1.PnPDevice) bool { return d.Spec.HubRef.Name != hub.Name }), err
}

// MembersOf lists the PnPDevices that use an IoTHub. They are the cache's own: not to be changed.
func MembersOf(ctx context.Context, c client.Reader, hub types.NamespacedName) ([]*v1alpha1.PnPDevice, error) {
	var list v1alpha1.PnPDeviceList
	err := c.List(ctx, &list, client.InNamespace(hub.Namespace), client.MatchingFields{indexHub: hub.Name}, client.UnsafeDisableDeepCopy)
	return list.Items, err
}

// HasMembers reports whether any PnPDevice uses an IoTHub.
func HasMembers(ctx context.Context, c client.Reader, hub types.NamespacedName) (bool, error) {
	var list v1alpha1.PnPDeviceList
	err := c.List(ctx, &list, client.InNamespace(hub.Namespace), client.MatchingFields{indexHub: hub.Name}, client.UnsafeDisableDeepCopy, client.Limit(1))
	return len(list.Items) > 0, err
}
